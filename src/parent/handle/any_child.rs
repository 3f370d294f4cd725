//! Any child: waits for whichever of a few ends first.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::waitable::{PAUSES, timespec};
use super::{Child, ExitStatus};
use crate::parent::error::{Error, Step};
use crate::parent::std::os::fd::AsFd;
use crate::parent::std::string::ToString;
use crate::parent::std::vec::Vec;

/// Waits until one of the children has ended, and returns its index and its
/// status. If several have, it is the first of them in the slice; one that was
/// waited for before counts as well, so remove it.
///
/// The pipes of the children stay open. A call costs time for each child
/// ([`poll(2)`]); for hundreds of them use a [`WaitSet`](crate::WaitSet).
///
/// Children without a pidfd are looked at every 10 ms.
///
/// # Errors
///
/// [`Step::Wait`], if the slice is empty; with the process id, if the status
/// of a child is lost, as [`Child::wait`].
///
/// # Examples
///
/// ```
/// use offshoot::{Command, wait_any};
///
/// let mut children = Vec::new();
/// for seconds in ["60", "0.01"] {
///     children.push(Command::new("sleep").arg(seconds).spawn()?);
/// }
/// let (first, status) = wait_any(&mut children)?;
/// assert!(first == 1 && status.success());
/// children[0].kill()?;
/// children[0].wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`poll(2)`]: https://man7.org/linux/man-pages/man2/poll.2.html
pub fn wait_any(children: &mut [Child]) -> Result<(usize, ExitStatus), Error> {
    if children.is_empty() {
        let why = "there is no child to wait for";
        return Err(Error::refused(Step::Wait, why));
    }
    let mut pauses = PAUSES.iter();
    let mut told = false;
    loop {
        for (n, child) in children.iter().enumerate() {
            let fail = |error: Error| error.with(child.id().to_string());
            let end = child.handle.get().try_wait().map_err(fail)?;
            if let Some(end) = end {
                return Ok((n, end.exit_status()));
            }
        }
        let pause = pauses.next().or(PAUSES.last()).copied();
        let pause = timespec(Duration::from_millis(pause.unwrap_or_default()));
        if told {
            // A debugger holds up the end, or Linux 5.2 cannot poll a pidfd.
            let _ = poll(&mut [], Some(&pause));
        }
        told = has_news(children, &pause);
    }
}

/// Waits until poll has news of a child; if some cannot be polled, no longer
/// than `pause`.
fn has_news(children: &[Child], pause: &Timespec) -> bool {
    let pidfds = children.iter().filter_map(Child::pidfd);
    let poll_fd = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut fds = Vec::from_iter(pidfds.map(AsFd::as_fd).map(poll_fd));
    let all = fds.len() == children.len();
    match poll(&mut fds, (!all).then_some(pause)) {
        Ok(count) => count > 0,
        Err(error) => error != Errno::INTR,
    }
}
