//! Exec in place that fails: the state of this process is restored.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::thread;

use offshoot::{Command, Engine, Memory, Stdio, Step, reserve_fds};
use util::{alone, is_root, limit, scratch};

/// Every descriptor of this thread: its number, close-on-exec, file status
/// flags, offset, and the file. Opens nothing.
fn all() -> Vec<(RawFd, [i64; 3], [u64; 2])> {
    let one = |n| {
        // SAFETY: asks about a descriptor and writes no memory.
        let flag = unsafe { libc::fcntl(n, libc::F_GETFD) };
        // SAFETY: asks about a descriptor and writes no memory.
        let how = unsafe { libc::fcntl(n, libc::F_GETFL) };
        // SAFETY: asks about a descriptor and writes no memory.
        let offset = unsafe { libc::lseek(n, 0, libc::SEEK_CUR) };
        // SAFETY: all zeros is a stat.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: writes one stat.
        let open = unsafe { libc::fstat(n, &mut stat) } == 0;
        let numbers = [flag.into(), how.into(), offset];
        open.then_some((n, numbers, [stat.st_dev, stat.st_ino]))
    };
    (0..300).filter_map(one).collect()
}

/// Opens a file at a number, with an offset that differs from all others.
fn at(dir: &std::path::Path, n: RawFd, cloexec: bool) -> OwnedFd {
    let path = dir.join(n.to_string());
    fs::write(&path, "0123456789".repeat(10)).unwrap();
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).open(path).unwrap();
    file.seek(std::io::SeekFrom::Start(n.unsigned_abs().into())).unwrap();
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: the number is free in this test.
    assert_eq!(unsafe { libc::dup3(file.as_raw_fd(), n, flags) }, n);
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(n) }
}

/// A command whose exec fails, after all steps have changed this process.
fn no_such() -> Command {
    Command::new("/no/such/program")
}

#[track_caller]
fn changes_nothing(command: &mut Command) {
    let before = all();
    let error = command.exec();
    assert_eq!(error.step(), Step::Exec, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let after = all();
    assert_eq!(before, after, "{command:?}");
}

#[test]
fn a_failed_exec_restores_every_descriptor() {
    let name = "a_failed_exec_restores_every_descriptor";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("as-it-was");
    let null = || File::open("/dev/null").unwrap();
    let mut open: Vec<OwnedFd> =
        (40..48).map(|n| at(&dir, n, n % 2 == 0)).collect();
    // Over an open descriptor, with close-on-exec and without, and over none.
    for n in [40, 41, 48, 60] {
        changes_nothing(no_such().fd(n, null()));
    }
    changes_nothing(&mut no_such());
    changes_nothing(no_such().inherit_unlisted_fds(true).fd(41, null()));
    // In a cycle, in a chain, and inherited at their own numbers.
    let (a, b) = (at(&dir, 50, true), at(&dir, 51, false));
    changes_nothing(no_such().fd(51, a).fd(50, b));
    let (a, b) = (at(&dir, 50, true), at(&dir, 51, false));
    changes_nothing(no_such().fd(51, a).fd(52, b));
    changes_nothing(no_such().inherit_fd(at(&dir, 53, true)));
    changes_nothing(no_such().inherit_fd(at(&dir, 53, false)));
    changes_nothing(no_such().listen_fds([null(), null(), null()]));
    // Standard descriptors.
    let mut command = no_such();
    command.stdin(Stdio::null()).stdout(Stdio::closed());
    changes_nothing(command.stderr(Stdio::same_as(0)));
    let mut command = no_such();
    let write = OpenOptions::new().write(true).clone();
    command.stdin(null()).stdout(Stdio::open("/dev/null", &write));
    changes_nothing(command.stderr(Stdio::same_as(1)));
    let mut command = no_such();
    command.stdin(Stdio::closed()).stdout(Stdio::piped());
    changes_nothing(command.stderr(Stdio::closed()));
    // SAFETY: closes 0, which this test does not use from here on.
    unsafe { libc::close(0) };
    changes_nothing(no_such().stdin(Stdio::null()));
    changes_nothing(no_such().stdin(Stdio::closed()));
    changes_nothing(no_such().stdin(null()).stderr(Stdio::same_as(0)));
    // The offset of the file is unchanged.
    let mut file = File::from(open.remove(4));
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("456789"), "{rest}");
}

