//! Isolated: the steps in an image of their own. What it needs, what serves
//! where it may not be, and whom its first exec would change.
#![allow(unsafe_code, reason = "the tests change what their threads may do")]

mod util;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use offshoot::{Command, Engine, Launch, Memory, Stdio, Step};
use util::clean::is;
use util::filter::{self, Fate};
use util::mirror::{Report, descriptors};
use util::{alone, mirror};

fn root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// The reporter, with private memory and no engine named.
fn private() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([util::mirror::ASK, "-"]).memory(Memory::Private);
    command
}

fn run(command: &mut Command) -> (Report, Launch) {
    command.stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let launch = *child.launch();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (Report::parse(&output.stdout), launch)
}

fn features(launch: &Launch) -> Vec<(&'static str, Option<i32>)> {
    launch.fallbacks().map(|f| (f.feature(), f.raw_os_error())).collect()
}

#[test]
fn without_images_the_memory_is_copied_and_launch_says_so() {
    let _alone = alone();
    for (nr, feature) in [
        (libc::SYS_memfd_create, "memfd_create"),
        (libc::SYS_execveat, "execveat of an image"),
    ] {
        for errno in [libc::ENOSYS, libc::EPERM, libc::EACCES] {
            let fate = Fate::Errno(u16::try_from(errno).unwrap());
            filter::with(nr, fate, || {
                let (report, launch) = run(&mut private());
                assert_eq!(report.fds(), [0, 1, 2]);
                assert_eq!(launch.engine(), Engine::Copied, "{feature}");
                assert_eq!(features(&launch), [(feature, Some(errno))]);
                let error = mirror(Engine::Isolated).spawn().unwrap_err();
                assert_eq!(error.step(), Step::Image, "{error}");
                assert_eq!(error.raw_os_error(), Some(errno), "{error}");
            });
        }
    }
}

#[test]
fn a_limit_on_files_does_not_end_the_parent() {
    let name = "a_limit_on_files_does_not_end_the_parent";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let limit = libc::rlimit { rlim_cur: 1000, rlim_max: 1000 };
    // SAFETY: reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    let (_, launch) = run(&mut private());
    assert_eq!(launch.engine(), Engine::Copied);
    let want = [("memfd_create", Some(libc::EFBIG))];
    assert_eq!(features(&launch), want);
}

/// What a child of this thread is and may do, and the engine that made it.
fn rights(command: &mut Command) -> (Engine, Vec<String>) {
    command.arg("/proc/self/status").stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let engine = child.launch().engine();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let keys = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs"];
    let own = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    let all: Vec<_> = text.lines().filter(own).map(String::from).collect();
    assert!(all.len() >= 9, "{text}");
    (engine, all)
}

/// Runs `change` in a thread of its own, whose children then have the same
/// rights whether isolated was asked for or a copy. Returns what served.
fn served(change: impl FnOnce() + Send) -> Engine {
    thread::scope(|scope| {
        let test = || {
            change();
            let mut auto = Command::new("/bin/cat");
            let (engine, seen) = rights(auto.memory(Memory::Private));
            let mut copied = Command::new("/bin/cat");
            let (_, want) = rights(copied.engine(Engine::Copied));
            assert_eq!(seen, want, "{engine}");
            engine
        };
        scope.spawn(test).join().unwrap()
    })
}

