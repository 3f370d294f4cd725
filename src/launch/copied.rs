//! Engine copied: memory copied, the caller woken by a robust futex.
//!
//! The block lies in a page that both processes map. The child registers a
//! robust list whose one lock word lies there too and marks the word as held
//! by itself; the kernel lets go of it, and wakes us, when the child execs
//! or dies. So the wait takes signals, needs no descriptor that a fork
//! elsewhere could keep open, and ends whoever else lives on.
#![allow(unsafe_code, reason = "the door of this engine")]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{
    Ask, Made, address, clone_args, clone3, pidfd_slot, seat, verdict,
};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::call::{futex_wait, set_signal_mask};
use crate::sys::{CloneFlags, Errno, Pid};

/// `FUTEX_OWNER_DIED`: the kernel let go of the word.
const OWNER_DIED: u32 = 0x4000_0000;

/// The first wait; each that ends without news doubles, up to the last.
const FIRST_WAIT: i64 = 20_000_000;
const LAST_WAIT: i64 = 640_000_000;

/// The size of the shared mapping: one page of any size holds a block.
const PAGE: usize = 4096;
const _: () = assert!(size_of::<Block>() <= PAGE);

/// A block in memory that parent and child both see.
struct Shared(NonNull<Block>);

impl Shared {
    fn new(block: Block) -> Result<Shared, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping, at an address of the kernel's choice,
        // takes nobody's memory.
        let at = unsafe {
            mmap_anonymous(ptr::null_mut(), PAGE, prot, MapFlags::SHARED)
        };
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at =
            NonNull::new(at.cast::<Block>()).ok_or(Errno(libc::ENOMEM))?;
        // SAFETY: the mapping is page-aligned, writable, ours alone, and at
        // least as long as a block (asserted above).
        unsafe { at.write(block) };
        Ok(Shared(at))
    }

    /// The low half of a slot, while the child may write the block.
    fn half(&self, n: u8) -> &AtomicU32 {
        let at = address(self.0.as_ptr(), n);
        let at = usize::try_from(at).unwrap_or_default();
        let at = ptr::with_exposed_provenance_mut::<u32>(at);
        // SAFETY: the slot is 8-aligned memory of the mapping, which lives
        // as long as `self`, and is only ever reached as an atomic while a
        // child lives. Little-endian, so the low half comes first.
        unsafe { AtomicU32::from_ptr(at) }
    }

    /// What the child left.
    fn read(&self) -> Block {
        // SAFETY: the mapping holds an initialised block of plain numbers;
        // clause 2 of this folder: the child is past using it.
        unsafe { self.0.as_ptr().read_volatile() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no reference to
        // it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

/// Fills the robust list: one node, whose lock word is `WORD`.
fn register(block: &mut Block, at: *mut Block) {
    let (node, head) = (address(at, slot::NODE), address(at, slot::HEAD));
    block.set(slot::NODE, head);
    block.set(slot::HEAD, node);
    let word = address(at, slot::WORD);
    block.set(slot::HEAD + 1, word.wrapping_sub(node));
    block.set(slot::HEAD + 2, 0);
    block.set(slot::HEAD_AT, head);
    block.set(slot::MASK_AT, address(at, slot::MASK));
}

/// Makes a child with its own memory that walks `table`, and returns when it
/// runs the program or is gone.
pub(crate) fn launch(
    table: &Table<'_>,
    mut block: Block,
    ask: Ask,
) -> (Made, Block) {
    let ask = Ask { flags: ask.flags.union(CloneFlags::COPIED), ..ask };
    seat(&mut block, ask);
    let shared = match Shared::new(Block::new()) {
        Ok(shared) => shared,
        Err(errno) => return (Made::Refused(errno), block),
    };
    let at = shared.0.as_ptr();
    register(&mut block, at);
    let args = clone_args(ask, address(at, pidfd_slot(ask)));
    let (nr, arguments) = clone3(&args);
    let mask = set_signal_mask(u64::MAX);
    block.set(slot::MASK, mask);
    // SAFETY: no child exists yet; the mapping is ours alone.
    unsafe { shared.0.write(block) };
    // SAFETY: clause 1 of `enter`: clone3 without a stack, its arguments in
    // this frame and the pidfd's slot in the mapping. Clause 2: COPIED lacks
    // VM, so the child has copies of the table; the mapping outlives this
    // call. Clause 3: `register` has set both address slots.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(made) else {
        let errno = Errno::of(made).unwrap_or(Errno(libc::EINVAL));
        return (Made::Refused(errno), shared.read());
    };
    let pidfd = shared.half(pidfd_slot(ask)).load(Ordering::Relaxed);
    let pidfd = i32::try_from(pidfd).unwrap_or(-1);
    await_exec(shared.half(slot::WORD), pidfd);
    let block = shared.read();
    (verdict(&block, pid, pidfd), block)
}

/// Sleeps until the kernel has let go of the word, or the child is dead
/// without ever having taken it.
fn await_exec(word: &AtomicU32, pidfd: i32) {
    let mut limit = FIRST_WAIT;
    loop {
        let value = word.load(Ordering::Acquire);
        if value & OWNER_DIED != 0 {
            return;
        }
        let waited = futex_wait(word, value, limit);
        if waited == Err(Errno(libc::ETIMEDOUT)) {
            if readable(pidfd) {
                return;
            }
            limit = (limit * 2).min(LAST_WAIT);
        }
    }
}

/// Whether the pidfd says that its process has ended.
fn readable(pidfd: i32) -> bool {
    // SAFETY: the launch holds the descriptor open until it gives it away.
    let fd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
}
