//! Reserve: low descriptor numbers that are kept free for children's
//! descriptors.
//!
//! The kernel copies a child's descriptor table up to the highest number that
//! the child needs. In a parent with thousands of descriptors a new pipe has
//! the highest of all. Moved to a reserved number it is low, and the rest of
//! the table is not copied.

use core::mem;
use core::time::Duration;

use rustix::io::{DupFlags, Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::{Error, Step};
use super::fd_table::TableOwner;
use super::std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    string::ToString,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    thread,
    vec::Vec,
};
use crate::sys::abi::Limit;
use crate::sys::call::limit;
pub(crate) use crate::sys::fds::dup_above;
use crate::sys::fds::{Inode, put_over};
use crate::sys::fork_detection::Owner;

/// The kernel copies whole words of the table: 64 descriptors.
const WORD: u32 = 64;

pub(crate) struct Reserve {
    /// Descriptors above all reserved numbers, so that a table without the
    /// last is not the parent's. Earlier ones stay open, as a spawn may use
    /// one as its probe descriptor.
    top_fds: Vec<OwnedFd>,
    /// The file that these and all free numbers are open on.
    file: Option<Inode>,
    free: Vec<OwnedFd>,
    /// How many numbers are reserved, free or not.
    total: usize,
}

static RESERVE: Mutex<Reserve> = Mutex::new(Reserve {
    top_fds: Vec::new(),
    file: None,
    free: Vec::new(),
    total: 0,
});

/// For the cached status page and helper image, in addition to what the first
/// call of `reserve_fds` asks for.
const HELPER_FDS: usize = 2;

/// The number of the last of `top_fds`; 0 if there is none.
static TOP_FD: AtomicI32 = AtomicI32::new(0);

/// Its file: device, inode.
static FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The process that reserved the numbers: a fork may have closed them and use
/// them for its own files.
static OWNER: AtomicU64 = AtomicU64::new(0);

/// Returns a descriptor above all reserved numbers, which stays open, if this
/// process has reserved any.
pub(crate) fn top_fd() -> Option<RawFd> {
    let fd = TOP_FD.load(Ordering::Acquire);
    (fd > 0 && is_own()).then_some(fd)
}

/// As `top_fd`, if this thread's descriptor table has it: one system call, if
/// this process has reserved any.
pub(crate) fn checked_top_fd() -> Option<RawFd> {
    let fd = top_fd()?;
    let [device, number] =
        [0, 1].map(|n: usize| FILE[n].load(Ordering::Acquire));
    let file = Inode { device, number };
    file.is_at(fd.unsigned_abs()).then_some(fd)
}

fn is_own() -> bool {
    Owner::of(OWNER.load(Ordering::Acquire)).is_this()
}

/// Only called if `is_own`: then no thread of another process can have locked
/// it.
fn reserve() -> MutexGuard<'static, Reserve> {
    RESERVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a fork tries a lock that a thread of its parent may have held: a
/// millisecond apart, so that another thread of the fork's own can release
/// it, whatever its priority.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Locks the reserve for this process. If another process has filled it, it is
/// emptied, without closing descriptors.
fn own_reserve() -> Option<MutexGuard<'static, Reserve>> {
    if is_own() {
        return Some(reserve());
    }
    for _ in 0..TRIES {
        let mut reserve = match RESERVE.try_lock() {
            Ok(reserve) => reserve,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        if !is_own() {
            reserve.forget();
            OWNER.store(Owner::this().number(), Ordering::Release);
        }
        return Some(reserve);
    }
    None
}

/// While it lives, other threads wait before they take or release a number.
pub(crate) type Lock = Option<MutexGuard<'static, Reserve>>;

pub(crate) fn lock() -> Lock {
    top_fd().map(|_| reserve())
}

