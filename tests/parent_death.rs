//! Parent death: what a child does when the thread or the process that
//! spawned it ends, in every engine.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Child, Command, Engine, ParentDeath, SignalSet, Stdio, Step};
use util::clean::{assert_error, clean, command, refused, spawn};
use util::filter::{self, Action};
use util::reporter::Report;
use util::{
    PRIVATE, State, alone, each_engine, each_of, fork, is_root, report,
    reporter, reporter_with, run, skip,
};

const SIGTERM: i32 = libc::SIGTERM;

/// The parent death signal of this thread.
fn own_signal() -> i32 {
    let mut signal = -1;
    // SAFETY: writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(CLOEXEC).unwrap();
    (File::from(read), write)
}

const CLOEXEC: rustix::pipe::PipeFlags = rustix::pipe::PipeFlags::CLOEXEC;

/// A bound for what takes milliseconds; it only ends tests that fail.
const LIMIT: Duration = Duration::from_secs(20);

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads to the end of the file, which comes when the last process that has
/// the other end has ended.
#[track_caller]
fn read_to_end(file: &mut File) -> Vec<u8> {
    let (mut all, begun) = (Vec::new(), Instant::now());
    loop {
        let fd = file.as_raw_fd();
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: reads and writes one pollfd.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 1000) };
        assert!(begun.elapsed() < LIMIT, "a process still has the pipe");
        if ready == 1 {
            let mut bytes = [0; 256];
            match file.read(&mut bytes).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&bytes[..n]),
            }
        }
    }
}

/// The threads of this process that wait for the end of a child.
fn waiting_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: fs::DirEntry| {
        fs::read_to_string(entry.path().join("comm")).unwrap_or_default()
    };
    let names = tasks.filter_map(|entry| entry.ok().map(name));
    names.filter(|name| name.trim() == "offshoot-wait").count()
}

/// Calls `make` on a thread, and returns once the kernel has ended it and so
/// has sent what it sends then.
fn on_a_thread_that_ends<T: Send>(make: impl FnOnce() -> T + Send) -> T {
    let (tid, made) = thread::scope(|scope| {
        let body = || {
            let made = make();
            // SAFETY: returns a number.
            (unsafe { libc::syscall(libc::SYS_gettid) }, made)
        };
        scope.spawn(body).join().unwrap()
    });
    let task = format!("/proc/self/task/{tid}");
    until("the thread has ended", || fs::metadata(&task).is_err());
    made
}

/// A child that copies its input.
fn cat(engine: Engine) -> Command {
    let mut cat = command("cat", engine);
    cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    cat
}

/// Whether a `cat` still copies.
fn copies(cat: &mut Child) -> bool {
    let wrote = cat.stdin.as_mut().unwrap().write_all(b"x");
    let mut byte = [0];
    wrote.is_ok() && cat.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1
}

#[test]
fn the_program_has_the_parent_death_signal_and_the_parent_does_not() {
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        assert_eq!(run(&mut command).0.one("deathsig"), "0");
        let (thread, launch) = run(command.parent_death_signal(SIGTERM));
        assert_eq!(thread.one("deathsig"), "15");
        assert_eq!(launch.parent_death(), Some(ParentDeath::Thread));
        let (both, launch) = run(command.die_with_parent());
        assert_eq!(both.one("deathsig"), "15");
        assert_eq!(launch.parent_death(), Some(ParentDeath::Process));
        assert_eq!(launch.engine(), engine);
        let (kill, _) = run(reporter_with(engine).die_with_parent());
        assert_eq!(kill.one("deathsig"), "9");
        assert_eq!(own_signal(), 0);
    });
}

