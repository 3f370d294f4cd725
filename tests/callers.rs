//! Callers: processes with unusual rights and threads, in which a spawn neither
//! hangs nor loses what it was asked for.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io;
use std::time::Duration;

use offshoot::{CapabilitySet, Command, Engine, Securebits, Step};
use util::clean::{command, refused};
use util::fork::{forked, forked_within};
use util::{PRIVATE, alone, each_of, inside, is_root, report, skip};

const LIMIT: Duration = Duration::from_secs(30);

fn sleep() -> Command {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    sleep
}

/// libc sends each thread a signal and waits until it has changed its ids.
#[test]
fn a_thread_that_waits_for_a_child_does_not_hold_up_a_change_of_ids() {
    let _alone = alone();
    let status = forked_within(LIMIT, || {
        let mut child = sleep().die_with_parent().spawn().unwrap();
        // SAFETY: returns a number.
        let own = unsafe { libc::getgid() };
        // SAFETY: takes a number, which is its own group id.
        let set = unsafe { libc::setgid(own) };
        child.kill().unwrap();
        child.wait().unwrap();
        set
    });
    assert_eq!(status, Some(0), "None: it hangs");
    // An exec in place changes the ids in the same way.
    let status = forked_within(LIMIT, || {
        sleep().die_with_parent().spawn().unwrap();
        // SAFETY: returns a number.
        let own = unsafe { libc::getgid() };
        let mut least = Command::new("/bin/true");
        let groups = offshoot::Groups::keep();
        panic!("{}", least.gid(own).groups(groups).exec());
    });
    assert_eq!(status, Some(0), "None: it hangs");
}

fn capset(permitted: u64) {
    capset_with(permitted, 0);
}

