//! Detach: a program that is not a child of this process.
#![allow(unsafe_code, reason = "the tests count signals and reap children")]

mod util;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{process, thread};

use offshoot::{Command, Detached, Engine, Stdio, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use util::clean::refused;
use util::filter::{self, Action};
use util::parent_state::ParentState;
use util::reporter::descriptors;
use util::{each_of, has_children, in_own_pids};

const DETACHING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

fn command(engine: Engine, program: &str) -> Command {
    let mut command = Command::new(program);
    command.engine(engine).stdin(Stdio::null());
    command
}

fn sleeper(engine: Engine) -> Command {
    let mut sleep = command(engine, "sleep");
    sleep.arg("60");
    sleep
}

/// The fields of `/proc/PID/stat` after the name: state, parent, group,
/// session.
fn stat(of: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{of}/stat")).unwrap();
    let after = text.rsplit_once(')').unwrap().1;
    after.split_whitespace().take(4).map(Into::into).collect()
}

/// Waits for the end; true if the pidfd became readable.
fn ends(program: &Detached) -> bool {
    let mut fds = [PollFd::new(program.pidfd().unwrap(), PollFlags::IN)];
    let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.unwrap() == 1,
        }
    }
}

fn kill(program: &Detached) {
    pidfd_send_signal(program.pidfd().unwrap(), Signal::KILL).unwrap();
    assert!(ends(program));
}

static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the handlers of this file store one number.
    unsafe { libc::signal(signal, handler) };
}

fn counter() -> libc::sighandler_t {
    count as extern "C" fn(libc::c_int) as usize
}

#[test]
fn a_detached_program_is_no_child_and_leads_a_session() {
    let name = "a_detached_program_is_no_child_and_leads_a_session";
    if !in_own_pids(name) {
        return;
    }
    handle(libc::SIGCHLD, counter());
    each_of(&DETACHING, |engine| {
        let before = (descriptors(), ParentState::now());
        let program = sleeper(engine).detach().unwrap();
        assert_eq!(program.launch().engine(), engine);
        assert!(!has_children());
        let id = program.id().to_string();
        let stat = stat(program.id());
        assert_eq!(stat[1..], ["1".to_string(), id.clone(), id]);
        kill(&program);
        drop(program);
        assert_eq!(before.0, descriptors());
        let changes = before.1.changes(&ParentState::now());
        assert!(changes.is_empty(), "{changes:?}");
    });
    assert_eq!(COUNT.load(Ordering::SeqCst), 0);
}

#[test]
fn a_subreaper_gets_the_detached_program_as_its_child() {
    let name = "a_subreaper_gets_the_detached_program_as_its_child";
    if !in_own_pids(name) {
        return;
    }
    // SAFETY: changes a flag of this process.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert_eq!(set, 0);
    each_of(&DETACHING, |engine| {
        let program = sleeper(engine).detach().unwrap();
        assert_eq!(stat(program.id())[1], process::id().to_string());
        kill(&program);
        util::fork::reap(program.id().try_into().unwrap());
        assert!(!has_children());
    });
}

#[test]
fn a_step_that_fails_is_reported_and_nothing_is_left() {
    let name = "a_step_that_fails_is_reported_and_nothing_is_left";
    if !in_own_pids(name) {
        return;
    }
    handle(libc::SIGCHLD, counter());
    each_of(&DETACHING, |engine| {
        let before = descriptors();
        let mut chdir = sleeper(engine);
        chdir.current_dir("/no/such");
        let mut exec = command(engine, "/no/such/program");
        let steps = [(&mut chdir, Step::Chdir), (&mut exec, Step::Exec)];
        for (command, step) in steps {
            COUNT.store(0, Ordering::SeqCst);
            let error = command.detach().unwrap_err();
            assert_eq!(error.step(), step);
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
            assert!(!has_children());
            assert_eq!(COUNT.load(Ordering::SeqCst), 0);
            // The helper of a spawn raises SIGCHLD.
            let of_spawn = command.spawn().unwrap_err();
            assert_eq!(error.to_string(), of_spawn.to_string());
        }
        assert_eq!(before, descriptors());
    });
}

