//! Detached: a process in between makes the child and exits, so that the child
//! has another parent.
//!
//! The one in between is a copy of this process, with its descriptor table:
//! the child's pidfd, which it makes, is a descriptor here. It launches the
//! child with an engine, as a parent does, writes how that ended into a shared
//! page and exits. It has exit signal 0 and never execs: its end raises no
//! SIGCHLD, and only a wait with `__WCLONE` or `__WALL` sees it.
//!
//! The block is in memory that both map. If another process kills the one in
//! between before its report, the kernel has written there whether it has made
//! the child, and the number of its pidfd, which is the only thing that is left
//! here: the child is killed by it.
//!
//! It is a copy rather than a vfork, so that a SIGKILL to it alone leaves no
//! child in this process's memory that this process no longer waits for. The
//! cost is that of the engine copied: it grows with the memory in use.
#![allow(unsafe_code, reason = "clones a copy of this process")]

use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::args::{LaunchArgs, fd_in};
use super::outcome::Outcome;
use super::robust_futex::sleep_briefly;
use super::shared_block::SharedBlock;
use crate::call::{Block, slot};
use crate::sys::arch::{clone_arguments, syscall};
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::pidfd::{signal, wait_readable_for};
use crate::sys::safe::getpid;
use crate::sys::wait::{Kind, Target, wait, wait_by_pidfd_only};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid};

/// How the launch ended, and whether the process in between has written it.
struct Report {
    outcome: Option<Outcome>,
    is_written: AtomicU32,
}

/// A page that this process and the one in between share.
struct Page(NonNull<Report>);

impl Page {
    fn new() -> Result<Page, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let (null, size) = (ptr::null_mut(), size_of::<Report>());
        // SAFETY: a new mapping, at an address that the kernel chooses,
        // replaces no other memory.
        let at = unsafe { mmap_anonymous(null, size, prot, MapFlags::SHARED) };
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at = NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))?;
        let page = Page(at);
        page.write(None);
        Ok(page)
    }

    fn outcome(&self) -> *mut Option<Outcome> {
        let offset = offset_of!(Report, outcome);
        self.0.as_ptr().wrapping_byte_add(offset).cast()
    }

    fn write(&self, outcome: Option<Outcome>) {
        // SAFETY: the mapping is page-aligned, writable and of this size;
        // clause 2 of this directory: one process at a time uses it, the one
        // in between until it has written it.
        unsafe { self.outcome().write_volatile(outcome) };
    }

    /// Zero, until the process in between has written how it ended.
    fn is_written(&self) -> &AtomicU32 {
        let offset = offset_of!(Report, is_written);
        let at = self.0.as_ptr().wrapping_byte_add(offset);
        // SAFETY: an aligned word of the mapping, which is zero at first and
        // lives as long as `self`; both processes access it atomically.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }

    /// `None`: the process in between has ended before it had written all.
    fn read(&self) -> Option<Outcome> {
        if self.is_written().load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: as in `write`; `new` has initialised it, and the process in
        // between has written it.
        unsafe { self.outcome().read_volatile() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: `self` owns the mapping, of this length, and no reference
        // to it exists.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Report>()) };
    }
}

/// Runs `launch`, which must not allocate or use state of other threads, in a
/// process in between. Returns once that has ended and is reaped.
pub(crate) fn launch<'a>(
    block: &mut Block,
    args: LaunchArgs<'a>,
    launch: impl FnOnce(&mut SharedBlock, LaunchArgs<'a>) -> Outcome,
) -> Outcome {
    block.set(slot::CHILD_TID, 0);
    let (page, mut shared) = match (Page::new(), SharedBlock::new(block)) {
        (Ok(page), Ok(shared)) => (page, shared),
        (Err(errno), _) | (_, Err(errno)) => return Outcome::Rejected(errno),
    };
    let flags = CloneFlags::FILES.bits();
    let [a, b, c, d, e] = clone_arguments(flags, 0, 0, 0, 0);
    // No handler runs in the copy.
    let mask = block_signals(true);
    let own = args.mask.or(Some(mask));
    let args = LaunchArgs { mask: own, in_between: true, ..args };
    // SAFETY: clause 1 of `syscall`: no address is passed. Without VM the new
    // process has a copy of this frame, which it leaves by `exit` only.
    let result = unsafe { syscall(libc::SYS_clone, [a, b, c, d, e, 0]) };
    if result == 0 {
        let outcome = match getpid() {
            // The init of a namespace ends with all processes in it. No other
            // attempt follows this errno.
            1 => Outcome::Rejected(Errno(libc::EOPNOTSUPP)),
            _ => launch(&mut shared, args),
        };
        page.write(Some(outcome));
        page.is_written().store(1, Ordering::Release);
        exit();
    }
    set_signal_mask(mask);
    let Some(pid) = Pid::new(result) else {
        return Outcome::rejected(result);
    };
    let ended = wait(Target::new(pid, None), Kind::Clone, true);
    // A seccomp filter rejects every kind of wait: the report is the only sign.
    if matches!(ended, Err(errno) if errno.0 != libc::ECHILD) {
        while page.is_written().load(Ordering::Acquire) == 0 {
            sleep_briefly();
        }
    }
    *block = shared.read();
    page.read().unwrap_or_else(|| {
        let pidfd = made(&shared, args);
        pidfd.inspect(|pidfd| end(*pidfd));
        let ended = ended.ok().flatten();
        Outcome::Died { row: 0, ended, pidfd }
    })
}

/// How often it is looked whether a child that may have been made has run, at
/// intervals of a millisecond.
const LOOKS: u32 = 200;

/// Returns the pidfd of the child that the process in between has made before
/// it ended without a report.
///
/// The kernel writes the number before the clone can still fail, and then it is
/// free for another file. It is the child's once its id is there, which the
/// kernel writes last.
fn made(shared: &SharedBlock, args: LaunchArgs<'_>) -> Option<i32> {
    let load = |n| shared.atomic(n).load(Ordering::Acquire);
    let mut looks = match args.clone_call {
        CloneCall::Clone3 => 0,
        // The child writes its id, which may not have run yet.
        CloneCall::Clone => LOOKS,
    };
    while load(slot::CHILD_TID) == 0 {
        looks = looks.checked_sub(1)?;
        sleep_briefly();
    }
    fd_in(load(args.pidfd_slot()).into())
}

/// Kills a program of which the caller is not told, and reaps it if this
/// process has become its parent. One that does not end in time is left.
fn end(pidfd: i32) {
    if signal(pidfd, libc::SIGKILL).is_ok() {
        wait_readable_for(pidfd, Some(999));
        let _ = wait_by_pidfd_only(pidfd, false);
    }
}

/// Ends the process in between, without handlers of libc.
fn exit() -> ! {
    loop {
        // SAFETY: clause 1 of `syscall`: the argument is a number.
        unsafe { syscall(libc::SYS_exit_group, [0; 6]) };
    }
}
