//! Isolated: the engine that runs the steps in a small helper program. What
//! the helper needs, what it falls back to, and its status page.
#![allow(unsafe_code, reason = "the tests change limits and personalities")]

mod util;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use offshoot::{Child, Command, Engine, Memory, Stdio, Step};
use util::clean::assert_error;
use util::filter::{self, Action};
use util::fork::forked;
use util::reporter::{Report, descriptors};
use util::{alone, fallbacks, limit, program, reporter_with, run, scratch};

/// The reporter with private memory and the default engine.
fn private() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([util::reporter::ASK, "-"]).memory(Memory::Private);
    command
}

#[test]
fn without_a_helper_memory_is_copied_and_launch_says_so() {
    let _alone = alone();
    for (nr, feature) in [
        (libc::SYS_memfd_create, "memfd_create"),
        (libc::SYS_execveat, "execveat of the helper"),
    ] {
        for errno in [libc::ENOSYS, libc::EPERM, libc::EACCES] {
            let action = Action::errno(errno);
            filter::with(nr, action, || {
                let (report, launch) = run(&mut private());
                assert_eq!(report.fds(), [0, 1, 2]);
                assert_eq!(launch.engine(), Engine::Copied, "{feature}");
                assert_eq!(fallbacks(&launch), [(feature, Some(errno))]);
                let error =
                    reporter_with(Engine::Isolated).spawn().unwrap_err();
                assert_eq!(error.step(), Step::Image, "{error}");
                assert_eq!(error.raw_os_error(), Some(errno), "{error}");
            });
        }
    }
}

/// Where a filter rejects the other checks, the parent compares the name in
/// `/proc/PID/comm`, also of a program that only root may read.
#[test]
fn a_program_is_confirmed_by_its_name_when_no_call_is_allowed() {
    let _alone = alone();
    let dir = scratch("unreadable");
    let secret = dir.join("cat");
    program(&secret, &fs::read("/bin/cat").unwrap());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o111)).unwrap();
    let confirmed = |path: &Path| {
        let mut cat = Command::new(path);
        cat.stdin(Stdio::piped()).engine(Engine::Isolated);
        for _ in 0..20 {
            let mut child = cat.spawn().unwrap();
            assert!(child.launch().confirmed());
            assert!(child.wait().unwrap().success());
        }
    };
    confirmed(&secret);
    confirmed(Path::new("/bin/cat"));
    let action = Action::errno(libc::ENOSYS);
    let lock = libc::FUTEX_TRYLOCK_PI.unsigned_abs();
    filter::with(libc::SYS_process_mrelease, action, || {
        filter::without_second(libc::SYS_futex, lock, || {
            confirmed(&secret);
            confirmed(Path::new("/bin/cat"));
        });
    });
}

#[test]
fn a_file_size_limit_does_not_kill_the_parent() {
    let name = "a_file_size_limit_does_not_kill_the_parent";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    limit(libc::RLIMIT_FSIZE, 1000, 1000);
    let (_, launch) = run(&mut private());
    assert_eq!(launch.engine(), Engine::Copied);
    let want = [("memfd_create", Some(libc::EFBIG))];
    assert_eq!(fallbacks(&launch), want);
}

