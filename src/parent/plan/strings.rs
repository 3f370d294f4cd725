//! `StringTable`: argv, envp and paths in one text, with their pointer arrays.

use super::fixed_strings;
use super::fixed_strings::opening;
use crate::call::filter;
pub(crate) use crate::parent::command::environment::NUL;
use crate::parent::command::environment::Packed;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Str;
use crate::parent::std::{
    ffi::OsStr, fmt, os::unix::ffi::OsStrExt, sync::Arc, vec::Vec,
};

/// The error for a table that is full. The kernel takes at most 6 MiB of
/// arguments and environment.
const FULL: &str = "with it a plan has over 4 GiB of text";

/// Why a string was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringError {
    Nul,
    Full,
}

impl StringError {
    /// As an error of the option that has the string.
    pub(crate) fn of(self, step: Step, string: impl AsRef<OsStr>) -> Error {
        match self {
            StringError::Nul => Error::refused(step, NUL).with(string),
            // Without the string, which may be as long.
            StringError::Full => Error::refused_as(step, libc::E2BIG, FULL),
        }
    }
}

/// Offsets into the text, and its length, have 32 bits.
const MOST: usize = (u32::MAX - 1) as usize;

/// Room that arguments and environment leave for other strings, so that an
/// error names the option that took the room.
const REST: usize = 1 << 28;

/// Every string of a plan, each with its NUL, and the lists of their offsets,
/// each with its end. `relocate` turns offsets into addresses.
pub(crate) struct StringTable {
    pub(super) text: Vec<u8>,
    pub(super) lists: Vec<u64>,
    /// The offset of the first argument.
    first: usize,
    pub(super) envp: usize,
    pub(super) envc: usize,
    pub(super) path: Option<Str>,
    /// The environment, if it is a shared one.
    pub(super) shared: Option<Arc<Packed>>,
    /// For each candidate the offset of an argv with which a shell runs it.
    shells: Vec<u64>,
    pub(super) is_relocated: bool,
    /// The longest that the text may be.
    most: usize,
}

/// The end of a list of offsets.
const END: u64 = u64::MAX;

/// Marks a number in the lists that is no offset.
const COUNT: u64 = 1 << 62;

impl StringTable {
    /// A table with the fixed strings.
    pub(crate) fn new() -> StringTable {
        let mut text = Vec::with_capacity(4096);
        opening(&mut text);
        let lists = Vec::with_capacity(128);
        let first = text.len();
        StringTable {
            text,
            lists,
            first,
            envp: 0,
            envc: 0,
            path: None,
            shared: None,
            shells: Vec::new(),
            is_relocated: false,
            most: MOST - REST,
        }
    }

    /// With room for so many bytes more.
    #[cfg(test)]
    pub(crate) fn with_room(bytes: usize) -> StringTable {
        let mut strings = StringTable::new();
        strings.most = strings.text.len() + bytes;
        strings
    }

    /// Whether there is room for so many bytes and a NUL.
    fn room(&self, len: usize) -> Result<(), StringError> {
        let left = self.most.saturating_sub(self.text.len());
        if len < left { Ok(()) } else { Err(StringError::Full) }
    }

    /// Adds a string, the concatenation of `parts`.
    pub(crate) fn put(&mut self, parts: &[&[u8]]) -> Result<Str, StringError> {
        let start = self.text.len();
        let mut all = 0usize;
        for part in parts {
            all = all.saturating_add(part.len());
        }
        self.room(all)?;
        for part in parts {
            if memchr::memchr(0, part).is_some() {
                return Err(StringError::Nul);
            }
            self.text.extend_from_slice(part);
        }
        self.text.push(0);
        Ok(self.str_from(start))
    }

    /// The string from `start` to the end of the text, without its NUL.
    fn str_from(&self, start: usize) -> Str {
        // `room` has checked that both fit.
        let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let len = self.text.len() - start - 1;
        Str { start: narrow(start), len: narrow(len) }
    }

    pub(crate) fn argument(
        &mut self,
        string: &[u8],
    ) -> Result<Str, StringError> {
        let at = self.put(&[string])?;
        if self.lists.is_empty() {
            self.first = at.start as usize;
        }
        self.lists.push(u64::from(at.start));
        Ok(at)
    }

    pub(crate) fn pair(
        &mut self,
        k: &[u8],
        v: &[u8],
    ) -> Result<(), StringError> {
        let nul = |part| memchr::memchr(0, part).is_some();
        if nul(k) || nul(v) {
            return Err(StringError::Nul);
        }
        self.inherited(k, v)
    }

