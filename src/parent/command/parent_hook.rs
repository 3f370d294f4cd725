//! `ParentHooks`: functions that the parent calls while the child waits.

use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::{
    any::Any,
    boxed::Box,
    cell::RefCell,
    fmt, io,
    os::fd::BorrowedFd,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};
use crate::sys::Pid;

type Function =
    dyn Fn(u32, Option<BorrowedFd<'_>>) -> io::Result<()> + Send + Sync;

/// A function that was passed to `before_exec`.
#[derive(Clone)]
pub(crate) struct ParentHook(Arc<Function>);

impl ParentHook {
    pub(crate) fn new(
        function: impl Fn(u32, Option<BorrowedFd<'_>>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> ParentHook {
        ParentHook(Arc::new(function))
    }
}

impl fmt::Debug for ParentHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("before_exec")
    }
}

enum Failure {
    Error(io::Error),
    Panic(Box<dyn Any + Send>),
}

/// The functions of one spawn, and the failure of one of them.
pub(crate) struct ParentHooks<'a> {
    functions: &'a [ParentHook],
    failure: RefCell<Option<Failure>>,
}

impl<'a> ParentHooks<'a> {
    pub(crate) fn new(functions: &'a [ParentHook]) -> ParentHooks<'a> {
        ParentHooks { functions, failure: RefCell::new(None) }
    }

    /// Calls the functions in order until one fails, and returns whether none
    /// did. A panic is caught and kept, as the child still waits.
    pub(crate) fn run(&self, pid: Pid, pidfd: Option<BorrowedFd<'_>>) -> bool {
        for ParentHook(function) in self.functions {
            let call = AssertUnwindSafe(|| function(pid.get(), pidfd));
            let failure = match catch_unwind(call) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Failure::Error(error),
                Err(payload) => Failure::Panic(payload),
            };
            *self.failure.borrow_mut() = Some(failure);
            return false;
        }
        true
    }

    /// Returns the error of the function that failed, or resumes its panic.
    pub(crate) fn failure(&self) -> Option<Error> {
        match self.failure.borrow_mut().take()? {
            Failure::Error(error) => {
                Some(Error::new(Step::BeforeExec, Cause::Function(error)))
            }
            Failure::Panic(payload) => resume_unwind(payload),
        }
    }
}
