//! Support: what this kernel is known to lack, and facts about the system
//! that are looked up only where a decision depends on them.

use core::cell::Cell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, Ordering};

use memchr::memmem;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::std::{env, fs::File, io::Read, thread_local};
use crate::sys::call::clone3_probe;

/// The errnos of system calls that the kernel lacks or a filter rejects.
///
/// A seccomp filter belongs to a thread and those that it creates, and is
/// never removed. So this is known for a thread permanently.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownMissing {
    pub(crate) clone3: Option<i32>,
    pub(crate) close_range: Option<i32>,
    /// Whether a filter kills a process that calls `process_mrelease`.
    pub(crate) mrelease: bool,
}

/// What has worked in this thread, which needs no further check.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownWorking {
    pub(crate) close_range: bool,
    /// With `CLOSE_RANGE_CLOEXEC`.
    pub(crate) mark_range: bool,
    pub(crate) execveat: bool,
    pub(crate) helper: bool,
}

thread_local! {
    static MISSING: Cell<KnownMissing> = Cell::default();
    static WORKING: Cell<KnownWorking> = Cell::default();
}

pub(crate) fn known_missing() -> KnownMissing {
    MISSING.get()
}

pub(crate) fn record_missing(change: impl FnOnce(&mut KnownMissing)) {
    let mut missing = MISSING.get();
    change(&mut missing);
    MISSING.set(missing);
}

pub(crate) fn known_working() -> KnownWorking {
    WORKING.get()
}

pub(crate) fn record_working(change: impl FnOnce(&mut KnownWorking)) {
    let mut working = WORKING.get();
    change(&mut working);
    WORKING.set(working);
}

/// What is known in a thread, for one that it creates, which has the same
/// filters, and back.
pub(crate) type Known = (KnownMissing, KnownWorking);

pub(crate) fn known() -> Known {
    (MISSING.get(), WORKING.get())
}

pub(crate) fn set_known((missing, working): Known) {
    MISSING.set(missing);
    WORKING.set(working);
}

/// Whether the next child of this thread is the init of a PID namespace, after
/// `unshare(CLONE_NEWPID)` or `setns`: then the link to that namespace cannot
/// be read yet ([`pid_namespaces(7)`], Linux 4.12). False without /proc.
///
/// [`pid_namespaces(7)`]: https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
pub(crate) fn next_is_init() -> bool {
    let missing = |path: &CStr| {
        let none = AtFlags::empty();
        accessat(CWD, path, Access::EXISTS, none) == Err(Errno::NOENT)
    };
    missing(c"/proc/thread-self/ns/pid_for_children")
        && !missing(c"/proc/thread-self/ns/pid")
}

/// Whether clone3 is missing or a filter rejects it, where a clone3 failed with
/// `errno`: ENOSYS and EPERM have other causes too.
pub(crate) fn clone3_is_blocked(errno: i32) -> bool {
    clone3_probe().raw_os_error() == errno && errno != libc::EINVAL
}

/// A value that is computed once. No thread waits for another to do so, which
/// a fork may not have.
struct CachedBool(AtomicU8);

impl CachedBool {
    fn get_or_init(&self, init: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let value = init();
                self.0.store(1 + u8::from(value), Ordering::Relaxed);
                value
            }
            known => known == 2,
        }
    }
}

/// Whether this process runs under valgrind, which ends a process that makes a
/// clone with flags it does not know.
pub(crate) fn is_under_valgrind() -> bool {
    static VALGRIND: CachedBool = CachedBool(AtomicU8::new(0));
    VALGRIND.get_or_init(|| {
        let preload = env::var_os("LD_PRELOAD").unwrap_or_default();
        memmem::find(preload.as_encoded_bytes(), b"vgpreload").is_some()
    })
}

/// Whether a debugger traces this process (`TracerPid` of
/// `/proc/self/status`); false without /proc.
///
/// gdb takes a child with exit signal 0, if it sees no vfork, for a new thread
/// of this process, and its session ends. The copied engine avoids that.
pub(crate) fn is_traced() -> bool {
    // The eighth line, in the first 200 bytes.
    let mut status = [0u8; 512];
    let read = File::open("/proc/self/status")
        .and_then(|mut file| file.read(&mut status));
    let Ok(len) = read else { return false };
    let status = status.get(..len).unwrap_or_default();
    traced_in(status)
}

fn traced_in(status: &[u8]) -> bool {
    const KEY: &[u8] = b"TracerPid:\t";
    let at = memmem::find(status, KEY).map(|at| at + KEY.len());
    let first = at.and_then(|at| status.get(at));
    first.is_some_and(|digit| (b'1'..=b'9').contains(digit))
}

/// Whether this thread has set a security label for its next exec
/// (`setexeccon(3)`, `aa_change_onexec(2)`). Costs a read from /proc, or
/// nothing if no security module has labels.
pub(crate) fn has_exec_label() -> bool {
    static LABELS: CachedBool = CachedBool(AtomicU8::new(0));
    let some = |path| {
        let mut label = [0u8; 64];
        let read = File::open(path).and_then(|mut file| file.read(&mut label));
        read.is_ok_and(|len| is_label(label.get(..len).unwrap_or_default()))
    };
    let labels = LABELS.get_or_init(|| some("/proc/thread-self/attr/current"));
    labels && some("/proc/thread-self/attr/exec")
}

fn is_label(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, 0 | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::traced_in;

    #[test]
    fn a_tracer_is_any_pid_but_0() {
        assert!(traced_in(b"Name:\tx\nTracerPid:\t4711\nUid:\t0\n"));
        assert!(!traced_in(b"Name:\tx\nTracerPid:\t0\nUid:\t0\n"));
        assert!(!traced_in(b""));
    }
}
