//! Start: the caller is not suspended while a program starts, and a start can
//! be waited for, polled, awaited, cancelled, dropped and forgotten.
#![allow(unsafe_code, reason = "tests change the calling thread")]

mod util;

use std::fs::{self, File};
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{env, mem};

use offshoot::{Command, Error, Starting, Step};
use util::clean::{assert_error, clean, refused};
use util::slow::{
    LONG, command, end, fifo, is_ready, no_child_stays, open_writer, waits,
};
use util::{
    PRIVATE, alone, each_engine, each_of, has_children, inside, run, scratch,
};

#[test]
fn a_start_leads_to_a_child_of_each_engine() {
    each_engine(|engine| {
        let mut sh = command("sh", engine);
        let starting = sh.args(["-c", "exit 7"]).start().unwrap();
        let mut child = starting.wait().unwrap();
        assert_eq!(child.launch().engine(), engine);
        assert!(child.pidfd().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(7), "{engine}");
    });
}

#[test]
fn the_caller_runs_while_a_child_waits_before_its_exec() {
    each_engine(|engine| {
        let fifo = fifo("start-fifo");
        let mut starting = waits(engine, &fifo).start().unwrap();
        let short = Duration::from_millis(20);
        assert!(starting.try_child().unwrap().is_none(), "{engine}");
        assert!(starting.wait_timeout(short).unwrap().is_none(), "{engine}");
        assert!(!is_ready(&starting, 0), "{engine}");
        let _end = open_writer(&fifo);
        assert!(is_ready(&starting, 30_000), "{engine}");
        let child = starting.try_child().unwrap().expect("it runs");
        end(child);
        let error = starting.try_child().unwrap_err();
        refused(&error, Step::Clone, None, "was returned before");
        let error = starting.wait_timeout(short).unwrap_err();
        refused(&error, Step::Clone, None, "was returned before");
        assert!(starting.wait().is_err());
    });
}