/// With each step that can fail.
#[test]
fn a_failed_exec_restores_descriptors_at_every_step() {
    let name = "a_failed_exec_restores_descriptors_at_every_step";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("which-step");
    let _open: Vec<OwnedFd> = (40..44).map(|n| at(&dir, n, false)).collect();
    let calls = [
        libc::SYS_close_range,
        libc::SYS_dup3,
        libc::SYS_umask,
        libc::SYS_chdir,
        libc::SYS_execve,
    ];
    for nr in calls {
        let action = util::filter::Action::Errno(5);
        util::filter::with(nr, action, || {
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::null()).stdout(Stdio::closed());
            command.stderr(Stdio::same_as(0)).umask(0o22).current_dir("/");
            for n in 41..46 {
                command.fd(n, File::open("/dev/null").unwrap());
            }
            let before = all();
            let error = command.exec();
            assert_eq!(error.raw_os_error(), Some(5), "{error}");
            assert_eq!(before, all(), "{error}");
        });
    }
}

#[test]
fn exec_changes_nothing_without_a_free_descriptor_for_a_backup() {
    let name = "exec_changes_nothing_without_a_free_descriptor_for_a_backup";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("no-backup");
    let null = File::open("/dev/null").unwrap();
    let _open = at(&dir, 40, false);
    limit(libc::RLIMIT_NOFILE, 44, 44);
    let mut command = no_such();
    command.fd(40, null.try_clone().unwrap());
    command.fd(41, null.try_clone().unwrap());
    let mut filler: Vec<File> =
        std::iter::from_fn(|| null.try_clone().ok()).collect();
    let before = all();
    let error = command.exec();
    assert_eq!(error.step(), Step::Fd, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    assert_eq!(before, all());
    drop(filler.pop());
    let mut redirected = no_such();
    redirected.stdin(null.try_clone().unwrap());
    let error = redirected.exec();
    assert_eq!(error.step(), Step::Stdin, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    assert!(null.try_clone().is_err());
    filler.truncate(filler.len() - 3);
    changes_nothing(&mut command);
}

/// A hook changes the descriptor, as another thread could.
#[test]
fn a_failed_exec_leaves_descriptors_changed_meanwhile_alone() {
    let name = "a_failed_exec_leaves_descriptors_changed_meanwhile_alone";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("meanwhile");
    let other = at(&dir, 50, false);
    for over in [true, false] {
        let open = at(&dir, 40, false);
        let number = other.as_raw_fd();
        let mut command = no_such();
        command.fd(40, File::open("/dev/null").unwrap());
        // SAFETY: two system calls.
        unsafe {
            command.pre_exec(move |context| match over {
                true => context.dup2(number, 40),
                false => context.close(40),
            });
        }
        let error = command.exec();
        assert_eq!(error.step(), Step::Exec, "{error}");
        let seen = fs::read_link("/proc/self/fd/40").ok();
        let want = over.then(|| dir.join("50"));
        assert_eq!(seen, want);
        if over {
            drop(open);
        } else {
            std::mem::forget(open);
        }
    }
}

/// Targets are the descriptors of a prepared command and the reserve.
#[test]
fn prepared_and_reserved_descriptors_survive_a_failed_exec() {
    let name = "prepared_and_reserved_descriptors_survive_a_failed_exec";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    for reserved in [false, true] {
        if reserved {
            reserve_fds(4).unwrap();
        }
        let mut private = Command::new("/bin/true");
        private.memory(Memory::Private).stdin(Stdio::null());
        let prepared = private.prepare().unwrap();
        let runs = |status: Result<_, offshoot::Error>| {
            let mut child: offshoot::Child = status.unwrap();
            let engine = child.launch().engine();
            assert!(child.wait().unwrap().success());
            assert_eq!(engine, Engine::Isolated);
        };
        runs(prepared.spawn());
        runs(private.spawn());
        let bad = scratch("survives").join("program");
        util::program(&bad, b"#!/bin/false\n");
        let mut command = no_such();
        let files: Vec<File> =
            (3..60).map(|_| File::open(&bad).unwrap()).collect();
        for (n, file) in (3..60).zip(files) {
            command.fd(n, file);
        }
        for _ in 0..2 {
            changes_nothing(&mut command);
            runs(prepared.spawn());
            runs(private.spawn());
        }
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cat.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"x").unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"x");
    }
}