    /// Adds a variable of this process, which has no NUL byte, as it was a C
    /// string.
    pub(crate) fn inherited(
        &mut self,
        k: &[u8],
        v: &[u8],
    ) -> Result<(), StringError> {
        let start = self.text.len();
        self.room(k.len().saturating_add(v.len()).saturating_add(1))?;
        self.text.reserve(k.len() + v.len() + 2);
        self.text.extend_from_slice(k);
        self.text.push(b'=');
        self.text.extend_from_slice(v);
        self.text.push(0);
        self.lists.push(start as u64);
        // Of two the first counts, as for `getenv`.
        if k == b"PATH" && self.path.is_none() {
            self.path = Some(self.str_from(start + 5));
        }
        Ok(())
    }

    /// Adds an entry of the environment, unchanged.
    pub(crate) fn entry(&mut self, entry: &[u8]) -> Result<(), StringError> {
        let at = self.put(&[entry])?;
        self.lists.push(at.start.into());
        // Of two the first counts, as for `getenv`.
        if entry.starts_with(b"PATH=") && self.path.is_none() {
            let (start, len) = (at.start + 5, at.len - 5);
            self.path = Some(Str { start, len });
        }
        Ok(())
    }

    /// Adds an argv that differs from the first in argument 0: its offset.
    pub(crate) fn argv_of(&mut self, name: Str) -> u64 {
        let at = 8 * self.lists.len() as u64;
        self.lists.push(name.start.into());
        self.lists.extend_from_within(1..self.envp);
        at
    }

    /// Adds numbers of 32 bits, as the kernel reads them.
    pub(crate) fn numbers(&mut self, all: &[u32]) -> Result<Str, StringError> {
        let start = self.text.len();
        self.room(4 * all.len())?;
        for n in all {
            self.text.extend_from_slice(&n.to_le_bytes());
        }
        self.text.push(0);
        Ok(self.str_from(start))
    }

    /// Adds a filter program, as pairs of numbers, and the `sock_fprog` that
    /// points to it: the offset of that in the lists.
    pub(crate) fn filter(&mut self, all: &[u32]) -> Result<u64, StringError> {
        let code = self.numbers(all)?;
        let at = 8 * self.lists.len() as u64;
        let len = COUNT | (all.len() as u64 / 2);
        self.lists.extend([len, code.start.into(), END]);
        Ok(at)
    }