#[test]
fn an_error_is_that_of_spawn() {
    each_engine(|engine| {
        let mut missing = command("/no/such/program", engine);
        let error = clean(|| missing.start()?.wait().map(drop));
        let name = "/no/such/program";
        assert_error(&error, Step::Exec, Some(name), libc::ENOENT);
        let mut nowhere = command("true", engine);
        let error = clean(|| {
            let mut starting = nowhere.current_dir("/nope").start()?;
            assert!(is_ready(&starting, 30_000));
            starting.try_child().map(drop)
        });
        assert_error(&error, Step::Chdir, Some("/nope"), libc::ENOENT);
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_start_is_a_future() {
    each_engine(|engine| {
        let starting = command("true", engine).start().unwrap();
        let mut child = block_on(starting).unwrap();
        assert!(child.wait().unwrap().success(), "{engine}");
        let fifo = fifo("start-future");
        let starting = waits(engine, &fifo).start().unwrap();
        let path = fifo.clone();
        let open = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            open_writer(&path)
        });
        end(block_on(starting).unwrap());
        drop(open.join().unwrap());
    });
}

#[test]
fn the_program_has_the_callers_mask_and_the_starting_thread_blocks_signals() {
    each_engine(|engine| {
        let report = thread::spawn(move || {
            // SAFETY: all zeros is an empty set.
            let mut set: libc::sigset_t = unsafe { mem::zeroed() };
            // SAFETY: writes one set.
            unsafe { libc::sigaddset(&mut set, libc::SIGUSR2) };
            let null = std::ptr::null_mut();
            // SAFETY: changes the mask of this thread.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, null) };
            let mut grep = command("grep", engine);
            grep.args(["SigBlk", "/proc/self/status"]);
            let grep = grep.stdout(offshoot::Stdio::piped()).start().unwrap();
            let output = grep.wait().unwrap().wait_with_output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        let report = report.join().unwrap();
        assert!(report.ends_with("0000000000000800\n"), "{engine} {report}");
    });
}

#[test]
fn the_program_has_what_the_calling_thread_alone_has() {
    each_engine(|engine| {
        let dir = scratch("start-thread").canonicalize().unwrap();
        let own = dir.clone();
        let output = thread::spawn(move || {
            // SAFETY: the directory of this thread is its own from here on.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0);
            env::set_current_dir(&own).unwrap();
            // SAFETY: as above, for its descriptor table.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let file = own.join("file");
            fs::write(&file, "text").unwrap();
            let mut cat = command("sh", engine);
            cat.args(["-c", "pwd; cat <&7"]);
            cat.fd(7, OwnedFd::from(File::open(file).unwrap()));
            let cat = cat.stdout(offshoot::Stdio::piped()).start().unwrap();
            cat.wait().unwrap().wait_with_output().unwrap().stdout
        });
        let output = output.join().unwrap();
        let want = format!("{}\ntext", dir.display());
        assert_eq!(String::from_utf8(output).unwrap(), want, "{engine}");
    });
}

#[test]
fn options_of_the_creating_thread_are_refused() {
    let _alone = alone();
    let mut dies = Command::new("true");
    dies.parent_death_signal(libc::SIGTERM);
    let error = clean(|| dies.start().map(drop));
    refused(&error, Step::ParentDeathSignal, None, "die_with_parent");
    let error = clean(|| dies.spawn_deadline(LONG).map(drop));
    refused(&error, Step::ParentDeathSignal, None, "die_with_parent");
    let mut traced = Command::new("true");
    traced.ptrace_traceme(true);
    let error = clean(|| traced.start().map(drop));
    refused(&error, Step::PtraceTraceme, None, "would trace it");
    let mut dies = Command::new("true");
    let starting = dies.die_with_parent().start().unwrap();
    assert!(starting.wait().unwrap().wait().unwrap().success());
}

#[test]
fn bad_input_is_an_error_of_start_itself() {
    let _alone = alone();
    let error = clean(|| Command::new("a\0b").start().map(drop));
    assert_eq!(error.step(), Step::Program, "{error}");
}

#[test]
fn a_panic_of_before_exec_reaches_who_waits() {
    let _alone = alone();
    let panics = || {
        let mut panics = Command::new("true");
        panics.before_exec(|_, _| panic!("of the hook"));
        panics.start().unwrap()
    };
    let (starting, dropped, mut polled) = (panics(), panics(), panics());
    let wait = std::panic::AssertUnwindSafe(|| starting.wait().map(drop));
    let panic = std::panic::catch_unwind(wait).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"of the hook"));
    assert!(is_ready(&dropped, 30_000));
    drop(dropped);
    assert!(is_ready(&polled, 30_000));
    let poll = std::panic::AssertUnwindSafe(|| polled.try_child().map(drop));
    assert!(std::panic::catch_unwind(poll).is_err());
    let error = polled.try_child().unwrap_err();
    refused(&error, Step::Clone, None, "was returned before");
    assert!(no_child_stays());
}

#[test]
fn a_prepared_command_starts_many_times_at_once() {
    each_engine(|engine| {
        let prepared = Arc::new(command("true", engine).prepare().unwrap());
        let starts: Vec<Starting> =
            (0..20).map(|_| prepared.start().unwrap()).collect();
        drop(prepared);
        for starting in starts {
            assert!(starting.wait().unwrap().wait().unwrap().success());
        }
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn a_child_without_a_pidfd_is_an_error_of_start() {
    let name = "a_child_without_a_pidfd_is_an_error_of_start";
    if !inside(name, &[]) {
        return;
    }
    let last = File::open("/dev/null").unwrap().as_raw_fd();
    let soft = u64::try_from(last).unwrap() + 1;
    // One number is free, which the eventfd takes.
    util::limit(libc::RLIMIT_NOFILE, soft, soft);
    let error = Command::new("/bin/true").start().unwrap().wait();
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    let _taken = File::open("/dev/null").unwrap();
    let error: Error = Command::new("/bin/true").start().unwrap_err();
    assert_error(&error, Step::Clone, None, libc::EMFILE);
}

#[test]
fn starts_survive_signals_every_5_ms() {
    let name = "starts_survive_signals_every_5_ms";
    if !inside(name, &[]) {
        return;
    }
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGALRM, handler as usize) };
    let time = libc::timeval { tv_sec: 0, tv_usec: 5000 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    let null = std::ptr::null_mut();
    // SAFETY: reads one timer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, null) };
    each_engine(|engine| {
        for _ in 0..40 {
            let mut child = command("true", engine).start().unwrap();
            let mut child = loop {
                match child.wait_timeout(LONG).unwrap() {
                    Some(child) => break child,
                    None => continue,
                }
            };
            assert!(child.wait().unwrap().success());
        }
        let (_, launch) = run(util::reporter().engine(engine));
        assert_eq!(launch.engine(), engine);
    });
}

#[test]
fn a_start_that_can_have_no_thread_is_an_error() {
    let name = "a_start_that_can_have_no_thread_is_an_error";
    if !inside(name, &[]) {
        return;
    }
    if !util::is_root() {
        return util::skip(name, "a PID namespace takes root");
    }
    // SAFETY: from here on this process can create no thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    let error = clean(|| Command::new("true").start().map(drop));
    assert_error(&error, Step::Clone, None, libc::EINVAL);
    assert!(error.to_string().contains("CLONE_NEWPID"), "{error}");
}

#[test]
fn functions_before_exec_have_the_callers_mask() {
    each_of(&PRIVATE, |engine| {
        let (send, masks) = std::sync::mpsc::channel();
        let mut hooked = command("true", engine);
        hooked.before_exec(move |_, _| {
            let status = fs::read_to_string("/proc/thread-self/status")?;
            let line = status.lines().find(|it| it.starts_with("SigBlk"));
            send.send(line.unwrap().to_string()).unwrap();
            Ok(())
        });
        assert!(hooked.status().unwrap().success());
        let child = hooked.start().unwrap().wait();
        assert!(child.unwrap().wait().unwrap().success());
        let (spawned, started) = (masks.recv(), masks.recv());
        assert_eq!(started.unwrap(), spawned.unwrap(), "{engine}");
    });
}

#[test]
fn a_start_retries_a_thread_that_has_no_process_id() {
    let name = "a_start_retries_a_thread_that_has_no_process_id";
    if !inside(name, &[]) {
        return;
    }
    if !util::is_root() {
        return util::skip(name, "another user is needed");
    }
    // This process has two tasks, and is the only one of that user.
    util::limit(libc::RLIMIT_NPROC, 1, 1);
    // SAFETY: this process ends with the test.
    assert_eq!(unsafe { libc::setresuid(54_321, 54_321, 54_321) }, 0);
    let error = Command::new("/bin/true").start().unwrap_err();
    assert_error(&error, Step::Clone, None, libc::EAGAIN);
    let pause = Duration::from_millis(100);
    let begun = Instant::now();
    let error = Command::new("/bin/true").retry_again(pause).start();
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    assert!(begun.elapsed() >= pause);
}
