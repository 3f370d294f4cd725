//! Helper fallbacks: a call or a descriptor that the helper needs is
//! rejected, or not available any more after `prepare`. Memory is copied
//! instead, unless the isolated engine is named.
#![allow(unsafe_code, reason = "the tests close descriptors and unshare")]

mod util;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, iter, thread};

use offshoot::{Child, Command, Engine, Error, Memory, Prepared};
use offshoot::{Stdio, Step};
use util::filter::{self, Action};
use util::fork::{end_with, fork, forked, reap};
use util::reporter::{ASK, Report};
use util::{
    alone, fallbacks, has_children, inheritable, is_root, limit, limit_with,
    skip,
};

fn private(program: &str) -> Command {
    let mut command = Command::new(program);
    command.memory(Memory::Private);
    command
}

/// The engine of a child, and its fallbacks.
#[track_caller]
fn ran(child: Result<Child, Error>) -> (Engine, Vec<(&'static str, i32)>) {
    let mut child = child.unwrap();
    let launch = child.launch().clone();
    assert!(child.wait().unwrap().success());
    let all = fallbacks(&launch).into_iter();
    (launch.engine(), all.map(|(f, e)| (f, e.unwrap_or(0))).collect())
}

#[test]
fn each_call_that_only_the_helper_needs_may_be_rejected() {
    let _alone = alone();
    for (nr, feature) in [
        (libc::SYS_prctl, "isolated"),
        (libc::SYS_capget, "isolated"),
        (libc::SYS_dup3, "isolated"),
        (libc::SYS_execveat, "execveat of the helper"),
        (libc::SYS_memfd_create, "memfd_create"),
        (libc::SYS_fallocate, "memfd_create"),
    ] {
        for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::EINVAL] {
            let want = (Engine::Copied, vec![(feature, errno)]);
            let what = format!("call {nr}, errno {errno}");
            let action = Action::errno(errno);
            // Neither has a status page yet.
            let prepared = private("/bin/true").prepare().unwrap();
            let mut strict = Command::new("/bin/true");
            let strict = strict.engine(Engine::Isolated).prepare().unwrap();
            filter::with(nr, action, || {
                assert_eq!(ran(prepared.spawn()), want, "{what}");
                assert_eq!(ran(private("/bin/true").spawn()), want, "{what}");
                let error = strict.spawn().unwrap_err();
                assert_eq!(error.step(), Step::Image, "{what}: {error}");
                assert_eq!(error.raw_os_error(), Some(errno), "{what}");
            });
            assert!(!has_children());
            assert_eq!(ran(prepared.spawn()), (Engine::Isolated, Vec::new()));
        }
    }
}

/// A filter that was added after `prepare` may kill on calls it does not know.
#[test]
fn no_optional_call_is_made_where_a_filter_may_kill() {
    let name = "no_optional_call_is_made_where_a_filter_may_kill";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let prepared = private("/bin/true").prepare().unwrap();
    assert_eq!(ran(prepared.spawn()), (Engine::Isolated, Vec::new()));
    for nr in [libc::SYS_personality, libc::SYS_process_mrelease] {
        filter::with(nr, Action::Kill, || {
            let isolated = (Engine::Isolated, Vec::new());
            assert_eq!(ran(prepared.spawn()), isolated);
            assert_eq!(ran(private("/bin/true").spawn()), isolated);
        });
    }
}

#[test]
fn a_rejected_prlimit_does_not_panic() {
    let _alone = alone();
    let action = Action::errno(libc::EPERM);
    filter::with(libc::SYS_prlimit64, action, || {
        let want = vec![("memfd_create", libc::EPERM)];
        let spawned = private("/bin/true").spawn();
        assert_eq!(ran(spawned), (Engine::Copied, want));
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Stdio::null()).fd(9, File::open("/dev/null").unwrap());
        assert!(cat.status().unwrap().success());
    });
}

