//! Feeding a child and reading what it writes: no deadlock, limits, and what
//! is kept of the output.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{File, metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use offshoot::{
    Command, Error, Limits, OutputError, OutputLimit, OutputText, Stdio, Step,
};
use util::clean::{assert_error, command, refused};
use util::no_pidfd::with_and_without;
use util::{alone, each_engine};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
const MIB: usize = 1 << 20;

/// A shell with three pipes.
fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    piped(sh.args(["-c", script]));
    sh
}

fn piped(command: &mut Command) -> &mut Command {
    let piped = Stdio::piped;
    command.stdin(piped()).stdout(piped()).stderr(piped())
}

/// Bytes in which no two blocks are alike.
fn bytes(count: usize) -> Vec<u8> {
    let byte = |n: usize| (n ^ (n >> 8) ^ (n >> 15)).to_le_bytes()[0];
    (0..count).map(byte).collect()
}

#[test]
fn ten_mib_go_both_ways_in_every_engine() {
    let input = bytes(10 * MIB);
    each_engine(|engine| {
        let mut cat = command("/bin/cat", engine);
        let mut cat = piped(&mut cat).spawn().unwrap();
        let output = cat.communicate(&input).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(output.stdout == input);
        assert_eq!(cat.wait().unwrap(), output.status);
        assert!(cat.stdin.is_none() && cat.stdout.is_none());
    });
}

#[test]
fn both_outputs_and_the_input_are_larger_than_their_pipes() {
    let name = "both_outputs_and_the_input_are_larger_than_their_pipes";
    with_and_without(name, |spawn| {
        // Writes all before it reads.
        let script = "head -c 3000000 /dev/zero; \
                      head -c 2000000 /dev/zero >&2; wc -c";
        let output = spawn(sh(script)).communicate(bytes(MIB)).unwrap();
        let [out, err] = [output.stdout, output.stderr];
        assert_eq!(err.len(), 2_000_000);
        assert_eq!(out[3_000_000..], *b"1048576\n");
    });
}

#[test]
fn a_child_that_does_not_read_its_input_is_no_error() {
    let name = "a_child_that_does_not_read_its_input_is_no_error";
    with_and_without(name, |spawn| {
        for script in
            ["exit 3", "exec <&-; echo x; exit 3", "head -c1 >&2; exit 3"]
        {
            let output = spawn(sh(script)).communicate(bytes(MIB)).unwrap();
            assert_eq!(output.status.code(), Some(3));
        }
        // It has no output either.
        let mut sleep = Command::new("sleep");
        sleep.arg("0.05").stdin(Stdio::piped());
        let output = spawn(sleep).communicate(bytes(MIB)).unwrap();
        assert!(output.status.success());
    });
}

/// With SIGPIPE at its default, which kills.
#[test]
fn sigpipe_reaches_neither_this_process_nor_its_mask() {
    let name = "sigpipe_reaches_neither_this_process_nor_its_mask";
    with_and_without(name, |spawn| {
        // SAFETY: the process is the test's own.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let before = util::State::now();
        let output = spawn(sh("exit 3")).communicate(bytes(MIB)).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(util::State::now(), before);
        assert_eq!(pending(), 0);
        // One that is pending stays so.
        let sigpipe = block_sigpipe(libc::SIG_BLOCK);
        // SAFETY: a signal to this thread, which has blocked it.
        unsafe { libc::raise(libc::SIGPIPE) };
        spawn(sh("exit 3")).communicate(bytes(MIB)).unwrap();
        assert_eq!(pending(), 1);
        let mut signal = 0;
        // SAFETY: consumes the signal that is pending.
        unsafe { libc::sigwait(&raw const sigpipe, &raw mut signal) };
        assert_eq!(signal, libc::SIGPIPE);
        block_sigpipe(libc::SIG_UNBLOCK);
    });
}

fn block_sigpipe(how: i32) -> libc::sigset_t {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: adds a signal to a set.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    let none = std::ptr::null_mut();
    // SAFETY: reads one set.
    unsafe { libc::pthread_sigmask(how, &raw const set, none) };
    set
}

