//! Descriptors by number: any map of sources to targets in each engine, and
//! invalid numbers, refused by name.
#![allow(unsafe_code, reason = "the tests open and close by number")]

mod util;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use offshoot::{Command, Engine, Error, Prepared, Stdio, Step};
use util::clean::{assert_error, clean};
use util::reporter::{ASK, Report};
use util::{alone, each_engine, limit, reporter_with, scratch};

/// A file of this name, at the lowest free descriptor from `least` up.
fn file_at(dir: &Path, name: &str, least: RawFd) -> OwnedFd {
    let file = File::create(dir.join(name)).unwrap();
    // SAFETY: duplicates an open descriptor.
    let fd =
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    assert!(fd >= least);
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The child's files from 3 up: number and name.
fn seen(report: &Report) -> BTreeMap<u32, String> {
    let one = |line: &str| {
        let (number, path) = line.split_once(' ').unwrap();
        let name = path.rsplit('/').next().unwrap().to_string();
        (number.parse().unwrap(), name)
    };
    let all = report.all("fd").into_iter().map(one);
    all.filter(|(number, _)| *number >= 3).collect()
}

fn report(command: &mut Command) -> Result<Report, Error> {
    let output = command.output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(Report::parse(&output.stdout))
}

fn named(all: &[(u32, &str)]) -> BTreeMap<u32, String> {
    all.iter().map(|(n, name)| (*n, (*name).to_string())).collect()
}

#[test]
fn descriptors_can_trade_places_and_rotate() {
    let dir = scratch("rotate");
    let three = |command: &mut Command, targets: [RawFd; 3]| {
        let fds = ["a", "b", "c"].map(|name| file_at(&dir, name, 30));
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let at = targets.map(|n| match n {
            0..3 => numbers[n.unsigned_abs() as usize],
            n => n,
        });
        for (fd, to) in fds.into_iter().zip(at) {
            command.fd(to, fd);
        }
        let want = at.map(|n| u32::try_from(n).unwrap());
        let want = want.into_iter().zip(["a", "b", "c"]);
        want.map(|(n, name)| (n, name.to_string())).collect()
    };
    each_engine(|engine| {
        // A target below 3 means the number of that source.
        for targets in [[1, 0, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]] {
            let mut command = reporter_with(engine);
            let want: BTreeMap<_, _> = three(&mut command, targets);
            let found = seen(&report(&mut command).unwrap());
            assert_eq!(found, want, "{engine} {targets:?}");
        }
        for targets in [[3, 4, 5], [5, 1, 200], [900, 3, 0]] {
            let mut command = reporter_with(engine);
            let want: BTreeMap<_, _> = three(&mut command, targets);
            let found = seen(&report(&mut command).unwrap());
            assert_eq!(found, want, "{engine} {targets:?}");
        }
    });
}

#[test]
fn one_descriptor_can_have_many_targets_and_keep_its_number() {
    let dir = scratch("many-numbers");
    each_engine(|engine| {
        let file = file_at(&dir, "a", 30);
        let own = file.as_raw_fd();
        let mut command = reporter_with(engine);
        util::raw_fds(&mut command, &[(7, own), (9, own), (own, own)]);
        let found = seen(&report(&mut command).unwrap());
        let own = own.unsigned_abs();
        let want = named(&[(7, "a"), (9, "a"), (own, "a")]);
        assert_eq!(found, want, "{engine}");
        drop(file);
    });
}

/// The source of each target 0 to 5 for `raw_fd`; `None` is no call.
type Map = [Option<RawFd>; 6];

/// Spawns with a map and a set of closed descriptors, in this process whose 0
/// to 5 are files of those names. `Err` is a difference from the map.
fn check_map(
    path: &Path,
    map: Map,
    closed: u32,
    engine: Engine,
) -> Result<(), String> {
    let is_closed = |n: RawFd| closed & (1 << n) != 0;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ASK).arg(path).engine(engine);
    let mut want = BTreeMap::new();
    for n in (0..3).filter(|n| !is_closed(*n)) {
        want.insert(n, n);
    }
    let mut refused = false;
    for (to, from) in (0..).zip(map) {
        let Some(from) = from else { continue };
        // SAFETY: the descriptors stay open until the child has them.
        unsafe { command.raw_fd(to, from) };
        refused |= is_closed(from);
        want.insert(to, from);
    }
    let child = match (command.spawn(), refused) {
        (Ok(mut child), false) => child.wait().map_err(|e| e.to_string())?,
        (Err(error), true) => {
            let closed = error.raw_os_error() == Some(libc::EBADF);
            let named = error.step() == Step::Fd && closed;
            return if named { Ok(()) } else { Err(error.to_string()) };
        }
        (Ok(_), true) => return Err("a closed source was taken".into()),
        (Err(error), false) => return Err(error.to_string()),
    };
    if !child.success() {
        return Err(format!("{child}"));
    }
    let report = fs::read(path).map_err(|e| e.to_string())?;
    let report = Report::parse(&report);
    let mut found = BTreeMap::new();
    for line in report.all("fd") {
        let (to, path) = line.split_once(' ').unwrap_or_default();
        let from = path.rsplit('/').next().unwrap_or_default();
        let (to, from) = (to.parse::<RawFd>(), from.parse::<RawFd>());
        found.insert(to.unwrap_or(-1), from.unwrap_or(-1));
    }
    if found == want { Ok(()) } else { Err(format!("{found:?}, {want:?}")) }
}