/// With too few descriptors for the helper, the program runs in a copied child
/// wherever that is possible.
#[test]
fn with_few_free_descriptors_memory_is_copied() {
    let name = "with_few_free_descriptors_memory_is_copied";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let mut engines = Vec::new();
    for free in 1..10 {
        for pipes in 0..4 {
            let dir = util::scratch("runs-out");
            let set = |mut command: Command, name: &str| {
                if pipes > 2 {
                    // A retry does not open the file a second time.
                    let mut new = OpenOptions::new();
                    new.write(true).create_new(true);
                    let path = dir.join(format!("{free}-{name}"));
                    command.stderr(Stdio::open(path, &new));
                }
                if pipes > 0 {
                    command.stdout(Stdio::piped());
                }
                if pipes > 1 {
                    command.stdin(Stdio::piped());
                }
                command
            };
            let engine = |spawned: Result<Child, Error>| {
                spawned.map(|child| ran(Ok(child)).0)
            };
            limit(libc::RLIMIT_NOFILE, limit_with(free), 1024);
            let mut copied = Command::new("/bin/true");
            copied.engine(Engine::Copied);
            let copied = engine(set(copied, "copied").spawn());
            let auto = engine(set(private("/bin/true"), "auto").spawn());
            limit(libc::RLIMIT_NOFILE, 1024, 1024);
            let what = format!("{free} free, {pipes} pipes: {auto:?}");
            assert_eq!(auto.is_ok(), copied.is_ok(), "{what}");
            match auto {
                Ok(engine) => engines.push(engine),
                Err(error) => {
                    let errno = error.raw_os_error();
                    assert_eq!(errno, Some(libc::EMFILE), "{what}");
                }
            }
            assert!(!has_children());
        }
    }
    assert!(engines.contains(&Engine::Copied), "{engines:?}");
    assert!(engines.contains(&Engine::Isolated), "{engines:?}");
}

#[test]
fn a_prepared_helper_falls_back_to_a_copy_without_descriptors() {
    let name = "a_prepared_helper_falls_back_to_a_copy_without_descriptors";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let prepared = private("/bin/true").prepare().unwrap();
    let isolated = (Engine::Isolated, Vec::new());
    let copied = |feature, errno| (Engine::Copied, vec![(feature, errno)]);
    assert_eq!(ran(prepared.spawn()), isolated);
    // Its status page would be at 62.
    limit(libc::RLIMIT_NOFILE, 40, 1024);
    assert_eq!(ran(prepared.spawn()), copied("isolated", libc::EBADF));
    limit(libc::RLIMIT_NOFILE, 1024, 1024);
    assert_eq!(ran(prepared.spawn()), isolated);
    // No descriptor is free, except that of its cached status page.
    limit(libc::RLIMIT_NOFILE, 100, 1024);
    let fill = || -> Vec<File> {
        iter::from_fn(|| File::open("/dev/null").ok()).collect()
    };
    let full = fill();
    assert!(full.len() > 40, "{}", full.len());
    assert_eq!(ran(prepared.spawn()), copied("isolated", libc::EMFILE));
    // Two are free, as the status page and its probe were closed.
    assert_eq!(ran(prepared.spawn()), isolated);
    let rest = fill();
    assert_eq!(rest.len(), 2);
    let none = ["memfd_create", "CLONE_PIDFD"];
    let none = none.map(|feature| (feature, libc::EMFILE));
    assert_eq!(ran(prepared.spawn()), (Engine::Copied, none.into()));
    drop((full, rest));
    assert_eq!(ran(prepared.spawn()), isolated);
}

/// The helper's two descriptors could have the numbers of inherited ones.
#[test]
fn unlisted_descriptors_are_inherited_by_a_copied_child() {
    let _alone = alone();
    let null = File::open("/dev/null").unwrap();
    // The helper would take the highest free numbers below 64.
    let open = [61, 62, 63].map(|least| inheritable(&null, least));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ASK, "-"]).memory(Memory::Private).stdout(Stdio::piped());
    let child = command.inherit_unlisted_fds(true).spawn().unwrap();
    assert_eq!(child.launch().engine(), Engine::Copied);
    assert_eq!(fallbacks(child.launch()), [], "planned so");
    let output = child.wait_with_output().unwrap();
    let fds = Report::parse(&output.stdout).fds();
    for fd in open {
        assert!(fds.contains(&fd.as_raw_fd().unsigned_abs()), "{fds:?}");
    }
}

/// Another thread's waitpid with `__WALL` reaps a child that is killed before
/// exec.
#[test]
fn a_child_killed_before_exec_is_an_error_if_another_thread_reaps_it() {
    let name =
        "a_child_killed_before_exec_is_an_error_if_another_thread_reaps_it";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let stop = AtomicBool::new(false);
    let reaper = || {
        let mut reaped = 0;
        while !stop.load(Ordering::Relaxed) {
            let (how, mut status) = (libc::WNOHANG | libc::__WALL, 0);
            // SAFETY: writes one int.
            let pid = unsafe { libc::waitpid(-1, &mut status, how) };
            reaped += i32::from(pid > 0);
        }
        reaped
    };
    let killed = |engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine).before_exec(|pid, _| {
            // SAFETY: a child's own id, which is above 0.
            let done = unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
            assert_eq!(done, 0);
            thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        let error = command.spawn().unwrap_err();
        assert_eq!(error.step(), Step::BeforeExec, "{engine}: {error}");
    };
    let reaped = thread::scope(|scope| {
        let reaper = scope.spawn(reaper);
        for engine in [Engine::Isolated, Engine::Copied, Engine::Pipe] {
            (0..5).for_each(|_| killed(engine));
        }
        stop.store(true, Ordering::Relaxed);
        reaper.join().unwrap()
    });
    // A child that it did not reap is an error too.
    assert!((1..=15).contains(&reaped), "{reaped}");
}

