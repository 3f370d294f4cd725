//! Confirmed exec: the parent distinguishes a helper that executed its program
//! from one that died, at once, under filters, and without a pid that another
//! process may have reused.
#![allow(unsafe_code, reason = "tests do what other libraries do")]

mod util;

use std::fs::{self, OpenOptions};
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Command, Step};
use util::clean::{assert_error, isolated};
use util::filter::{self, Action};
use util::{alone, fallbacks};

/// Runs a test again in a PID namespace of its own, as `inside` does, or
/// skips it.
#[track_caller]
fn in_own_pids(test: &str) -> bool {
    let wrap = util::own_pids();
    if wrap.is_empty() {
        util::skip(test, "no PID namespace for this user");
    }
    !wrap.is_empty() && util::inside(test, &wrap)
}

/// Asserts that a running program is confirmed, and a missing one an error.
#[track_caller]
fn assert_both() {
    for _ in 0..20 {
        let mut child = isolated("/bin/true").spawn().unwrap();
        assert!(child.launch().confirmed());
        assert_eq!(child.launch().fallbacks().count(), 0);
        assert!(child.wait().unwrap().success());
    }
    let error = isolated("/nope").spawn().unwrap_err();
    assert_error(&error, Step::Exec, Some("/nope"), libc::ENOENT);
    assert!(!util::has_children());
}

/// A caller of real-time priority would starve the process it waits for.
#[test]
fn no_loop_in_src_waits_by_yielding() {
    let all = util::source::files("src");
    assert!(all.len() > 50);
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["yield_now", "sched_yield", "spin_loop"] {
            assert!(!text.contains(word), "{path:?}: {word}");
        }
    }
}

/// With a filter that kills a thread that calls `sched_yield`.
#[test]
fn no_spawn_waits_by_yielding() {
    let name = "no_spawn_waits_by_yielding";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    util::each_engine(|engine| {
        filter::with(libc::SYS_sched_yield, Action::Kill, || {
            for _ in 0..20 {
                let mut command = Command::new("/bin/true");
                assert!(command.engine(engine).status().unwrap().success());
            }
        });
    });
}

/// The CPU time of this thread.
fn used() -> Duration {
    // SAFETY: all zeros is a time.
    let mut now: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    let (sec, nsec) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    Duration::from_secs(sec) + Duration::from_nanos(nsec)
}

/// It preempts every thread of ordinary priority, so on one processor nothing
/// else runs while it is runnable.
#[test]
fn a_real_time_caller_does_not_starve_its_child() {
    let name = "a_real_time_caller_does_not_starve_its_child";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&set);
    // SAFETY: writes one set.
    unsafe { libc::sched_getaffinity(0, size, &mut set) };
    let is_in = |cpu: &usize| {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    let first = (0..1024).find(is_in).unwrap();
    // SAFETY: as above.
    unsafe { libc::CPU_ZERO(&mut set) };
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first, &mut set) };
    // SAFETY: reads one set.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &set) }, 0);
    let action = Action::errno(libc::EPERM);
    // Without process_mrelease, and with it.
    for nr in [libc::SYS_process_mrelease, libc::SYS_acct] {
        let refused = filter::with(nr, action, || {
            let to = libc::sched_param { sched_priority: 10 };
            let how = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
            // SAFETY: reads one parameter.
            if unsafe { libc::sched_setscheduler(0, how, &to) } != 0 {
                return true;
            }
            for _ in 0..5 {
                let before = used();
                let mut child = isolated("/bin/true").spawn().unwrap();
                let spent = used() - before;
                assert!(spent.as_millis() < 200, "{spent:?}");
                assert!(child.launch().confirmed());
                assert!(child.wait().unwrap().success());
            }
            false
        });
        if refused {
            return util::skip(name, "needs CAP_SYS_NICE");
        }
    }
}

