//! Subreaper: a process that becomes the parent of orphans.

use rustix::process;

use crate::sys::Errno;

/// Sets whether this process is a subreaper: the parent of descendants whose
/// own parent has ended, in place of the init
/// ([`PR_SET_CHILD_SUBREAPER`], Linux 3.4). Children do not inherit it; exec
/// keeps it.
///
/// The daemon that a child has left behind is then found by the ids of the
/// children of this process (`/proc/self/task/*/children`), and can be
/// signalled with [`PidFd::open`]. [`Child::kill_tree`] does not look for it:
/// nothing tells from which child it came.
///
/// A subreaper must reap them when they end, with [`PidFd::wait`], or they
/// remain as zombies. A wait for *any* child (`waitpid(-1)`) takes the status
/// of the children of this crate too; so there is no function here that reaps
/// all orphans.
///
/// # Errors
///
/// EPERM or what else a seccomp filter answers.
///
/// # Examples
///
/// ```
/// use offshoot::{child_subreaper, set_child_subreaper};
///
/// set_child_subreaper(true)?;
/// assert!(child_subreaper());
/// set_child_subreaper(false)?;
/// # Ok::<(), offshoot::Errno>(())
/// ```
///
/// [`PR_SET_CHILD_SUBREAPER`]: https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
/// [`Child::kill_tree`]: crate::Child::kill_tree
/// [`PidFd::open`]: crate::PidFd::open
/// [`PidFd::wait`]: crate::PidFd::wait
#[doc(alias = "prctl")]
pub fn set_child_subreaper(subreaper: bool) -> Result<(), Errno> {
    let any = subreaper.then(process::getpid);
    process::set_child_subreaper(any).map_err(|e| Errno(e.raw_os_error()))
}

/// Returns whether this process is a subreaper; see [`set_child_subreaper`].
#[must_use]
pub fn child_subreaper() -> bool {
    matches!(process::child_subreaper(), Ok(Some(_)))
}
