//! Privilege: which callers a filter is refused for without `no_new_privs`,
//! compared with the capabilities that the kernel leaves them.
#![allow(unsafe_code, reason = "the tests change ids and capabilities")]

mod util;

use std::io;

use offshoot::{Command, Engine, Groups, Step};
use util::fork::forked;
use util::{alone, is_root, skip};

/// Real, effective and saved.
type Ids = [u32; 3];

const SYS_ADMIN: u32 = 1 << 21;
const SECBIT_NO_SETUID_FIXUP: u64 = 1 << 2;

fn setresuid(ids: Ids) {
    let [r, e, s] = ids.map(libc::c_long::from);
    // SAFETY: takes numbers, and changes this process of one thread.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) };
    assert_eq!(done, 0, "{ids:?}: {}", io::Error::last_os_error());
}

fn prctl(option: libc::c_int, value: u64) {
    // SAFETY: the options take a number.
    let done = unsafe { libc::prctl(option, value, 0, 0, 0) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The capabilities of this thread: effective, permitted and inheritable, the
/// low halves and then the high ones.
fn capabilities() -> [u32; 6] {
    let (header, mut all) = ([0x2008_0522u32, 0], [0u32; 6]);
    let (header, at) = (header.as_ptr(), all.as_mut_ptr());
    // SAFETY: reads a header and writes two sets of three words.
    let done = unsafe { libc::syscall(libc::SYS_capget, header, at) };
    assert_eq!(done, 0);
    all
}

/// Makes the permitted capabilities effective.
fn raise() {
    let mut all = capabilities();
    (all[0], all[3]) = (all[1], all[4]);
    let header = [0x2008_0522u32, 0];
    let (header, at) = (header.as_ptr(), all.as_ptr());
    // SAFETY: reads a header and two sets of three words.
    let done = unsafe { libc::syscall(libc::SYS_capset, header, at) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Makes a caller of this process.
fn become_caller(ids: Ids, has_capabilities: bool, no_fixup: bool) {
    if no_fixup {
        prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
    }
    prctl(libc::PR_SET_KEEPCAPS, has_capabilities.into());
    setresuid(ids);
    if has_capabilities {
        raise();
    }
    prctl(libc::PR_SET_KEEPCAPS, 0);
}

#[test]
fn a_filter_is_refused_exactly_where_the_kernel_leaves_no_privilege() {
    let name =
        "a_filter_is_refused_exactly_where_the_kernel_leaves_no_privilege";
    let _alone = alone();
    if !is_root() || capabilities()[0] & SYS_ADMIN == 0 {
        return skip(name, "it takes root's capabilities");
    }
    let (root, user): (Ids, Ids) = ([0; 3], [1000; 3]);
    let callers: [(Ids, bool, bool); 7] = [
        (root, true, false),
        (root, true, true),
        (user, true, false),
        (user, false, false),
        ([0, 1000, 0], false, false),
        ([1000, 1000, 0], true, false),
        ([0, 1000, 1000], true, false),
    ];
    let targets = [root, user, [65534; 3], [0, 1000, 0], [1000, 0, 1000]];
    let mut refusals = 0;
    for (ids, has_capabilities, no_fixup) in callers {
        for to in targets {
            let caller = || become_caller(ids, has_capabilities, no_fixup);
            // What the kernel leaves, if it lets this caller change its ids.
            let status = forked(|| {
                caller();
                let [r, e, s] = to.map(libc::c_long::from);
                // SAFETY: takes numbers; this process has one thread.
                match unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) } {
                    0 if capabilities()[0] & SYS_ADMIN != 0 => 0,
                    0 => 1,
                    _ => 2,
                }
            });
            let left = libc::WEXITSTATUS(status);
            let case = format!("{ids:?} {has_capabilities} {no_fixup} {to:?}");
            assert!(libc::WIFEXITED(status), "{case}: {status:#x}");
            if left == 2 {
                continue;
            }
            refusals += left;
            let status = forked(|| {
                caller();
                spawn_with_filter(to, left == 1);
                0
            });
            assert_eq!(status, 0, "{case}: {left}");
        }
    }
    assert!(refusals > 8, "{refusals}");
}

/// Spawns a child with a filter that allows all, which must be refused or run.
/// Memory is copied: the exec of a helper would change these credentials.
fn spawn_with_filter(to: Ids, is_refused: bool) {
    let [r, e, s] = to;
    let mut least = Command::new("/bin/true");
    least.engine(Engine::Copied).resuid(r, e, s).groups(Groups::keep());
    least.seccomp([(0x06, 0, 0, libc::SECCOMP_RET_ALLOW)]);
    match least.spawn() {
        Ok(mut child) => {
            assert!(!is_refused, "not refused");
            child.wait().unwrap();
        }
        Err(error) => {
            assert!(is_refused, "{error}");
            assert_eq!(error.step(), Step::Seccomp, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
            assert_eq!(error.operand().unwrap(), "no_new_privs");
        }
    }
}
