//! Fd tables: threads with their own descriptor table. No descriptor of
//! another table is overwritten, closed, or passed in place of another.
#![allow(unsafe_code, reason = "threads unshare their descriptor table")]

mod util;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use offshoot::{
    Command, Engine, Error, Memory, Prepared, Stdio, Step, reserve_fds,
};
use util::{alone, scratch};

/// Runs `test` in a thread with its own table.
fn with_own_table<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let test = || {
        // SAFETY: changes this thread's table only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        test()
    };
    thread::scope(|scope| match scope.spawn(test).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Closes all descriptors of this thread's table above 2.
fn close_all() {
    // SAFETY: this thread's table, which no other code uses.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
}

/// A thread's own files, at the lowest free numbers.
struct Own {
    files: Vec<File>,
    before: Vec<(RawFd, u64, u64)>,
}

impl Own {
    fn new(dir: &Path, count: usize) -> Own {
        let one = |n: usize| {
            let path = dir.join(format!("own-{n}"));
            fs::write(&path, [b'o'; 4096]).unwrap();
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).open(path).unwrap()
        };
        let files: Vec<File> = (0..count).map(one).collect();
        let mut own = Own { files, before: Vec::new() };
        own.before = own.seen();
        own
    }

    fn seen(&self) -> Vec<(RawFd, u64, u64)> {
        let one = |file: &File| {
            let data = file.metadata().unwrap();
            (file.as_raw_fd(), data.ino(), data.size())
        };
        self.files.iter().map(one).collect()
    }

    #[track_caller]
    fn assert_unchanged(&self, dir: &Path) {
        assert_eq!(self.seen(), self.before);
        for n in 0..self.files.len() {
            let bytes = fs::read(dir.join(format!("own-{n}"))).unwrap();
            assert!(bytes == [b'o'; 4096], "own-{n} was written to");
        }
    }
}

fn open(count: usize) -> Vec<File> {
    (0..count).map(|_| File::open("/dev/null").unwrap()).collect()
}

/// Spawns with pipes, with passed files, and with private memory.
fn spawns() {
    for memory in [Memory::Shared, Memory::Private, Memory::Private] {
        let mut cat = Command::new("cat");
        cat.memory(memory).stdin(Stdio::null()).stderr(Stdio::null());
        let given = File::open("/proc/self/cmdline").unwrap();
        cat.arg("/dev/fd/9").fd(9, given);
        let output = cat.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!output.stdout.is_empty());
        let mut child = Command::new("/bin/true");
        child.memory(memory);
        assert!(child.status().unwrap().success());
    }
}

#[test]
fn a_thread_with_its_own_fd_table_keeps_its_files() {
    let name = "a_thread_with_its_own_fd_table_keeps_its_files";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("tables");
    reserve_fds(8).unwrap();
    // So that new pipes are at high numbers, and reserved ones are used.
    let many = open(100);
    spawns();
    let seen = || {
        let one = |file: &File| {
            fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        };
        many.iter().all(|file| one(file).unwrap() == Path::new("/dev/null"))
    };
    // With the copied descriptors, and without.
    with_own_table(spawns);
    for reserves in [false, false, true] {
        with_own_table(|| {
            close_all();
            let own = Own::new(&dir, 100);
            spawns();
            own.assert_unchanged(&dir);
            if reserves {
                // Descriptors that are reserved here belong to this table.
                reserve_fds(4).unwrap();
                spawns();
                own.assert_unchanged(&dir);
            }
        });
        spawns();
        assert!(seen());
    }
    // Reserving again works, and keeps no more descriptors than before.
    reserve_fds(8).unwrap();
    spawns();
    let count = util::reporter::descriptors().len();
    with_own_table(|| {
        close_all();
        let own = Own::new(&dir, 100);
        spawns();
        own.assert_unchanged(&dir);
    });
    spawns();
    assert!(seen());
    assert_eq!(count, util::reporter::descriptors().len());
}

fn assert_given(child: Result<offshoot::Child, Error>) -> Engine {
    let child = child.unwrap();
    let engine = child.launch().engine();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"given\n");
    engine
}

