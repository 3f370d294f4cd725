//! Programs that the kernel reaps, and kills when their pidfd is closed. Where
//! it does not have the flags (before Linux 7.1), that is an error in each test
//! that needs them, and nothing else is done.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[path = "autoreap/beside.rs"]
mod beside;
#[path = "autoreap/kills.rs"]
mod kills;
#[path = "autoreap/proof.rs"]
mod proof;
mod util;

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use offshoot::{
    ChildEvent, CloneFlags, Command, Engine, Error, Method, Stdio, Step,
    WaitSet, wait_any,
};
use util::clean::{assert_error, clean, refused};
use util::filter::{self, Action};
use util::{alone, has_children};

/// The engines that can have the flags.
const ENGINES: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// Whether the kernel has the flags. A clone3 into a control group by a
/// descriptor that is not open makes no process: flags that the kernel does not
/// have are EINVAL before it looks at that.
fn kernel_has_flags() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let flags = CloneFlags::AUTOREAP | CloneFlags::INTO_CGROUP;
        let mut args = [0u64; 11];
        args[0] = flags.bits();
        args[10] = u64::try_from(i32::MAX).unwrap();
        let (at, size) = (args.as_ptr(), size_of_val(&args));
        // SAFETY: reads `args`, and makes no process.
        let result = unsafe { libc::syscall(libc::SYS_clone3, at, size) };
        assert_eq!(result, -1);
        match io::Error::last_os_error().raw_os_error().unwrap() {
            libc::EBADF => true,
            libc::EINVAL => false,
            other => panic!("clone3: {other}"),
        }
    })
}

fn autoreap(program: &str, engine: Engine) -> Command {
    let mut command = Command::new(program);
    command.autoreap(true).engine(engine);
    command
}

fn autokill(program: &str, engine: Engine) -> Command {
    let mut command = Command::new(program);
    command.autokill(true).no_new_privs(true).engine(engine);
    command
}

fn sh(script: &str, engine: Engine) -> Command {
    let mut sh = autoreap("sh", engine);
    sh.args(["-c", script]);
    sh
}

/// The error of a kernel without the flags.
fn assert_missing(error: &Error, step: Step) {
    assert_error(error, step, None, libc::EINVAL);
    assert!(error.to_string().contains("it takes Linux 7.1"), "{error}");
}

/// Runs a test body with each engine and its `spawn`, or checks the error.
fn each(test: impl Fn(Engine)) {
    let _alone = alone();
    for engine in ENGINES {
        if kernel_has_flags() {
            util::ENGINE.set(engine);
            test(engine);
        } else {
            let mut command = sh("exit 7", engine);
            let error = clean(|| command.spawn().map(drop));
            assert_missing(&error, Step::Autoreap);
            let mut command = autokill("true", engine);
            let error = clean(|| command.spawn().map(drop));
            assert_missing(&error, Step::Autokill);
        }
    }
    util::ENGINE.set(Engine::Suspended);
}

static CHILD_SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    CHILD_SIGNALS.fetch_add(1, Ordering::SeqCst);
}

fn count_child_signals() -> u32 {
    let handler = count as extern "C" fn(libc::c_int);
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGCHLD, handler as usize) };
    CHILD_SIGNALS.load(Ordering::SeqCst)
}

#[test]
fn every_wait_has_the_status_and_there_is_no_zombie_and_no_sigchld() {
    each(|engine| {
        let signals = count_child_signals();
        let mut seven = sh("exit 7", engine).spawn().unwrap();
        assert_eq!(seven.launch().engine(), engine);
        assert!(seven.launch().flags().contains(CloneFlags::AUTOREAP));
        assert!(seven.launch().confirmed(), "{engine}");
        assert_eq!(seven.wait().unwrap().code(), Some(7));
        assert!(!has_children(), "{engine}");
        assert_eq!(seven.wait().unwrap().code(), Some(7));
        let error = seven.wait_usage().unwrap_err();
        assert_eq!(error.step(), Step::Wait, "the usage is lost");

        let mut sleep = autoreap("sleep", engine).arg("60").spawn().unwrap();
        assert!(sleep.launch().confirmed(), "{engine}");
        assert_eq!(sleep.try_wait().unwrap(), None);
        assert_eq!(sleep.wait_timeout(SHORT).unwrap(), None);
        sleep.kill().unwrap();
        let status = sleep.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(sleep.try_wait().unwrap(), Some(status));
        sleep.kill().unwrap();

        let mut cat = autoreap("cat", engine);
        let mut cat = cat.stdin(Stdio::piped()).spawn().unwrap();
        let process = cat.process();
        let waits = [(); 3].map(|()| {
            let process = process.clone();
            thread::spawn(move || process.wait().unwrap().code())
        });
        assert_eq!(cat.wait().unwrap().code(), Some(0));
        assert_eq!(waits.map(|wait| wait.join().unwrap()), [Some(0); 3]);
        assert!(!has_children(), "{engine}");
        assert_eq!(CHILD_SIGNALS.load(Ordering::SeqCst), signals, "{engine}");
    });
}