/// The ids of each thread of this process.
fn ids() -> Vec<String> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = task.unwrap().path().join("status");
        let status = fs::read_to_string(status).unwrap();
        let ids = status.lines().filter(|line| {
            ["Uid", "Gid", "Groups"].iter().any(|key| line.starts_with(key))
        });
        let ids = ids.map(str::trim_end).collect::<Vec<_>>();
        all.push(ids.join(" "));
    }
    all
}

#[test]
fn a_failed_exec_leaves_all_threads_with_the_same_ids() {
    let name = "a_failed_exec_leaves_all_threads_with_the_same_ids";
    if !is_root() {
        return util::skip(name, "only root changes ids");
    }
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // (The test's own thread and the harness are two threads already.)
    let (send, stop) = channel::<()>();
    let other = thread::spawn(move || {
        let _ = stop.recv();
        // SAFETY: changes nothing, but libc asserts that all threads agree.
        unsafe { libc::setuid(65534) }
    });
    let groups = no_such().groups([7, 8]).exec();
    assert_eq!(groups.step(), Step::Exec, "{groups}");
    let all = ids();
    assert!(all.len() > 1);
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    assert!(all[0].ends_with("Groups:\t7 8"), "{all:?}");
    let error = no_such().gid(65533).uid(65534).exec();
    assert_eq!(error.step(), Step::Exec, "{error}");
    let all = ids();
    let want = "Uid:\t65534\t65534\t65534\t65534 \
                Gid:\t65533\t65533\t65533\t65533 Groups:";
    assert!(all.iter().all(|one| one == want), "{all:?}");
    // A refusal is reported as in a child.
    let error = no_such().uid(0).exec();
    util::clean::assert_error(
        &error,
        Step::Setgroups,
        Some("[]"),
        libc::EPERM,
    );
    send.send(()).unwrap();
    assert_eq!(other.join().unwrap(), 0);
}

/// The signal mask, and the disposition of SIGPIPE.
#[test]
fn a_failed_exec_restores_signals() {
    let name = "a_failed_exec_restores_signals";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let signals = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        // SigQ counts for all processes of the user.
        let own =
            |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
        let all = status.lines().filter(own);
        all.map(String::from).collect::<Vec<_>>()
    };
    let before = signals();
    let mut command = no_such();
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|context| {
            context.sigprocmask(offshoot::MaskChange::Set(1 << 9));
            Ok(())
        });
    }
    assert_eq!(command.exec().step(), Step::Exec);
    assert_eq!(before, signals());
}

/// A thread with its own fd table executes the file from that table.
#[test]
fn exec_uses_the_fd_table_of_its_thread() {
    let name = "exec_uses_the_fd_table_of_its_thread";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    const NUMBER: RawFd = 70;
    let here = File::open("/bin/false").unwrap();
    // SAFETY: the number is free.
    unsafe { libc::dup3(here.as_raw_fd(), NUMBER, libc::O_CLOEXEC) };
    let action = util::filter::Action::Errno(1);
    util::filter::with(libc::SYS_execveat, action, || {
        // SAFETY: changes this thread's fd table only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let own = File::open("/bin/sh").unwrap();
        // SAFETY: this thread's table only has the number.
        unsafe { libc::dup3(own.as_raw_fd(), NUMBER, libc::O_CLOEXEC) };
        // SAFETY: the descriptor is new and has no other owner.
        let own = unsafe { OwnedFd::from_raw_fd(NUMBER) };
        let mut command = Command::from_fd(own);
        let text = "echo 'test result: ok. 1 passed' && exit 0";
        panic!("{}", command.arg0("sh").args(["-c", text]).exec());
    });
}

/// Without close_range, the list of descriptors is that thread's too.
#[test]
fn exec_closes_unlisted_descriptors_of_its_threads_fd_table() {
    let name = "exec_closes_unlisted_descriptors_of_its_threads_fd_table";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    const NUMBER: RawFd = 70;
    let action = util::filter::Action::Errno(38);
    util::filter::with(libc::SYS_close_range, action, || {
        // SAFETY: changes this thread's fd table only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        // SAFETY: the number is free, and stays open over exec.
        assert_eq!(unsafe { libc::dup2(0, NUMBER) }, NUMBER);
        let before = all();
        assert_eq!(no_such().exec().step(), Step::Exec);
        assert_eq!(before, all());
        let text = "test ! -e /proc/$$/fd/70 && \
                    echo 'test result: ok. 1 passed'";
        panic!("{}", Command::new("sh").args(["-c", text]).exec());
    });
}
