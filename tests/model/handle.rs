//! `Child` in the model: its fields, and the library's files that use them.

#[path = "../../src/parent/handle/on_drop.rs"]
mod on_drop;
#[path = "../../src/parent/handle/pidfd.rs"]
mod pidfd;
#[path = "../../src/parent/handle/pidfd_info.rs"]
mod pidfd_info;
#[path = "../../src/parent/handle/process.rs"]
mod process;
#[path = "../../src/parent/handle/shared.rs"]
mod shared;
#[path = "../../src/parent/handle/signal_number.rs"]
mod signal_number;
#[path = "../../src/parent/handle/usage.rs"]
mod usage;
#[path = "../../src/parent/handle/wait_set.rs"]
mod wait_set;
#[path = "../../src/parent/handle/waitable.rs"]
mod waitable;
#[path = "../../src/parent/handle/waiting.rs"]
mod waiting;

pub(crate) use super::std::process::ExitStatus;
use super::std::process::{ChildStderr, ChildStdin, ChildStdout};
use crate::kernel::kernel;
use shared::{Handle, OnDrop};
use waitable::Waitable;

pub(crate) use on_drop::reap_dropped;
pub(crate) use pidfd::PidFd;
pub(crate) use pidfd_info::{Namespace, PidFdInfo};
pub(crate) use process::Process;
pub(crate) use usage::Rusage;
pub(crate) use wait_set::WaitSet;

struct Launch {
    process_group: Option<i32>,
}

/// A child, as far as it is waited for and signalled.
pub(crate) struct Child {
    handle: Handle,
    on_drop: OnDrop,
    launch: Launch,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Child {
    /// A child that runs, and leads a group.
    pub(crate) fn start() -> Child {
        Child::with_pidfd(true)
    }

    /// A child for which no descriptor was free.
    pub(crate) fn start_without_pidfd() -> Child {
        Child::with_pidfd(false)
    }

    fn with_pidfd(pidfd: bool) -> Child {
        let (pid, pidfd) = kernel().start_child(pidfd);
        let waitable = Waitable::new(pid, pidfd.map(PidFd), None);
        Child {
            handle: Handle::Own(waitable),
            on_drop: OnDrop::Nothing,
            launch: Launch { process_group: pid.get().try_into().ok() },
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.handle.get().pid.get()
    }
}