/// The planner is checked against a model exhaustively (`plan/fds`); this
/// runs a sample of the same maps.
#[test]
fn a_sample_of_fd_maps_is_right_on_a_real_kernel() {
    let name = "a_sample_of_fd_maps_is_right_on_a_real_kernel";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("maps");
    let saved = [0, 1, 2].map(|n| {
        // SAFETY: duplicates an open descriptor to a high number.
        unsafe { libc::fcntl(n, libc::F_DUPFD_CLOEXEC, 200) }
    });
    let files: Vec<OwnedFd> =
        (0..6).map(|n| file_at(&dir, &n.to_string(), 100)).collect();
    let mut seed = 0x2545_F491_4F6C_DD1Du64;
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 20) % below
    };
    let path = dir.join("report");
    let mut wrong = Vec::new();
    for engine in util::ENGINES {
        for _ in 0..250 {
            let map: Map = std::array::from_fn(|_| {
                i32::try_from(next(7)).ok().filter(|n| *n < 6)
            });
            let closed = next(64) & next(64) & next(64);
            let closed = u32::try_from(closed).unwrap();
            for (n, file) in (0..).zip(&files) {
                // SAFETY: 0 to 5 belong to this test.
                unsafe { libc::dup2(file.as_raw_fd(), n) };
                if closed & (1 << n) != 0 {
                    // SAFETY: as above.
                    unsafe { libc::close(n) };
                }
            }
            let done = check_map(&path, map, closed, engine);
            if let Err(why) = done {
                wrong.push(format!("{engine} {map:?} {closed:06b}: {why}"));
            }
        }
    }
    for (n, fd) in (0..).zip(saved) {
        // SAFETY: restores the descriptor.
        unsafe { libc::dup2(fd, n) };
    }
    assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..1]);
}

#[test]
fn a_closed_source_is_refused_and_the_pair_is_named() {
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        // SAFETY: the number is closed and stays closed.
        unsafe { command.raw_fd(7, 4711) };
        let error = clean(|| command.spawn().map(drop));
        assert_error(&error, Step::Fd, Some("4711 -> 7"), libc::EBADF);
        // The temporary copy for a cycle must not take the closed number.
        // SAFETY: finds the lowest free number.
        let free = unsafe { libc::dup(1) };
        // SAFETY: closes the new descriptor.
        unsafe { libc::close(free) };
        let mut command = reporter_with(engine);
        util::raw_fds(&mut command, &[(1, 2), (2, 1), (7, free)]);
        let error = clean(|| command.spawn().map(drop));
        assert_error(
            &error,
            Step::Fd,
            Some(&format!("{free} -> 7")),
            libc::EBADF,
        );
        let mut command = reporter_with(engine);
        // SAFETY: as above.
        unsafe { command.inherit_raw_fd(4711) };
        let error = clean(|| command.spawn().map(drop));
        assert_error(
            &error,
            Step::InheritRawFd,
            Some("4711 -> 4711"),
            libc::EBADF,
        );
    });
}