#[test]
fn output_status_and_sets_of_children_work() {
    each(|engine| {
        let output = sh("echo out; exit 3", engine).output().unwrap();
        assert_eq!(
            (output.stdout, output.status.code()),
            (b"out\n".into(), Some(3))
        );
        let mut four = sh("exit 4", engine);
        assert_eq!(four.status().unwrap().code(), Some(4));
        let set = WaitSet::new().unwrap();
        for n in 0..20 {
            let script = format!("exit {n}");
            let mut child = sh(&script, engine).spawn().unwrap();
            set.insert(n, &child.process());
        }
        let mut seen = [false; 20];
        while let Some((n, status)) = set.wait_timeout(LONG) {
            assert_eq!(status.unwrap().code(), Some(n));
            seen[usize::try_from(n).unwrap()] = true;
        }
        assert_eq!(seen, [true; 20]);
        let mut sleep = autoreap("sleep", engine);
        let sleep = sleep.arg("60").spawn().unwrap();
        let five = sh("exit 5", engine).spawn().unwrap();
        let mut both = [sleep, five];
        let (n, status) = wait_any(&mut both).unwrap();
        assert_eq!((n, status.code()), (1, Some(5)));
        both[0].kill().unwrap();
        both[0].wait().unwrap();
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn events_and_signals_to_the_group_work() {
    each(|engine| {
        let mut stops = sh("kill -STOP $$; read line; exit 7", engine);
        let mut stops = stops.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = stops.stdin.take();
        let process = stops.process();
        let mut events = stops.events();
        let event = events.next().unwrap().unwrap();
        assert_eq!(event, ChildEvent::Stopped(libc::SIGSTOP));
        process.signal(libc::SIGCONT).unwrap();
        let event = events.next().unwrap().unwrap();
        assert_eq!(event, ChildEvent::Continued);
        drop(stdin);
        let event = events.next().unwrap().unwrap();
        let ChildEvent::Ended(status) = event else { panic!("{event:?}") };
        assert_eq!(status.code(), Some(7));
        assert!(events.next().is_none());
        // The leader has ended and is reaped: its group goes on.
        let mut leads = sh("sleep 60 & exit 0", engine);
        let mut leads =
            leads.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        assert!(leads.wait().unwrap().success());
        leads.signal_group(libc::SIGKILL).unwrap();
        let mut rest = Vec::new();
        let mut stdout = leads.stdout.take().unwrap();
        io::Read::read_to_end(&mut stdout, &mut rest).unwrap();
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn other_code_cannot_take_the_status() {
    each(|engine| {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(sh("exit 9", engine).spawn().unwrap());
        }
        let mut status = 0;
        // SAFETY: writes one int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        assert_eq!(pid, -1, "{engine}");
        for mut child in all {
            assert_eq!(child.wait().unwrap().code(), Some(9));
        }
    });
}

#[test]
fn many_threads_spawn_programs_that_the_kernel_reaps() {
    each(|engine| {
        let spawns = move |thread: i32| {
            for n in 0..25 {
                let code = thread * 25 + n;
                let mut child =
                    sh(&format!("exit {code}"), engine).spawn().unwrap();
                assert!(child.launch().confirmed(), "{engine}");
                assert_eq!(child.wait().unwrap().code(), Some(code));
            }
        };
        let threads = [0, 1, 2, 3].map(|n| thread::spawn(move || spawns(n)));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn kill_tree_kills_the_group_and_says_that_it_could_not_look() {
    each(|engine| {
        let mut tree = sh("sleep 60 & wait", engine);
        let mut tree = tree.process_group(0).spawn().unwrap();
        let error = tree.kill_tree().unwrap_err();
        refused(&error, Step::Kill, Some("autoreap"), "own_cgroup");
        assert_eq!(tree.wait().unwrap().signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn a_drop_leaves_no_zombie() {
    each(|engine| {
        for _ in 0..10 {
            drop(autoreap("true", engine).spawn().unwrap());
        }
        let mut sleep = autoreap("sleep", engine).arg("60").spawn().unwrap();
        let pidfd = sleep.pidfd().unwrap().try_clone().unwrap();
        sleep.kill_on_drop(true);
        drop(sleep);
        wait_for_hang_up(pidfd.as_raw_fd());
        while has_children() {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Waits until a process is reaped.
fn wait_for_hang_up(pidfd: i32) {
    assert!(hangs_up_within(pidfd, 60_000));
}

fn hangs_up_within(pidfd: i32, milliseconds: i32) -> bool {
    let mut fd = libc::pollfd { fd: pidfd, events: 0, revents: 0 };
    // SAFETY: reads and writes one pollfd.
    let count = unsafe { libc::poll(&raw mut fd, 1, milliseconds) };
    assert!(count >= 0, "{}", io::Error::last_os_error());
    fd.revents & libc::POLLHUP != 0
}

/// By a filter on every kernel: a clone3 of another errno is no other clone.
#[test]
fn no_fallback_leaves_the_flags_out() {
    type Options = fn(&mut Command) -> &mut Command;
    let _alone = alone();
    let options: [(Step, Options); 2] = [
        (Step::Autoreap, |c| c.autoreap(true)),
        (Step::Autokill, |c| c.autokill(true)),
    ];
    let missing = "only clone3 has it";
    let errnos = [
        (libc::EINVAL, "it takes Linux 7.1"),
        (libc::ENOSYS, missing),
        (libc::EPERM, missing),
    ];
    for (step, option) in options {
        for (errno, why) in errnos {
            for engine in [None, Some(Engine::Isolated)] {
                let mut command = Command::new("true");
                option(&mut command);
                engine.map(|engine| command.engine(engine));
                let action = Action::errno(errno);
                let spawn = || command.spawn().map(drop);
                let error =
                    clean(|| filter::with(libc::SYS_clone3, action, spawn));
                assert_error(&error, step, None, errno);
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }
}

#[test]
fn what_cannot_be_combined_is_refused_by_name() {
    type Options = fn(&mut Command) -> &mut Command;
    let _alone = alone();
    let cases: [(&str, &str, Options); 4] = [
        ("method", "only clone3", |c| c.method(Method::Fork)),
        ("method", "only clone3", |c| c.method(Method::Vfork)),
        ("engine", "plain clone", |c| c.engine(Engine::Pipe)),
        ("ptrace_traceme", "tracer", |c| c.ptrace_traceme(true)),
    ];
    for (operand, why, set) in cases {
        let mut command = Command::new("/bin/true");
        set(command.autoreap(true));
        let error = clean(|| command.spawn().map(drop));
        refused(&error, Step::Autoreap, Some(operand), why);
        let error = command.autokill(true).plan().unwrap_err();
        refused(&error, Step::Autokill, Some(operand), why);
    }
    let error = Command::new("/bin/true").autoreap(true).exec();
    refused(&error, Step::Autoreap, Some("exec"), "no process");
    let mut elsewhere = Command::new("/bin/true");
    elsewhere.stdin(Stdio::null()).autoreap(true);
    let error = elsewhere.detach().unwrap_err();
    refused(&error, Step::Clone, Some("autoreap"), "another process");
    let error = elsewhere.autokill(true).spawn_sibling().unwrap_err();
    refused(&error, Step::Clone, Some("autokill"), "sibling");
    let mut command = Command::new("/bin/true");
    let error = command.best_effort(|it| it.autoreap(true)).plan();
    refused(&error.unwrap_err(), Step::BestEffort, Some("autoreap"), "");
}

#[test]
fn set_tid_beside_it_is_named_as_a_possible_cause() {
    let _alone = alone();
    let mut command = Command::new("true");
    command.autoreap(true).set_tid([4711]);
    let action = Action::errno(libc::EINVAL);
    let spawn = || command.spawn().map(drop);
    let error = clean(|| filter::with(libc::SYS_clone3, action, spawn));
    assert_error(&error, Step::Autoreap, None, libc::EINVAL);
    assert!(error.to_string().contains("set_tid"), "{error}");
}
