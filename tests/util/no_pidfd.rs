//! No pidfd: children that have none, as on a kernel without pidfds.

use offshoot::{Child, Command, Resource, Rlimit};

use super::{inside, limit, limit_with};

/// A child whose pidfd found no free number.
pub fn without_pidfd(command: &mut Command) -> Child {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) };
    assert_eq!(got, 0);
    let (soft, hard) = (old.rlim_cur, old.rlim_max);
    command.rlimit(Resource::NoFile, Rlimit::new(soft, hard));
    // The first limit that leaves room for the pipes leaves none for a pidfd.
    let child = (0..16).find_map(|free| {
        limit(libc::RLIMIT_NOFILE, limit_with(free), hard);
        let child = command.spawn();
        limit(libc::RLIMIT_NOFILE, soft, hard);
        child.ok()
    });
    let child = child.unwrap();
    assert!(child.pidfd().is_none());
    child
}

/// Runs a test body with a child that has a pidfd, and with one that has none.
#[track_caller]
pub fn with_and_without(
    test: &str,
    body: impl Fn(&mut dyn FnMut(Command) -> Child),
) {
    if !inside(test, &[]) {
        return;
    }
    body(&mut |mut command| command.spawn().unwrap());
    body(&mut |mut command| without_pidfd(&mut command));
}