/// Whether a SIGPIPE is pending: 0 or 1.
fn pending() -> i32 {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one set.
    unsafe { libc::sigpending(&raw mut set) };
    // SAFETY: reads one set.
    unsafe { libc::sigismember(&raw const set, libc::SIGPIPE) }
}

#[track_caller]
fn timed_out(error: &OutputError) {
    assert_eq!(error.limit(), Some(OutputLimit::Deadline), "{error:?}");
    assert_eq!(error.error().step(), Step::Read);
    assert_eq!(error.error().kind(), ErrorKind::TimedOut);
    assert_eq!(error.error().errno_or_einval(), libc::ETIMEDOUT);
    assert!(error.to_string().contains("the time limit has passed"));
}

#[test]
fn a_deadline_keeps_the_output_and_leaves_no_child() {
    let name = "a_deadline_keeps_the_output_and_leaves_no_child";
    with_and_without(name, |spawn| {
        let (mut ready, write) = io::pipe().unwrap();
        let mut child =
            sh("echo out; echo err >&2; echo >&9; exec sleep 1000");
        child.fd(9, OwnedFd::from(write));
        let mut child = spawn(child);
        io::Read::read_exact(&mut ready, &mut [0]).unwrap();
        let limits =
            Limits::new().timeout(SHORT).deadline(Instant::now() + LONG);
        let begun = Instant::now();
        // It does not read its input.
        let error = child.communicate_with(bytes(MIB), limits).unwrap_err();
        assert!(begun.elapsed() >= SHORT);
        timed_out(&error);
        assert_eq!(error.stdout_lossy(), "out\n");
        assert_eq!(error.stderr_lossy(), "err\n");
        assert!(error.killed());
        assert_eq!(error.status().unwrap().signal(), Some(libc::SIGKILL));
        assert!(metadata(format!("/proc/{}", child.id())).is_err());
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        let text = error.to_string();
        assert!(text.ends_with("; the child was killed"), "{text}");
        let io = io::Error::from(error);
        assert_eq!(io.kind(), ErrorKind::TimedOut);
        let inside = io.get_ref().unwrap().downcast_ref::<OutputError>();
        assert_eq!(inside.unwrap().stdout(), b"out\n");
    });
}

#[test]
fn a_deadline_counts_while_the_child_writes_reads_or_has_closed_all() {
    let name =
        "a_deadline_counts_while_the_child_writes_reads_or_has_closed_all";
    with_and_without(name, |spawn| {
        let limits = || Limits::new().timeout(SHORT);
        let error = spawn(sh("exec yes")).communicate_with("", limits());
        timed_out(&error.unwrap_err());
        let script = "exec sleep 1000 >&- 2>&- <&-";
        let error = spawn(sh(script)).communicate_with("", limits());
        let error = error.unwrap_err();
        timed_out(&error);
        assert!(error.killed());
        let past = Limits::new().deadline(Instant::now());
        let error = spawn(sh("exec cat")).communicate_with("x", past);
        timed_out(&error.unwrap_err());
    });
}

/// The child leaves a program that has its pipes; here is the other end of
/// another pipe, by which it is noticed and ended.
#[test]
fn a_grandchild_that_holds_the_pipes_holds_the_caller_for_the_grace_only() {
    let name = "a_grandchild_that_holds_the_pipes_holds_the_caller_for_the_grace_only";
    with_and_without(name, |spawn| {
        for grace in [Duration::ZERO, SHORT] {
            let (hold, write) = io::pipe().unwrap();
            let mut child = sh("(read x <&9) & head -c 60000 /dev/zero; \
                                echo err >&2; exit 3");
            child.fd(9, OwnedFd::from(hold));
            let limits = Limits::new().grace_after_exit(grace).timeout(LONG);
            let begun = Instant::now();
            let output = spawn(child).communicate_with(bytes(MIB), limits);
            assert!(begun.elapsed() >= grace);
            let output = output.unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert_eq!(output.stdout.len(), 60_000);
            assert_eq!(output.stderr, b"err\n");
            drop(write);
        }
        // Without a grace it is waited for.
        let mut child = sh("(sleep 0.05; echo late) & echo soon");
        child.stdin(Stdio::null());
        let output = spawn(child).communicate("").unwrap();
        assert_eq!(output.stdout_lossy(), "soon\nlate\n");
        // And without grace, a deadline ends it.
        let (hold, write) = io::pipe().unwrap();
        let mut child = sh("(read x <&9) & echo x; exit 3");
        child.fd(9, OwnedFd::from(hold));
        let limits = Limits::new().timeout(SHORT);
        let error = spawn(child).communicate_with("", limits).unwrap_err();
        timed_out(&error);
        assert!(!error.killed());
        assert_eq!(error.status().unwrap().code(), Some(3));
        assert_eq!(error.stdout(), b"x\n");
        drop(write);
    });
}