    /// The numbers that `numbers` has added.
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
            self.most = self.most.saturating_add(REST);
        }
    }

    /// Adds the argv of the helper image, and an empty environment: the offsets
    /// of both.
    pub(crate) fn helper_lists(&mut self) -> (u64, u64) {
        let argv = 8 * self.lists.len() as u64;
        self.lists.extend([u64::from(fixed_strings::ZEROS.start), END]);
        (argv, argv + 8)
    }

    /// The lists for a text at address `text`.
    pub(crate) fn lists_for(&self, text: u64) -> Vec<u64> {
        let (own, _) = self.addresses();
        let address = |at: &u64| match *at {
            END => 0,
            at if at & COUNT != 0 => at & !COUNT,
            at if self.is_relocated && at <= filter::MOST => at,
            at if self.is_relocated => at - own + text,
            at => at + text,
        };
        self.lists.iter().map(address).collect()
    }

    /// Adds the argv with which a shell runs a candidate: the candidate's path,
    /// then the arguments of the program.
    pub(crate) fn shell(&mut self, candidate: Str) {
        self.shells.push(8 * self.lists.len() as u64);
        let head = [fixed_strings::SHELL.start, candidate.start];
        self.lists.extend(head.map(u64::from));
        self.lists.extend_from_within(1..self.envp);
    }

    /// The offset of the shell's argv for a candidate.
    pub(crate) fn shell_argv(&self, candidate: usize) -> u64 {
        self.shells.get(candidate).copied().unwrap_or_default()
    }

    pub(crate) fn bytes(&self, at: Str) -> &[u8] {
        let start = at.start as usize;
        let end = start + at.len as usize;
        self.text.get(start..end).unwrap_or_default()
    }

    pub(crate) fn get(&self, at: Str) -> &OsStr {
        OsStr::from_bytes(self.bytes(at))
    }

    /// The arguments, argument 0 first.
    pub(crate) fn argv(&self) -> Vec<&OsStr> {
        let mut from = self.text.get(self.first..).unwrap_or_default();
        let mut argv = Vec::new();
        while argv.len() + 1 < self.envp {
            let end = memchr::memchr(0, from).unwrap_or(from.len());
            let (argument, rest) = from.split_at(end);
            argv.push(OsStr::from_bytes(argument));
            from = rest.get(1..).unwrap_or_default();
        }
        argv
    }

    /// The addresses of text and lists; nothing may be added once they are used.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        let text = self.text.as_ptr().expose_provenance() as u64;
        (text, self.lists.as_ptr().expose_provenance() as u64)
    }

    /// Turns offsets into addresses, for processes that have this memory or a
    /// copy of it. Nothing may be added after that.
    pub(crate) fn relocate(&mut self) {
        let (text, _) = self.addresses();
        if !self.is_relocated {
            for offset in &mut self.lists {
                *offset = match *offset {
                    END => 0,
                    count if count & COUNT != 0 => count & !COUNT,
                    offset => text + offset,
                };
            }
            self.is_relocated = true;
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn lists(&self) -> &[u64] {
        &self.lists
    }
}

/// The arguments, and the names of the variables: a value may be a secret.
impl fmt::Debug for StringTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsStr> = self.names().collect();
        f.debug_struct("StringTable")
            .field("argv", &self.argv())
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{REST, Str, StringError, StringTable, fixed_strings};

    #[test]
    fn of_two_paths_in_an_environment_the_first_is_searched() {
        let mut strings = StringTable::new();
        strings.inherited(b"PATH", b"/first").unwrap();
        strings.inherited(b"PATH", b"/second").unwrap();
        assert_eq!(strings.path().unwrap(), b"/first");
    }

    #[test]
    fn a_string_with_a_nul_is_refused_and_nothing_is_truncated() {
        let mut strings = StringTable::new();
        assert_eq!(strings.put(&[b"a\0b"]), Err(StringError::Nul));
    }

    #[test]
    fn where_there_is_no_room_nothing_is_truncated() {
        let mut strings = StringTable::with_room(16);
        let before = strings.text().len();
        assert_eq!(strings.argument(&[b'a'; 16]), Err(StringError::Full));
        assert_eq!(
            strings.inherited(b"PATH", &[b'a'; 11]),
            Err(StringError::Full)
        );
        assert_eq!(strings.pair(b"PATH", &[b'a'; 11]), Err(StringError::Full));
        assert_eq!(strings.numbers(&[1, 2, 3, 4]), Err(StringError::Full));
        assert_eq!(strings.path(), None);
        assert_eq!((strings.text().len(), strings.lists().len()), (before, 0));
        strings.argument(b"sh").unwrap();
        strings.end_list();
        strings.inherited(b"PATH", b"/bin/bin").unwrap_err();
        strings.inherited(b"PATH", b"/bin/bi").unwrap();
        assert_eq!(strings.path().unwrap(), b"/bin/bi");
        assert_eq!(strings.put(&[b"", b""]), Err(StringError::Full));
        // Strings after the environment have room of their own.
        strings.end_list();
        strings.put(&[b"/srv"]).unwrap();
        let room = strings.most - strings.text().len();
        assert_eq!(room, REST - 5);
    }

    #[test]
    fn lists_hold_addresses_of_the_text_once_relocated() {
        let mut strings = StringTable::new();
        strings.argument(b"sh").unwrap();
        strings.argument(b"").unwrap();
        strings.end_list();
        strings.pair(b"PATH", b"/bin").unwrap();
        strings.end_list();
        assert_eq!(strings.argv(), ["sh", ""]);
        assert_eq!(strings.envc(), 1);
        assert!(strings.names().eq(["PATH"]));
        assert_eq!(strings.path().unwrap(), b"/bin");
        strings.relocate();
        strings.relocate();
        assert!(strings.names().eq(["PATH"]));
        let (text, _) = strings.addresses();
        assert_eq!(strings.lists(), [text + 76, text + 79, 0, text + 80, 0]);
        assert_eq!(strings.envp(), 24);
        assert_eq!(strings.bytes(Str { start: 76, len: 2 }), b"sh");
        assert_eq!(strings.bytes(fixed_strings::ZERO), b"0");
        assert_eq!(strings.bytes(fixed_strings::SHELL), b"/bin/sh");
        assert_eq!(strings.bytes(fixed_strings::ROOT), b"/");
        assert_eq!(
            strings.bytes(fixed_strings::SIGSYS),
            [0, 0, 0, 0x40, 0, 0, 0, 0]
        );
    }
}
