//! Exact: an environment that is passed on as it was given, and arguments
//! under another name.

use super::{StringError, StringTable};
use crate::parent::command::options::Options;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Str;
use crate::parent::std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

const PATH: &[u8] = b"PATH=";

impl StringTable {
    /// The environment, entry by entry.
    pub(in crate::parent::plan) fn exact(
        &mut self,
        options: &Options,
        callbacks: &[OsString],
    ) -> Result<(), Error> {
        let refuse = |why| Error::refused(Step::EnvExact, why);
        if let Some((key, value)) = options.env.first_key_value() {
            let why = match value {
                Some(_) => "env sets a variable too",
                None => "env_remove names a variable too",
            };
            return Err(refuse(why).with(key));
        }
        if options.listen.is_some() {
            return Err(refuse("listen_fds sets variables too"));
        }
        for callback in callbacks {
            let put = self.callback(callback.as_bytes());
            // Only the name: the value is nothing for a log.
            let name = callback.as_bytes().split(|byte| *byte == b'=').next();
            let name = OsStr::from_bytes(name.unwrap_or_default());
            put.map_err(|why| why.of(Step::EnvExact, name))?;
        }
        self.end_list();
        Ok(())
    }

    fn callback(&mut self, callback: &[u8]) -> Result<(), StringError> {
        let at = self.put(&[callback])?;
        self.lists.push(at.start.into());
        // Of two the first counts, as getenv has it.
        if callback.starts_with(PATH) && self.path.is_none() {
            let (start, len) = (at.start + 5, at.len - 5);
            self.path = Some(Str { start, len });
        }
        Ok(())
    }

    /// The place of an argv that differs from the first in the program's
    /// name.
    pub(in crate::parent::plan) fn argv_of(&mut self, name: Str) -> u64 {
        let at = 8 * self.lists.len() as u64;
        self.lists.push(name.start.into());
        self.lists.extend_from_within(1..self.envp);
        at
    }
}
