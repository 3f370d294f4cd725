//! Bomb: a program that forks as fast as it can, within limits.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};

use offshoot::Command;

const ASK: &str = "OFFSHOOT_BOMB";

/// The processes that stay, and all that are made within its time.
const MOST: usize = 200;
const TOTAL: usize = 1_000_000;
const SECONDS: u32 = 60;

/// A command that runs a test again as a bomb. It writes one line when all of
/// its processes are there.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ASK, "1");
    command
}

/// Two counters that all processes share.
fn shared() -> &'static [AtomicUsize; 2] {
    let (read, share) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, read, share, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping stays, is aligned, and its zeros are counters.
    unsafe { &*at.cast() }
}

/// Never returns in a process that `command` has started.
pub(crate) fn explode_if_asked() {
    if env::var_os(ASK).is_none() {
        return;
    }
    let [processes, total] = shared();
    loop {
        // Not inherited: each process has its own.
        // SAFETY: sets a timer of this process.
        unsafe { libc::alarm(SECONDS) };
        if total.fetch_add(1, Ordering::Relaxed) > TOTAL {
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(1) };
        }
        let n = processes.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the child uses nothing but system calls.
        let pid = unsafe { libc::fork() };
        match (pid, n < MOST) {
            // It forks on, as its parent does.
            (0, true) => {}
            (0, false) => {
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) };
            }
            (1.., true) if n == MOST - 1 => {
                // SAFETY: reads one byte.
                unsafe { libc::write(1, b"\n".as_ptr().cast(), 1) };
            }
            (1.., false) => {
                // SAFETY: waits for the child that ends.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            }
            _ => {}
        }
    }
}

/// Runs a body, three times and until one has come, while a timer's signal
/// comes every so many microseconds.
pub(crate) fn ticks(every: libc::suseconds_t, mut body: impl FnMut()) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: all zeros is an empty action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    let none = std::ptr::null_mut();
    // SAFETY: the handler adds to a counter.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, none) };
    let set = |every| {
        let every = libc::timeval { tv_sec: 0, tv_usec: every };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: reads one itimerval.
        unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
    };
    set(every);
    let mut rounds = 0;
    while rounds < 3 || COUNT.load(Ordering::Relaxed) == 0 {
        body();
        rounds += 1;
    }
    set(0);
}
