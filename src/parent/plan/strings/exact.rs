//! Verbatim entries of the environment, and an argv with another argument 0.

use super::{StringError, StringTable};
use crate::parent::plan::op::Str;

const PATH: &[u8] = b"PATH=";

impl StringTable {
    /// Adds an entry of the environment, unchanged.
    pub(crate) fn entry(&mut self, entry: &[u8]) -> Result<(), StringError> {
        let at = self.put(&[entry])?;
        self.lists.push(at.start.into());
        // Of two the first counts, as for `getenv`.
        if entry.starts_with(PATH) && self.path.is_none() {
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
}
