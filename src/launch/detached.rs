//! Detached: a process in between makes the child and exits, so that the child
//! has another parent.
//!
//! The one in between is a copy of this process, with its descriptor table:
//! the child's pidfd, which it makes, is a descriptor here. It launches the
//! child with an engine, as a parent does, writes how that ended into a shared
//! page and exits. It has exit signal 0 and never execs: its end raises no
//! SIGCHLD, and only a wait with `__WCLONE` or `__WALL` sees it.
//!
//! It is a copy rather than a vfork, so that a SIGKILL to it alone leaves no
//! child in this process's memory that this process no longer waits for. The
//! cost is that of the engine copied: it grows with the memory in use.
#![allow(unsafe_code, reason = "clones a copy of this process")]

use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::args::LaunchArgs;
use super::outcome::Outcome;
use super::robust_futex::sleep_briefly;
use crate::call::Block;
use crate::sys::arch::{clone_arguments, syscall};
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::safe::getpid;
use crate::sys::wait::{Kind, Target, wait};
use crate::sys::{CloneFlags, Errno, Pid};

/// What the process in between reports.
#[derive(Clone, Copy)]
struct Report {
    outcome: Option<Outcome>,
    block: Block,
}

/// A report, and whether it is complete.
struct Shared {
    report: Report,
    is_written: AtomicU32,
}

/// A page that this process and the one in between share.
struct Page(NonNull<Shared>);

impl Page {
    fn new(block: &Block) -> Result<Page, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let (null, size) = (ptr::null_mut(), size_of::<Shared>());
        // SAFETY: a new mapping, at an address that the kernel chooses,
        // replaces no other memory.
        let at = unsafe { mmap_anonymous(null, size, prot, MapFlags::SHARED) };
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at = NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))?;
        let page = Page(at);
        page.write(Report { outcome: None, block: *block });
        Ok(page)
    }

    fn report(&self) -> *mut Report {
        let offset = offset_of!(Shared, report);
        self.0.as_ptr().wrapping_byte_add(offset).cast()
    }

    fn write(&self, report: Report) {
        // SAFETY: the mapping is page-aligned, writable and of this size;
        // clause 2 of this directory: one process at a time uses it, the one
        // in between until it has written it.
        unsafe { self.report().write_volatile(report) };
    }

    /// Zero, until the process in between has written the report.
    fn is_written(&self) -> &AtomicU32 {
        let offset = offset_of!(Shared, is_written);
        let at = self.0.as_ptr().wrapping_byte_add(offset);
        // SAFETY: an aligned word of the mapping, which is zero at first and
        // lives as long as `self`; both processes access it atomically.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }

    fn read(&self) -> Report {
        // SAFETY: as in `write`; `new` has initialised it, and the process in
        // between has ended or written its report.
        unsafe { self.report().read_volatile() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: `self` owns the mapping, of this length, and no reference
        // to it exists.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// Runs `launch`, which must not allocate or use state of other threads, in a
/// process in between. Returns once that has ended and is reaped.
pub(crate) fn launch<'a>(
    block: &mut Block,
    args: LaunchArgs<'a>,
    launch: impl FnOnce(&mut Block, LaunchArgs<'a>) -> Outcome,
) -> Outcome {
    let page = match Page::new(block) {
        Ok(page) => page,
        Err(errno) => return Outcome::Rejected(errno),
    };
    let flags = CloneFlags::FILES.bits();
    let [a, b, c, d, e] = clone_arguments(flags, 0, 0, 0, 0);
    // No handler runs in the copy.
    let mask = block_signals(true);
    let args = LaunchArgs { mask: args.mask.or(Some(mask)), ..args };
    // SAFETY: clause 1 of `syscall`: no address is passed. Without VM the new
    // process has a copy of this frame, which it leaves by `exit` only.
    let result = unsafe { syscall(libc::SYS_clone, [a, b, c, d, e, 0]) };
    if result == 0 {
        let outcome = match getpid() {
            // The init of a namespace ends with all processes in it. No other
            // attempt follows this errno.
            1 => Outcome::Rejected(Errno(libc::EOPNOTSUPP)),
            _ => launch(block, args),
        };
        page.write(Report { outcome: Some(outcome), block: *block });
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
    let report = page.read();
    *block = report.block;
    let ended = ended.ok().flatten();
    let died = Outcome::Died { row: 0, ended, pidfd: None };
    report.outcome.unwrap_or(died)
}

/// Ends the process in between, without handlers of libc.
fn exit() -> ! {
    loop {
        // SAFETY: clause 1 of `syscall`: the argument is a number.
        unsafe { syscall(libc::SYS_exit_group, [0; 6]) };
    }
}
