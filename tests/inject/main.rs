//! Fault injection: each call that a child makes before exec, in each plan of
//! the corpus and each engine, fails, is killed or is delayed. Each time the
//! parent reports the right step, and nothing is left behind.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod cgroups;
mod complete;
mod corpus;
mod detached;
mod sibling;
mod started;
mod supervisor;
#[path = "../util/mod.rs"]
mod util;

use std::{env, fs, process};

use cgroups::Group;
use corpus::{Case, cases};
use offshoot::{Child, Command, Engine, Error, Step};
use supervisor::{Fault, Made, Supervisor, watch};
use util::{State, alone, has_children, is_root};

const ERRNOS: [i32; 6] = [
    libc::EPERM,
    libc::EINTR,
    libc::ENOMEM,
    libc::EMFILE,
    libc::ENOSYS,
    libc::EINVAL,
];

/// The expected result of a fault.
#[derive(Debug, PartialEq, Eq)]
enum Want {
    /// The program runs: a documented fallback.
    Runs,
    /// An error of this step.
    Fails(Step),
}

/// One call of a child, and its position, counted from 1.
#[derive(Clone, Copy, Debug)]
struct Call {
    n: usize,
    nr: libc::c_long,
    args: [u64; 6],
    /// Whether it is the child's first call of this number, or its last.
    first: bool,
    last: bool,
    /// Whether only the helper needs it.
    helper: bool,
    /// Whether the helper works without it.
    optional: bool,
    /// Whether it detects which process returns from the hooks.
    hook: bool,
}

impl Call {
    fn of(all: &[Made], n: usize, engine: Engine) -> Call {
        let (nr, args) = all[n - 1];
        let calls: Vec<_> = all.iter().map(|(nr, _)| *nr).collect();
        let first = !calls[..n - 1].contains(&nr);
        let last = !calls[n..].contains(&nr);
        let exec = |nr: &libc::c_long| *nr == libc::SYS_execveat;
        let exec_helper = calls.iter().position(exec).unwrap_or(calls.len());
        // The status page and the helper are the last to be duplicated.
        let dup = |(_, nr): &(usize, &libc::c_long)| **nr == libc::SYS_dup3;
        let dups = calls[..exec_helper].iter().enumerate().filter(dup);
        let passed = dups.rev().nth(1).map_or(exec_helper, |(at, _)| at);
        let own = [
            libc::SYS_mmap,
            libc::SYS_set_robust_list,
            libc::SYS_gettid,
            libc::SYS_process_mrelease,
            libc::SYS_close,
            libc::SYS_fcntl,
            libc::SYS_capget,
        ];
        let optional = nr == libc::SYS_process_mrelease;
        let passes = [libc::SYS_dup3, libc::SYS_fcntl];
        let helper = match n - 1 {
            at if at == exec_helper => true,
            // Other calls belong to the gate.
            at if at > exec_helper && nr == libc::SYS_prctl => {
                calls[n..].iter().filter(|one| **one == nr).count() < 2
            }
            // The status page is the first to be closed, and the first
            // capabilities to be read are the helper's.
            at if at > exec_helper && FIRST.contains(&nr) => {
                !calls[exec_helper..at].contains(&nr)
            }
            at if at > exec_helper => own.contains(&nr),
            at => at >= passed && passes.contains(&nr),
        };
        let helper = helper && engine == Engine::Isolated;
        let who = [libc::SYS_set_robust_list, libc::SYS_gettid];
        let watch = first && engine == Engine::Copied;
        let hook = who.contains(&nr) && !helper && !watch;
        Call { n, nr, args, first, last, helper, optional, hook }
    }
}

/// Calls that the helper makes before every option.
const FIRST: [libc::c_long; 2] = [libc::SYS_close, libc::SYS_capget];

/// The step of a call that is one of the case's options.
fn own_step(call: Call, case: &Case) -> Option<Step> {
    let first = call.helper && FIRST.contains(&call.nr);
    (case.own)(call.nr, &call.args).filter(|_| !first)
}

