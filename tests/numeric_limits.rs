//! Numeric limits: the largest counts, descriptors and sizes, and values
//! beyond them.
#![allow(unsafe_code, reason = "the tests pass raw descriptors and hooks")]

mod util;

use std::fs::File;
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Memory, Step, reserve_fds};
use util::clean::{clean, command, refused};
use util::filter::{self, Action};
use util::{alone, each_engine};

#[test]
fn reserve_fds_refuses_more_descriptors_than_the_limit() {
    let name = "reserve_fds_refuses_more_descriptors_than_the_limit";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let refused = || {
        for count in [usize::MAX, usize::MAX - 2, 1 << 40, 1 << 30, 1 << 20] {
            let before = (util::State::now(), Instant::now());
            let error = reserve_fds(count).unwrap_err();
            assert_eq!(error.step(), Step::ReserveFds, "{error}");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            let shown = error.operand().unwrap().to_str().unwrap();
            assert_eq!(shown, count.to_string());
            assert!(before.1.elapsed() < Duration::from_secs(1), "{count}");
            assert_eq!(util::State::now(), before.0, "{count}");
        }
    };
    refused();
    reserve_fds(2).unwrap();
    refused();
    // With prlimit rejected, too.
    let action = Action::errno(libc::EPERM);
    filter::with(libc::SYS_prlimit64, action, refused);
    assert!(Command::new("/bin/true").status().unwrap().success());
}

/// With prlimit rejected, as a known RLIMIT_NOFILE would refuse the target
/// before the clone.
#[test]
fn the_highest_fd_number_as_a_target_is_an_error_of_the_kernel() {
    let action = Action::errno(libc::EPERM);
    each_engine(|engine| {
        for target in [i32::MAX, i32::MAX - 1] {
            let null = || File::open("/dev/null").unwrap();
            let mut all = command("/bin/true", engine);
            all.fd(target, null()).fd(9, null());
            let error = clean(|| {
                let spawn = || all.spawn().map(drop);
                filter::with(libc::SYS_prlimit64, action, spawn)
            });
            let errnos = [libc::EBADF, libc::EMFILE, libc::EPERM];
            let errno = error.raw_os_error().unwrap();
            assert!(errnos.contains(&errno), "{engine} {error}");
        }
    });
}

#[test]
fn over_65534_calls_are_refused_by_the_option_that_adds_them() {
    let _alone = alone();
    let count = 65_535;
    let mut hooks = Command::new("/bin/true");
    for _ in 0..count {
        // SAFETY: the hook does nothing.
        unsafe { hooks.pre_exec(|_| Ok(())) };
    }
    // The gaps between the targets need as many calls again.
    let mut raw = Command::new("/bin/true");
    let mut inherited = Command::new("/bin/true");
    for n in 0..40_000 {
        // SAFETY: 0 stays open; the plan is refused before any other use.
        unsafe { raw.raw_fd(2 * n + 3, 0).inherit_unlisted_fds(false) };
        // SAFETY: as above.
        unsafe { inherited.inherit_raw_fd(2 * n + 3) };
    }
    let cases = [
        (hooks, Step::PreExec, "65535"),
        (raw, Step::Fd, "40000"),
        (inherited, Step::InheritRawFd, "40000"),
    ];
    for (mut command, step, shown) in cases {
        let planned = command.plan().map(drop).unwrap_err();
        let error = clean(|| command.spawn().map(drop));
        assert_eq!(format!("{planned:?}"), format!("{error:?}"));
        refused(&error, step, Some(shown), "over 65,534 calls");
    }
}

/// The status page is allocated before it is written to, as a write without
/// memory would kill this process by SIGBUS.
#[test]
fn no_memory_for_a_status_page_is_an_error_or_a_fallback() {
    let _alone = alone();
    for errno in [libc::ENOSPC, libc::ENOMEM] {
        let action = Action::errno(errno);
        filter::with(libc::SYS_fallocate, action, || {
            let mut named = command("/bin/true", Engine::Isolated);
            let error = clean(|| named.spawn().map(drop));
            assert_eq!(error.step(), Step::Image, "{error}");
            assert_eq!(error.raw_os_error(), Some(errno));
            let mut any = Command::new("/bin/true");
            let mut child = any.memory(Memory::Private).spawn().unwrap();
            assert!(child.wait().unwrap().success());
            assert_eq!(child.launch().engine(), Engine::Copied);
            let fallback = child.launch().fallbacks().next().unwrap();
            assert_eq!(fallback.raw_os_error(), Some(errno));
        });
    }
}
