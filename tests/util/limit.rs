//! Limit: resource limits of this process.

use std::io;

use super::reporter::descriptors;

/// Sets the limit of a resource, and the one up to which it may be raised.
pub fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads one rlimit.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The RLIMIT_NOFILE that leaves so many descriptors free.
pub fn limit_with(free: usize) -> u64 {
    let open = descriptors();
    let taken = |n: &u64| open.iter().any(|fd| fd.0 == n.to_string());
    let mut all = (0..).filter(|n| !taken(n));
    // With none free, the limit is the first free number.
    all.nth(free).unwrap()
}