/// The step that a call belongs to.
fn step(call: Call, case: &Case) -> Step {
    let Call { nr, first, last, .. } = call;
    let hooked = case.name.contains("hook");
    let chroot = case.name == "chroot";
    if let Some(step) = own_step(call, case) {
        return step;
    }
    match nr {
        _ if call.helper => Step::Image,
        _ if call.hook => Step::PreExec,
        libc::SYS_set_robust_list | libc::SYS_gettid => Step::RobustList,
        libc::SYS_close_range => Step::CloseRange,
        // The first probes whether the table is the child's own.
        libc::SYS_fcntl if first => Step::CloseRange,
        libc::SYS_fcntl => Step::Fcntl,
        libc::SYS_write => Step::Cgroup,
        libc::SYS_dup3 => Step::Dup,
        libc::SYS_close => Step::Close,
        libc::SYS_setsid => Step::Setsid,
        libc::SYS_setpgid => Step::Setpgid,
        libc::SYS_umask => Step::Umask,
        libc::SYS_setpriority => Step::Nice,
        libc::SYS_setgroups | libc::SYS_getgroups => Step::Setgroups,
        // The first of two finds whether the groups are dropped.
        libc::SYS_getresuid | libc::SYS_getresgid if first && !last => {
            Step::Setgroups
        }
        libc::SYS_setresgid | libc::SYS_getresgid => Step::Setresgid,
        libc::SYS_setresuid | libc::SYS_getresuid => Step::Setresuid,
        libc::SYS_chroot => Step::Chroot,
        // The second call of the chroot step.
        libc::SYS_chdir if chroot && first => Step::Chroot,
        libc::SYS_chdir if hooked => Step::PreExec,
        libc::SYS_chdir => Step::Chdir,
        libc::SYS_fchdir => Step::Fchdir,
        libc::SYS_getpid => Step::ListenFds,
        libc::SYS_prctl | libc::SYS_getppid | libc::SYS_futex => {
            Step::BeforeExec
        }
        libc::SYS_rt_sigaction => Step::SignalAction,
        libc::SYS_rt_sigprocmask
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_faccessat => Step::SignalMask,
        libc::SYS_execve | libc::SYS_execveat => Step::Exec,
        other => panic!("a child made system call {other}"),
    }
}

/// The expected result of a call that fails with `errno`.
fn wanted(call: Call, errno: i32, case: &Case, root: bool) -> Want {
    let Call { nr, first, last, .. } = call;
    let missing = [libc::ENOSYS, libc::EPERM, libc::EINVAL].contains(&errno);
    if let Some(step) = own_step(call, case) {
        let optional = case.name.starts_with("best effort");
        return if optional { Want::Runs } else { Want::Fails(step) };
    }
    match nr {
        _ if call.optional => Want::Runs,
        _ if call.helper => Want::Fails(Step::Image),
        // The child waits again.
        libc::SYS_futex if last && errno == libc::EINTR => Want::Runs,
        // Closing a descriptor that may be closed, and stop signals.
        libc::SYS_close | libc::SYS_rt_sigtimedwait | libc::SYS_faccessat => {
            Want::Runs
        }
        // The fallback is the list of descriptors.
        libc::SYS_close_range if missing && first => Want::Runs,
        // The fallback is the path in /proc.
        libc::SYS_execveat if missing && errno != libc::EINVAL => Want::Runs,
        // Without a change of user, groups need not be dropped.
        libc::SYS_setgroups if !root => Want::Runs,
        _ => Want::Fails(step(call, case)),
    }
}

struct Harness<'a> {
    case: &'a Case,
    engine: Engine,
    group: Option<Group>,
    root: bool,
}