/// The inits of two PID namespaces both have pid 1.
#[test]
fn processes_with_the_same_pid_have_separate_status_pages() {
    let name = "processes_with_the_same_pid_have_separate_status_pages";
    let _alone = alone();
    if !is_root() {
        return skip(name, "PID namespaces need root");
    }
    if !util::inside(name, &[]) {
        return;
    }
    let unshare = || {
        // SAFETY: the next child of this process is the init of a new
        // namespace; nothing else changes.
        unsafe { libc::unshare(libc::CLONE_NEWPID) == 0 }
    };
    let both = |prepared: &Prepared| {
        let failing = private("/no/such/program").prepare().unwrap();
        (0..100).all(|_| {
            let ran = prepared.spawn().unwrap().wait().unwrap().success();
            let error = failing.spawn().unwrap_err();
            ran && error.raw_os_error() == Some(libc::ENOENT)
        })
    };
    assert!(unshare());
    let status = forked(|| {
        assert_eq!(std::process::id(), 1);
        let prepared = private("/bin/true").prepare().unwrap();
        assert!(both(&prepared) && unshare());
        let (mut ours, theirs) = io::pipe().unwrap();
        let pid = fork();
        if pid == 0 {
            end_with(|| {
                assert_eq!(std::process::id(), 1);
                let good = both(&prepared);
                // The namespace ends with its init.
                drop(theirs);
                let _ = ours.read(&mut [0]);
                i32::from(!good)
            });
        }
        // At the same time, with a copy of the same memory.
        let good = both(&prepared);
        drop(theirs);
        i32::from(!good || reap(pid) != 0)
    });
    assert_eq!(status, 0);
}

/// Steps that run in this process may overwrite any descriptor.
#[test]
fn a_failed_exec_drops_cached_descriptors_it_overwrote() {
    let name = "a_failed_exec_drops_cached_descriptors_it_overwrote";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    offshoot::reserve_fds(4).unwrap();
    let isolated = || {
        assert_eq!(ran(private("/bin/true").spawn()).0, Engine::Isolated);
    };
    isolated();
    let path = util::scratch("overwritten").join("file");
    std::fs::write(&path, "as it was").unwrap();
    let mut command = Command::new("/no/such/program");
    for number in 3..40 {
        let file = OpenOptions::new().read(true).write(true).open(&path);
        command.fd(number, file.unwrap());
    }
    let error = command.exec();
    assert_eq!(error.step(), Step::Exec, "{error}");
    isolated();
    offshoot::reserve_fds(4).unwrap();
    isolated();
    isolated();
    assert_eq!(std::fs::read(&path).unwrap(), b"as it was");
    let mut cat = private("/bin/true");
    assert!(cat.stdin(Stdio::piped()).output().unwrap().status.success());
}

/// A daemon forks, and closes all inherited descriptors.
#[test]
fn a_fork_that_closed_everything_keeps_the_files_it_opens() {
    let name = "a_fork_that_closed_everything_keeps_the_files_it_opens";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    offshoot::reserve_fds(8).unwrap();
    assert_eq!(ran(private("/bin/true").spawn()).0, Engine::Isolated);
    let status = forked(|| {
        // SAFETY: what was open is not used from here on.
        assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
        let path = util::scratch("daemon").join("file");
        let open = || File::create(&path).unwrap();
        let own: Vec<File> = (0..90).map(|_| open()).collect();
        let inode = || {
            let one = |file: &File| file.metadata().unwrap().ino();
            own.iter().map(one).collect::<Vec<_>>()
        };
        let before = inode();
        let spawn = || {
            let mut command = private("/bin/true");
            command.stdin(Stdio::piped()).stderr(Stdio::null());
            ran(command.spawn()).0 == Engine::Isolated
                && command.output().unwrap().status.success()
        };
        let good = spawn() && spawn() && inode() == before;
        offshoot::reserve_fds(4).unwrap();
        let good = good && spawn() && spawn() && inode() == before;
        i32::from(!good)
    });
    assert_eq!(status, 0);
}
