//! Held children: one that was killed and that its tracer does not let go holds
//! no caller for ever.
#![allow(unsafe_code, reason = "the tests trace and fork")]

mod util;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;
use std::{fs, io, ptr};

use offshoot::{
    Command, Limits, OutputError, OutputLimit, OutputStream, Stdio, Step,
};
use util::fork::{end_with, fork, reap};
use util::slow::{fifo, open_writer};
use util::{has_children, in_own_process};

const LONG: Duration = Duration::from_secs(30);

/// How a tracer holds the child: as a zombie, or at its exit.
const ZOMBIE: libc::c_int = 0;
const AT_EXIT: libc::c_int = libc::PTRACE_O_TRACEEXIT;

fn ptrace(request: libc::c_uint, pid: libc::pid_t, data: libc::c_int) {
    let none = ptr::null_mut::<libc::c_void>();
    let data = libc::c_long::from(data);
    // SAFETY: these requests access no memory of this process.
    let done = unsafe { libc::ptrace(request, pid, none, data) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The children of a process that have this name.
fn children(of: libc::pid_t, name: &str) -> Vec<libc::pid_t> {
    let all = fs::read_dir("/proc").unwrap();
    let pid = |entry: io::Result<fs::DirEntry>| {
        let pid: libc::pid_t =
            entry.ok()?.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (start, rest) = text.rsplit_once(") ")?;
        let parent = rest.split(' ').nth(1)?.parse() == Ok(of);
        (parent && start.ends_with(&format!("({name}"))).then_some(pid)
    };
    all.filter_map(pid).collect()
}

/// Lets the child of a fork go.
struct Release(File, File);

impl Release {
    fn now(mut self) {
        self.0.write_all(b"x").unwrap();
        // Until the tracer has let it go.
        assert_eq!(self.1.read(&mut [0]).unwrap(), 1);
    }
}

/// Runs `caller` in a fork. Its first child, a shell, is traced by this process
/// once it runs, and killed; it is held until `Release::now`. What the child
/// reads from the FIFO before has its end then.
fn hold(option: libc::c_int, fifo: &Path, caller: impl FnOnce(Release)) {
    let pipe = || {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (File::from(read), File::from(write))
    };
    let (mut asked, ask) = pipe();
    let (done, mut tell) = pipe();
    let fork = fork();
    if fork == 0 {
        end_with(|| {
            caller(Release(ask, done));
            0
        });
    }
    let writer = open_writer(fifo);
    let mut traced = children(fork, "sh");
    assert_eq!(traced.len(), 1, "{traced:?}");
    let child = traced.remove(0);
    ptrace(libc::PTRACE_SEIZE, child, option);
    drop(writer);
    assert_eq!(asked.read(&mut [0]).unwrap(), 1);
    let mut status = 0;
    loop {
        // SAFETY: writes one int.
        let got =
            unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) };
        assert_eq!(got, child, "{}", io::Error::last_os_error());
        if libc::WIFSIGNALED(status) {
            break;
        }
        ptrace(libc::PTRACE_CONT, child, 0);
    }
    tell.write_all(b"x").unwrap();
    assert_eq!(reap(fork), 0);
}

fn each_hold(
    test: &str,
    holds: &[libc::c_int],
    caller: impl Fn(Command, Release),
) {
    if !in_own_process(test, &[]) {
        return;
    }
    for option in holds.iter().copied() {
        let fifo = fifo(test);
        let text = format!("read x <{}; echo begun; sleep 60", fifo.display());
        hold(option, &fifo, |release| {
            let mut sh = Command::new("sh");
            sh.args(["-c", &text]).stdout(Stdio::piped());
            caller(sh, release);
        });
        fs::remove_file(fifo).unwrap();
    }
}

#[test]
fn terminate_returns_although_the_child_is_held() {
    let name = "terminate_returns_although_the_child_is_held";
    each_hold(name, &[ZOMBIE, AT_EXIT], |mut sh, release| {
        // Reads once it is traced.
        let mut child = sh.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 6]).unwrap();
        let error = child.terminate(Duration::ZERO).unwrap_err();
        assert_eq!(error.step(), Step::Kill, "{error}");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert_eq!(child.try_wait().unwrap(), None);
        release.now();
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    });
}

#[track_caller]
fn assert_held(error: &OutputError, limit: OutputLimit) {
    assert_eq!(error.limit(), Some(limit), "{error}");
    assert!(error.killed() && error.child_remains(), "{error:?}");
    assert_eq!(error.status(), None);
    let text = error.to_string();
    assert!(text.ends_with("was killed, and has not ended yet"), "{text}");
}

#[test]
fn a_limit_returns_the_output_although_the_child_is_held() {
    let name = "a_limit_returns_the_output_although_the_child_is_held";
    each_hold(name, &[AT_EXIT], |mut sh, release| {
        let mut child = sh.spawn().unwrap();
        let limits = Limits::new().bytes(3);
        let error = child.communicate_with("", limits).unwrap_err();
        assert_held(&error, OutputLimit::Bytes);
        assert_eq!(error.stdout(), b"beg");
        release.now();
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    });
}

/// The process is reaped later, as that of a `Child` that was dropped.
#[test]
fn a_held_child_of_output_with_is_reaped_later() {
    let name = "a_held_child_of_output_with_is_reaped_later";
    each_hold(name, &[ZOMBIE], |mut sh, release| {
        let limits = Limits::new().bytes(3);
        let error = sh.output_with(limits).unwrap_err();
        assert_held(&error, OutputLimit::Bytes);
        release.now();
        while has_children() {
            Command::new("true").status().unwrap();
        }
    });
}

#[test]
fn a_held_child_of_stream_lines_is_reaped_later() {
    let name = "a_held_child_of_stream_lines_is_reaped_later";
    each_hold(name, &[ZOMBIE], |mut sh, release| {
        let error = sh.stream_lines(|which, line| {
            assert_eq!((which, line), (OutputStream::Stdout, &b"begun"[..]));
            Err(ErrorKind::Other.into())
        });
        let error = error.unwrap_err();
        assert_eq!(error.error().step(), Step::StreamLines);
        assert!(error.killed() && error.child_remains(), "{error:?}");
        release.now();
        while has_children() {
            Command::new("true").status().unwrap();
        }
    });
}
