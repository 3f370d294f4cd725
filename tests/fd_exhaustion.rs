//! Fd exhaustion: parents with 0 to 2 closed, each subset, and parents with
//! too few free descriptors, for each option that opens one. Each test in its
//! own process.
#![allow(unsafe_code, reason = "the test closes 0 to 2 by number")]

mod util;

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use offshoot::{CloneFlags, Command, Engine, Error, Stdio, Step};
use util::reporter::{ASK, Report, descriptors};
use util::{each_engine, limit, scratch};

/// Which of 0 to 2 are open in this process.
fn open() -> Vec<u32> {
    let low = |(fd, _): (String, String)| fd.parse().ok().filter(|n| *n < 3);
    descriptors().into_iter().filter_map(low).collect()
}

#[test]
fn every_subset_of_0_to_2_may_be_closed_in_the_parent() {
    let name = "every_subset_of_0_to_2_may_be_closed_in_the_parent";
    if !util::inside(name, &[]) {
        return;
    }
    // Copies to restore 0 to 2 from, above all other descriptors.
    // SAFETY: duplicates open descriptors.
    let saved =
        [0, 1, 2].map(|n| unsafe { libc::fcntl(n, libc::F_DUPFD, 90) });
    assert!(saved.iter().all(|fd| *fd >= 90));
    let path = scratch("closed").join("report");
    each_engine(|engine| {
        for closed in 0..8u32 {
            let is_closed = |n: u32| closed & (1 << n) != 0;
            for piped in 0..8u32 {
                for n in (0..3).filter(|n| is_closed(*n)) {
                    // SAFETY: closes a descriptor that is restored below.
                    unsafe { libc::close(n as i32) };
                }
                let seen = child(&path, piped, engine);
                let left = open();
                for (n, fd) in (0..).zip(saved) {
                    // SAFETY: restores the descriptor.
                    unsafe { libc::dup2(fd, n) };
                }
                let want = |n: &u32| !is_closed(*n) || piped & (1 << n) != 0;
                let want: Vec<u32> = (0..3).filter(want).collect();
                let case = format!("closed {closed:03b} piped {piped:03b}");
                let extra = seen.as_ref().is_ok_and(|it| it.1);
                let probe_fd = match engine {
                    // The pidfd takes the lowest free number; below 3 it
                    // cannot be the probe, and the spawn opens an extra one.
                    Engine::Suspended | Engine::Concurrent if piped == 0 => {
                        false
                    }
                    Engine::Suspended | Engine::Concurrent => extra,
                    // It caches one with its helper, if that is high enough.
                    Engine::Isolated => extra,
                    _ => true,
                };
                assert_eq!(seen, Ok((want, probe_fd)), "{engine} {case}");
                let same: Vec<u32> =
                    (0..3).filter(|n| !is_closed(*n)).collect();
                assert_eq!(left, same, "the parent's: {engine} {case}");
            }
        }
    });
}

/// The descriptors of a child, and whether an extra probe was opened; or what
/// failed. Nothing here may write to 0, 1 or 2.
fn child(
    path: &std::path::Path,
    piped: u32,
    engine: Engine,
) -> Result<(Vec<u32>, bool), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ASK).arg(path).engine(engine);
    let stdio = |n: u32| match piped & (1 << n) {
        0 => Stdio::inherit(),
        _ => Stdio::piped(),
    };
    command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let pidfd = child.pidfd().unwrap().as_raw_fd();
    if pidfd < 3 {
        return Err(format!("the pidfd is {pidfd}"));
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("{status}"));
    }
    let report = Report::parse(&fs::read(path).map_err(|e| e.to_string())?);
    Ok((report.fds(), child.launch().extra_probe_fd()))
}

/// RLIMIT_NOFILE values, the Nth of which leaves N descriptors free.
fn leaves() -> Vec<u64> {
    let all: Vec<String> = descriptors().into_iter().map(|fd| fd.0).collect();
    let free = |n: &u64| !all.contains(&n.to_string());
    (0..4096).filter(free).collect()
}

/// With n free descriptors, a spawn that needs seven fails at the step that
/// needed the next one, or succeeds; and nothing is left open.
#[test]
fn running_out_of_descriptors_is_named_and_leaks_nothing() {
    let name = "running_out_of_descriptors_is_named_and_leaks_nothing";
    if !util::inside(name, &[]) {
        return;
    }
    let leaves = leaves();
    each_engine(|engine| {
        let mut steps = Vec::new();
        for (room, most) in leaves.iter().copied().enumerate().take(16) {
            let before = descriptors();
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.stderr(Stdio::piped()).engine(engine);
            limit(libc::RLIMIT_NOFILE, most, 4096);
            let spawned = command.spawn();
            limit(libc::RLIMIT_NOFILE, 4096, 4096);
            match spawned {
                Ok(mut child) => {
                    assert!(child.wait().unwrap().success());
                    steps.push("ok".to_string());
                }
                Err(error) => {
                    let errno = error.raw_os_error();
                    assert_eq!(errno, Some(libc::EMFILE), "{error}");
                    steps.push(error.step().to_string());
                }
            }
            assert_eq!(descriptors(), before, "{engine} {room}");
            assert!(!util::has_children());
        }
        // All fall back to no pidfd; the pipe engine opens two ends, and moves
        // one of them up.
        if engine == Engine::Isolated {
            steps.dedup();
            let all = ["image", "stdout", "stderr", "image"];
            assert_eq!(steps[..4], all, "{steps:?}");
            assert_eq!(steps.last().unwrap(), "ok", "{steps:?}");
            return;
        }
        let clones = if engine == Engine::Pipe { 3 } else { 0 };
        let pipes = ["stdin", "stdin", "stdout", "stdout", "stderr", "stderr"];
        let mut want = pipes.to_vec();
        want.extend(["clone"].repeat(clones));
        want.extend(["ok"].repeat(10 - clones));
        assert_eq!(steps, want, "{engine}");
    });
}