/// As Go's TestDeathSignal: the kernel clears it when the ids change.
#[test]
fn the_parent_death_signal_is_set_after_the_ids() {
    if !is_root() {
        let name = "the_parent_death_signal_is_set_after_the_ids";
        return skip(name, "it takes root to change ids");
    }
    // Everybody may execute it.
    let path = util::scratch("death-ids").join("reporter");
    fs::copy(env::current_exe().unwrap(), &path).unwrap();
    each_of(&PRIVATE, |engine| {
        let mut command = command(&path, engine);
        command.arg(util::reporter::ASK).arg("-");
        command.uid(65534).gid(65534).parent_death_signal(SIGTERM);
        let report = report(&mut command);
        assert_eq!(report.one("Uid"), "65534\t65534\t65534\t65534");
        assert_eq!(report.one("deathsig"), "15");
        let report = util::report(command.die_with_parent());
        assert_eq!(report.one("deathsig"), "15");
    });
}

/// Where another thread reaps children, the helper execs in a second thread,
/// which inherits no parent death signal from the first.
#[test]
fn a_helper_that_execs_in_a_second_thread_has_the_signal_too() {
    let name = "a_helper_that_execs_in_a_second_thread_has_the_signal_too";
    if !util::inside(name, &[]) {
        return;
    }
    // Another thread reaps a child, which the library finds out.
    let mut child = command("/bin/true", Engine::Isolated).spawn().unwrap();
    let reap = || {
        let mut status = 0;
        // SAFETY: writes one int.
        unsafe { libc::waitpid(-1, &raw mut status, 0) }
    };
    let reaped = thread::spawn(reap).join().unwrap();
    assert_eq!(u32::try_from(reaped), Ok(child.id()));
    let _ = child.wait();
    let mut command = reporter_with(Engine::Isolated);
    command.parent_death_signal(SIGTERM);
    assert_eq!(run(&mut command).0.one("deathsig"), "15");
    assert_eq!(run(command.die_with_parent()).0.one("deathsig"), "15");
}

#[test]
fn a_thread_that_ends_takes_its_child_along_or_the_process_does() {
    each_engine(|engine| {
        let mut by_thread = on_a_thread_that_ends(|| {
            cat(engine).parent_death_signal(SIGTERM).spawn().unwrap()
        });
        let ended = by_thread.wait().unwrap();
        assert_eq!(ended.to_string(), "signal: 15 (SIGTERM)");
        let prepared = cat(engine).die_with_parent().prepare().unwrap();
        for prepared in [None, Some(&prepared)] {
            let mut by_process = on_a_thread_that_ends(|| match prepared {
                Some(prepared) => prepared.spawn().unwrap(),
                None => cat(engine).die_with_parent().spawn().unwrap(),
            });
            assert!(copies(&mut by_process), "the thread has ended");
            assert_eq!(waiting_threads(), 1);
            by_process.stdin = None;
            assert!(by_process.wait().unwrap().success());
            until("its thread has ended", || waiting_threads() == 0);
        }
    });
}

/// The process is a fork of this one, which has used the option before. Its
/// child is created by a thread that has ended, and must end with the process.
#[test]
fn a_process_that_is_killed_takes_its_children_along() {
    each_engine(|engine| {
        assert!(command("true", engine).die_with_parent().status().is_ok());
        let (mut read, write) = pipe();
        let (mut ready, started) = pipe();
        let pid = fork::fork();
        if pid == 0 {
            fork::end_with(|| {
                on_a_thread_that_ends(|| {
                    let mut sleep = command("sleep", engine);
                    sleep.arg("1000").stdout(write).die_with_parent();
                    drop(sleep.spawn().unwrap());
                });
                File::from(started).write_all(b"x").unwrap();
                loop {
                    thread::park();
                }
            });
        }
        drop((write, started));
        let started = read_to_end_or_byte(&mut ready);
        assert!(pid > 1);
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        fork::reap(pid);
        assert!(started, "the child has started");
        assert!(read_to_end(&mut read).is_empty());
    });
}

fn read_to_end_or_byte(file: &mut File) -> bool {
    let mut byte = [0];
    file.read(&mut byte).unwrap() == 1
}

