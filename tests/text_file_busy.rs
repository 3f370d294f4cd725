//! ETXTBSY: many threads write, close and spawn programs at once, while each
//! thread's child may hold a copy of another thread's descriptor.
#![allow(unsafe_code, reason = "forks as other libraries do")]

mod util;

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use offshoot::{Command, Engine};
use util::fork::{exit, fork, reap};
use util::{alone, scratch};

/// Writer threads, and the programs that each of them writes.
const THREADS: usize = 8;
const ROUNDS: usize = 150;

/// Writes and closes a program of this thread's own.
fn fresh(dir: &Path, thread: usize) -> PathBuf {
    let path = dir.join(format!("program-{thread}"));
    let _ = fs::remove_file(&path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o755);
    let mut file = options.open(&path).unwrap();
    file.write_all(b"#!/bin/true\n").unwrap();
    path
}

/// Counts the spawns that fail with ETXTBSY; any other failure panics.
fn busy(
    name: &str,
    spawn: impl Fn(&Path) -> Result<(), io::Error> + Sync,
) -> usize {
    let dir = scratch(name);
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (dir, failed, spawn) = (&dir, &failed, &spawn);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    match spawn(&fresh(dir, n)) {
                        Ok(()) => {}
                        Err(e) if e.raw_os_error() == Some(libc::ETXTBSY) => {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(e) => panic!("{name}: {e}"),
                    }
                }
            });
        }
    });
    failed.load(Ordering::SeqCst)
}

/// fork, then exec. The child reports errno by a pipe.
fn by_fork(path: &Path) -> Result<(), io::Error> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let argv = [path.as_ptr(), ptr::null()];
    let mut pipe = [0; 2];
    // SAFETY: writes two ints.
    unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
    let pid = fork();
    if pid == 0 {
        // SAFETY: the string and the array live in this frame.
        unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let at = (&raw const errno).cast();
        // SAFETY: writes one int of this frame.
        unsafe { libc::write(pipe[1], at, 4) };
        exit(127);
    }
    let mut errno = 0i32;
    // SAFETY: closes an end of this function's own pipe.
    unsafe { libc::close(pipe[1]) };
    // SAFETY: reads one int.
    unsafe { libc::read(pipe[0], (&raw mut errno).cast(), 4) };
    // SAFETY: closes an end of this function's own pipe.
    unsafe { libc::close(pipe[0]) };
    reap(pid);
    done(errno)
}

/// glibc's posix_spawn: vfork, then exec.
fn by_vfork(path: &Path) -> Result<(), io::Error> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let argv = [path.as_ptr().cast_mut(), ptr::null_mut()];
    let (mut pid, path) = (0, path.as_ptr());
    let (none, env) = (ptr::null(), [ptr::null_mut()]);
    // SAFETY: the string and the arrays live in this frame.
    let errno = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path,
            none,
            ptr::null(),
            argv.as_ptr(),
            env.as_ptr(),
        )
    };
    if errno == 0 {
        reap(pid);
    }
    done(errno)
}

fn done(errno: i32) -> Result<(), io::Error> {
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[test]
fn a_program_just_written_and_closed_always_runs() {
    let _alone = alone();
    let all = THREADS * ROUNDS;
    for engine in [Engine::Suspended, Engine::Copied] {
        let retried = AtomicUsize::new(0);
        let failed = busy(&format!("busy-{engine}"), |path| {
            let mut child = Command::new(path).engine(engine).spawn()?;
            let busy = child.launch().busy_retries() > 0;
            retried.fetch_add(usize::from(busy), Ordering::SeqCst);
            assert!(child.wait()?.success());
            Ok(())
        });
        let retried = retried.load(Ordering::SeqCst);
        println!("{engine}: {failed} of {all} failed, {retried} retried");
        assert_eq!(failed, 0, "{engine}");
    }
    let fork = busy("busy-fork", by_fork);
    let vfork = busy("busy-vfork", by_vfork);
    println!("fork: {fork} of {all} failed; posix_spawn: {vfork} of {all}");
}

/// A program that stays open for writing is ETXTBSY after the retries.
#[test]
fn a_program_that_stays_open_for_writing_is_an_error_after_retries() {
    let _alone = alone();
    let path = scratch("busy-writer").join("program");
    util::program(&path, b"#!/bin/true\n");
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    for engine in util::ENGINES {
        let begun = std::time::Instant::now();
        let error = Command::new(&path).engine(engine).spawn().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY), "{error}");
        assert!(begun.elapsed().as_millis() >= 20, "it was retried");
        assert!(begun.elapsed().as_secs() < 10);
    }
    drop(writer);
    assert!(Command::new(&path).status().unwrap().success());
}
