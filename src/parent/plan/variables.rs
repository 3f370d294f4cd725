//! Variables: the environment of a string table, its own or a shared one.

use super::strings::StringTable;
use crate::parent::command::environment::Packed;
use crate::parent::std::{ffi::OsStr, os::unix::ffi::OsStrExt, sync::Arc};

impl StringTable {
    /// Uses a shared environment, which stays where it is, and ends envp.
    pub(crate) fn share(&mut self, environment: Arc<Packed>) {
        self.shared = Some(environment);
        self.end_list();
    }

    /// The environment that is not in this table, if that is so.
    pub(crate) fn shared(&self) -> Option<&Packed> {
        self.shared.as_deref()
    }

    /// The byte offset of envp in the lists; argv is at 0. A shared
    /// environment has none: a helper image, which contains a copy, has it
    /// after the lists.
    pub(crate) fn envp(&self) -> u64 {
        let at = match self.shared {
            Some(_) => self.lists.len(),
            None => self.envp,
        };
        8 * at as u64
    }

    /// The environment's PATH, if it has one.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        match &self.shared {
            Some(shared) => shared.path(),
            None => self.path.map(|at| self.bytes(at)),
        }
    }

    /// The number of variables in the environment.
    pub(crate) fn envc(&self) -> usize {
        self.shared.as_ref().map_or(self.envc, |shared| shared.count())
    }

    /// The bytes of arguments and environment.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let arguments = self.argv().iter().map(|word| word.len() + 1).sum();
        (arguments, self.variables().map(|entry| entry.len() + 1).sum())
    }

    /// The names of the environment's variables. An entry without `=` has
    /// none.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.variables().map(|entry| {
            let end = memchr::memchr(b'=', entry);
            let name = end.and_then(|end| entry.get(..end));
            OsStr::from_bytes(name.unwrap_or_default())
        })
    }

    /// The value of a variable; of several the first, as for `getenv`.
    pub(crate) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let mut values = self
            .variables()
            .filter_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="));
        values.next()
    }

    /// The entries of the environment.
    fn variables(&self) -> impl Iterator<Item = &[u8]> {
        let (text, _) = self.addresses();
        let base = if self.is_relocated { text } else { 0 };
        let all = self.lists.get(self.envp..self.envp + self.envc);
        let own = all.unwrap_or_default().iter().map(move |at| {
            let start = usize::try_from(at.saturating_sub(base)).ok();
            let from = start.and_then(|start| self.text.get(start..));
            let from = from.unwrap_or_default();
            let end = memchr::memchr(0, from).unwrap_or(0);
            from.get(..end).unwrap_or_default()
        });
        let shared = self.shared.iter().flat_map(|shared| shared.entries());
        own.chain(shared)
    }
}