/// Prepared commands with each kind of descriptor that a plan keeps.
fn prepared(dir: &Path) -> Vec<(Step, Prepared)> {
    let path = dir.join("given");
    fs::write(&path, "given\n").unwrap();
    let file = || File::open(&path).unwrap();
    let cat = || {
        let mut cat = Command::new("/bin/cat");
        cat.stdout(Stdio::piped());
        cat
    };
    let echo = || {
        let mut echo = Command::from_fd(File::open("/bin/echo").unwrap());
        echo.arg0("echo").arg("given").stdout(Stdio::piped());
        echo
    };
    let mut all = Vec::new();
    let stdin = cat().arg("/dev/stdin").stdin(file()).prepare();
    all.push((Step::Stdin, stdin));
    all.push((Step::Fd, cat().arg("/dev/fd/9").fd(9, file()).prepare()));
    let inherited = file();
    let path = format!("/dev/fd/{}", inherited.as_raw_fd());
    let inherit = cat().arg(path).inherit_fd(inherited).prepare();
    all.push((Step::InheritFd, inherit));
    all.push((Step::FromFd, echo().prepare()));
    let there = File::open(dir).unwrap();
    let inside = cat().arg("given").current_dir_fd(there).prepare();
    all.push((Step::CurrentDirFd, inside));
    let mut null = Command::new("/bin/echo");
    null.arg("given").stdout(Stdio::piped());
    null.stdin(Stdio::null()).stderr(Stdio::null());
    all.push((Step::Stdin, null.prepare()));
    let mut swap = cat();
    let (a, b) = (file(), file());
    let (n, m) = (a.as_raw_fd(), b.as_raw_fd());
    swap.arg(format!("/dev/fd/{n}")).fd(n, b).fd(m, a);
    all.push((Step::Fd, swap.prepare()));
    for (_, one) in &mut all {
        assert!(one.is_ok(), "{one:?}");
    }
    let all = all.into_iter().map(|(step, one)| (step, one.unwrap()));
    all.collect()
}

#[test]
fn a_prepared_command_passes_no_other_file_from_another_fd_table() {
    let name = "a_prepared_command_passes_no_other_file_from_another_fd_table";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("prepared");
    for reserved in [false, true] {
        if reserved {
            reserve_fds(8).unwrap();
        }
        for (step, one) in prepared(&dir) {
            assert_given(one.spawn());
            thread::scope(|scope| {
                scope.spawn(|| assert_given(one.spawn()));
            });
            // The copied table has the same files.
            with_own_table(|| assert_given(one.spawn()));
            with_own_table(|| {
                close_all();
                let error = one.spawn().unwrap_err();
                assert_eq!(error.step(), step, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                let own = Own::new(&dir, 100);
                let error = one.spawn().unwrap_err();
                assert_eq!(error.step(), step, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                own.assert_unchanged(&dir);
            });
            assert_given(one.spawn());
        }
    }
}

#[test]
fn a_helper_of_one_fd_table_is_not_run_from_another() {
    let name = "a_helper_of_one_fd_table_is_not_run_from_another";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("helper");
    for reserved in [false, true] {
        if reserved {
            reserve_fds(8).unwrap();
        }
        let mut echo = Command::new("/bin/echo");
        echo.arg("given").stdout(Stdio::piped()).memory(Memory::Private);
        let any = echo.prepare().unwrap();
        let named = echo.engine(Engine::Isolated).prepare().unwrap();
        let isolated = |one: &Prepared| {
            assert_eq!(assert_given(one.spawn()), Engine::Isolated);
        };
        isolated(&any);
        isolated(&named);
        // With a status page of another thread, too.
        thread::scope(|scope| {
            scope.spawn(|| isolated(&any));
            scope.spawn(|| isolated(&any));
        });
        isolated(&any);
        with_own_table(|| isolated(&any));
        with_own_table(|| {
            close_all();
            let own = Own::new(&dir, 100);
            for _ in 0..2 {
                assert_eq!(assert_given(any.spawn()), Engine::Copied);
                own.assert_unchanged(&dir);
                let error = named.spawn().unwrap_err();
                assert_eq!(error.step(), Step::Image, "{error}");
                own.assert_unchanged(&dir);
            }
        });
        isolated(&any);
        isolated(&named);
    }
}

#[test]
fn dropping_a_prepared_command_closes_nothing_in_another_fd_table() {
    let name =
        "dropping_a_prepared_command_closes_nothing_in_another_fd_table";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("dropped");
    for reserved in [false, true] {
        if reserved {
            reserve_fds(8).unwrap();
        }
        let mut echo = Command::new("/bin/echo");
        echo.arg("given").stdout(Stdio::piped()).memory(Memory::Private);
        echo.stdin(Stdio::null()).stderr(Stdio::null());
        let one = echo.prepare().unwrap();
        assert_given(one.spawn());
        assert_given(one.spawn());
        let dir = &dir;
        with_own_table(move || {
            close_all();
            let own = Own::new(dir, 100);
            drop(one);
            own.assert_unchanged(dir);
        });
        let other = echo.prepare().unwrap();
        let before = util::reporter::descriptors();
        // Another thread of this table closes it.
        thread::spawn(move || drop(other)).join().unwrap();
        assert!(util::reporter::descriptors().len() < before.len());
    }
}
