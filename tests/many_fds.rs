//! Many descriptors: how much of the table a spawn copies, reserved
//! descriptors, and a census of the children's descriptors while threads open
//! and close others. Each test in its own process.
#![allow(unsafe_code, reason = "the tests open and close by number")]

mod util;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Memory, Prepared, Stdio, reserve_fds};
use util::fork::forked;
use util::reporter::{Report, descriptors};
use util::{alone, each_engine, elf, limit, reporter_with};

/// Opens so many descriptors.
fn open(count: usize) -> Vec<OwnedFd> {
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    (0..count).map(|_| null.try_clone().unwrap()).collect()
}

/// Raises RLIMIT_NOFILE; returns whether it is at least `limit`.
fn raise(limit: u64) -> bool {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) };
    let new = libc::rlimit { rlim_cur: old.rlim_max.min(20_000), ..old };
    // SAFETY: reads one rlimit.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &new) };
    done == 0 && new.rlim_cur >= limit
}

/// The size of the child's descriptor table, as it is after exec.
fn table_size(command: &mut Command) -> u32 {
    let output = command.output().unwrap();
    let report = Report::parse(&output.stdout);
    assert_eq!(report.fds(), [0, 1, 2]);
    report.one("FDSize").parse().unwrap()
}

#[test]
fn a_child_never_has_an_fd_table_as_large_as_the_parents() {
    let name = "a_child_never_has_an_fd_table_as_large_as_the_parents";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    if !raise(3000) {
        return util::skip(name, "RLIMIT_NOFILE is below 3000");
    }
    let many = open(2000);
    let path = util::scratch("table").join("report");
    let mut quiet = Command::new(std::env::current_exe().unwrap());
    quiet.arg(util::reporter::ASK).arg(&path);
    // With 0 to 2 only, nothing above is copied.
    assert!(quiet.status().unwrap().success());
    let report = Report::parse(&std::fs::read(&path).unwrap());
    assert_eq!(report.one("FDSize"), "64");
    // A new pipe is above all others, so the whole table is copied.
    assert!(table_size(&mut reporter_with(Engine::Suspended)) >= 2000);
    drop(many);
    // With a reserved number the pipe is below them.
    reserve_fds(3).unwrap();
    let many = open(2000);
    assert_eq!(table_size(&mut reporter_with(Engine::Suspended)), 64);
    let high = many.last().unwrap().try_clone().unwrap();
    let mut command = reporter_with(Engine::Suspended);
    command.stderr(Stdio::from(high));
    assert_eq!(table_size(&mut command), 64, "a passed one moves down too");
    // A helper image and its status page keep two more.
    let mut private = Command::new("/bin/true");
    let mut child = private.memory(Memory::Private).spawn().unwrap();
    assert_eq!(child.launch().engine(), Engine::Isolated);
    assert!(child.wait().unwrap().success());
    let mut command = reporter_with(Engine::Suspended);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(table_size(&mut command), 64, "three are left");
    // One more than are left: the last is at a high number.
    let pipe = File::open("/dev/null").unwrap();
    let mut command = reporter_with(Engine::Suspended);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).fd(9, pipe);
    command.stderr(Stdio::null());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let report = Report::parse(&output.stdout);
    assert_eq!(report.fds(), [0, 1, 2, 9]);
}

/// The pipe engine copies the whole table, with or without a reserve; its
/// child has the right descriptors too.
#[test]
fn reserved_descriptors_work_in_every_engine() {
    let name = "reserved_descriptors_work_in_every_engine";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    reserve_fds(8).unwrap();
    let _many = open(200);
    each_engine(|engine| {
        // The isolated engine caches its status page from the first spawn on.
        assert!(reporter_with(engine).output().unwrap().status.success());
        // The reserved number that a helper image has differs.
        let kinds = || {
            let (numbers, mut kinds): (Vec<_>, Vec<_>) =
                descriptors().into_iter().unzip();
            kinds.sort();
            (numbers, kinds)
        };
        let before = kinds();
        for _ in 0..3 {
            let mut command = reporter_with(engine);
            command.stdin(Stdio::piped()).stderr(Stdio::null());
            let output = command.output().unwrap();
            let report = Report::parse(&output.stdout);
            assert_eq!(report.fds(), [0, 1, 2], "{engine}");
            let error = Command::new("/nope").engine(engine).output();
            assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENOENT));
            assert_eq!(kinds(), before, "{engine}: all are released");
        }
    });
}

/// The parent's writing end is closed when spawn returns, at a reserved number
/// too: a reader sees the end of the pipe as soon as the child has ended.
#[test]
fn reserved_descriptors_do_not_delay_the_end_of_a_pipe() {
    let name = "reserved_descriptors_do_not_delay_the_end_of_a_pipe";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    reserve_fds(4).unwrap();
    let _many = open(200);
    let spawn = |_| {
        let mut command = Command::new("/bin/true");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let begun = Instant::now();
        assert_eq!(out.read(&mut [0]).unwrap(), 0);
        assert!(child.wait().unwrap().success());
        begun.elapsed()
    };
    thread::scope(|scope| {
        let run = || (0..50).map(spawn).max().unwrap();
        let all: Vec<_> = (0..16).map(|_| scope.spawn(run)).collect();
        for thread in all {
            assert!(thread.join().unwrap() < Duration::from_secs(5));
        }
    });
}