/// The parent is killed while the child is in a hook, before it has set the
/// signal: the program never runs.
#[test]
fn a_child_whose_parent_has_ended_before_the_signal_is_set_exits() {
    let engines = [Engine::Suspended, Engine::Copied, Engine::Pipe];
    each_of(&engines, |engine| {
        let (mut read, write) = pipe();
        let (mut reached, reach) = pipe();
        let (wait, go) = pipe();
        let pid = fork::fork();
        if pid == 0 {
            fork::end_with(|| {
                drop(go);
                let mut echo = command("echo", engine);
                echo.arg("ran").stdout(write).parent_death_signal(SIGTERM);
                let (reach, wait) = (reach.as_raw_fd(), wait.as_raw_fd());
                let hook = move |context: &mut offshoot::HookContext<'_>| {
                    context.write(reach, b"x")?;
                    context.read(wait, &mut [0u8]).map(drop)
                };
                if engine == Engine::Suspended {
                    // SAFETY: the hook makes two calls through its context.
                    unsafe { echo.pre_exec_shared(hook) };
                } else {
                    // SAFETY: the hook makes two calls through its context.
                    unsafe { echo.pre_exec(hook) };
                }
                drop(echo.spawn());
                0
            });
        }
        drop((write, reach, wait));
        assert!(read_to_end_or_byte(&mut reached));
        assert!(pid > 1);
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        fork::reap(pid);
        drop(go);
        assert!(read_to_end(&mut read).is_empty(), "the program ran");
    });
}

#[test]
fn sixteen_threads_spawn_children_that_die_with_the_process() {
    const NAME: &str =
        "sixteen_threads_spawn_children_that_die_with_the_process";
    if !util::inside(NAME, &[]) {
        return;
    }
    let before = State::now();
    each_engine(|engine| {
        let echo = |text: &str| {
            let mut echo = command("echo", engine);
            echo.arg(text).stdout(Stdio::piped()).die_with_parent();
            echo
        };
        let prepared = echo("same").prepare().unwrap();
        thread::scope(|scope| {
            for n in 0..16 {
                let (echo, prepared) = (&echo, &prepared);
                scope.spawn(move || {
                    for round in 0..8 {
                        let own = format!("{n} {round}");
                        let output = echo(&own).output().unwrap();
                        assert_eq!(output.stdout, (own + "\n").as_bytes());
                        let child = prepared.spawn().unwrap();
                        let output = child.wait_with_output().unwrap();
                        assert_eq!(output.stdout, b"same\n");
                    }
                });
            }
        });
        until("their threads have ended", || waiting_threads() == 0);
    });
    assert_eq!(State::now(), before);
    assert!(!util::has_children());
}

/// What the child gets from the calling thread alone, not from the process.
#[test]
fn a_child_that_dies_with_the_process_has_the_state_of_the_calling_thread() {
    each_engine(|engine| {
        let run = move || {
            // SAFETY: lowers the priority of this thread.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 7) };
            // SAFETY: gives this thread a descriptor table and a directory.
            let own =
                unsafe { libc::unshare(libc::CLONE_FILES | libc::CLONE_FS) };
            assert_eq!(own, 0);
            std::env::set_current_dir("/usr").unwrap();
            let mask = SignalSet::from([libc::SIGUSR2, libc::SIGCHLD]).bits();
            let at = &raw const mask;
            // SAFETY: reads the 8 bytes of the mask.
            unsafe {
                let (how, none) = (libc::SIG_SETMASK, 0);
                libc::syscall(libc::SYS_rt_sigprocmask, how, at, none, 8)
            };
            let dir = File::open("/proc/self").unwrap();
            let mut command = reporter_with(engine);
            command.die_with_parent().fd(5, dir);
            let report = report(&mut command);
            assert_eq!(report.fds(), [0, 1, 2, 5]);
            assert_eq!(report.one("cwd"), "/usr");
            assert_eq!(report.one("SigBlk"), format!("{mask:016x}"));
            let mut nice = Command::new("nice");
            let nice = nice.engine(engine).die_with_parent().output().unwrap();
            assert_eq!(nice.stdout, b"7\n");
        };
        thread::spawn(run).join().unwrap();
    });
}

