//! Limit: what this process may have of a resource.

use std::io;

/// Sets the limit of a resource, and the one up to which it may be raised.
pub fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads one rlimit.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