#[test]
fn what_belongs_to_the_parent_is_refused() {
    let refuse = |set: &dyn Fn(&mut Command), step, option, why| {
        let mut command = Command::new("true");
        set(&mut command);
        refused(&command.detach().unwrap_err(), step, Some(option), why);
    };
    let other = "the parent of a detached program is another process";
    let gate = |c: &mut Command| {
        c.before_exec(|_, _| Ok(()));
    };
    let death = |c: &mut Command| {
        c.parent_death_signal(libc::SIGTERM);
    };
    let traced = |c: &mut Command| {
        c.ptrace_traceme(true);
    };
    let engine = |c: &mut Command| {
        c.engine(Engine::Pipe);
    };
    let group = |c: &mut Command| {
        c.process_group(0);
    };
    let pipe = |c: &mut Command| {
        c.stdout(Stdio::piped());
    };
    refuse(&gate, Step::Clone, "before_exec", other);
    refuse(&death, Step::Clone, "parent_death_signal", other);
    refuse(&traced, Step::Clone, "ptrace_traceme", other);
    let why = "the engine pipe cannot detach";
    refuse(&engine, Step::Clone, "engine", why);
    let why = "a session leader cannot change its process group";
    refuse(&group, Step::Setsid, "process_group", why);
    let why = "nothing reads or writes a detached program's pipe";
    refuse(&pipe, Step::Stdout, "detach", why);
}

/// The open descriptors but for those that stay open for the next spawn.
fn uncached() -> Vec<(String, String)> {
    let mut all = descriptors();
    all.retain(|(_, file)| !file.starts_with("/memfd:offshoot"));
    all
}

#[test]
fn a_prepared_leader_of_a_session_detaches_again_and_again() {
    let name = "a_prepared_leader_of_a_session_detaches_again_and_again";
    if !in_own_pids(name) {
        return;
    }
    each_of(&DETACHING, |engine| {
        let sleep = sleeper(engine).setsid(true).prepare().unwrap();
        let before = uncached();
        for _ in 0..3 {
            let program = sleep.detach().unwrap();
            assert_eq!(program.launch().engine(), engine);
            assert!(!has_children());
            let id = program.id().to_string();
            let stat = stat(program.id());
            assert_eq!(stat[1..], ["1".to_string(), id.clone(), id]);
            kill(&program);
        }
        // It still spawns children of this process.
        let mut child = sleep.spawn().unwrap();
        assert_eq!(stat(child.id())[1], process::id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        drop(child);
        let mut chdir = sleeper(engine);
        let chdir = chdir.setsid(true).current_dir("/no/such").prepare();
        let chdir = chdir.unwrap();
        let error = chdir.detach().unwrap_err();
        let of_spawn = chdir.spawn().unwrap_err();
        assert_eq!(error.to_string(), of_spawn.to_string());
        assert!(!has_children());
        drop(chdir);
        assert_eq!(before, uncached());
    });
}

#[test]
fn a_prepared_program_without_a_session_does_not_detach() {
    let why = "leads a session, and this one was prepared without";
    let of = |set: &dyn Fn(&mut Command)| {
        let mut command = Command::new("true");
        set(&mut command);
        command.prepare().unwrap().detach().unwrap_err()
    };
    let setsid = Some("setsid");
    refused(&of(&|_| ()), Step::Setsid, setsid, why);
    let may_fail = |c: &mut Command| {
        c.best_effort(|it| it.setsid(true));
    };
    refused(&of(&may_fail), Step::Setsid, setsid, why);
    let gate = |c: &mut Command| {
        c.setsid(true).before_exec(|_, _| Ok(()));
    };
    let why = "the parent of a detached program is another process";
    refused(&of(&gate), Step::Clone, Some("before_exec"), why);
}

/// Detaches with every engine, many times, and checks that nothing is left.
fn many(times: usize) {
    let before = descriptors();
    for n in 0..times {
        let engine = DETACHING[n % DETACHING.len()];
        let program = command(engine, "true").detach().unwrap();
        assert!(ends(&program));
        let error = command(engine, "/no/such").detach().unwrap_err();
        assert_eq!(error.step(), Step::Exec, "{error}");
    }
    assert!(!has_children());
    assert_eq!(before, descriptors());
}

#[test]
fn two_hundred_detached_programs_leave_nothing() {
    if in_own_pids("two_hundred_detached_programs_leave_nothing") {
        many(200);
    }
}

#[test]
fn detach_works_while_sigchld_is_ignored() {
    if in_own_pids("detach_works_while_sigchld_is_ignored") {
        handle(libc::SIGCHLD, libc::SIG_IGN);
        many(9);
    }
}

/// Runs `many` while another thread does something again and again.
fn many_beside(other: impl Fn() + Sync) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                other();
            }
        });
        let main = std::panic::catch_unwind(|| many(60));
        over.store(true, Ordering::SeqCst);
        beside.join().unwrap();
        main.unwrap();
    });
}

