//! Full descriptor table: what std can start is started, without a pidfd if
//! necessary, and reserved descriptors do not change that.
#![allow(unsafe_code, reason = "the tests change what their process may do")]

mod util;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use offshoot::{
    Child, CloneFlags, Command, Engine, Error, Groups, Method, Stdio,
};
use util::{
    alone, each_of, elf, is_root, limit, limit_with, program, scratch,
};

/// Spawns while so many descriptors are free.
fn with_free(free: usize, command: &mut Command) -> Result<Child, Error> {
    limit(libc::RLIMIT_NOFILE, limit_with(free), 4096);
    let result = command.spawn();
    limit(libc::RLIMIT_NOFILE, 4096, 4096);
    result
}

#[test]
fn with_no_free_descriptor_a_program_starts_without_a_pidfd() {
    let name = "with_no_free_descriptor_a_program_starts_without_a_pidfd";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("full");
    let (seven, pause) = (dir.join("seven"), dir.join("pause"));
    program(&seven, &elf::seven());
    program(&pause, &elf::pause());
    // The other engines open descriptors of their own.
    each_of(&[Engine::Suspended, Engine::Copied], |engine| {
        let mut command = Command::new(&seven);
        command.engine(engine);
        let mut child = with_free(0, &mut command).unwrap();
        assert!(child.pidfd().is_none(), "{engine}");
        let launch = child.launch().clone();
        assert!(!launch.flags().contains(CloneFlags::PIDFD), "{launch}");
        let fallback =
            launch.fallbacks().find(|f| f.feature() == "CLONE_PIDFD");
        let errno = fallback.expect("a fallback").raw_os_error();
        assert_eq!(errno, Some(libc::EMFILE), "{launch}");
        assert!(launch.confirmed(), "{launch}");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let mut sleep = Command::new(&pause);
        sleep.engine(engine);
        let mut child = with_free(0, &mut sleep).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!util::has_children());
    });
}

#[test]
fn as_many_children_can_run_as_with_std() {
    let name = "as_many_children_can_run_as_with_std";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    limit(libc::RLIMIT_NOFILE, 64, 4096);
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let started: Result<Vec<Child>, Error> =
        (0..100).map(|_| sleep.spawn()).collect();
    let mut all = started.unwrap();
    let pidfds = all.iter().filter(|child| child.pidfd().is_some()).count();
    assert!(pidfds > 20, "the first children have one: {pidfds}");
    for child in &all {
        child.kill().unwrap();
    }
    for child in &mut all {
        child.wait().unwrap();
    }
    assert!(!util::has_children());
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Commands that need different numbers of descriptors.
fn commands(path: &Path) -> Vec<(&'static str, Command)> {
    let make = |change: &dyn Fn(&mut Command)| {
        let mut command = Command::new(path);
        change(&mut command);
        command
    };
    let own = null();
    let dup = || own.as_fd().try_clone_to_owned().unwrap();
    let mut all = vec![
        ("plain", make(&|_| {})),
        (
            "null",
            make(&|c| {
                c.stdin(Stdio::null());
            }),
        ),
        (
            "piped",
            make(&|c| {
                c.stdout(Stdio::piped());
            }),
        ),
        (
            "two",
            make(&|c| {
                c.stdout(Stdio::piped()).stderr(Stdio::piped());
            }),
        ),
        (
            "fd",
            make(&|c| {
                c.fd(3, dup());
            }),
        ),
        (
            "gate",
            make(&|c| {
                c.before_exec(|_, _| Ok(()));
            }),
        ),
    ];
    if is_root() {
        let ids = |c: &mut Command| {
            c.uid(65534).gid(65534).groups(Groups::clear());
        };
        all.push(("ids", make(&ids)));
        all.push((
            "ids, piped",
            make(&|c| {
                ids(c);
                c.stdout(Stdio::piped());
            }),
        ));
    }
    all
}

/// The commands that start, for each number of free descriptors.
fn starts(path: &Path, method: Method) -> Vec<(&'static str, usize)> {
    let mut all = Vec::new();
    for (what, mut command) in commands(path) {
        command.method(method);
        for free in 0..12 {
            if let Ok(mut child) = with_free(free, &mut command) {
                assert_eq!(child.wait().unwrap().code(), Some(7), "{what}");
                all.push((what, free));
            }
        }
    }
    assert!(!util::has_children());
    all
}

#[test]
fn auto_starts_all_that_fork_can_with_few_free_descriptors() {
    let name = "auto_starts_all_that_fork_can_with_few_free_descriptors";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let path = scratch("few").join("seven");
    program(&path, &elf::seven());
    for reserved in [0, 4] {
        if reserved > 0 {
            offshoot::reserve_fds(reserved).unwrap();
        }
        let fork = starts(&path, Method::Fork);
        let auto = starts(&path, Method::Auto);
        assert!(fork.contains(&("plain", 0)));
        let lost = fork.iter().filter(|it| !auto.contains(it));
        let lost: Vec<_> = lost.collect();
        assert!(lost.is_empty(), "{reserved} reserved: {lost:?}");
    }
}