#[test]
fn emfile_while_reserving_is_named_and_leaks_nothing() {
    let name = "emfile_while_reserving_is_named_and_leaks_nothing";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    limit(libc::RLIMIT_NOFILE, 64, 64);
    let before = descriptors();
    // The limit alone would allow the first, but some numbers are in use.
    for (count, why) in [(61, false), (62, true), (100, true)] {
        let error = reserve_fds(count).unwrap_err();
        assert_eq!(error.step(), offshoot::Step::ReserveFds);
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        let text = error.to_string();
        assert_eq!(text.contains("RLIMIT_NOFILE"), why, "{text}");
        assert_eq!(descriptors(), before);
    }
    reserve_fds(4).unwrap();
    assert!(Command::new("/bin/true").output().unwrap().status.success());
}

/// Spawns per thread: few by default, `OFFSHOOT_CENSUS` in CI.
fn rounds() -> usize {
    let value = std::env::var("OFFSHOOT_CENSUS");
    value.map_or(40, |value| value.parse().unwrap())
}

#[test]
fn no_child_ever_has_a_descriptor_it_was_not_given() {
    let name = "no_child_ever_has_a_descriptor_it_was_not_given";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let path = util::scratch("census").join("census");
    util::program(&path, &elf::census());
    reserve_fds(16).unwrap();
    let (done, spawned) = (AtomicBool::new(false), AtomicUsize::new(0));
    let churn = || {
        let null = File::open("/dev/null").unwrap();
        while !done.load(Ordering::Relaxed) {
            // Not close-on-exec, at any free number.
            // SAFETY: duplicates an open descriptor.
            let fds = [(); 8].map(|()| unsafe { libc::dup(null.as_raw_fd()) });
            for fd in fds {
                // SAFETY: closes the new descriptor.
                unsafe { libc::close(fd) };
            }
        }
    };
    let rounds = rounds();
    let spawn = |n: usize| {
        for round in 0..rounds {
            let null = || File::open("/dev/null").unwrap();
            let mut census = Command::new(&path);
            census.fd(5, null());
            match (n + round) % 4 {
                0 => drop(census.stdout(Stdio::piped())),
                1 => drop(census.stdin(Stdio::null())),
                2 => drop(census.stdin(null()).stderr(Stdio::piped())),
                _ => {}
            }
            let mut child = census.spawn().unwrap();
            let status = child.wait().unwrap();
            assert!(status.success(), "{status}: {} and 64", round);
            spawned.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let churn: Vec<_> = (0..2).map(|_| scope.spawn(churn)).collect();
        let spawn = &spawn;
        let all: Vec<_> =
            (0..64).map(|n| scope.spawn(move || spawn(n))).collect();
        let ended: Vec<_> = all.into_iter().map(|one| one.join()).collect();
        done.store(true, Ordering::Relaxed);
        churn.into_iter().for_each(|one| one.join().unwrap());
        ended.into_iter().for_each(|one| one.unwrap());
    });
    assert_eq!(spawned.into_inner(), 64 * rounds);
}

/// Control of the test above: the census detects a difference.
#[test]
fn the_census_finds_an_extra_or_missing_descriptor() {
    let path = util::scratch("census-itself").join("census");
    util::program(&path, &elf::census());
    let null = || File::open("/dev/null").unwrap();
    let run = |command: &mut Command| command.status().unwrap().code();
    let mut right = Command::new(&path);
    assert_eq!(run(right.fd(5, null())), Some(0));
    assert_eq!(run(right.fd(9, null())), Some(64 | 9));
    assert_eq!(run(&mut Command::new(&path)), Some(64 | 5));
    let mut closed = Command::new(&path);
    closed.fd(5, null()).stdin(Stdio::closed());
    assert_eq!(run(&mut closed), Some(64));
}

/// A fork has one thread; locks and descriptors that other threads held are
/// never released there.
#[test]
fn a_fork_of_a_threaded_process_spawns_without_deadlock() {
    let name = "a_fork_of_a_threaded_process_spawns_without_deadlock";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    reserve_fds(3).unwrap();
    let _many = open(120);
    let mut command = Command::new("/bin/true");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let prepared = command.prepare().unwrap();
    let mut private = Command::new("/bin/true");
    let private = private.memory(Memory::Private);
    let isolated = private.prepare().unwrap();
    let both = [&prepared, &isolated];
    let spawn = || {
        let ran =
            |p: &&Prepared| p.spawn().is_ok_and(|mut c| c.wait().is_ok());
        both.iter().all(ran)
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(spawn());
                    // Its status page and helper are cached, and released.
                    assert!(private.clone().status().unwrap().success());
                }
            });
        }
        for _ in 0..300 {
            // Spawning allocates nothing: there is no lock to wait for.
            let status = forked(|| {
                // SAFETY: ends the child after 10 s.
                unsafe { libc::alarm(10) };
                i32::from(!spawn())
            });
            assert_eq!(status, 0);
        }
        done.store(true, Ordering::Relaxed);
    });
}
