//! What this system says of itself, asked only where the answer decides.

use core::cell::Cell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, Ordering};

use memchr::memmem;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::std::{env, fs::File, io::Read, thread_local};
use crate::sys::call::clone3_probe;

/// What the kernel, or a filter, is known to refuse, by the errno it gave.
///
/// A seccomp filter belongs to a thread and the threads it makes, and is
/// never taken back: so the knowledge is a thread's too, and lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownMissing {
    pub(crate) clone3: Option<i32>,
    pub(crate) close_range: Option<i32>,
    /// Whether a filter kills whoever calls `process_mrelease`.
    pub(crate) mrelease: bool,
}

thread_local! {
    static MISSING: Cell<KnownMissing> = const {
        Cell::new(KnownMissing { clone3: None, close_range: None, mrelease: false })
    };
    static WORKING: Cell<KnownWorking> = const {
        Cell::new(KnownWorking {
            close_range: false,
            mark_range: false,
            execveat: false,
            helper: false,
        })
    };
}

pub(crate) fn known_missing() -> KnownMissing {
    MISSING.get()
}

/// Takes note of a definite refusal.
pub(crate) fn record_missing(change: impl FnOnce(&mut KnownMissing)) {
    let mut refused = MISSING.get();
    change(&mut refused);
    MISSING.set(refused);
}

/// What has worked in this thread, so that it need not be asked whether it
/// may be tried: as with what is refused, filters are a thread's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownWorking {
    pub(crate) close_range: bool,
    /// With `CLOSE_RANGE_CLOEXEC`.
    pub(crate) mark_range: bool,
    pub(crate) execveat: bool,
    pub(crate) helper: bool,
}

pub(crate) fn known_working() -> KnownWorking {
    WORKING.get()
}

/// Takes note of what a launch has proven.
pub(crate) fn record_working(works: KnownWorking) {
    let known = WORKING.get();
    WORKING.set(KnownWorking {
        close_range: known.close_range | works.close_range,
        mark_range: known.mark_range | works.mark_range,
        execveat: known.execveat | works.execveat,
        helper: known.helper | works.helper,
    });
}

/// Whether the next child of this thread is the first process of a PID
/// namespace, after `unshare(CLONE_NEWPID)` or `setns`: then the link to the
/// namespace cannot be read yet ([`pid_namespaces(7)`], Linux 4.12). Without
/// /proc the answer is no.
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

/// Whether clone3 itself is missing or blocked, where a clone3 with these
/// arguments gave `errno`: ENOSYS and EPERM have other causes too.
pub(crate) fn clone3_is_blocked(errno: i32) -> bool {
    clone3_probe().raw_os_error() == errno && errno != libc::EINVAL
}

/// An answer that stays the same. Whoever asks first does not make others
/// wait: a fork may have none of the threads that ask.
struct Asked(AtomicU8);

impl Asked {
    fn or_ask(&self, ask: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let yes = ask();
                self.0.store(1 + u8::from(yes), Ordering::Relaxed);
                yes
            }
            known => known == 2,
        }
    }
}

/// Whether valgrind runs us: it ends a program that makes a clone of a shape
/// that it does not know, so it is not tried. Asked once.
pub(crate) fn is_under_valgrind() -> bool {
    static VALGRIND: Asked = Asked(AtomicU8::new(0));
    VALGRIND.or_ask(|| {
        let preload = env::var_os("LD_PRELOAD").unwrap_or_default();
        memmem::find(preload.as_encoded_bytes(), b"vgpreload").is_some()
    })
}

/// Whether a debugger traces us (`TracerPid` of `/proc/self/status`).
///
/// gdb takes a child with exit signal 0 that it does not see vfork for a new
/// thread of ours and loses its session, so the copied engine asks. Without
/// /proc the answer is no.
pub(crate) fn is_traced() -> bool {
    // The line is the eighth: it stands in the first 200 bytes.
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

/// Whether this thread has asked its security module for a label that the
/// next exec takes on (`setexeccon(3)`, `aa_change_onexec(2)`).
///
/// Where there is no module with labels, which is asked once, it costs
/// nothing, else a read from /proc.
pub(crate) fn has_exec_label() -> bool {
    static LABELS: Asked = Asked(AtomicU8::new(0));
    let some = |path| {
        let mut label = [0u8; 64];
        let read = File::open(path).and_then(|mut file| file.read(&mut label));
        read.is_ok_and(|len| is_label(label.get(..len).unwrap_or_default()))
    };
    let labels = LABELS.or_ask(|| some("/proc/thread-self/attr/current"));
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