#[test]
fn sixty_four_threads_share_one_prepared_helper() {
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

/// From its first exec on the child is an ordinary child: another thread's
/// waitpid can reap it, but the error is in the status page.
#[test]
fn another_threads_waitpid_takes_the_status_but_not_the_error() {
    let name = "another_threads_waitpid_takes_the_status_but_not_the_error";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut status = 0;
                // SAFETY: writes one int.
                unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            }
        });
        for _ in 0..300 {
            let mut command = Command::new("/nope");
            let error = command.engine(Engine::Isolated).spawn().unwrap_err();
            assert_error(&error, Step::Exec, Some("/nope"), libc::ENOENT);
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// The auxiliary vector: the type of each entry, with its value if that is
/// not an address.
fn auxv(bytes: &[u8]) -> Vec<(u64, u64)> {
    const ADDRESSES: [u64; 7] = [
        libc::AT_PHDR,
        libc::AT_BASE,
        libc::AT_ENTRY,
        libc::AT_RANDOM,
        libc::AT_EXECFN,
        libc::AT_PLATFORM,
        libc::AT_SYSINFO_EHDR,
    ];
    let words = bytes.chunks_exact(8).map(|w| w.try_into().unwrap());
    let words: Vec<u64> = words.map(u64::from_ne_bytes).collect();
    let entry = |pair: &[u64]| match ADDRESSES.contains(&pair[0]) {
        true => (pair[0], 0),
        false => (pair[0], pair[1]),
    };
    words.chunks_exact(2).map(entry).collect()
}

/// Arguments, environment, name, descriptors and directory are the same as
/// without the helper.
#[test]
fn the_program_sees_nothing_of_the_helper() {
    let _alone = alone();
    let report = |engine| {
        let mut command = reporter_with(engine);
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
        // After its output the process is the program.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let out = child.stdout.as_mut().unwrap();
        out.read_exact(&mut [0]).unwrap();
        let of = |file: &str| format!("/proc/{}/{file}", child.id());
        let exe = fs::read_link(of("exe")).unwrap();
        let comm = fs::read_to_string(of("comm")).unwrap();
        let seen = (exe, comm, auxv(&fs::read(of("auxv")).unwrap()));
        assert!(child.wait().unwrap().success());
        seen
    };
    let seen = exe(Engine::Isolated);
    assert!(seen.2.len() > 10, "{seen:?}");
    assert_eq!(seen, exe(Engine::Copied));
}

/// One segment that can be read and executed but not written, a stack that is
/// not executable, and all seals.
#[test]
fn the_helper_image_is_one_sealed_read_only_segment() {
    let _alone = alone();
    let before = descriptors();
    let prepared = private().prepare().unwrap();
    let after = descriptors();
    let new = after.iter().filter(|fd| !before.contains(fd));
    let of = |fd: &&(String, String)| fd.1.starts_with("/memfd:offshoot");
    let (number, _) = new.clone().find(of).expect("the helper's file");
    let bytes = fs::read(format!("/proc/self/fd/{number}")).unwrap();
    let file = File::open(format!("/proc/self/fd/{number}")).unwrap();
    // SAFETY: returns a number and writes no memory.
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
    assert_eq!((long(72), long(80)), (0, 0x41_0000), "offset and address");
    assert_eq!((long(96), long(104)), (bytes.len() as u64, long(96)));
    assert_eq!(long(112), 0x1_0000, "aligned to the largest page");
    assert!(
        (0x41_0000..0x41_0400).contains(&long(24)),
        "the entry point is in its code"
    );
    drop(prepared);
    assert_eq!(descriptors(), before);
}

/// The memfds that are one page long (status pages), each with its lowest
/// descriptor, and the others (helper images). A probe descriptor is a
/// duplicate of a status page.
fn memfds() -> [Vec<(i32, u64)>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    let numbers = descriptors().into_iter();
    let memory = numbers.filter(|fd| fd.1.contains("memfd:offshoot"));
    let mut numbers: Vec<i32> =
        memory.map(|fd| fd.0.parse().unwrap()).collect();
    numbers.sort_unstable();
    for number in numbers {
        let file = fs::metadata(format!("/proc/self/fd/{number}")).unwrap();
        let kind = &mut all[usize::from(file.len() != 4096)];
        if kind.iter().all(|one: &(i32, u64)| one.1 != file.ino()) {
            kind.push((number, file.ino()));
        }
    }
    all
}

/// The helper runs without address space randomization; the program has the
/// personality of its parent.
#[test]
fn the_program_has_the_personality_of_its_parent() {
    let name = "the_program_has_the_personality_of_its_parent";
    let _alone = alone();
    // ADDR_NO_RANDOMIZE, UNAME26, ADDR_COMPAT_LAYOUT.
    for own in [0, 0x004_0000, 0x002_0000, 0x020_0000] {
        let test = || {
            // SAFETY: changes the personality of this thread and its children.
            let before = unsafe { libc::personality(own) };
            if before < 0 {
                return util::skip(name, "a filter rejects personalities");
            }
            let seen = Arc::new(Mutex::new(String::new()));
            let mut cat = Command::new("/bin/cat");
            cat.arg("/proc/self/personality").engine(Engine::Isolated);
            let stack = Arc::clone(&seen);
            cat.before_exec(move |pid, _| {
                let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
                let line = maps.lines().find(|line| line.contains("[stack]"));
                *stack.lock().unwrap() = line.unwrap().to_string();
                Ok(())
            });
            let output = cat.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, format!("{own:08x}\n"));
            let stack = seen.lock().unwrap();
            let end = stack.split(['-', ' ']).nth(1).unwrap();
            // On x86-64, and on aarch64 with 48-bit addresses.
            let flat = ["7ffffffff000", "1000000000000"];
            let flat = flat.contains(&end.trim_start_matches('0'));
            // The personality is not changed under a filter.
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let free = status.contains("Seccomp:\t0\n");
            assert!(flat || !free, "{stack}");
        };
        thread::scope(|scope| scope.spawn(test).join().unwrap());
    }
}