/// Reserves `count` more descriptor numbers for what spawns pass to children:
/// ends of pipes, `/dev/null`, opened files, and copies of high descriptors.
/// Call it early, while low numbers are free.
///
/// Afterwards a spawn that passes a pipe takes as long in a process with
/// thousands of descriptors as in one with a few. A spawn takes one number for
/// each descriptor of the child that is not inherited, until it returns; a
/// [`Prepared`](crate::Prepared) keeps some. Without a free number it uses a
/// high one, and the kernel copies more of the descriptor table.
///
/// The process then also caches what [`Engine::Isolated`] needs: the page of
/// shared memory that the child reports through, and the last helper image,
/// for the next spawn of the same program with the same arguments, environment
/// and options. They take two more numbers, reserved in addition to `count`.
///
/// Threads may spawn and reserve at the same time. When a spawn returns, what
/// was open at its numbers is closed, so a pipe reaches end of file as early
/// as without a reserve. After a failed [`Command::exec`] the numbers are
/// still reserved; a thread that needs one meanwhile waits.
///
/// # Descriptor tables and forks
///
/// The numbers belong to the descriptor table of the calling thread. A thread
/// that has called `unshare(CLONE_FILES)` uses those that its own table still
/// has. If it reserves some itself, these replace the process's, and those of
/// other tables are left open.
///
/// A fork without exec has no reserve. It may close the descriptors and call
/// this function again.
///
/// # Errors
///
/// [`Step::ReserveFds`](crate::Step::ReserveFds):
///
/// - EMFILE or ENFILE: no more descriptors can be opened. Those of this call
///   are closed again.
/// - EMFILE, before any is opened: the total is above RLIMIT_NOFILE or
///   1,048,576.
/// - EDEADLK: in a fork without exec, another thread of the parent was using
///   its reserve during the fork.
///
/// # Examples
///
/// ```
/// offshoot::reserve_fds(6)?;
/// let output = offshoot::Command::new("echo").arg("hi").output()?;
/// assert_eq!(output.stdout, b"hi\n");
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Command::exec`]: crate::Command::exec
/// [`Engine::Isolated`]: crate::Engine::Isolated
pub fn reserve_fds(count: usize) -> Result<(), Error> {
    let Some(mut reserve) = own_reserve() else {
        return Err(Error::os(Step::ReserveFds, libc::EDEADLK));
    };
    if !reserve.is_in_table() {
        reserve.forget();
    }
    let fail = |why| {
        let error = Error::explained(Step::ReserveFds, libc::EMFILE, why);
        Err(error.with(count.to_string()))
    };
    match reserve.total_with(count) {
        None => return fail("the total is above 1,048,576"),
        Some(total) if limit(Limit::Descriptors).is_ok_and(|n| total > n) => {
            return fail("the total is above RLIMIT_NOFILE");
        }
        Some(_) => {}
    }
    reserve
        .add(count)
        .map_err(|e| Error::os(Step::ReserveFds, e.raw_os_error()))
}

/// The kernel's default limit on descriptors. Opening as many takes a third of
/// a second.
const MAX_FDS: usize = 1 << 20;

impl Reserve {
    /// Returns how many descriptors `count` more would make, if possible.
    fn total_with(&self, count: usize) -> Option<u64> {
        let extra = if self.top_fds.is_empty() { HELPER_FDS + 1 } else { 1 };
        let total = count.checked_add(self.total + self.top_fds.len())?;
        let total = total.checked_add(extra)?;
        (total <= MAX_FDS).then_some(total as u64)
    }

    /// Whether this thread's descriptor table has it.
    fn is_in_table(&self) -> bool {
        let (Some(file), Some(top)) = (self.file, self.top_fds.last()) else {
            return false;
        };
        file.is_at(number(top))
    }

    /// Empties it without closing descriptors: their numbers may have other
    /// files by now.
    fn forget(&mut self) {
        let Reserve { top_fds, file, free, total } = self;
        top_fds.drain(..).chain(free.drain(..)).for_each(mem::forget);
        (*file, *total) = (None, 0);
    }

    fn add(&mut self, count: usize) -> Result<(), Errno> {
        let fd = match self.top_fds.last() {
            Some(top) => fcntl_dupfd_cloexec(top, 3)?,
            // A pipe has an inode of its own, which identifies it.
            None => pipe_with(PipeFlags::CLOEXEC)?.0,
        };
        let copy = |_| fcntl_dupfd_cloexec(&fd, 3);
        let count =
            if self.top_fds.is_empty() { count + HELPER_FDS } else { count };
        let mut new = (0..count).map(copy).collect::<Result<Vec<_>, _>>()?;
        let highest = new.iter().chain(&self.top_fds).map(AsRawFd::as_raw_fd);
        let highest = highest.max().unwrap_or(3);
        let top = dup_above(&fd, highest.saturating_add(1))?;
        self.file = Inode::of(&top);
        let file = self.file.map_or([0; 2], |f| [f.device, f.number]);
        for (to, from) in FILE.iter().zip(file) {
            to.store(from, Ordering::Release);
        }
        TOP_FD.store(top.as_raw_fd(), Ordering::Release);
        self.top_fds.push(top);
        self.total += count;
        // Capacity for all, so that releasing one does not allocate.
        self.free.reserve(self.total - self.free.len());
        self.free.append(&mut new);
        Ok(())
    }
}

/// A descriptor for a child, at a reserved number if that is lower.
///
/// Not closed if it is dropped by a thread whose table does not have it.
#[derive(Debug)]
pub(crate) struct ReservedFd {
    fd: Option<OwnedFd>,
    /// The file that was open at the number, if that is reserved.
    reserved: Option<Inode>,
    table: TableOwner,
}

impl From<OwnedFd> for ReservedFd {
    fn from(fd: OwnedFd) -> ReservedFd {
        let table = TableOwner::current();
        ReservedFd { fd: Some(fd), reserved: None, table }
    }
}

impl ReservedFd {
    /// Copies a descriptor to a reserved number that is none of `taken`, which
    /// is sorted. Returns `None` if there is none that lets the kernel copy
    /// less.
    pub(crate) fn acquire(
        fd: BorrowedFd<'_>,
        taken: &[u32],
    ) -> Option<ReservedFd> {
        let own = number(&fd);
        if own < WORD {
            return None;
        }
        top_fd()?;
        let mut reserve = reserve();
        let fits = |(_, free): &(usize, &OwnedFd)| {
            taken.binary_search(&number(*free)).is_err()
        };
        let free = reserve.free.iter().enumerate().filter(fits);
        let (index, lowest) = free.min_by_key(|(_, free)| number(*free))?;
        if number(lowest) >= own {
            return None;
        }
        // In another table the number may have any file.
        let reserved = reserve.file.filter(|file| file.is_at(number(lowest)));
        if reserved.is_none() || !reserve.is_in_table() {
            return None;
        }
        let mut free = reserve.free.swap_remove(index);
        drop(reserve);
        let moved = replace(fd, &mut free);
        // If that failed, dropping it releases the number.
        let mut fd = ReservedFd::from(free);
        fd.reserved = reserved;
        moved.is_ok().then_some(fd)
    }

    /// Records its file, so that other threads can use it and drop it: one
    /// system call.
    pub(crate) fn record_file(&self) {
        if let Some(fd) = &self.fd {
            self.table.record_file(fd);
        }
    }

    /// As `record_file`, from another descriptor of the same file.
    pub(crate) fn record_file_of(&self, other: &ReservedFd) {
        self.table.record_file_of(&other.table);
    }

    /// Whether this thread's descriptor table has it, if its file was
    /// recorded: one system call.
    pub(crate) fn is_in_table(&self) -> bool {
        self.fd.as_ref().is_some_and(|fd| self.table.contains(fd))
    }

    /// As `is_in_table`; but unless `strict`, the thread that made it is not
    /// checked.
    pub(crate) fn is_usable(&self, strict: bool) -> bool {
        (!strict && self.table.is_this_thread()) || self.is_in_table()
    }

    /// Releases ownership without closing it.
    pub(crate) fn forget(&mut self) {
        mem::forget(self.fd.take());
    }

    pub(crate) fn number(&self) -> u32 {
        self.fd.as_ref().map_or(0, number)
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for ReservedFd {
    fn drop(&mut self) {
        let Some(mut fd) = self.fd.take() else { return };
        if !self.table.may_close(&fd) {
            return mem::forget(fd);
        }
        if self.reserved.is_none() || top_fd().is_none() {
            return;
        }
        let mut reserve = reserve();
        let same = reserve.file == self.reserved;
        let top = reserve.top_fds.last().filter(|_| {
            same && (self.table.is_this_thread() || reserve.is_in_table())
        });
        match top.map(|top| replace(top.as_fd(), &mut fd)) {
            Some(Ok(())) => reserve.free.push(fd),
            // Closing the file has priority over the number.
            _ if same => reserve.total = reserve.total.saturating_sub(1),
            _ => {}
        }
    }
}

fn number(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// Replaces `to` by a copy of `fd`, at the same number, atomically.
fn replace(fd: BorrowedFd<'_>, to: &mut OwnedFd) -> Result<(), Errno> {
    put_over(fd, to, DupFlags::CLOEXEC)
}
