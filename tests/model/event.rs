//! `rustix::event` in the model: poll.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

pub(crate) use crate::epoll;
pub(crate) use crate::epoll::{EventfdFlags, eventfd};
use crate::io::Errno;
use crate::kernel::kernel;

/// The flags that the sources ask for. No child of the model is reaped by the
/// kernel, whose pidfds are polled for none.
#[derive(Clone, Copy)]
pub(crate) struct PollFlags;

impl PollFlags {
    pub(crate) const IN: PollFlags = PollFlags;

    pub(crate) const fn empty() -> PollFlags {
        PollFlags
    }
}

pub(crate) struct PollFd(i32);

impl PollFd {
    pub(crate) fn from_borrowed_fd(fd: BorrowedFd<'_>, _: PollFlags) -> Self {
        PollFd(fd.as_raw_fd())
    }
}

pub(crate) struct Timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}

impl Timespec {
    pub(crate) fn duration(&self) -> Duration {
        let nanoseconds = self.tv_nsec.try_into().unwrap();
        Duration::new(self.tv_sec.try_into().unwrap(), nanoseconds)
    }
}

pub(crate) fn poll(
    fds: &mut [PollFd],
    limit: Option<&Timespec>,
) -> Result<usize, Errno> {
    let limit = limit.map(Timespec::duration);
    let ready = kernel().wait_until(limit, |state| {
        let ready = fds.iter().filter(|fd| state.is_readable(fd.0)).count();
        (ready > 0).then_some(ready)
    });
    Ok(ready.unwrap_or(0))
}
