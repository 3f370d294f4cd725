//! Events: a child that stops, continues and ends.

use super::waitable::lost;
use super::{Child, ExitStatus};
use crate::parent::error::{Error, Step};
use crate::sys;
use crate::sys::wait::wait_for_change;

/// A change of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildEvent {
    /// It was stopped by this signal.
    Stopped(i32),
    /// It goes on, after SIGCONT.
    Continued,
    /// It has ended, and is reaped.
    Ended(ExitStatus),
}

/// An iterator over the changes of a child, from [`Child::events`].
#[derive(Debug)]
pub struct ChildEvents<'a> {
    child: &'a mut Child,
    has_ended: bool,
}

impl Child {
    /// Waits for changes of the child: each `next` waits until the child stops,
    /// continues or ends ([`waitid(2)`]). The last is its end; its input stays
    /// open.
    ///
    /// Of changes that follow each other while nothing waits, the kernel keeps
    /// the last. Where several threads wait, each change but the end goes to
    /// one of them.
    ///
    /// # Errors
    ///
    /// [`Step::Wait`] as [`Child::wait`], which is the last item too.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{ChildEvent, Command};
    ///
    /// let mut sh = Command::new("sh").args(["-c", "kill -STOP $$; exit 7"]).spawn()?;
    /// let process = sh.process();
    /// let mut events = sh.events();
    /// assert_eq!(events.next().unwrap()?, ChildEvent::Stopped(19));
    /// process.signal(18)?;
    /// assert_eq!(events.next().unwrap()?, ChildEvent::Continued);
    /// let ChildEvent::Ended(status) = events.next().unwrap()? else { panic!() };
    /// assert_eq!(status.code(), Some(7));
    /// assert!(events.next().is_none());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    pub fn events(&mut self) -> ChildEvents<'_> {
        ChildEvents { child: self, has_ended: false }
    }

    fn next_event(&mut self) -> Result<ChildEvent, Error> {
        let handle = self.handle.get();
        if let Some(end) = handle.known_end() {
            return Ok(ChildEvent::Ended(end.exit_status()));
        }
        match wait_for_change(handle.target()) {
            Ok(change) if change.code == libc::CLD_CONTINUED => {
                Ok(ChildEvent::Continued)
            }
            Ok(change) if !change.has_ended() => {
                Ok(ChildEvent::Stopped(change.status))
            }
            Ok(_) | Err(sys::Errno(libc::ECHILD)) => {
                let end = match handle.autoreaped {
                    // It has ended, and the kernel is about to reap it.
                    true => Some(handle.wait()?),
                    false => handle.try_wait()?,
                };
                Ok(ChildEvent::Ended(end.ok_or_else(lost)?.exit_status()))
            }
            Err(sys::Errno(errno)) => Err(Error::os(Step::Wait, errno)),
        }
    }
}

impl Iterator for ChildEvents<'_> {
    type Item = Result<ChildEvent, Error>;

    fn next(&mut self) -> Option<Result<ChildEvent, Error>> {
        if self.has_ended {
            return None;
        }
        let event = self.child.next_event();
        self.has_ended = matches!(event, Ok(ChildEvent::Ended(_)) | Err(_));
        Some(event)
    }
}
