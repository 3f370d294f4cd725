//! Words: argv, envp and paths in one text, with their pointer arrays.

use crate::op::Str;
use crate::parent::std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, vec::Vec};
use crate::sys::abi::SIGACTION_SIZE;

/// What is said of a word that holds a NUL: the kernel would cut it there.
pub(crate) const NUL: &str = "it contains a NUL byte";

/// A word that was refused, and why.
#[derive(Debug)]
pub(crate) struct Nul(pub(crate) &'static str);

/// Every string of a plan, each with its NUL, and the arrays of their
/// places, each with its end mark. `bind` turns places into addresses.
pub(crate) struct Words {
    text: Vec<u8>,
    lists: Vec<u64>,
    /// Where the first argument stands in the text.
    first: usize,
    envp: usize,
    envc: usize,
    path: Option<Str>,
    /// For each candidate the place of an argv that has a shell run it.
    shells: Vec<u64>,
    bound: bool,
}

/// The end of a list while places are not yet addresses.
const END: u64 = u64::MAX;

/// `SIG_DFL` as the kernel's `struct sigaction`.
const SIG_DFL: [u8; 32] = [0; 32];
const _: () = assert!(SIG_DFL.len() as u64 == SIGACTION_SIZE);

impl Words {
    /// The text opens with zeros, which are `SIG_DFL` as a `struct
    /// sigaction` and an empty string, then "0", the shell's path, and "/".
    pub(crate) fn new() -> Words {
        let mut text = Vec::with_capacity(4096);
        text.extend_from_slice(&SIG_DFL);
        text.extend_from_slice(b"0\0/bin/sh\0/\0");
        let lists = Vec::with_capacity(128);
        let first = text.len();
        Words {
            text,
            lists,
            first,
            envp: 0,
            envc: 0,
            path: None,
            shells: Vec::new(),
            bound: false,
        }
    }

    /// The place of 32 zero bytes.
    pub(crate) const ZEROS: Str = Str { start: 0, len: 0 };

    /// The place of "0".
    pub(crate) const ZERO: Str = Str { start: 32, len: 1 };

    /// What runs a file that the kernel has no format for, as `execvp(3)`
    /// has it.
    pub(crate) const SHELL: Str = Str { start: 34, len: 7 };

    /// The place of "/".
    pub(crate) const ROOT: Str = Str { start: 42, len: 1 };

    /// Adds one string, made of parts.
    pub(crate) fn put(&mut self, parts: &[&[u8]]) -> Result<Str, Nul> {
        let start = self.text.len();
        for part in parts {
            if memchr::memchr(0, part).is_some() {
                return Err(Nul(NUL));
            }
            self.text.extend_from_slice(part);
        }
        let len = self.text.len() - start;
        self.text.push(0);
        let narrow = u32::try_from(start).ok().zip(u32::try_from(len).ok());
        let (start, len) = narrow.ok_or(Nul("it is longer than 4 GiB"))?;
        Ok(Str { start, len })
    }

    pub(crate) fn argument(&mut self, word: &[u8]) -> Result<Str, Nul> {
        let at = self.put(&[word])?;
        if self.lists.is_empty() {
            self.first = at.start as usize;
        }
        self.lists.push(u64::from(at.start));
        Ok(at)
    }

    pub(crate) fn pair(&mut self, k: &[u8], v: &[u8]) -> Result<(), Nul> {
        let nul = |word| memchr::memchr(0, word).is_some();
        if nul(k) || nul(v) {
            return Err(Nul(NUL));
        }
        self.inherited(k, v);
        Ok(())
    }

    /// A variable of the process's own: it was a C string, and holds no NUL.
    pub(crate) fn inherited(&mut self, k: &[u8], v: &[u8]) {
        let start = self.text.len();
        self.text.reserve(k.len() + v.len() + 2);
        self.text.extend_from_slice(k);
        self.text.push(b'=');
        self.text.extend_from_slice(v);
        self.text.push(0);
        self.lists.push(start as u64);
        // Of two the first counts, as getenv has it.
        if k == b"PATH" && self.path.is_none() {
            let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
            let (start, len) = (narrow(start + 5), narrow(v.len()));
            self.path = Some(Str { start, len });
        }
    }

    /// Adds numbers as the kernel reads them, of 32 bits each.
    pub(crate) fn numbers(&mut self, all: &[u32]) -> Str {
        let start = self.text.len();
        for n in all {
            self.text.extend_from_slice(&n.to_le_bytes());
        }
        let len = self.text.len() - start;
        self.text.push(0);
        let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Str { start: narrow(start), len: narrow(len) }
    }

    /// The numbers again.
    pub(crate) fn listed(&self, at: Str) -> Vec<u32> {
        let all = self.bytes(at).chunks_exact(4);
        let number = |n: &[u8]| n.first_chunk().copied();
        all.filter_map(number).map(u32::from_le_bytes).collect()
    }

    /// Ends argv the first time, envp the second.
    pub(crate) fn end_list(&mut self) {
        self.lists.push(END);
        if self.envp == 0 {
            self.envp = self.lists.len();
        } else {
            self.envc = self.lists.len() - self.envp - 1;
        }
    }

    /// The byte offset of envp in the lists; argv is at 0.
    pub(crate) fn envp(&self) -> u64 {
        8 * self.envp as u64
    }

    /// Adds an argv of an image, and an environment without a variable: the
    /// places of both.
    pub(crate) fn image_lists(&mut self) -> (u64, u64) {
        let argv = 8 * self.lists.len() as u64;
        self.lists.extend([u64::from(Words::ZEROS.start), END]);
        (argv, argv + 8)
    }

    /// The lists as they are where the text lies at `text`.
    pub(crate) fn placed(&self, text: u64) -> Vec<u64> {
        let (own, _) = self.places();
        let place = |at: &u64| match *at {
            END => 0,
            0 if self.bound => 0,
            at if self.bound => at - own + text,
            at => at + text,
        };
        self.lists.iter().map(place).collect()
    }

    /// Adds an argv for the shell that runs a candidate: what the program
    /// would have had, after the candidate's path.
    pub(crate) fn shell(&mut self, candidate: Str) {
        self.shells.push(8 * self.lists.len() as u64);
        let head = [Words::SHELL.start, candidate.start];
        self.lists.extend(head.map(u64::from));
        self.lists.extend_from_within(1..self.envp);
    }

    /// The place of the shell's argv for a candidate.
    pub(crate) fn shell_argv(&self, candidate: usize) -> u64 {
        self.shells.get(candidate).copied().unwrap_or_default()
    }

    /// The environment's PATH, if it has one.
    pub(crate) fn path(&self) -> Option<Str> {
        self.path
    }

    pub(crate) fn bytes(&self, at: Str) -> &[u8] {
        let start = at.start as usize;
        let end = start + at.len as usize;
        self.text.get(start..end).unwrap_or_default()
    }

    pub(crate) fn get(&self, at: Str) -> &OsStr {
        OsStr::from_bytes(self.bytes(at))
    }

    /// The arguments, the program's name first.
    pub(crate) fn argv(&self) -> Vec<&OsStr> {
        let mut from = self.text.get(self.first..).unwrap_or_default();
        let mut argv = Vec::new();
        while argv.len() + 1 < self.envp {
            let end = memchr::memchr(0, from).unwrap_or(from.len());
            let (word, rest) = from.split_at(end);
            argv.push(OsStr::from_bytes(word));
            from = rest.get(1..).unwrap_or_default();
        }
        argv
    }

    /// How many variables the environment has.
    pub(crate) fn envc(&self) -> usize {
        self.envc
    }

    /// The names of the environment's variables. An entry without `=` has
    /// none.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        let (text, _) = self.places();
        let base = if self.bound { text } else { 0 };
        let all = self.lists.get(self.envp..self.envp + self.envc);
        all.unwrap_or_default().iter().map(move |at| {
            let start = usize::try_from(at.saturating_sub(base)).ok();
            let from = start.and_then(|start| self.text.get(start..));
            let from = from.unwrap_or_default();
            let end = memchr::memchr2(b'=', 0, from).unwrap_or(0);
            let named = from.get(end) == Some(&b'=');
            let name = from.get(..end).filter(|_| named);
            OsStr::from_bytes(name.unwrap_or_default())
        })
    }

    /// Where text and lists lie, from when they are bound.
    pub(crate) fn places(&self) -> (u64, u64) {
        let text = self.text.as_ptr().expose_provenance() as u64;
        (text, self.lists.as_ptr().expose_provenance() as u64)
    }

    /// Turns places into addresses, for this process and those that have its
    /// memory or a copy. Nothing may be added from here on.
    pub(crate) fn bind(&mut self) {
        let (text, _) = self.places();
        if !self.bound {
            for place in &mut self.lists {
                *place = if *place == END { 0 } else { text + *place };
            }
            self.bound = true;
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn lists(&self) -> &[u64] {
        &self.lists
    }
}

/// The arguments, and of the environment the names: a value may be a
/// password, and this may be a log.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsStr> = self.names().collect();
        f.debug_struct("Words")
            .field("argv", &self.argv())
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Nul, Str, Words};

    #[test]
    fn of_two_paths_in_an_environment_the_first_is_searched() {
        let mut words = Words::new();
        words.inherited(b"PATH", b"/first");
        words.inherited(b"PATH", b"/second");
        let path = words.path().unwrap();
        assert_eq!(words.bytes(path), b"/first");
    }

    #[test]
    fn a_word_with_a_nul_is_refused_and_nothing_is_cut() {
        let mut words = Words::new();
        let Err(Nul(why)) = words.put(&[b"a\0b"]) else { panic!("taken") };
        assert_eq!(why, "it contains a NUL byte");
    }

    #[test]
    fn lists_hold_addresses_of_the_text_once_bound() {
        let mut words = Words::new();
        words.argument(b"sh").unwrap();
        words.argument(b"").unwrap();
        words.end_list();
        words.pair(b"PATH", b"/bin").unwrap();
        words.end_list();
        assert_eq!(words.argv(), ["sh", ""]);
        assert_eq!(words.envc(), 1);
        assert!(words.names().eq(["PATH"]));
        assert_eq!(words.bytes(words.path().unwrap()), b"/bin");
        words.bind();
        words.bind();
        assert!(words.names().eq(["PATH"]));
        let (text, _) = words.places();
        assert_eq!(words.lists(), [text + 44, text + 47, 0, text + 48, 0]);
        assert_eq!(words.envp(), 24);
        assert_eq!(words.bytes(Str { start: 44, len: 2 }), b"sh");
        assert_eq!(words.bytes(Words::ZERO), b"0");
        assert_eq!(words.bytes(Words::SHELL), b"/bin/sh");
        assert_eq!(words.bytes(Words::ROOT), b"/");
    }
}
