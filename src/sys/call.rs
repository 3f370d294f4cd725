//! System calls that rustix does not offer, one safe function for each.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::sync::atomic::AtomicU32;

use super::abi::{CAPS_HEADER, Limit, SIGSET_SIZE, Timespec};
use super::arch::syscall;
use super::safe::Disposition;
use super::{Errno, Pid, bits};

/// Every signal but SIGSYS, which a seccomp filter sends to the thread that
/// makes a call: if it is blocked, the kernel kills the process, and no handler
/// can emulate the call.
const BLOCKABLE: u64 = !(1 << (libc::SIGSYS - 1));

/// Blocks all signals in the calling thread and returns its mask before.
/// SIGSYS is not blocked, except where the child inherits the handlers of this
/// process (`inherits_handlers`) and there is no seccomp filter.
pub(crate) fn block_signals(inherits_handlers: bool) -> u64 {
    let all = inherits_handlers && !is_filtered();
    let which = if all { u64::MAX } else { BLOCKABLE };
    change_signal_mask(libc::SIG_BLOCK, which)
}

/// Blocks, in a thread that goes on, all signals but SIGSYS and those that libc
/// sends to each thread when one of them changes ids (glibc's 33, musl's 34)
/// or cancels another: it waits until each has handled it. Returns the mask
/// before.
pub(crate) fn block_signals_of_thread() -> u64 {
    const LIBC: u64 = 0b111 << 31;
    change_signal_mask(libc::SIG_BLOCK, BLOCKABLE & !LIBC)
}

/// Sets the calling thread's signal mask and returns the one before.
pub(crate) fn set_signal_mask(mask: u64) -> u64 {
    change_signal_mask(libc::SIG_SETMASK, mask)
}

/// The set that has SIGPIPE only.
const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);

/// Blocks SIGPIPE in the calling thread and returns its mask before.
pub(crate) fn block_sigpipe() -> u64 {
    change_signal_mask(libc::SIG_BLOCK, SIGPIPE)
}

/// Whether a SIGPIPE is pending for the thread or the process.
pub(crate) fn sigpipe_is_pending() -> bool {
    pending_signals() & SIGPIPE != 0
}