#[test]
fn invalid_fd_numbers_are_refused_and_the_option_is_named() {
    let null = || File::open("/dev/null").unwrap();
    let refuse = |command: &mut Command, step: Step, word: &str, why: &str| {
        let error = command.plan().unwrap_err();
        assert_eq!(error.step(), step, "{error}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        let operand = error.operand().unwrap().to_str().unwrap();
        assert!(operand.ends_with(word), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    let new = || Command::new("/bin/true");
    refuse(new().fd(-1, null()), Step::Fd, "-> -1", "0 or above");
    let twice = "-> 5\": descriptor 5 is assigned twice";
    refuse(new().fd(5, null()).fd(5, null()), Step::Fd, "-> 5", twice);
    let mut command = new();
    command.fd(1, null()).stdout(Stdio::piped());
    refuse(&mut command, Step::Fd, "-> 1", "1 is assigned twice, by `stdout`");
    let mut command = new();
    command.fd(3, null()).listen_fds([null()]);
    refuse(
        &mut command,
        Step::ListenFds,
        "-> 3",
        "3 is assigned twice, by `fd`",
    );
    let mut command = new();
    command.current_dir("/").current_dir_fd(null());
    refuse(&mut command, Step::CurrentDir, "/", "current_dir_fd sets");
}

/// As the jobserver crate's `configure` and `configure_make` set it.
#[test]
fn the_same_pair_twice_is_one_option() {
    let dir = scratch("pairs");
    let low = file_at(&dir, "low", 40);
    let number = low.as_raw_fd();
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        let map = [(number, number), (45, number), (0, number)];
        util::raw_fds(&mut command, &[map, map, map].concat());
        // SAFETY: it stays open; the same pair as the inherited one.
        unsafe { command.raw_fd(number, number) };
        let plan = command.plan().unwrap().to_string();
        assert_eq!(plan.matches("-> 45").count(), 1, "{plan}");
        let mut once = reporter_with(engine);
        util::raw_fds(&mut once, &map);
        assert_eq!(once.plan().unwrap().to_string(), plan);
        let want = named(&[(40, "low"), (45, "low")]);
        let report = report(&mut command).unwrap();
        assert_eq!(seen(&report), want, "{engine}");
    });
    // Another source is another option, even of the same file.
    let other = low.try_clone().unwrap().as_raw_fd();
    let mut command = Command::new("/bin/true");
    util::raw_fds(&mut command, &[(45, number), (45, other)]);
    let error = command.plan().unwrap_err();
    assert_eq!(error.step(), Step::Fd, "{error}");
    let mut command = Command::new("/bin/true");
    util::raw_fds(&mut command, &[(45, number), (45, number), (45, other)]);
    assert_eq!(command.plan().unwrap_err().step(), Step::Fd);
}

#[test]
fn a_target_above_rlimit_nofile_is_refused_by_name() {
    let name = "a_target_above_rlimit_nofile_is_refused_by_name";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("limit");
    let above = file_at(&dir, "above", 250);
    limit(libc::RLIMIT_NOFILE, 200, 200);
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        command.fd(200, File::open("/dev/null").unwrap());
        let error = clean(|| command.spawn().map(drop));
        assert_eq!(error.step(), Step::Fd, "{error}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
        // A descriptor that is open above the limit can still be a source.
        let mut command = reporter_with(engine);
        let own = above.as_raw_fd();
        let map = [(199, own), (150, own), (own, own)];
        util::raw_fds(&mut command, &map);
        let result = report(&mut command);
        // The pipe engine's own pipe must be above all targets.
        if engine == Engine::Pipe {
            let error = result.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            return;
        }
        let want = named(&[(150, "above"), (199, "above"), (250, "above")]);
        assert_eq!(seen(&result.unwrap()), want, "{engine}");
    });
}

