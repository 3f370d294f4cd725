//! Spawn deadline: a child that hangs before its exec is killed and reaped in
//! time, and the error names its step.
#![allow(unsafe_code, reason = "hooks, and changes of namespaces")]

mod util;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{
    Child, ChildOpenOptions, Command, Engine, Errno, Error, HookContext,
    Limits, OutputError, OutputLimit, Step,
};
use util::clean::clean;
use util::fuse::Hanging;
use util::{
    WITHOUT_HELPER, alone, each_engine, each_of, has_children, inside,
    is_root, scratch, skip,
};

const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(30);

fn command(program: &str, engine: Engine) -> Command {
    let mut command = Command::new(program);
    command.engine(engine);
    command
}

/// Asserts that a spawn takes until its deadline, and names its step.
fn assert_times_out(
    spawn: impl FnOnce() -> Result<Child, Error>,
    step: Step,
) -> Error {
    let began = Instant::now();
    let error = clean(|| spawn().map(drop));
    assert!(began.elapsed() >= SHORT, "{error}");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert_eq!(error.step(), step, "{error}");
    assert!(error.to_string().ends_with("the time limit has passed"));
    error
}

#[test]
fn a_program_in_time_is_a_child_like_any_other() {
    each_engine(|engine| {
        let mut sh = command("sh", engine);
        sh.args(["-c", "exit 3"]);
        let mut child = sh.spawn_deadline(LONG).unwrap();
        assert_eq!(child.launch().engine(), engine);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let mut missing = command("/no/such", engine);
        let error = clean(|| missing.spawn_deadline(LONG).map(drop));
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let prepared = Arc::new(command("true", engine).prepare().unwrap());
        let mut child = prepared.spawn_deadline(LONG).unwrap();
        assert!(child.wait().unwrap().success(), "{engine}");
    });
}

#[test]
fn no_time_at_all_starts_nothing() {
    let _alone = alone();
    let mut never = Command::new("true");
    let error = clean(|| never.spawn_deadline(Duration::ZERO).map(drop));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(error.step(), Step::Clone);
}

#[test]
fn a_fifo_that_nobody_opens_is_named() {
    each_engine(|engine| {
        let fifo = scratch("deadline-fifo").join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let mut hangs = command("true", engine);
        let read = ChildOpenOptions::new().read(true).clone();
        hangs.open_in_child(9, &fifo, &read);
        let spawn = || hangs.spawn_deadline(SHORT);
        let error = assert_times_out(spawn, Step::OpenInChild);
        assert_eq!(error.operand().unwrap(), fifo.as_os_str(), "{engine}");
    });
}