/// Consumes a SIGPIPE that is pending.
pub(crate) fn consume_sigpipe() {
    let (set, limit) = (SIGPIPE, Timespec { sec: 0, nsec: 0 });
    let args = [
        (&raw const set).expose_provenance() as u64,
        0,
        (&raw const limit).expose_provenance() as u64,
        SIGSET_SIZE,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the call reads the 8 bytes of `set` and
    // one timespec, which live to the end of this body, and writes no siginfo.
    unsafe { syscall(libc::SYS_rt_sigtimedwait, args) };
}

/// Changes the mask of all 64 signals: libc's function excludes 32 and 33.
fn change_signal_mask(how: libc::c_int, mask: u64) -> u64 {
    let mut old = 0u64;
    let args = [
        u64::from(how.unsigned_abs()),
        (&raw const mask).expose_provenance() as u64,
        (&raw mut old).expose_provenance() as u64,
        SIGSET_SIZE,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the call reads the 8 bytes of `mask`
    // and writes the 8 of `old`, which both live to the end of this body.
    // Only a seccomp filter can reject it; the child's own row then fails.
    unsafe { syscall(libc::SYS_rt_sigprocmask, args) };
    old
}

/// Returns the calling thread's signal mask.
pub(crate) fn signal_mask() -> u64 {
    let mut old = 0u64;
    let at = (&raw mut old).expose_provenance() as u64;
    let args = [0, 0, at, SIGSET_SIZE, 0, 0];
    // SAFETY: clause 1 of `syscall`: with no new mask the call writes the 8
    // bytes of `old` only.
    unsafe { syscall(libc::SYS_rt_sigprocmask, args) };
    old
}

/// A signal's action: a `struct sigaction` as the kernel returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action([u64; 4]);

impl Action {
    /// Returns `None` if the call is rejected.
    pub(crate) fn of(signal: i32) -> Option<Action> {
        let mut old = [0u64; 4];
        let at = old.as_mut_ptr().expose_provenance() as u64;
        let args = [bits(signal.into()), 0, at, SIGSET_SIZE, 0, 0];
        // SAFETY: clause 1 of `syscall`: with no new action the call writes
        // one kernel sigaction of 32 bytes, which `old` is.
        let result = unsafe { syscall(libc::SYS_rt_sigaction, args) };
        Errno::of(result).is_none().then_some(Action(old))
    }

    pub(crate) fn is(self, disposition: Disposition) -> bool {
        self.0[0] == disposition.handler()
    }

    /// Restores it.
    pub(crate) fn set(self, signal: i32) {
        let at = self.0.as_ptr().expose_provenance() as u64;
        let args = [bits(signal.into()), at, 0, SIGSET_SIZE, 0, 0];
        // SAFETY: clause 1 of `syscall`: the call reads one kernel sigaction
        // of 32 bytes; a handler in it was installed before.
        unsafe { syscall(libc::SYS_rt_sigaction, args) };
    }
}

/// Returns the calling thread's parent death signal, 0 if it has none.
pub(crate) fn death_signal() -> Option<i32> {
    let mut signal = 0i32;
    let get = bits(i64::from(libc::PR_GET_PDEATHSIG));
    let at = (&raw mut signal).expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: the call writes one int, which `signal`
    // is.
    let result = unsafe { syscall(libc::SYS_prctl, [get, at, 0, 0, 0, 0]) };
    Errno::of(result).is_none().then_some(signal)
}

pub(crate) fn set_death_signal(signal: i32) {
    let set = bits(i64::from(libc::PR_SET_PDEATHSIG));
    let args = [set, bits(signal.into()), 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers.
    unsafe { syscall(libc::SYS_prctl, args) };
}

/// Returns the blocked signals that are pending for the thread or the process.
pub(crate) fn pending_signals() -> u64 {
    let mut set = 0u64;
    let at = (&raw mut set).expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: the call writes the 8 bytes of `set`.
    unsafe { syscall(libc::SYS_rt_sigpending, [at, SIGSET_SIZE, 0, 0, 0, 0]) };
    set
}

/// Returns the process group of a process, 0 meaning this one.
pub(crate) fn getpgid(pid: u32) -> i64 {
    // SAFETY: clause 1 of `syscall`: the argument is a number.
    unsafe { syscall(libc::SYS_getpgid, [pid.into(), 0, 0, 0, 0, 0]) }
}

/// Returns the time of `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn monotonic_now() -> i64 {
    let mut time = Timespec { sec: 0, nsec: 0 };
    let clock = u64::from(libc::CLOCK_MONOTONIC.unsigned_abs());
    let at = (&raw mut time).expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: the call writes one timespec.
    unsafe { syscall(libc::SYS_clock_gettime, [clock, at, 0, 0, 0, 0]) };
    time.sec * 1_000_000_000 + time.nsec
}

/// Returns a soft limit of this process, `u64::MAX` if there is none.
pub(crate) fn limit(of: Limit) -> Result<u64, Errno> {
    let mut both = [u64::MAX; 2];
    let at = (&raw mut both).expose_provenance() as u64;
    let args = [0, of as u64, 0, at, 0, 0];
    // SAFETY: clause 1 of `syscall`: with no new limit the call writes 16
    // bytes, which `both` holds.
    let result = unsafe { syscall(libc::SYS_prlimit64, args) };
    Errno::of(result).map_or(Ok(both[0]), Err)
}

/// Returns the calling thread's capabilities: effective, permitted, inheritable
/// in 32 bits each, the low halves first. All zeros if the call is rejected.
pub(crate) fn capabilities() -> [u64; 3] {
    let (header, mut all) = ([CAPS_HEADER, 0], [0u64; 3]);
    let args = [
        (&raw const header).expose_provenance() as u64,
        (&raw mut all).expose_provenance() as u64,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: for a header of version 3 the call
    // reads its 8 bytes and writes 24, which `all` is.
    unsafe { syscall(libc::SYS_capget, args) };
    all
}

/// Whether the calling thread has `no_new_privs`, which its children inherit.
pub(crate) fn has_no_new_privs() -> bool {
    let get = bits(i64::from(libc::PR_GET_NO_NEW_PRIVS));
    // SAFETY: clause 1 of `syscall`: the arguments are numbers.
    unsafe { syscall(libc::SYS_prctl, [get, 0, 0, 0, 0, 0]) == 1 }
}

/// Whether the saved user and group ids equal the effective ones, as they do
/// after exec.
pub(crate) fn saved_ids_are_effective() -> bool {
    [user_ids(), group_ids()].iter().all(|ids| ids[1] == ids[2])
}

/// The real, effective and saved user id of the calling thread.
pub(crate) fn user_ids() -> [u32; 3] {
    own_ids(libc::SYS_getresuid)
}

/// The real, effective and saved group id of the calling thread.
pub(crate) fn group_ids() -> [u32; 3] {
    own_ids(libc::SYS_getresgid)
}

/// The user and group id of the calling thread for file systems.
pub(crate) fn fs_ids() -> [u32; 2] {
    [libc::SYS_setfsuid, libc::SYS_setfsgid].map(|nr| {
        // SAFETY: clause 1 of `syscall`: -1 is no id, and changes nothing.
        let id = unsafe { syscall(nr, [u32::MAX.into(), 0, 0, 0, 0, 0]) };
        u32::try_from(id).unwrap_or_default()
    })
}

/// `getresuid` or `getresgid`.
fn own_ids(nr: i64) -> [u32; 3] {
    let mut ids = [0u32; 3];
    let at = ids.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: both calls write three ids of 32 bits,
    // which `ids` holds.
    unsafe { syscall(nr, [at, at + 4, at + 8, 0, 0, 0]) };
    ids
}

/// Returns the errno of an empty clone3: EINVAL if the call is available,
/// otherwise the reason why not (ENOSYS, or a seccomp filter's errno).
pub(crate) fn clone3_probe() -> Errno {
    // SAFETY: clause 1 of `syscall`: a size of 0 is rejected before the
    // address, which is NULL, is used.
    let result = unsafe { syscall(libc::SYS_clone3, [0; 6]) };
    Errno::of(result).unwrap_or(Errno(libc::EINVAL))
}

/// Continues a child that the calling thread traces and that has stopped, with
/// a signal, or with none if it is 0.
pub(crate) fn ptrace_continue(pid: Pid, signal: i32) {
    let request = u64::from(libc::PTRACE_CONT);
    let signal = u64::from(signal.unsigned_abs());
    // SAFETY: clause 1 of `syscall`: numbers; the request accesses no memory
    // of this process.
    unsafe {
        let args = [request, pid.get().into(), 0, signal, 0, 0];
        syscall(libc::SYS_ptrace, args)
    };
}

/// Wakes all waiters of `word`, in any process.
pub(crate) fn futex_wake(word: &AtomicU32) {
    let wake = u64::from(libc::FUTEX_WAKE.unsigned_abs());
    let at = word.as_ptr().expose_provenance() as u64;
    let all = u64::from(i32::MAX.unsigned_abs());
    // SAFETY: clause 1 of `syscall`: the call finds waiters by the address of
    // a live word, and reads no memory.
    unsafe { syscall(libc::SYS_futex, [at, wake, all, 0, 0, 0]) };
}

/// Waits while `word` is `value`, for `nanoseconds` at most. Not a private
/// futex: the kernel wakes it through another process's mapping.
pub(crate) fn futex_wait(
    word: &AtomicU32,
    value: u32,
    nanoseconds: i64,
) -> Result<(), Errno> {
    let limit = Timespec { sec: 0, nsec: nanoseconds };
    let wait = libc::FUTEX_WAIT.unsigned_abs();
    let args = [
        word.as_ptr().expose_provenance() as u64,
        u64::from(wait),
        u64::from(value),
        (&raw const limit).expose_provenance() as u64,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the call reads the word behind a live
    // reference and a timespec that lives to the end of this body.
    let result = unsafe { syscall(libc::SYS_futex, args) };
    Errno::of(result).map_or(Ok(()), Err)
}

/// Whether a process exists and is not ending: the kernel accepts it as the
/// owner of a PI futex. Waits while exec or exit releases the process's futexes.
/// `None` if the call is not available.
pub(crate) fn is_running(pid: Pid) -> Option<bool> {
    let word = AtomicU32::new(pid.get());
    let how = u64::from(libc::FUTEX_TRYLOCK_PI.unsigned_abs());
    let at = word.as_ptr().expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: the call reads and writes the word, which
    // lives to the end of this body.
    let result = unsafe { syscall(libc::SYS_futex, [at, how, 0, 0, 0, 0]) };
    match Errno::of(result) {
        Some(Errno(libc::EAGAIN)) => Some(true),
        Some(Errno(libc::ESRCH)) => Some(false),
        _ => None,
    }
}

/// Whether the calling thread has a seccomp filter.
pub(crate) fn is_filtered() -> bool {
    let get = bits(i64::from(libc::PR_GET_SECCOMP));
    // SAFETY: clause 1 of `syscall`: the arguments are numbers.
    unsafe { syscall(libc::SYS_prctl, [get, 0, 0, 0, 0, 0]) != 0 }
}

/// Returns the calling thread's personality, which its children inherit.
pub(crate) fn personality() -> Option<u32> {
    // SAFETY: clause 1 of `syscall`: the argument is a number, the one that
    // changes nothing.
    let own = unsafe {
        syscall(libc::SYS_personality, [u32::MAX.into(), 0, 0, 0, 0, 0])
    };
    u32::try_from(own).ok()
}

/// Whether a process is ending or has ended (Linux 5.15); `None` if the call is
/// not available. `process_mrelease` frees the memory of a process that is
/// ending, and fails for any other.
///
/// A seccomp filter may kill the caller of an unknown call, so the child must
/// have made it before, in the same launch.
pub(crate) fn is_ending(pidfd: i32) -> Option<bool> {
    let args = [bits(i64::from(pidfd)), 0, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers; the memory
    // that it frees is that of a process that never runs again.
    let result = unsafe { syscall(libc::SYS_process_mrelease, args) };
    match Errno::of(result) {
        Some(Errno(libc::EINVAL)) => Some(false),
        None | Some(Errno(libc::ESRCH)) => Some(true),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_ending, is_filtered, is_running};
    use crate::Command;
    use crate::sys::Pid;
    use crate::sys::wait::{Kind, Target, peek};

    /// On a kernel without these calls the functions return `None`.
    #[test]
    fn a_running_process_is_distinguished_from_one_that_has_ended() {
        extern crate std;
        use std::os::fd::AsRawFd;
        let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = sleep.pidfd().unwrap().as_raw_fd();
        let pid = Pid::new(sleep.id().into()).unwrap();
        let is_ending =
            |pidfd| (!is_filtered()).then(|| is_ending(pidfd)).flatten();
        assert_ne!(is_ending(pidfd), Some(true));
        assert_ne!(is_running(pid), Some(false));
        sleep.kill().unwrap();
        let target = Target::new(pid, Some(pidfd));
        while peek(target, Kind::Any).unwrap().is_none() {
            std::thread::sleep(core::time::Duration::from_millis(1));
        }
        assert_ne!(is_ending(pidfd), Some(false));
        assert_ne!(is_running(pid), Some(true));
        sleep.wait().unwrap();
    }
}