/// `capset` of the calling thread: these bits permitted and effective, those
/// inheritable.
fn capset(permitted: u64, inheritable: u64) {
    let header = [0x2008_0522u32, 0];
    let half = |n: u64, high: bool| {
        u32::try_from(if high { n >> 32 } else { n & 0xFFFF_FFFF }).unwrap()
    };
    let part = |high| {
        let (p, i) = (half(permitted, high), half(inheritable, high));
        [p, p, i]
    };
    let data = [part(false), part(true)];
    let (header, data) = (header.as_ptr(), data.as_ptr());
    // SAFETY: reads one header and two sets of three words.
    let done = unsafe { libc::syscall(libc::SYS_capset, header, data) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The bits of `CapPrm`.
fn permitted() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap()
}

fn setresuid(ids: [i64; 3]) {
    let [r, e, s] = ids;
    // SAFETY: changes this thread's ids only.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) };
    assert_eq!(done, 0);
}

/// The first exec recomputes credentials: whom that would change is served
/// by a copy, and its program has the same rights.
#[test]
fn whom_an_exec_would_change_is_served_by_a_copy() {
    let name = "whom_an_exec_would_change_is_served_by_a_copy";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    assert_eq!(served(|| ()), Engine::Isolated, "as it is");
    let nnp = || {
        // SAFETY: changes this thread only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    };
    assert_eq!(served(nnp), Engine::Isolated, "no_new_privs");
    if !root() {
        return;
    }
    let chown = 1u64;
    let less = || capset(permitted() & !chown, 0);
    assert_eq!(served(less), Engine::Copied, "root without a capability");
    let saved = || setresuid([1000, 1000, 0]);
    assert_eq!(served(saved), Engine::Copied, "root in the saved id");
    let user = || {
        let all = permitted();
        // SAFETY: keeps this thread's capabilities over setresuid.
        unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
        setresuid([1000, 1000, 1000]);
        capset(all, 0);
    };
    assert_eq!(served(user), Engine::Copied, "a user with capabilities");
    let ambient = || {
        user();
        capset(chown, chown);
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: raises one ambient capability of this thread.
        let done =
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, 0, 0, 0) };
        assert_eq!(done, 0);
    };
    assert_eq!(served(ambient), Engine::Isolated, "kept by exec as they are");
    let plain = || setresuid([1000, 1000, 1000]);
    assert_eq!(served(plain), Engine::Isolated, "an ordinary user");
    let noroot = || {
        const SECBIT_NOROOT: libc::c_int = 1;
        // SAFETY: changes this thread only.
        unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NOROOT) };
    };
    assert_eq!(served(noroot), Engine::Copied, "SECBIT_NOROOT");
}

