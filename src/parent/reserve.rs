//! Reserve: low numbers kept for the descriptors that children are given.
//!
//! A child's own table holds all below the highest descriptor that it needs.
//! In a parent with thousands of them a fresh pipe is the highest of all; on
//! a reserved number it is low, and the rest is never copied.

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

struct Reserve {
    /// What stands at the numbers that nobody has taken: the last of these.
    /// Its own number is above theirs, so that a table without it is not the
    /// parent's. Earlier ones stay, as a spawn may be looking at them.
    idle: Vec<OwnedFd>,
    /// The file that all of them are.
    file: Option<Inode>,
    free: Vec<OwnedFd>,
    /// All there are, taken or not.
    all: usize,
}

static RESERVE: Mutex<Reserve> = Mutex::new(Reserve {
    idle: Vec::new(),
    file: None,
    free: Vec::new(),
    all: 0,
});

/// What an image and its page take for good, from the first that are
/// reserved on.
const KEPT: usize = 2;

/// The number of `idle`; 0 if there is none.
static TOP_FD: AtomicI32 = AtomicI32::new(0);

/// Its file: device, inode.
static FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The process that has reserved them; a fork may have closed them, and its
/// own files may have their numbers.
static OWNER: AtomicU64 = AtomicU64::new(0);

/// A descriptor above all that are reserved, which stays open, if this
/// process has reserved any.
pub(crate) fn top_fd() -> Option<RawFd> {
    let above = TOP_FD.load(Ordering::Acquire);
    let own = above > 0 && is_own();
    own.then_some(above)
}

/// As `above`, if this thread's table has it: one system call, where this
/// process has reserved any.
pub(crate) fn checked_top_fd() -> Option<RawFd> {
    let above = top_fd()?;
    let [device, number] =
        [0, 1].map(|n: usize| FILE[n].load(Ordering::Acquire));
    let file = Inode { device, number };
    file.is_at(above.unsigned_abs()).then_some(above)
}

fn is_own() -> bool {
    Owner::of(OWNER.load(Ordering::Acquire)).is_this()
}

/// Nobody is waited for here who may be a thread of another process: whoever
/// asks has looked at `above`.
fn reserve() -> MutexGuard<'static, Reserve> {
    RESERVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a fork asks for what a thread of its parent may hold for ever:
/// a millisecond apart, so that another thread of the fork's own can let go
/// of it, whatever its priority.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// The reserve of whoever has reserved, emptied if that was not this process.
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
            // Whatever has their numbers now is not ours to close.
            reserve.forget();
            OWNER.store(Owner::this().number(), Ordering::Release);
        }
        return Some(reserve);
    }
    None
}

/// No other thread takes a number or gives one back while this lives: one
/// that does waits for it.
pub(crate) struct Lock {
    _reserve: Option<MutexGuard<'static, Reserve>>,
}

pub(crate) fn lock() -> Lock {
    Lock { _reserve: top_fd().map(|_| reserve()) }
}

/// Keeps `count` more descriptor numbers for what children are given: the
/// child's ends of pipes, `/dev/null`, opened files, and copies of high
/// descriptors. Call it early, while low numbers are free.
///
/// In a parent with thousands of descriptors a spawn that gives the child a
/// pipe then takes as long as in one with a few. A spawn needs one for each
/// descriptor of the child's that is not inherited, for as long as the spawn
/// takes; a [`Prepared`](crate::Prepared) keeps those that it gives each
/// time. Where none is left, a high number serves, at the price of the copy.
///
/// From then on the process also keeps what an
/// [`Engine::Isolated`](crate::Engine::Isolated) child needs, instead of
/// making it for each [`Command`]: the page of shared memory that it reports
/// through, and the last image, for the next spawn of the same program with
/// the same arguments, environment and options. They have descriptors of
/// their own, two of them at numbers that are reserved beside `count`.
///
/// They are this table's of descriptors: a thread that has called
/// `unshare(CLONE_FILES)` uses those that it still has, and no number that
/// it has given to another file; where it reserves some itself, they are the
/// process's from then on, and other tables' are left as they are.
///
/// They are this process's: a fork without exec has none, and may close what it
/// finds open and reserve again. Over a [`Command::exec`] that fails they are
/// kept; a thread that needs one waits for it.
///
/// Threads may spawn and reserve at once. A number goes back to the reserve
/// as the spawn ends, and what stood there is closed, so that no reader of a
/// pipe waits for its end any longer than without.
///
/// # Errors
///
/// [`Step::ReserveFds`](crate::Step::ReserveFds) with EMFILE or ENFILE; what
/// this call has made is closed again. EMFILE before anything is made, if
/// RLIMIT_NOFILE is lower than what there would be, or that is over 1,048,576. EDEADLK, in a fork without exec of a
/// process of which another thread was at its reserve.
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
/// [`Command`]: crate::Command
/// [`Command::exec`]: crate::Command::exec
pub fn reserve_fds(count: usize) -> Result<(), Error> {
    let Some(mut reserve) = own_reserve() else {
        return Err(Error::os(Step::ReserveFds, libc::EDEADLK));
    };
    if !reserve.is_here() {
        reserve.forget();
    }
    let refused = |why| {
        let error = Error::explained(Step::ReserveFds, libc::EMFILE, why);
        Err(error.with(count.to_string()))
    };
    match reserve.wants(count) {
        None => return refused("over 1,048,576 descriptors serve no spawn"),
        Some(all) if limit(Limit::Descriptors).is_ok_and(|n| all > n) => {
            return refused("with what is reserved, RLIMIT_NOFILE is lower");
        }
        Some(_) => {}
    }
    reserve
        .more(count)
        .map_err(|e| Error::os(Step::ReserveFds, e.raw_os_error()))
}