#[test]
fn a_panic_of_before_exec_reaches_the_caller_from_the_other_thread() {
    let _alone = alone();
    each_of(&PRIVATE, |engine| {
        let mut command = command("/bin/true", engine);
        command.die_with_parent().before_exec(|_, _| panic!("of the hook"));
        let before = State::now();
        let panic = catch_unwind(AssertUnwindSafe(|| command.spawn()));
        let panic = panic.expect_err("it panics");
        assert_eq!(panic.downcast_ref(), Some(&"of the hook"));
        until("its thread has ended", || waiting_threads() == 0);
        assert_eq!(State::now(), before);
        assert!(!util::has_children());
    });
}

#[test]
fn a_failed_spawn_leaves_no_thread_and_no_child() {
    let _alone = alone();
    each_engine(|engine| {
        let mut lost = command("/bin/true", engine);
        lost.die_with_parent().current_dir("/nope");
        let error = clean(spawn(lost));
        assert_error(&error, Step::Chdir, Some("/nope"), libc::ENOENT);
        until("its thread has ended", || waiting_threads() == 0);
    });
}

#[test]
fn without_a_new_thread_no_child_dies_with_the_process() {
    const NAME: &str = "without_a_new_thread_no_child_dies_with_the_process";
    if !is_root() {
        return skip(NAME, "it takes root to unshare PID namespaces");
    }
    let _alone = alone();
    let refused = || {
        // SAFETY: changes in which namespace this thread's children are.
        let own = unsafe { libc::unshare(libc::CLONE_NEWPID) };
        assert_eq!(own, 0, "{}", std::io::Error::last_os_error());
        let error = Command::new("true").die_with_parent().spawn();
        let error = error.expect_err("the namespace is another");
        assert_error(&error, Step::DieWithParent, None, libc::EINVAL);
        assert!(error.to_string().contains("unshare"), "{error}");
    };
    thread::spawn(refused).join().unwrap();
}

#[test]
fn a_parent_death_signal_that_is_none_is_refused_by_name() {
    let _alone = alone();
    let why = "a signal is a number from 1 to 64";
    for signal in [0, -1, 65] {
        each_engine(|engine| {
            let mut command = command("/bin/true", engine);
            command.parent_death_signal(signal);
            let nr = libc::SYS_clone3;
            let fail = || filter::with(nr, Action::Kill, spawn(command));
            let step = Step::ParentDeathSignal;
            refused(&clean(fail), step, Some(&signal.to_string()), why);
        });
    }
    let error = Command::new("/bin/true").die_with_parent().exec();
    refused(&error, Step::DieWithParent, None, "exec creates no process");
}

#[test]
fn exec_in_place_sets_the_signal_and_a_failure_restores_it() {
    let name = "exec_in_place_sets_the_signal_and_a_failure_restores_it";
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: the signal is sent when the parent ends.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1) };
    let mut no_such = Command::new("/no/such/program");
    let error = no_such.parent_death_signal(SIGTERM).exec();
    assert_eq!(error.step(), Step::Exec, "{error}");
    assert_eq!(own_signal(), libc::SIGUSR1);
    let (mut read, write) = pipe();
    let pid = fork::fork();
    if pid == 0 {
        let mut command = reporter();
        command.stdout(write).parent_death_signal(SIGTERM);
        fork::end_with(|| panic!("{}", command.exec()));
    }
    drop(write);
    let report = Report::parse(&read_to_end(&mut read));
    assert_eq!(fork::reap(pid), 0);
    assert_eq!(report.one("deathsig"), "15");
}
