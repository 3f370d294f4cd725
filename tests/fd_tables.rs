//! Threads with a table of descriptors of their own: nobody's file is
//! written over, closed or passed on in place of another.
#![allow(unsafe_code, reason = "threads leave the table they were made with")]

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

/// Runs `test` in a thread with a table of its own.
fn apart<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let test = || {
        // SAFETY: this thread's table alone, from here on.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        test()
    };
    thread::scope(|scope| match scope.spawn(test).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Closes this thread's copies of all but 0 to 2.
fn close_all() {
    // SAFETY: only this thread's table, which nobody else uses.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
}

/// A thread's own files, at the first numbers that are free.
struct Own {
    files: Vec<File>,
    as_it_was: Vec<(RawFd, u64, u64)>,
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
        let mut own = Own { files, as_it_was: Vec::new() };
        own.as_it_was = own.seen();
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
    fn is_whole(&self, dir: &Path) {
        assert_eq!(self.seen(), self.as_it_was);
        for n in 0..self.files.len() {
            let bytes = fs::read(dir.join(format!("own-{n}"))).unwrap();
            assert!(bytes == [b'o'; 4096], "own-{n} was written to");
        }
    }
}

fn open(count: usize) -> Vec<File> {
    (0..count).map(|_| File::open("/dev/null").unwrap()).collect()
}

/// With pipes, with files that are given, and with memory of its own.
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
    // So that pipes have numbers that a reserved one is better than.
    let many = open(100);
    spawns();
    let seen = || {
        let one = |file: &File| {
            fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        };
        many.iter().all(|file| one(file).unwrap() == Path::new("/dev/null"))
    };
    // With the copies that it has, and without.
    apart(spawns);
    for reserves in [false, false, true] {
        apart(|| {
            close_all();
            let own = Own::new(&dir, 100);
            spawns();
            own.is_whole(&dir);
            if reserves {
                // Whoever reserves here has numbers of this table.
                reserve_fds(4).unwrap();
                spawns();
                own.is_whole(&dir);
            }
        });
        spawns();
        assert!(seen());
    }
    // It can reserve again, and keeps no more than before.
    reserve_fds(8).unwrap();
    spawns();
    let count = util::reporter::descriptors().len();
    apart(|| {
        close_all();
        let own = Own::new(&dir, 100);
        spawns();
        own.is_whole(&dir);
    });
    spawns();
    assert!(seen());
    assert_eq!(count, util::reporter::descriptors().len());
}

fn is_here(child: Result<offshoot::Child, Error>) -> Engine {
    let child = child.unwrap();
    let engine = child.launch().engine();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"given\n");
    engine
}

/// Each kind of descriptor that a prepared plan keeps.
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
            is_here(one.spawn());
            thread::scope(|scope| {
                scope.spawn(|| is_here(one.spawn()));
            });
            // The copies are the same.
            apart(|| is_here(one.spawn()));
            apart(|| {
                close_all();
                let error = one.spawn().unwrap_err();
                assert_eq!(error.step(), step, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                let own = Own::new(&dir, 100);
                let error = one.spawn().unwrap_err();
                assert_eq!(error.step(), step, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                own.is_whole(&dir);
            });
            is_here(one.spawn());
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
    let dir = scratch("image");
    for reserved in [false, true] {
        if reserved {
            reserve_fds(8).unwrap();
        }
        let mut echo = Command::new("/bin/echo");
        echo.arg("given").stdout(Stdio::piped()).memory(Memory::Private);
        let any = echo.prepare().unwrap();
        let named = echo.engine(Engine::Isolated).prepare().unwrap();
        let isolated = |one: &Prepared| {
            assert_eq!(is_here(one.spawn()), Engine::Isolated);
        };
        isolated(&any);
        isolated(&named);
        // A page that another thread has made, too.
        thread::scope(|scope| {
            scope.spawn(|| isolated(&any));
            scope.spawn(|| isolated(&any));
        });
        isolated(&any);
        apart(|| isolated(&any));
        apart(|| {
            close_all();
            let own = Own::new(&dir, 100);
            for _ in 0..2 {
                assert_eq!(is_here(any.spawn()), Engine::Copied);
                own.is_whole(&dir);
                let error = named.spawn().unwrap_err();
                assert_eq!(error.step(), Step::Image, "{error}");
                own.is_whole(&dir);
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
        is_here(one.spawn());
        is_here(one.spawn());
        let dir = &dir;
        apart(move || {
            close_all();
            let own = Own::new(dir, 100);
            drop(one);
            own.is_whole(dir);
        });
        let other = echo.prepare().unwrap();
        let before = util::reporter::descriptors();
        // In another thread of this table it is closed as anywhere.
        thread::spawn(move || drop(other)).join().unwrap();
        assert!(util::reporter::descriptors().len() < before.len());
    }
}
