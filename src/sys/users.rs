//! Users: entries of the user and group databases, as libc's name services
//! find them (files, LDAP, systemd).
#![allow(unsafe_code, reason = "calls libc with raw arguments")]

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;

use super::Errno;

/// The ids of a user: its own, and that of its primary group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserIds {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Looks up a user by [`getpwnam_r(3)`]. `None`: there is no such user.
/// ERANGE: the entry's strings need a longer `buffer`.
///
/// [`getpwnam_r(3)`]: https://man7.org/linux/man-pages/man3/getpwnam.3.html
pub(crate) fn user(
    name: &CStr,
    buffer: &mut [u8],
) -> Result<Option<UserIds>, Errno> {
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found: *mut libc::passwd = ptr::null_mut();
    // SAFETY: `name` ends in NUL; libc writes an entry, as many bytes as the
    // buffer has, and a pointer, all of which live in this frame or are
    // borrowed for it.
    let errno = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        )
    };
    if found.is_null() {
        // What POSIX and libc's services return if there is no such entry.
        let absent = [0, libc::ENOENT, libc::ESRCH];
        return match absent.contains(&errno) {
            true => Ok(None),
            false => Err(Errno(errno)),
        };
    }
    // SAFETY: `found` is not NULL, so libc has filled the entry.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(UserIds { uid: entry.pw_uid, gid: entry.pw_gid }))
}

/// Returns how many groups a user has, `gid` included, by
/// [`getgrouplist(3)`]. They are in `groups` if that is as long. `None`: the
/// look-up failed.
///
/// [`getgrouplist(3)`]: https://man7.org/linux/man-pages/man3/getgrouplist.3.html
pub(crate) fn groups(
    name: &CStr,
    gid: u32,
    groups: &mut [u32],
) -> Option<usize> {
    let room = i32::try_from(groups.len()).unwrap_or(i32::MAX);
    let mut count = room;
    // SAFETY: `name` ends in NUL; libc writes at most `count` ids.
    let result = unsafe {
        libc::getgrouplist(
            name.as_ptr(),
            gid,
            groups.as_mut_ptr(),
            &raw mut count,
        )
    };
    // -1 also if there are more; libc leaves the count as it is where it has
    // no memory or cannot read the database.
    let failed = result < 0 && count <= room;
    usize::try_from(count).ok().filter(|_| !failed)
}