/// The parent asks `process_mrelease`, the owner of a PI lock or /proc,
/// whichever is allowed. A filter that kills hits a helper, never the caller.
#[test]
fn a_program_is_confirmed_under_every_filter() {
    let _alone = alone();
    let errno = |errno: i32| Action::errno(errno);
    let mrelease = [
        errno(0),
        errno(libc::ENOSYS),
        errno(libc::EPERM),
        errno(libc::EINVAL),
        Action::Kill,
    ];
    for action in mrelease {
        let mrelease = (libc::SYS_process_mrelease, action);
        filter::with_each(&[mrelease], assert_both);
        filter::with_each(&[mrelease], || {
            let lock = libc::FUTEX_TRYLOCK_PI.unsigned_abs();
            filter::without_second(libc::SYS_futex, lock, assert_both);
        });
    }
    let personality = (libc::SYS_personality, Action::Kill);
    filter::with_each(&[personality], assert_both);
}

#[test]
fn dockers_filter_changes_the_clone_call_and_nothing_else() {
    let _alone = alone();
    thread::scope(|scope| {
        let test = || {
            filter::docker();
            for _ in 0..20 {
                let mut child = isolated("/bin/true").spawn().unwrap();
                assert!(child.launch().confirmed());
                let fallbacks = fallbacks(child.launch());
                assert_eq!(fallbacks, [("clone3", Some(libc::ENOSYS))]);
                assert!(child.wait().unwrap().success());
            }
        };
        scope.spawn(test).join().unwrap();
    });
}

/// Other code reaps our child, and another child reuses its pid at once. With
/// a filter that rejects waitid by pidfd, `wait` must not reap that one.
#[test]
fn wait_does_not_reap_a_child_that_reuses_the_pid() {
    let name = "wait_does_not_reap_a_child_that_reuses_the_pid";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    for action in [libc::EPERM, libc::EINVAL, libc::ENOSYS] {
        let mut first = isolated("/bin/sleep").arg("60").spawn().unwrap();
        first.kill().unwrap();
        let number = i32::try_from(first.id()).unwrap();
        let mut status = 0;
        // SAFETY: our own child; writes one int.
        let reaped = unsafe { libc::waitpid(number, &mut status, 0) };
        assert_eq!((reaped, status), (number, libc::SIGKILL));
        let mut second = Command::new("/bin/true");
        let mut second = match second.set_tid([number]).spawn() {
            Ok(second) => second,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return util::skip(name, "needs CAP_CHECKPOINT_RESTORE");
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(second.id(), first.id());
        let action = Action::errno(action);
        let waited = filter::with(libc::SYS_waitid, action, || first.wait());
        match waited {
            Ok(status) => assert_eq!(status.signal(), Some(libc::SIGKILL)),
            Err(error) => assert_eq!(error.step(), Step::Wait, "{error}"),
        }
        assert!(second.wait().unwrap().success(), "{action:?}: it was reaped");
    }
}

/// Sets the flag on drop, however the test ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `work` while one thread kills each child of this thread, after a
/// random time of at most so many microseconds, and another reaps any child.
fn while_killed_and_reaped(within: u64, work: impl FnOnce()) {
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::gettid() };
    let children = format!("/proc/self/task/{own}/children");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            let (mut seed, mut last) = (12345u64, 0);
            while !done.load(Ordering::SeqCst) {
                let all = fs::read_to_string(&children).unwrap();
                let first = all.split(' ').next().unwrap();
                let Ok(pid) = first.trim().parse::<i32>() else { continue };
                if pid == last {
                    continue;
                }
                last = pid;
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let pause = Duration::from_micros(seed % within);
                let begun = Instant::now();
                while begun.elapsed() < pause {}
                assert!(pid > 1);
                // SAFETY: a child, in the test's own PID namespace.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut status = 0;
                // SAFETY: writes one int.
                let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
                if pid <= 0 {
                    thread::sleep(Duration::from_micros(20));
                }
            }
        });
        work();
    });
}

/// A long search that finds nothing.
#[test]
fn a_missing_program_is_an_error_while_children_are_killed_and_reaped() {
    let name =
        "a_missing_program_is_an_error_while_children_are_killed_and_reaped";
    let _alone = alone();
    if !in_own_pids(name) {
        return;
    }
    let dirs: Vec<String> = (0..4000).map(|n| format!("/nope/{n}")).collect();
    let mut command = isolated("offshoot-nowhere");
    command.env("PATH", dirs.join(":"));
    let prepared = command.prepare().unwrap();
    let (begun, mut killed) = (Instant::now(), 0);
    while_killed_and_reaped(3000, || {
        for _ in 0..400 {
            let error = match prepared.spawn() {
                Ok(child) => panic!("{} runs nothing", child.id()),
                Err(error) => error,
            };
            killed += usize::from(error.raw_os_error().is_none());
            if begun.elapsed() > Duration::from_secs(10) {
                break;
            }
        }
    });
    assert!(killed > 0, "none was killed");
}