/// The kernel's own limit on descriptors, unless it was raised: to make so
/// many takes a third of a second.
const MOST: usize = 1 << 20;

impl Reserve {
    /// How many descriptors there would be with `count` more, if that can be.
    fn wants(&self, count: usize) -> Option<u64> {
        let extra = if self.idle.is_empty() { KEPT + 1 } else { 1 };
        let all = count.checked_add(self.all + self.idle.len() + extra)?;
        (all <= MOST).then_some(all as u64)
    }

    /// Whether this thread's table has it. Asked where it matters: before a
    /// number is taken, as it stays there then.
    fn is_here(&self) -> bool {
        let (Some(file), Some(idle)) = (self.file, self.idle.last()) else {
            return false;
        };
        file.is_at(number(idle))
    }

    /// Forgets all numbers, without closing any.
    fn forget(&mut self) {
        let Reserve { idle, file, free, all } = self;
        idle.drain(..).chain(free.drain(..)).for_each(mem::forget);
        (*file, *all) = (None, 0);
    }

    fn more(&mut self, count: usize) -> Result<(), Errno> {
        let idle = match self.idle.last() {
            Some(idle) => fcntl_dupfd_cloexec(idle, 3)?,
            // It has an inode of its own, by which it is known.
            None => pipe_with(PipeFlags::CLOEXEC)?.0,
        };
        let copy = |_| fcntl_dupfd_cloexec(&idle, 3);
        let count = if self.idle.is_empty() { count + KEPT } else { count };
        let mut made = (0..count).map(copy).collect::<Result<Vec<_>, _>>()?;
        let highest = made.iter().chain(&self.idle).map(AsRawFd::as_raw_fd);
        let highest = highest.max().unwrap_or(3);
        let idle = dup_above(&idle, highest.saturating_add(1))?;
        self.file = Inode::of(&idle);
        let file = self.file.map_or([0; 2], |f| [f.device, f.number]);
        for (to, from) in FILE.iter().zip(file) {
            to.store(from, Ordering::Release);
        }
        TOP_FD.store(idle.as_raw_fd(), Ordering::Release);
        self.idle.push(idle);
        self.all += count;
        // Room for all, so that giving one back does not allocate.
        self.free.reserve(self.all - self.free.len());
        self.free.append(&mut made);
        Ok(())
    }
}

/// A descriptor for a child, at a reserved number if that is lower.
///
/// Dropped in a thread whose table does not have it, it is left as it is.
#[derive(Debug)]
pub(crate) struct ReservedFd {
    fd: Option<OwnedFd>,
    /// The file that stood at the number, if that is reserved.
    leased: Option<Inode>,
    table: TableOwner,
}

impl From<OwnedFd> for ReservedFd {
    fn from(fd: OwnedFd) -> ReservedFd {
        ReservedFd { fd: Some(fd), leased: None, table: TableOwner::current() }
    }
}

impl ReservedFd {
    /// A copy of a descriptor at a reserved number that is none of `taken`,
    /// which is sorted; `None` if the number it has is as good.
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
        let all = reserve.free.iter().enumerate().filter(fits);
        let (place, least) = all.min_by_key(|(_, free)| number(*free))?;
        if number(least) >= own {
            return None;
        }
        // In another table it may be any file.
        let leased = reserve.file.filter(|file| file.is_at(number(least)));
        if leased.is_none() || !reserve.is_here() {
            return None;
        }
        let mut free = reserve.free.swap_remove(place);
        drop(reserve);
        let moved = replace(fd, &mut free);
        // From here on the number goes back as this is dropped.
        let low = ReservedFd {
            fd: Some(free),
            leased,
            table: TableOwner::current(),
        };
        moved.is_ok().then_some(low)
    }

    /// Lets other threads use it, and drop it: one system call.
    pub(crate) fn record_file(&self) {
        if let Some(fd) = &self.fd {
            self.table.record_file(fd);
        }
    }

    /// As `note`, of another descriptor of the same file.
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

    /// Never closes it.
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
        if self.leased.is_none() || top_fd().is_none() {
            return;
        }
        let mut reserve = reserve();
        let idle = reserve.idle.last();
        let same = reserve.file == self.leased;
        let idle = idle.filter(|_| {
            same && (self.table.is_this_thread() || reserve.is_here())
        });
        let put = idle.map(|idle| replace(idle.as_fd(), &mut fd));
        match put {
            Some(Ok(())) => reserve.free.push(fd),
            // Rather a smaller reserve than a pipe that stays open.
            _ if same => reserve.all = reserve.all.saturating_sub(1),
            _ => {}
        }
    }
}

fn number(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// Makes `to` a copy of `fd`, at its own number, in one step.
fn replace(fd: BorrowedFd<'_>, to: &mut OwnedFd) -> Result<(), Errno> {
    put_over(fd, to, DupFlags::CLOEXEC)
}