/// A descriptor with the highest allowed number: no probe descriptor fits
/// above it, and the child gets a copy of the descriptor table.
#[test]
fn the_highest_allowed_descriptor_can_be_passed() {
    let name = "the_highest_allowed_descriptor_can_be_passed";
    if !util::inside(name, &[]) {
        return;
    }
    let above = |engine: Engine| {
        let path = scratch("highest").join("out");
        let file = fs::File::create(&path).unwrap();
        limit(libc::RLIMIT_NOFILE, 300, 4096);
        // SAFETY: duplicates an open descriptor to a free number.
        let high = unsafe { libc::dup2(file.as_raw_fd(), 299) };
        assert_eq!(high, 299);
        // SAFETY: the descriptor is new and has no other owner.
        let high = unsafe { OwnedFd::from_raw_fd(high) };
        let mut command = Command::new("echo");
        command.arg("high").stdout(high).engine(engine);
        let mut child = command.spawn()?;
        assert!(child.wait()?.success());
        assert!(!child.launch().flags().contains(CloneFlags::FILES));
        assert_eq!(fs::read(&path).unwrap(), b"high\n");
        Ok::<(), Error>(())
    };
    above(Engine::Suspended).unwrap();
    above(Engine::Copied).unwrap();
    // This engine needs a descriptor above all others for its pipe.
    let error = above(Engine::Pipe).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
}

/// A name, a command with an option that opens a descriptor, and the steps
/// that the error may name.
type Opener = (&'static str, fn() -> Command, &'static [Step]);

const OPENERS: [Opener; 7] = [
    ("null", || with(|c| c.stdin(Stdio::null())), &[Step::Stdin]),
    (
        "file",
        || {
            let mut read = fs::OpenOptions::new();
            let file = Stdio::open("/dev/null", read.read(true));
            let mut command = Command::new("/bin/true");
            command.stdin(file);
            command
        },
        &[Step::Stdin],
    ),
    ("cycle", || raw(&[(1, 2), (2, 1)]), &[Step::Fd]),
    ("bytes", || bytes(b"#!/bin/true\n"), &[Step::FromBytes]),
    (
        "self",
        || {
            let mut command = Command::self_exe();
            command.args([ASK, "/dev/null"]);
            command
        },
        &[Step::SelfExe],
    ),
    (
        "directory",
        || {
            let dir = fs::File::open("/").unwrap();
            // Its number is a target, so that the spawn copies it.
            let mut command = raw(&[(dir.as_raw_fd(), 0)]);
            command.current_dir_fd(dir);
            command
        },
        &[Step::CurrentDirFd],
    ),
    (
        "socket",
        || with(|c| c.listen_fds([fs::File::open("/dev/null").unwrap()])),
        &[],
    ),
];

fn raw(map: &[(RawFd, RawFd)]) -> Command {
    let mut command = Command::new("/bin/true");
    util::raw_fds(&mut command, map);
    command
}

fn with(set: fn(&mut Command) -> &mut Command) -> Command {
    let mut command = Command::new("/bin/true");
    set(&mut command);
    command
}

fn bytes(program: &[u8]) -> Command {
    let mut command = Command::from_bytes(program);
    command.script_fd(9);
    command
}

#[test]
fn each_option_that_opens_a_descriptor_is_named_when_none_is_free() {
    let name =
        "each_option_that_opens_a_descriptor_is_named_when_none_is_free";
    if !util::inside(name, &[]) {
        return;
    }
    let leaves = leaves();
    each_engine(|engine| {
        for (what, make, steps) in OPENERS {
            let (mut seen, mut ran) = (Vec::new(), false);
            for (room, most) in leaves.iter().copied().enumerate().take(16) {
                let before = descriptors();
                let mut command = make();
                command.engine(engine);
                limit(libc::RLIMIT_NOFILE, most, 4096);
                let spawned = command.spawn();
                limit(libc::RLIMIT_NOFILE, 4096, 4096);
                drop(command);
                match spawned {
                    Ok(mut child) => {
                        ran = child.wait().unwrap().success();
                        drop(child);
                    }
                    Err(error) => {
                        assert!(!ran, "{what}: {error} with more room");
                        let errno = error.raw_os_error();
                        let full = errno == Some(libc::EMFILE);
                        // Otherwise refused: the target is above the limit.
                        assert!(full || errno.is_none(), "{what}: {error}");
                        seen.push(error.step());
                    }
                }
                assert_eq!(descriptors(), before, "{engine} {what} {room}");
                assert!(!util::has_children());
            }
            assert!(ran, "{engine} {what} never ran: {seen:?}");
            // The helper needs two descriptors, which are checked first.
            let helper =
                engine == Engine::Isolated && seen.contains(&Step::Image);
            for step in steps {
                let named = helper || seen.contains(step);
                assert!(named, "{engine} {what}: {seen:?}");
            }
            seen.retain(|step| !steps.contains(step) && *step != Step::Clone);
            // What the engine itself opens.
            let helper = engine == Engine::Isolated;
            seen.retain(|step| !helper || *step != Step::Image);
            let limited = [Step::ScriptFd, Step::Fd, Step::ListenFds];
            seen.retain(|step| !limited.contains(step));
            assert_eq!(seen, [], "{engine} {what}");
        }
    });
}