/// It writes without end.
#[test]
fn a_grandchild_that_writes_holds_the_caller_for_the_grace_only() {
    let name = "a_grandchild_that_writes_holds_the_caller_for_the_grace_only";
    with_and_without(name, |spawn| {
        for grace in [Duration::ZERO, SHORT] {
            let limits = Limits::new().grace_after_exit(grace).timeout(LONG);
            let output =
                spawn(sh("yes & exit 3")).communicate_with("", limits);
            assert_eq!(output.unwrap().status.code(), Some(3));
        }
    });
}

#[test]
fn more_bytes_than_the_limit_are_an_error_that_keeps_as_many() {
    let name = "more_bytes_than_the_limit_are_an_error_that_keeps_as_many";
    with_and_without(name, |spawn| {
        for most in [1, 4095, 4096, 4097, 65_536, 1_000_000] {
            let limits = Limits::new().bytes(most);
            let exact = sh(&format!("head -c {most} /dev/zero"));
            let output = spawn(exact).communicate_with("", limits).unwrap();
            assert_eq!(output.stdout.len() as u64, most);
            let more = sh(&format!("head -c {} /dev/zero", most + 1));
            let error = spawn(more).communicate_with("", limits).unwrap_err();
            assert_eq!(error.limit(), Some(OutputLimit::Bytes));
            assert_eq!(error.error().kind(), ErrorKind::FileTooLarge);
            assert!(error.to_string().contains(&most.to_string()));
            assert_eq!(error.stdout().len() as u64, most);
            let yes = spawn(sh("exec yes >&2")).communicate_with("", limits);
            let error = yes.unwrap_err();
            assert_eq!(error.status().unwrap().signal(), Some(libc::SIGKILL));
            assert!(error.killed());
            let (stdout, stderr) = error.into_outputs();
            assert!(stdout.is_empty() && stderr.len() as u64 == most);
        }
        // Both together.
        let both = "head -c 600 /dev/zero; head -c 600 /dev/zero >&2";
        let limits = Limits::new().bytes(1199);
        let error = spawn(sh(both)).communicate_with("", limits).unwrap_err();
        assert_eq!(error.stdout().len() + error.stderr().len(), 1199);
        let limits = Limits::new().bytes(1200);
        spawn(sh(both)).communicate_with("", limits).unwrap();
    });
}

#[test]
fn limits_of_nothing_are_refused_and_the_child_goes_on() {
    let _alone = alone();
    let mut child = sh("cat").spawn().unwrap();
    let cases = [
        (Limits::new().bytes(0), "0 bytes"),
        (Limits::new().line_bytes(0), "0 bytes"),
        (Limits::new().timeout(Duration::ZERO), "a timeout of 0"),
    ];
    for (limits, why) in cases {
        let error = child.communicate_with("x", limits).unwrap_err();
        refused(error.error(), Step::Read, None, why);
        assert!(!error.killed() && error.limit().is_none());
        let lines = child.stream_lines_with(limits, |_, _| Ok(()));
        refused(&lines.unwrap_err().into(), Step::Read, None, why);
        // Before anything is started.
        let mut none = Command::new("/no/such/program");
        let error: Error = none.output_with(limits).unwrap_err().into();
        refused(&error, Step::Read, None, why);
        let lines = none.stream_lines_with(limits, |_, _| Ok(()));
        refused(&lines.unwrap_err().into(), Step::Read, None, why);
    }
    let stdin = child.stdin.take().unwrap();
    let error = child.communicate("x").unwrap_err();
    refused(error.error(), Step::Stdin, None, "not a pipe, or was taken");
    assert!(child.try_wait().unwrap().is_none());
    child.stdin = Some(stdin);
    assert_eq!(child.communicate("x").unwrap().stdout, b"x");
}