#[test]
fn unlisted_descriptors_are_inherited_only_on_request() {
    let dir = scratch("unlisted");
    each_engine(|engine| {
        let open = file_at(&dir, "open", 60);
        let shut = file_at(&dir, "shut", 60);
        // SAFETY: clears a flag of this test's own descriptor.
        unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) };
        let mut command = reporter_with(engine);
        command.fd(5, shut.try_clone().unwrap());
        let listed = seen(&report(&mut command).unwrap());
        assert_eq!(listed, named(&[(5, "shut")]), "{engine}");
        command.inherit_unlisted_fds(true);
        if engine == Engine::Isolated {
            let error = report(&mut command).unwrap_err();
            assert_eq!(error.step(), Step::Memory);
            let why = "could take the number of one";
            assert!(error.to_string().contains(why), "{error}");
            return;
        }
        let all = seen(&report(&mut command).unwrap());
        let number = open.as_raw_fd().unsigned_abs();
        assert_eq!(all.get(&number).unwrap(), "open", "{engine}");
        assert_eq!(all.get(&5).unwrap(), "shut", "{engine}");
        let shut = shut.as_raw_fd().unsigned_abs();
        assert_eq!(all.get(&shut), None, "{engine}: close-on-exec");
    });
}

#[test]
fn the_child_starts_in_the_directory_that_was_opened() {
    each_engine(|engine| {
        let dir = scratch("opened");
        let (old, new) = (dir.join("old"), dir.join("new"));
        fs::create_dir(&old).unwrap();
        let opened = File::open(&old).unwrap();
        // SAFETY: clears close-on-exec of this test's own descriptor.
        unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_SETFD, 0) };
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        let mut command = reporter_with(engine);
        // Its number is a target too, so the spawn has to use a copy.
        let taken = opened.as_raw_fd();
        command.fd(taken, File::open("/dev/null").unwrap());
        let report = report(command.current_dir_fd(opened)).unwrap();
        assert_eq!(Path::new(report.one("cwd")), new, "{engine}");
        let taken = taken.unsigned_abs();
        assert_eq!(report.fds(), [0, 1, 2, taken], "{engine}");
    });
}

#[test]
fn current_dir_fd_of_a_non_directory_is_named() {
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        let null = File::open("/dev/null").unwrap();
        let shown = null.as_raw_fd().to_string();
        command.current_dir_fd(null);
        let error = clean(|| command.spawn().map(drop));
        assert_error(&error, Step::Fchdir, Some(&shown), libc::ENOTDIR);
    });
}

/// make's pipe, as MAKEFLAGS names it: by two numbers.
#[test]
fn a_jobservers_pipe_is_inherited_by_its_numbers() {
    each_engine(|engine| {
        let (mut read, mut write) = io::pipe().unwrap();
        write.write_all(b"+").unwrap();
        let (r, w) = (read.as_raw_fd(), write.as_raw_fd());
        let mut command = Command::new("/bin/sh");
        let take = format!("head -c 1 /proc/self/fd/{r} >/proc/self/fd/{w}");
        command.args(["-c", &take]).engine(engine);
        util::raw_fds(&mut command, &[(r, r), (w, w)]);
        assert!(command.status().unwrap().success(), "{engine}");
        let mut token = [0];
        read.read_exact(&mut token).unwrap();
        assert_eq!(&token, b"+", "{engine}");
    });
}

#[test]
fn a_prepared_command_keeps_its_descriptors_and_can_be_shared() {
    let dir = scratch("prepared-fds");
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        command.fd(8, file_at(&dir, "kept", 30)).stdout(Stdio::piped());
        command.fd(9, file_at(&dir, "other", 8));
        let prepared: Prepared = command.prepare().unwrap();
        drop(command);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let child = prepared.spawn().unwrap();
                    let output = child.wait_with_output().unwrap();
                    let found = seen(&Report::parse(&output.stdout));
                    let want = named(&[(8, "kept"), (9, "other")]);
                    assert_eq!(found, want, "{engine}");
                });
            }
        });
    });
}