/// A child is killed at any time around its exec and reaped by another thread:
/// an error means that nothing was written, and after the first unconfirmed
/// one every exec is confirmed.
#[test]
fn exec_is_distinguished_from_death_when_another_thread_reaps() {
    let name = "exec_is_distinguished_from_death_when_another_thread_reaps";
    let _alone = alone();
    if !in_own_pids(name) {
        return;
    }
    let path = util::scratch("confirmed").join("out");
    let out = OpenOptions::new().create(true).append(true).open(&path);
    let out = out.unwrap();
    let mut command = isolated("/bin/echo");
    let prepared = command.arg("x").stdout(out).prepare().unwrap();
    let len = || fs::metadata(&path).unwrap().len();
    let begun = Instant::now();
    let (mut ran, mut died, mut unconfirmed) = (0, 0, 0);
    while_killed_and_reaped(1200, || {
        for _ in 0..1500 {
            let before = len();
            match prepared.spawn() {
                Ok(mut child) => {
                    unconfirmed += usize::from(!child.launch().confirmed());
                    let ended = child.wait();
                    let success = ended.is_ok_and(|ended| ended.success());
                    assert!(!success || len() > before);
                    ran += usize::from(success);
                }
                Err(error) => {
                    assert_eq!(error.raw_os_error(), None, "{error}");
                    assert_eq!(len(), before, "{error}: it ran");
                    died += 1;
                }
            }
            if begun.elapsed() > Duration::from_secs(15) {
                break;
            }
        }
    });
    eprintln!("{ran} ran, {died} died, {unconfirmed} unconfirmed");
    assert!(died > 0, "none was killed before its exec");
    assert!(unconfirmed <= 1, "{unconfirmed}");
}

/// As above, and another child reuses the pid of each killed child at once and
/// stays alive: a check by pid would find that one.
#[test]
fn a_child_that_reuses_the_pid_is_not_taken_for_the_dead_one() {
    let name = "a_child_that_reuses_the_pid_is_not_taken_for_the_dead_one";
    let _alone = alone();
    if !in_own_pids(name) {
        return;
    }
    let mut probe = Command::new("/bin/true");
    if probe.set_tid([30_000]).status().is_err() {
        return util::skip(name, "needs CAP_CHECKPOINT_RESTORE");
    }
    // Long enough for a kill to interrupt it.
    let dirs: Vec<String> = (0..4000).map(|n| format!("/nope/{n}")).collect();
    let mut command = isolated("offshoot-nowhere");
    let prepared = command.env("PATH", dirs.join(":")).prepare().unwrap();
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::gettid() };
    let children = format!("/proc/self/task/{own}/children");
    let (done, reused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let all = fs::read_to_string(&children).unwrap();
                let first = all.split(' ').next().unwrap();
                let Ok(pid) = first.trim().parse::<i32>() else { continue };
                if pid == last {
                    continue;
                }
                last = pid;
                thread::sleep(Duration::from_micros(500));
                assert!(pid > 1);
                // SAFETY: a child, in the test's own PID namespace.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                let mut status = 0;
                // SAFETY: writes one int.
                if unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
                    continue;
                }
                let mut same = Command::new("/bin/sleep");
                let same = same.arg("60").set_tid([pid]).spawn();
                if let Ok(mut same) = same {
                    reused.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    same.kill().unwrap();
                    same.wait().unwrap();
                }
            }
        });
        for _ in 0..200 {
            if let Ok(child) = prepared.spawn() {
                panic!("{} runs nothing", child.id());
            }
            if begun.elapsed() > Duration::from_secs(8) {
                break;
            }
        }
    });
    assert!(reused.load(Ordering::SeqCst) > 0, "no pid was reused");
}