/// A cached status page is older than the launch, so that the pidfd may have a
/// lower number; no second child is created for that.
#[test]
fn a_cached_status_page_needs_no_second_child() {
    let name = "a_cached_status_page_needs_no_second_child";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let command = || {
        let mut command = Command::new("/bin/true");
        command.memory(Memory::Private);
        command
    };
    let assert_isolated = |child: Child| {
        assert_eq!(child.launch().engine(), Engine::Isolated);
        assert!(child.launch().confirmed());
        // It would be opened for a retry.
        assert!(!child.launch().extra_probe_fd());
    };
    let hole = File::open("/dev/null").unwrap();
    let prepared = command().prepare().unwrap();
    assert_isolated(prepared.spawn().unwrap());
    drop(hole);
    assert_isolated(prepared.spawn().unwrap());
    let holes: Vec<File> =
        (0..4).map(|_| File::open("/dev/null").unwrap()).collect();
    offshoot::reserve_fds(1).unwrap();
    // Takes a reserved descriptor.
    let taken = command().prepare().unwrap();
    command().spawn().unwrap().wait().unwrap();
    drop(holes);
    assert_isolated(command().spawn().unwrap());
    assert_isolated(taken.spawn().unwrap());
    assert_isolated(prepared.spawn().unwrap());
}

/// With reserved descriptors the status page is cached from spawn to spawn,
/// and moved for a plan whose target is its number.
#[test]
fn a_status_page_is_cached_and_used_by_one_launch_at_a_time() {
    let name = "a_status_page_is_cached_and_used_by_one_launch_at_a_time";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let status_pages = || memfds()[0].clone();
    assert_eq!(run(&mut private()).1.engine(), Engine::Isolated);
    assert_eq!(memfds(), [[], []], "nothing is cached by default");
    offshoot::reserve_fds(2).unwrap();
    run(&mut private());
    let [cached, images] = memfds();
    assert_eq!((cached.len(), images.len()), (1, 1), "{cached:?} {images:?}");
    run(&mut private());
    assert_eq!(memfds(), [cached.clone(), images.clone()]);
    run(private().env("ANOTHER", "plan"));
    let [same, other] = memfds();
    assert_eq!((same, other.len()), (cached.clone(), 1));
    assert_ne!(other[0].1, images[0].1);
    let number = cached[0].0;
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
    // One of them is cached, the first that was released.
    run(&mut private());
    assert_eq!(status_pages().len(), 1);
}

/// After a fork the status page of a prepared plan belongs to the parent.
#[test]
fn a_fork_without_exec_does_not_use_its_parents_status_page() {
    let name = "a_fork_without_exec_does_not_use_its_parents_status_page";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let status_pages =
        || -> Vec<u64> { memfds()[0].iter().map(|page| page.1).collect() };
    let prepared = Command::new("/bin/true").memory(Memory::Private).prepare();
    let prepared = prepared.unwrap();
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    let own = status_pages();
    assert_eq!(own.len(), 1, "cached for the next spawn");
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    assert_eq!(status_pages(), own, "and used by it");
    let status = forked(|| {
        let ran = prepared.spawn().unwrap().wait().unwrap().success();
        // The fork has a new one; the inherited one is unchanged.
        let two =
            status_pages().len() == 2 && status_pages().contains(&own[0]);
        i32::from(!ran || !two)
    });
    assert_eq!(status, 0);
    assert!(prepared.spawn().unwrap().wait().unwrap().success());
    assert_eq!(status_pages(), own);
}
