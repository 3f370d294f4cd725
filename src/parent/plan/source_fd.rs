//! `SourceFd`: a descriptor of the caller's that a step reads from.

use crate::parent::command::FdArg;
use crate::parent::error::Step;
use crate::parent::std::{format, os::fd::OwnedFd, string::String, sync::Arc};

/// A descriptor of a plan that is the same for every spawn.
#[derive(Debug)]
pub(crate) struct SourceFd {
    /// `None` if it is made when the plan is prepared.
    pub(crate) arg: Option<FdArg>,
    /// Its number, or the number of the copy that is read instead.
    pub(crate) number: u32,
    /// Its number in the child; `None` if it is closed at exec.
    pub(crate) target: Option<u32>,
    /// Whether exec closes it; known once the plan is prepared.
    pub(crate) cloexec: bool,
    /// Whether a copy must be read instead.
    pub(crate) copied: bool,
    /// The option that gave it.
    pub(crate) by: Step,
}

impl SourceFd {
    pub(crate) fn new(number: u32, target: Option<u32>, by: Step) -> SourceFd {
        let (arg, cloexec, copied) = (None, true, false);
        SourceFd { arg, number, target, cloexec, copied, by }
    }

    /// A descriptor that stays open until exec: a directory, a program.
    pub(crate) fn open_until_exec(by: Step, fd: &Arc<OwnedFd>) -> SourceFd {
        let fd = Arc::clone(fd);
        let arg = FdArg::Owned(fd);
        let number = arg.number().unsigned_abs();
        SourceFd { arg: Some(arg), ..SourceFd::new(number, None, by) }
    }

    /// Its number in the child, from `dup3` on.
    pub(crate) fn child_fd(&self) -> u32 {
        self.target.unwrap_or(self.number)
    }

    /// The caller's own number, and the target.
    pub(crate) fn shown(&self) -> String {
        let own = self.arg.as_ref().map(FdArg::number);
        let own = own.map_or(self.number, i32::unsigned_abs);
        match self.target {
            Some(to) => format!("{own} -> {to}"),
            None => format!("{own}"),
        }
    }
}

/// The option for one of the standard descriptors.
pub(crate) fn stdio_step(n: u8) -> Step {
    match n {
        0 => Step::Stdin,
        1 => Step::Stdout,
        _ => Step::Stderr,
    }
}