#[test]
fn a_spawn_that_fails_is_the_error_of_the_spawn() {
    let mut none = Command::new("/no/such/program");
    let error = none.output_with(Limits::new()).unwrap_err();
    let path = Some("/no/such/program");
    assert_error(error.error(), Step::Exec, path, libc::ENOENT);
    assert!(error.status().is_none() && !error.killed());
    let error: Error = error.into();
    assert_error(&error, Step::Exec, path, libc::ENOENT);
}

/// Other files in the place of the pipes.
#[test]
fn a_file_that_fails_is_an_error_with_its_errno() {
    let _alone = alone();
    let mut child = sh("echo out; exec sleep 1000").spawn().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let stdin = child.stdin.replace(ChildStdin::from(OwnedFd::from(full)));
    let error = child.communicate("x").unwrap_err();
    assert_error(error.error(), Step::Write, None, libc::ENOSPC);
    assert!(error.killed() && error.limit().is_none());
    drop(stdin);
    let mut child = sh("exec sleep 1000").spawn().unwrap();
    let directory = OwnedFd::from(File::open("/").unwrap());
    drop(child.stdout.replace(ChildStdout::from(directory)));
    let error = child.communicate("").unwrap_err();
    assert_error(error.error(), Step::Read, None, libc::EISDIR);
    assert!(error.killed());
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// A signal every so often, 0 for none.
fn alarm(microseconds: libc::suseconds_t) {
    // SAFETY: all zeros is an empty action: without SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    let none = std::ptr::null_mut();
    // SAFETY: the handler adds to a counter.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, none) };
    let every = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: reads one itimerval.
    unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
}

#[test]
fn signals_neither_end_nor_lengthen_it() {
    let name = "signals_neither_end_nor_lengthen_it";
    with_and_without(name, |spawn| {
        alarm(5000);
        let input = bytes(4 * MIB);
        let output = spawn(sh("sleep 0.05; cat")).communicate(&input);
        assert!(output.unwrap().stdout == input);
        // One pipe, which is read without poll.
        let mut one = sh("sleep 0.05; echo x");
        one.stdin(Stdio::null()).stderr(Stdio::null());
        assert_eq!(spawn(one).communicate("").unwrap().stdout, b"x\n");
        let begun = Instant::now();
        let limits = Limits::new().timeout(3 * SHORT);
        let error = spawn(sh("exec sleep 1000")).communicate_with("", limits);
        timed_out(&error.unwrap_err());
        assert!(begun.elapsed() >= 3 * SHORT);
        alarm(0);
        assert!(COUNT.load(Ordering::Relaxed) > 0);
    });
}

/// Another thread reaps it, or the kernel, as SIGCHLD is ignored.
#[test]
fn a_status_that_is_lost_does_not_lose_the_output() {
    let name = "a_status_that_is_lost_does_not_lose_the_output";
    with_and_without(name, |spawn| {
        // SAFETY: the process is the test's own.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for limits in [
            Limits::new(),
            Limits::new().grace_after_exit(LONG),
            Limits::new().timeout(LONG),
        ] {
            let (status, stdout) =
                match spawn(sh("cat; exit 7")).communicate_with("x", limits) {
                    Ok(output) => (Some(output.status), output.stdout),
                    Err(error) => {
                        assert_eq!(error.error().step(), Step::Wait);
                        assert!(!error.killed());
                        (error.status(), error.into_outputs().0)
                    }
                };
            assert_eq!(stdout, b"x");
            assert!(status.is_none_or(|status| status.code() == Some(7)));
        }
    });
}

/// The processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: writes one timespec.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(done, 0);
    let nanoseconds = time.tv_nsec.try_into().unwrap();
    Duration::new(time.tv_sec.try_into().unwrap(), nanoseconds)
}

#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let mut sleep = sh("sleep 1; echo done");
    let sleep =
        sleep.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    rustix::io::ioctl_fionbio(sleep.stdout.as_ref().unwrap(), true).unwrap();
    let before = cpu_time();
    assert_eq!(sleep.wait_with_output().unwrap().stdout, b"done\n");
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?}");
}