#[test]
fn a_thread_that_reaps_all_children_takes_nothing_from_detach() {
    let name = "a_thread_that_reaps_all_children_takes_nothing_from_detach";
    if !in_own_pids(name) {
        return;
    }
    for how in [libc::WNOHANG, libc::WNOHANG | libc::__WALL] {
        many_beside(|| {
            // SAFETY: reaps a child and writes no memory.
            unsafe { libc::waitpid(-1, std::ptr::null_mut(), how) };
        });
    }
}

#[test]
fn detach_works_under_a_signal_every_few_milliseconds() {
    let name = "detach_works_under_a_signal_every_few_milliseconds";
    if !in_own_pids(name) {
        return;
    }
    handle(libc::SIGALRM, counter());
    let own = process::id().try_into().unwrap();
    assert!(own > 1);
    many_beside(|| {
        thread::sleep(Duration::from_millis(5));
        // SAFETY: a signal with a handler, for this process.
        unsafe { libc::kill(own, libc::SIGALRM) };
    });
    assert!(COUNT.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_detached_program_has_the_callers_signal_mask() {
    let name = "a_detached_program_has_the_callers_signal_mask";
    if !in_own_pids(name) {
        return;
    }
    each_of(&DETACHING, |engine| {
        let program = sleeper(engine).detach().unwrap();
        let line = |of: &Path| {
            let text = fs::read_to_string(of.join("status")).unwrap();
            let mut lines = text.lines();
            lines.find(|line| line.starts_with("SigBlk")).unwrap().to_string()
        };
        let own = line(Path::new("/proc/thread-self"));
        let id = program.id().to_string();
        assert_eq!(line(&Path::new("/proc").join(id)), own);
        kill(&program);
    });
}

#[test]
fn detach_works_where_a_filter_rejects_every_wait() {
    let name = "detach_works_where_a_filter_rejects_every_wait";
    if !in_own_pids(name) {
        return;
    }
    let waits = [libc::SYS_waitid, libc::SYS_wait4];
    each_of(&DETACHING, |engine| {
        let reject = waits.map(|nr| (nr, Action::errno(libc::EPERM)));
        filter::with_each(&reject, || {
            let program = sleeper(engine).detach().unwrap();
            kill(&program);
            let error = command(engine, "/no/such").detach().unwrap_err();
            assert_eq!(error.step(), Step::Exec, "{error}");
        });
    });
}

#[test]
fn a_hook_runs_in_the_detached_program() {
    let name = "a_hook_runs_in_the_detached_program";
    if !in_own_pids(name) {
        return;
    }
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    // SAFETY: the hook makes one system call.
    unsafe { sleep.pre_exec(|_| Err(offshoot::Errno::from_raw_os_error(7))) };
    let error = sleep.detach().unwrap_err();
    assert_eq!(error.step(), Step::PreExec);
    assert_eq!(error.raw_os_error(), Some(7));
    assert!(!has_children());
}

#[test]
fn the_process_in_between_may_not_be_an_init() {
    let name = "the_process_in_between_may_not_be_an_init";
    if !in_own_pids(name) {
        return;
    }
    // SAFETY: changes which namespace children of this process are in.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    let error = sleeper(Engine::Suspended).detach().unwrap_err();
    assert_eq!(error.step(), Step::Clone, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
    assert!(error.to_string().contains("would be the init"), "{error}");
    assert!(!has_children());
}
