//! User look-up: where libc cannot look up the groups of a user, none are
//! invented.
#![allow(unsafe_code, reason = "the test takes the place of a libc function")]

use offshoot::{Command, Step};

/// As libc's without memory, or without its database: -1, and the count stays.
#[unsafe(no_mangle)]
extern "C" fn getgrouplist(
    _: *const libc::c_char,
    _: libc::gid_t,
    _: *mut libc::gid_t,
    _: *mut libc::c_int,
) -> libc::c_int {
    -1
}

#[test]
fn a_user_whose_groups_cannot_be_looked_up_is_refused() {
    let error = Command::new("/bin/true").user("nobody").plan().unwrap_err();
    assert_eq!(error.step(), Step::User, "{error}");
    assert_eq!(error.operand().unwrap(), "nobody");
    assert!(error.to_string().contains("groups"), "{error}");
}