impl Harness<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("/bin/true");
        (self.case.options)(&mut command);
        if let Some(group) = &self.group {
            group.set(&mut command);
        }
        command.engine(self.engine);
        command
    }

    /// Spawns once with this fault, and checks that nothing is left behind.
    fn spawn(
        &self,
        supervisor: &Supervisor,
        target: Option<(usize, Fault)>,
    ) -> Result<bool, Error> {
        let before = State::now();
        let mut command = self.command();
        supervisor.aim(target);
        let spawned = command.spawn();
        let running = spawned.map(|mut child: Child| {
            drop(child.stdin.take());
            let status = child.wait().unwrap();
            status.success()
        });
        drop(command);
        let name = (self.case.name, self.engine, target);
        assert!(!has_children(), "{name:?}: a child is left");
        assert_eq!(State::now(), before, "{name:?}");
        let group = self.group.as_ref();
        assert!(
            group.is_none_or(Group::is_empty),
            "{name:?}: a group is left"
        );
        running
    }

    /// Injects each fault into each call. A rejection that a thread remembers
    /// is injected in a new thread.
    fn run(&self) -> usize {
        let mut in_new_thread = Vec::new();
        let calls = watch(|supervisor| {
            self.every_call(supervisor, &mut in_new_thread)
        });
        for (call, errno) in in_new_thread {
            watch(|supervisor| self.fails(supervisor, call, errno));
        }
        calls
    }

    fn every_call(
        &self,
        supervisor: &Supervisor,
        in_new_thread: &mut Vec<(Call, i32)>,
    ) -> usize {
        let ran = self.spawn(supervisor, None);
        let calls = supervisor.calls();
        assert!(ran.is_ok_and(|ran| ran), "{}", self.case.name);
        let execs = [libc::SYS_execve, libc::SYS_execveat];
        assert!(execs.contains(&calls.last().unwrap().0), "{calls:?}");
        for (n, (nr, _)) in (1..).zip(calls.iter().copied()) {
            let call = Call::of(&calls, n, self.engine);
            let before = &calls[..n - 1];
            let times = before.iter().filter(|one| one.0 == nr).count();
            // A legacy clone resets 62 signals by the same two calls.
            let thin = nr == libc::SYS_rt_sigaction && times > 2;
            for errno in ERRNOS {
                if nr == libc::SYS_close_range && times == 0 {
                    in_new_thread.push((call, errno));
                } else if !thin || errno == libc::EPERM {
                    self.fails(supervisor, call, errno);
                }
            }
            if thin && times % 16 != 0 {
                continue;
            }
            self.killed(supervisor, call);
            let pause = self.spawn(supervisor, Some((n, Fault::Pause)));
            assert!(pause.is_ok_and(|ran| ran), "{}", self.case.name);
        }
        calls.len()
    }

    fn fails(&self, supervisor: &Supervisor, call: Call, errno: i32) {
        let fault = Some((call.n, Fault::Errno(errno)));
        let ran = self.spawn(supervisor, fault);
        let want = wanted(call, errno, self.case, self.root);
        let name = (self.case.name, self.engine, call, errno);
        match (ran, want) {
            (Ok(true), Want::Runs) => {}
            (Err(error), Want::Fails(step)) => {
                assert_eq!(error.step(), step, "{name:?}: {error}");
                // Without its status page the helper cannot report errno.
                let mapped = call.nr != libc::SYS_mmap;
                let errno = Some(errno).filter(|_| mapped);
                let seen = error.raw_os_error();
                assert_eq!(seen, errno, "{name:?}: {error}");
                assert_eq!(error.signal(), None);
            }
            (ran, want) => panic!("{name:?}: {ran:?}, not {want:?}"),
        }
    }

    fn killed(&self, supervisor: &Supervisor, call: Call) {
        let ran = self.spawn(supervisor, Some((call.n, Fault::Kill)));
        let name = (self.case.name, self.engine, call);
        match ran {
            // The end of a pipe does not tell them apart; `confirmed` is false.
            Ok(false) => {
                assert_eq!(self.engine, Engine::Pipe, "{name:?}");
                let exec = [libc::SYS_execve, libc::SYS_execveat];
                assert!(exec.contains(&call.nr), "{name:?}");
            }
            Ok(true) => panic!("{name:?} ran"),
            Err(error) => {
                let step = step(call, self.case);
                assert_eq!(error.step(), step, "{name:?}: {error}");
                let signal = error.signal();
                assert_eq!(signal, Some(libc::SIGKILL), "{name:?}: {error}");
            }
        }
    }
}

/// The engine of this process, which the test has started for it.
const OWN: &str = "OFFSHOOT_INJECT_ENGINE";

/// Runs a test again for each engine, in processes of their own and all at
/// once: most of the time is spent in waits of 20 ms for children that are
/// killed before their futex is registered. Returns how many calls there were;
/// in these processes `None`, after `count`.
fn in_each_engine(
    test: &str,
    engines: &[Engine],
    count: impl Fn(&str) -> usize,
) -> Option<usize> {
    let _alone = alone();
    if let Ok(own) = env::var(OWN) {
        leave_terminal();
        println!("{} calls", count(&own));
        return None;
    }
    let run = |engine: &Engine| {
        process::Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(OWN, engine.to_string())
            .stdout(process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut calls = 0;
    for child in engines.iter().map(run).collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}\n{text}", output.status);
        let count = text.lines().find_map(|line| line.strip_suffix(" calls"));
        let count = count.and_then(|words| words.rsplit(' ').next());
        let own: usize = count.unwrap().parse().unwrap();
        assert!(own > 50, "{text}");
        calls += own;
    }
    Some(calls)
}

#[test]
fn every_call_of_every_plan_that_fails_is_named() {
    let name = "every_call_of_every_plan_that_fails_is_named";
    let calls = in_each_engine(name, &util::ENGINES, every_call);
    let Some(calls) = calls else { return };
    println!("{calls} calls, each with {} faults", ERRNOS.len() + 2);
    assert!(calls > 200, "{calls}");
}

/// Gives up the terminal of this process: which calls `detach_terminal` makes
/// depends on it.
fn leave_terminal() {
    if let Ok(terminal) = fs::File::open("/dev/tty") {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&terminal);
        // SAFETY: the call writes no memory.
        unsafe { libc::ioctl(fd, libc::TIOCNOTTY) };
    }
}

/// How many calls all plans make that this engine may run.
fn every_call(own: &str) -> usize {
    let mut calls = 0;
    for case in cases() {
        for engine in case.engines.iter().copied() {
            assert!(util::ENGINES.contains(&engine));
            if engine.to_string() == own {
                let group = None;
                let harness = Harness { case, engine, group, root: is_root() };
                calls += harness.run();
            }
        }
    }
    calls
}