#[test]
fn one_prepared_image_is_shared_by_sixty_four_threads() {
    let _alone = alone();
    let before = descriptors();
    let mut command = private();
    command.stdout(Stdio::piped());
    let prepared = command.prepare().unwrap();
    let spawn = || {
        for _ in 0..4 {
            let child = prepared.spawn().unwrap();
            assert_eq!(child.launch().engine(), Engine::Isolated);
            assert!(child.launch().confirmed());
            let output = child.wait_with_output().unwrap();
            assert_eq!(Report::parse(&output.stdout).fds(), [0, 1, 2]);
        }
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..64).map(|_| scope.spawn(spawn)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    drop((prepared, command));
    assert_eq!(descriptors(), before);
}

/// From its first exec on the child is an ordinary one: a thief can take
/// its status, but not what it said.
#[test]
fn a_thief_takes_the_status_and_not_the_error() {
    let name = "a_thief_takes_the_status_and_not_the_error";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut status = 0;
                // SAFETY: the thief writes one int.
                unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            }
        });
        for _ in 0..300 {
            let mut command = Command::new("/nope");
            let error = command.engine(Engine::Isolated).spawn().unwrap_err();
            is(&error, Step::Exec, Some("/nope"), libc::ENOENT);
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// Arguments, environment, name, descriptors, directory: all as without the
/// image in between.
#[test]
fn nothing_of_the_image_is_seen_in_the_program() {
    let _alone = alone();
    let report = |engine| {
        let mut command = mirror(engine);
        command.env("A", "1").arg("x").current_dir("/");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // The pipes differ from spawn to spawn.
        let same = |line: &&str| !line.contains("pipe:[");
        text.lines().filter(same).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(report(Engine::Isolated), report(Engine::Suspended));
    let exe = |engine| {
        let mut cat = Command::new("/bin/cat");
        cat.engine(engine).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cat.spawn().unwrap();
        // An answer: by now it is the program.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let out = child.stdout.as_mut().unwrap();
        out.read_exact(&mut [0]).unwrap();
        let of = |file: &str| format!("/proc/{}/{file}", child.id());
        let exe = fs::read_link(of("exe")).unwrap();
        let seen = (exe, fs::read_to_string(of("comm")).unwrap());
        assert!(child.wait().unwrap().success());
        seen
    };
    assert_eq!(exe(Engine::Isolated), exe(Engine::Copied));
}

/// One segment that is read and executed, and never written; a stack that is
/// not executed; sealed.
#[test]
fn the_image_is_one_sealed_segment_that_nobody_writes() {
    let _alone = alone();
    let before = descriptors();
    let prepared = private().prepare().unwrap();
    let after = descriptors();
    let new = after.iter().filter(|fd| !before.contains(fd));
    let of = |fd: &&(String, String)| fd.1.starts_with("/memfd:offshoot");
    let (number, _) = new.clone().find(of).expect("the image's file");
    let bytes = fs::read(format!("/proc/self/fd/{number}")).unwrap();
    let file = File::open(format!("/proc/self/fd/{number}")).unwrap();
    // SAFETY: asks for a number.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    assert_eq!(seals & 0xF, 0xF);
    drop(file);
    let long =
        |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let word =
        |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(&bytes[..4], b"\x7fELF");
    let heads = [64, 120].map(|at| (word(at), word(at + 4)));
    assert_eq!(heads, [(1, 5), (0x6474_E551, 6)], "LOAD R E, STACK RW");
    assert_eq!((long(72), long(80)), (0, 0x40_0000), "offset and address");
    assert_eq!((long(96), long(104)), (bytes.len() as u64, long(96)));
    assert_eq!(long(112), 0x1_0000, "aligned to the largest page");
    assert!((0x40_0000..0x40_0400).contains(&long(24)), "begins in its code");
    drop(prepared);
    assert_eq!(descriptors(), before);
}

/// Where descriptors are reserved the page is kept from spawn to spawn, and
/// a plan that wants its number gets another.
#[test]
fn a_page_is_kept_where_descriptors_are_and_given_to_one_launch_at_a_time() {
    let name = "a_page_is_kept_where_descriptors_are_and_given_to_one_launch_at_a_time";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let pages = || -> Vec<String> {
        let page = |fd: &(String, String)| fd.1.contains("memfd:offshoot");
        let all = descriptors().into_iter().filter(page);
        all.map(|fd| fd.0).collect()
    };
    assert_eq!(run(&mut private()).1.engine(), Engine::Isolated);
    assert_eq!(pages(), [""; 0], "nothing is kept unasked");
    offshoot::reserve_fds(2).unwrap();
    run(&mut private());
    let kept = pages();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let number = kept[0].parse().unwrap();
    let mut taken = private();
    taken.fd(number, File::open("/dev/null").unwrap());
    let (report, launch) = run(&mut taken);
    assert_eq!(launch.engine(), Engine::Isolated);
    assert!(report.fds().contains(&number.unsigned_abs()));
    thread::scope(|scope| {
        let spawn = || {
            for _ in 0..8 {
                assert_eq!(run(&mut private()).0.fds(), [0, 1, 2]);
            }
        };
        let all: Vec<_> = (0..16).map(|_| scope.spawn(spawn)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    // One of them, whichever came back first; none is waited for.
    run(&mut private());
    assert_eq!(pages().len(), 1);
}

/// The page that a prepared plan keeps is its parent's after a fork.
#[test]
fn a_fork_without_exec_does_not_launch_with_its_parents_page() {
    let name = "a_fork_without_exec_does_not_launch_with_its_parents_page";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // The files that nobody may execute: pages, not images.
    let pages = || -> Vec<u64> {
        let memory = |fd: &(String, String)| fd.1.contains("memfd:offshoot");
        let number = |fd: (String, String)| {
            let file = format!("/proc/self/fd/{}", fd.0);
            let file = fs::metadata(file).unwrap();
            (file.len() == 4096).then_some(file.ino())
        };
        let all = descriptors().into_iter().filter(memory);
        all.filter_map(number).collect()
    };
    let prepared = Command::new("/bin/true").memory(Memory::Private).prepare();
    let prepared = prepared.unwrap();
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    let own = pages();
    assert_eq!(own.len(), 1, "kept for the next");
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    assert_eq!(pages(), own, "and used by it");
    // SAFETY: the child spawns, looks, and ends by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let ran = prepared.spawn().unwrap().wait().unwrap().success();
        let code = i32::from(!ran || pages().len() != 1 || pages() == own);
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) };
    }
    let mut status = -1;
    // SAFETY: waits for the child just made, and writes one int.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    assert_eq!(pages(), own);
}