fn capset_with(permitted: u64, inheritable: u32) {
    let half = |n: u64| u32::try_from(n & 0xFFFF_FFFF).unwrap();
    let (low, high) = (half(permitted), half(permitted >> 32));
    let header = [0x2008_0522u32, 0];
    let sets = [low, low, inheritable, high, high, 0];
    let (header, sets) = (header.as_ptr(), sets.as_ptr());
    // SAFETY: reads a header and two sets of three words.
    let done = unsafe { libc::syscall(libc::SYS_capset, header, sets) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

fn setresuid(ids: [u32; 3]) {
    let [r, e, s] = ids.map(libc::c_long::from);
    // SAFETY: takes numbers, and changes this thread.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

fn root_only(name: &str) -> bool {
    let root = is_root();
    if !root {
        skip(name, "only root may have other ids and capabilities");
    }
    root
}

/// What exec gives root, its child must have had, or the kernel clears the
/// signal.
#[test]
fn a_parent_death_signal_that_exec_clears_is_refused() {
    let name = "a_parent_death_signal_that_exec_clears_is_refused";
    if !root_only(name) || !inside(name, &[]) {
        return;
    }
    type Set = fn(&mut Command) -> &mut Command;
    const KILL: CapabilitySet = CapabilitySet::KILL;
    let all: [(Set, Option<&str>); 7] = [
        (|it| it, None),
        (|it| it.permitted_capabilities(KILL), Some("permitted_capabilities")),
        (|it| it.ambient_capabilities(KILL), Some("permitted_capabilities")),
        (
            |it| it.permitted_capabilities(KILL).bounding_capabilities(KILL),
            None,
        ),
        (
            |it| {
                it.permitted_capabilities(KILL).securebits(Securebits::NOROOT)
            },
            None,
        ),
        (|it| it.ambient_capabilities(KILL).uid(65534).gid(65534), None),
        (|it| it.resuid(0, 65534, 0), Some("resuid")),
    ];
    for (set, option) in all {
        each_of(&PRIVATE, |engine| {
            let mut reporter = util::reporter_with(engine);
            set(reporter.parent_death_signal(libc::SIGURG));
            match option {
                None => {
                    let seen = report(&mut reporter);
                    assert_eq!(seen.one("deathsig"), "23", "{engine}");
                }
                Some(option) => {
                    let error = reporter.plan().unwrap_err();
                    let step = Step::ParentDeathSignal;
                    refused(&error, step, Some(option), "exec clears");
                }
            }
        });
    }
}

/// The state of the caller counts, at each spawn.
#[test]
fn a_parent_death_signal_is_refused_to_a_caller_whose_exec_clears_it() {
    let name =
        "a_parent_death_signal_is_refused_to_a_caller_whose_exec_clears_it";
    let _alone = alone();
    if !root_only(name) {
        return;
    }
    let signal = || {
        let mut signal = Command::new("/bin/true");
        signal.parent_death_signal(libc::SIGURG);
        signal
    };
    let all: [(fn(), &str); 3] = [
        (|| capset(1 << 6 | 1 << 7), "capset"),
        // SAFETY: takes a number.
        (|| _ = unsafe { libc::setfsuid(65534) }, "setfsuid"),
        (|| setresuid([65534, 0, 0]), "resuid"),
    ];
    for (change, option) in all {
        let status = forked(|| {
            let prepared = signal().prepare().unwrap();
            prepared.spawn().unwrap().wait().unwrap();
            change();
            let late = prepared.spawn().map(drop).unwrap_err();
            let error = signal().die_with_parent().plan().unwrap_err();
            let why = "exec clears";
            refused(&late, Step::ParentDeathSignal, Some(option), why);
            refused(&error, Step::DieWithParent, Some(option), why);
            0
        });
        assert_eq!(status, 0, "{option}");
    }
}

/// As a service has them: another user's id with the right to change it, and
/// without the right to kill.
fn become_service() {
    // SAFETY: keeps this thread's capabilities through setresuid.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
    setresuid([1000; 3]);
    // Ambient, so that a helper has them after its exec.
    let both = 1u32 << 6 | 1 << 7;
    capset_with(both.into(), both);
    for n in [6, 7] {
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: raises one ambient capability of this thread.
        let done =
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, n, 0, 0) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
    // SAFETY: /proc/self stays its own, which the change of ids took away.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}

#[test]
fn a_child_that_its_parent_may_not_kill_does_not_hang_the_spawn() {
    let name = "a_child_that_its_parent_may_not_kill_does_not_hang_the_spawn";
    let _alone = alone();
    if !root_only(name) {
        return;
    }
    let failing = |engine: Engine| {
        let mut hooked = command("/bin/true", engine);
        hooked.before_exec(|_, _| Err(io::Error::from_raw_os_error(5)));
        let mut filtered = command("/bin/true", engine);
        let filter = [(0x06u16, 0u8, 0u8, libc::SECCOMP_RET_ALLOW)];
        filtered.no_new_privs(true).seccomp_with_listener(filter);
        [(hooked, Step::BeforeExec), (filtered, Step::SeccompListener)]
    };
    // The engine pipe takes no listener.
    let hooks = PRIVATE.map(|engine| (engine, 0));
    let listeners = [(Engine::Isolated, 1), (Engine::Copied, 1)];
    for (engine, n) in hooks.into_iter().chain(listeners) {
        let status = forked_within(LIMIT, || {
            become_service();
            let (mut child, step) =
                failing(engine).into_iter().nth(n).unwrap();
            child.uid(65534).groups(offshoot::Groups::keep());
            let error = child.spawn().map(drop).unwrap_err();
            assert_eq!(error.step(), step, "{error}");
            i32::from(util::has_children())
        });
        assert_eq!(status, Some(0), "{engine} {n}: None: it hangs");
    }
}

/// A capability that is kept although the flag for it is locked.
#[test]
fn a_locked_flag_that_is_set_keeps_capabilities() {
    let name = "a_locked_flag_that_is_set_keeps_capabilities";
    let _alone = alone();
    if !root_only(name) {
        return;
    }
    let child = |bits: u64| {
        // SAFETY: takes numbers, and changes this thread.
        let set = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits) };
        assert_eq!(set, 0);
        let mut kill = Command::new("/bin/true");
        kill.engine(Engine::Copied).uid(65534).gid(65534);
        kill.ambient_capabilities(CapabilitySet::KILL);
        kill.status().map(|status| assert!(status.success()))
    };
    // SECBIT_KEEP_CAPS and SECBIT_KEEP_CAPS_LOCKED.
    assert_eq!(forked(|| i32::from(child(0x30).is_err())), 0);
    let status = forked(|| {
        let error = child(0x20).unwrap_err();
        assert_eq!(error.step(), Step::KeepCapabilities, "{error}");
        assert!(error.to_string().contains("KEEP_CAPS is locked"), "{error}");
        0
    });
    assert_eq!(status, 0);
}