type Hook = fn(&mut HookContext<'_>) -> Result<(), Errno>;

fn hooked(engine: Engine, hook: Hook) -> Command {
    let mut command = command("true", engine);
    match engine {
        // SAFETY: the hooks make system calls only.
        Engine::Suspended => unsafe { command.pre_exec_shared(hook) },
        // SAFETY: as above, or in a copy of the memory.
        _ => unsafe { command.pre_exec(hook) },
    };
    command
}

/// All engines but isolated, which runs no hook.
#[test]
fn a_child_that_was_stopped_is_ended() {
    fn stop(_: &mut HookContext<'_>) -> Result<(), Errno> {
        // SAFETY: asks for a number.
        let own = unsafe { libc::syscall(libc::SYS_getpid) };
        assert!(own > 1);
        // SAFETY: stops this process, whose id is above 1.
        unsafe { libc::syscall(libc::SYS_kill, own, libc::SIGSTOP) };
        Ok(())
    }
    each_of(&WITHOUT_HELPER, |engine| {
        let mut hangs = hooked(engine, stop);
        // The stop is notified of by SIGCHLD, so `clean` would not hold.
        let error = hangs.spawn_deadline(SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert_eq!(error.step(), Step::PreExec, "{engine}");
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn a_hook_that_waits_for_ever_is_ended() {
    fn wait(_: &mut HookContext<'_>) -> Result<(), Errno> {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0) };
        }
    }
    each_of(&WITHOUT_HELPER, |engine| {
        let mut hangs = hooked(engine, wait);
        let spawn = || hangs.spawn_deadline(SHORT);
        assert_times_out(spawn, Step::PreExec);
    });
}

/// A thread holds the lock when the child is copied: nobody opens it there. So
/// it is with std's lock of the panic output.
#[test]
fn a_hook_that_waits_for_a_lock_of_another_thread_is_ended() {
    static LOCK: Mutex<()> = Mutex::new(());
    fn lock(_: &mut HookContext<'_>) -> Result<(), Errno> {
        drop(LOCK.lock());
        Ok(())
    }
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let (held, is_held) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let holder = thread::spawn(move || {
            let _guard = LOCK.lock();
            held.send(()).unwrap();
            let _ = ended.recv();
        });
        is_held.recv().unwrap();
        let mut hangs = hooked(engine, lock);
        let spawn = || hangs.spawn_deadline(SHORT);
        assert_times_out(spawn, Step::PreExec);
        drop(end);
        holder.join().unwrap();
    });
}

#[test]
fn a_function_before_exec_that_returns_late_starts_nothing() {
    each_of(&[Engine::Isolated, Engine::Copied, Engine::Pipe], |engine| {
        let mut slow = command("true", engine);
        slow.before_exec(|_, _| {
            thread::sleep(3 * SHORT);
            Ok(())
        });
        let spawn = || slow.spawn_deadline(SHORT);
        assert_times_out(spawn, Step::BeforeExec);
        let returns = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&returns);
        let mut hangs = command("true", engine);
        hangs.before_exec(move |_, _| {
            while !own.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let error = hangs.spawn_deadline(SHORT).unwrap_err();
        assert_eq!(error.step(), Step::BeforeExec, "{engine}");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{engine}");
        returns.store(true, Ordering::SeqCst);
        assert!(no_child_stays(), "{engine}");
    });
}

/// Whether no child is left, by and by.
fn no_child_stays() -> bool {
    let until = Instant::now() + LONG;
    while has_children() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    !has_children()
}

/// The server has taken the request, so the kernel does not let go of the
/// child, not even by SIGKILL.
#[test]
fn a_file_system_that_does_not_answer_holds_nobody() {
    let name = "a_file_system_that_does_not_answer_holds_nobody";
    if !is_root() {
        return skip(name, "mounting takes root");
    }
    if !inside(name, &["unshare", "--mount", "--propagation", "private"]) {
        return;
    }
    each_engine(|engine| {
        let dir = scratch("deadline-fuse");
        let fuse = match Hanging::mount(&dir) {
            Ok(fuse) => fuse,
            Err(error) => {
                return skip(name, &format!("no FUSE: {error}"));
            }
        };
        let program = fuse.program();
        let mut hangs = command(program.to_str().unwrap(), engine);
        let began = Instant::now();
        let error = hangs.spawn_deadline(SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert_eq!(error.step(), Step::Exec, "{engine} {error}");
        assert_eq!(error.operand().unwrap(), program.as_os_str());
        assert!(began.elapsed() >= SHORT);
        assert!(fuse.hangs.load(Ordering::SeqCst), "it was not read");
        assert!(has_children(), "{engine}: the kernel let it go");
        // A start is dropped without a wait for it, too.
        let starting = command(program.to_str().unwrap(), engine).start();
        let starting = starting.unwrap();
        thread::sleep(SHORT);
        assert!(!starting.cancel(), "{engine}");
        drop(fuse);
        // The threads have waited on, and reap.
        assert!(no_child_stays(), "{engine}");
    });
}

/// The path of a control group of version 2 in which one can be made.
fn groups() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = roots
        .into_iter()
        .map(PathBuf::from)
        .find(|root| root.join("cgroup.procs").exists())?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(own))
}

#[test]
fn a_frozen_group_holds_nobody() {
    let name = "a_frozen_group_holds_nobody";
    let _alone = alone();
    let id = std::process::id();
    let group = groups().map(|own| own.join(format!("offshoot-frozen-{id}")));
    let Some(group) = group.filter(|group| fs::create_dir(group).is_ok())
    else {
        return skip(name, "no control group can be made");
    };
    if fs::write(group.join("cgroup.freeze"), "1").is_err() {
        fs::remove_dir(&group).unwrap();
        return skip(name, "the group cannot be frozen");
    }
    let is_frozen = || {
        let events = fs::read_to_string(group.join("cgroup.events"));
        events.unwrap().contains("frozen 1")
    };
    while !is_frozen() {
        thread::sleep(Duration::from_millis(1));
    }
    each_engine(|engine| {
        let mut hangs = command("true", engine);
        hangs.cgroup(group.as_path());
        let began = Instant::now();
        let error = clean(|| hangs.spawn_deadline(SHORT).map(drop));
        assert!(began.elapsed() >= SHORT, "{engine} {error}");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{engine} {error}");
    });
    // A launch that has waited for long looks as often.
    let mut hangs = command("true", Engine::Copied);
    hangs.cgroup(group.as_path());
    let second = Duration::from_millis(1100);
    let error = clean(|| hangs.spawn_deadline(second).map(drop));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    let until = Instant::now() + LONG;
    while fs::remove_dir(&group).is_err() {
        assert!(Instant::now() < until, "the group is not empty");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A program that was started just in time, or just too late: one or the
/// other, and never a program without a child.
#[test]
fn a_deadline_at_the_moment_of_exec_leaves_nothing() {
    each_engine(|engine| {
        let (mut started, mut late) = (0, 0);
        for microseconds in (0..60).map(|n| 10 + n * 20) {
            let mut sleep = command("sleep", engine);
            sleep.arg("60");
            match sleep.spawn_deadline(Duration::from_micros(microseconds)) {
                Ok(mut child) => {
                    child.kill().unwrap();
                    let status = child.wait().unwrap();
                    assert_eq!(status.signal(), Some(libc::SIGKILL));
                    started += 1;
                }
                Err(error) => {
                    let kind = io::ErrorKind::TimedOut;
                    assert_eq!(error.kind(), kind, "{error}");
                    late += 1;
                }
            }
            assert!(no_child_stays(), "{engine}");
        }
        assert!(late > 0 && started + late == 60, "{engine}");
    });
}

#[test]
fn a_deadline_holds_without_a_pidfd_of_clone() {
    let name = "a_deadline_holds_without_a_pidfd_of_clone";
    if !inside(name, &[]) {
        return;
    }
    // As before Linux 5.3: no clone3 and no pidfds.
    let denied = util::filter::Action::errno(libc::ENOSYS);
    util::filter::install(libc::SYS_clone3, denied);
    let denied = util::filter::Action::errno(libc::ENOSYS);
    util::filter::install(libc::SYS_pidfd_open, denied);
    let fifo = scratch("deadline-clone").join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    let mut hangs = Command::new("true");
    let read = ChildOpenOptions::new().read(true).clone();
    hangs.open_in_child(9, &fifo, &read);
    let _alone = alone();
    let spawn = || hangs.spawn_deadline(SHORT);
    assert_times_out(spawn, Step::OpenInChild);
    let mut child = Command::new("true").spawn_deadline(LONG).unwrap();
    assert_eq!(child.launch().engine(), Engine::Copied);
    assert!(child.wait().unwrap().success());
}

#[test]
fn outputs_and_lines_with_a_deadline_do_not_hang_before_exec() {
    each_engine(|engine| {
        let fifo = scratch("deadline-output").join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let mut hangs = command("true", engine);
        let read = ChildOpenOptions::new().read(true).clone();
        hangs.open_in_child(9, &fifo, &read);
        let limits = || Limits::new().timeout(SHORT);
        let ended = |error: OutputError| {
            assert_eq!(error.limit(), Some(OutputLimit::Deadline), "{error}");
            Error::from(error)
        };
        let output = |it: &mut Command| it.output_with(limits()).map(drop);
        let error = clean(|| output(&mut hangs).map_err(ended));
        assert_eq!(error.step(), Step::OpenInChild, "{engine}");
        let error = clean(|| {
            let lines = hangs.stream_lines_with(limits(), |_, _| Ok(()));
            lines.map(drop).map_err(ended)
        });
        assert_eq!(error.step(), Step::OpenInChild, "{engine}");
        // The child of this thread, which ends it.
        let mut dies = command("cat", engine);
        dies.parent_death_signal(libc::SIGTERM);
        let limits = Limits::new().timeout(LONG);
        assert!(dies.output_with(limits).unwrap().status.success());
    });
}

#[test]
fn a_deadline_holds_where_a_filter_rejects_signals_by_pidfd() {
    let name = "a_deadline_holds_where_a_filter_rejects_signals_by_pidfd";
    if !inside(name, &[]) {
        return;
    }
    let _alone = alone();
    let fifo = scratch("deadline-filter").join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    let denied = util::filter::Action::errno(libc::EPERM);
    util::filter::install(libc::SYS_pidfd_send_signal, denied);
    let mut hangs = Command::new("true");
    let read = ChildOpenOptions::new().read(true).clone();
    hangs.open_in_child(9, &fifo, &read);
    let spawn = || hangs.spawn_deadline(SHORT);
    assert_times_out(spawn, Step::OpenInChild);
    for engine in [Engine::Suspended, Engine::Isolated] {
        let mut fixed = command("true", engine);
        let error = clean(|| fixed.spawn_deadline(LONG).map(drop));
        assert_eq!(error.step(), Step::Clone, "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
    }
}
