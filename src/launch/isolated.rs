//! Engine isolated: memory shared up to a first exec, of an image in memory;
//! the rest of the rows run there, in memory of its own.
//!
//! The caller sleeps in the kernel until that exec, as in the engine
//! suspended. From there the child reports through a page that both map, and
//! the kernel wakes the caller by a robust futex in it, at the exec of the
//! program or at death. What the page holds is read once, and trusted no
//! further than a row's number that is looked up.
#![allow(unsafe_code, reason = "the door of this engine")]

use core::ffi::CStr;
use core::ptr;

use super::copied::{await_word, is_free};
use super::stops::resume;
use super::{Ask, Made, address, descriptor, ended, failed};
use super::{first_exec, gate, make};
use super::{pidfd_slot, seat, seat_name, shared::Shared, verdict};
use crate::call::{Block, Table, sheet, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{is_dumpable, is_ending, pidfd_open};
use crate::sys::call::{set_signal_mask, yield_now};
use crate::sys::wait::{Kind, Target, peek, wait};
use crate::sys::{CloneFlags, Errno, Pid, safe};

/// Which rows of the plan run in the image: its first, and the first that
/// runs the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) first: u32,
    pub(crate) exec: u32,
}

/// Makes a child that walks `table`, whose last row runs the image, and
/// returns when the program runs or the child is gone. The block that comes
/// back is the one that was written last.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: Ask<'_>,
    page: &mut Shared,
    inside: Inside,
) -> Made {
    let ask = ask.with(CloneFlags::SUSPENDED);
    page.fill(*block);
    let there = usize::try_from(sheet::PAGE).unwrap_or_default();
    seat(page.block(), ptr::without_provenance_mut(there), ask);
    seat_name(page.block());
    let at: *mut Block = block;
    seat(block, at, ask);
    let mut args = CloneArgs::default();
    let pidfd = pidfd_slot(ask);
    let (nr, arguments) = make(ask, &mut args, address(at, pidfd), 0);
    let mask = set_signal_mask(u64::MAX);
    page.block().set(slot::MASK, mask);
    let at: *mut Block = block;
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack, what it
    // reads and the pidfd's slot alive in this frame. Clause 2: clauses 2 and
    // 3 of this folder, as SUSPENDED holds VM and VFORK; the page is reached
    // by the image in a mapping of its own. Clause 3: `seat` has set the
    // address slots. Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(made) else {
        return Made::Refused(Errno::of(made).unwrap_or(Errno(libc::EINVAL)));
    };
    let pidfd = descriptor(block.slot(pidfd));
    // A child that came to its exec is the image, or the page stays as it
    // is: that is found out there.
    let entered = block.failed == 0 && block.reached >= first_exec(table);
    let (pid, pidfd) = match entered {
        true => (pid, pidfd.or_else(|| pidfd_open(pid))),
        false => match verdict(table, block, pid, pidfd) {
            Made::Running { pid, pidfd, .. } => (pid, pidfd),
            other => return other,
        },
    };
    let target = Target { pid, pidfd };
    if !gate::pass(page, ask.gate, target, || ended(target)) {
        return Made::Stopped { pidfd };
    }
    let (made, left) = program(page, target, inside);
    *block = left;
    made
}

/// Waits for the image to have become the program, or to be gone.
fn program(page: &Shared, target: Target, inside: Inside) -> (Made, Block) {
    let Target { pid, pidfd } = target;
    await_word(page.half(slot::WORD), is_free, || {
        resume(target);
        ended(target)
    });
    let block = page.read();
    if block.failed != 0 {
        // A failed image is an ordinary child: another thread may have
        // waited for it. What it said stands in the page.
        let _ = wait(target, Kind::Any, true);
        return (failed(&block, pidfd), block);
    }
    let died = || {
        let row = block.reached.max(inside.first);
        let ended = wait(target, Kind::Any, true).ok().flatten();
        Made::Died { row, ended, pidfd }
    };
    if block.reached < inside.exec {
        return (died(), block);
    }
    // The word says that its memory is gone, by exec or by death. Until exec
    // it is not dumpable, and its name is ours.
    let running = |sure| Made::Running { pid, pidfd, sure };
    if is_program(target) {
        return (running(true), block);
    }
    let mut over = false;
    loop {
        match is_named(pid, &block) {
            None => return (running(false), block),
            Some(false) => return (running(true), block),
            Some(true) if over => return (died(), block),
            Some(true) => yield_now(),
        }
        // Seen before the name is read once more: it may have ended since.
        over = ended(target);
    }
}

/// How often a child in the middle of its exec is looked at: some 10 us.
const LOOKS: u32 = 12;

/// Whether a child that has begun its exec is surely the program. An image
/// is not dumpable; exec makes it so, unless the program is set-user-ID or
/// may not be read. What is not, yet, and is not ending either, is past the
/// point in its exec from which there is no way back. And an image that
/// exits says why, so that one which just exited was the program.
///
/// A look at the name costs 20 times as much: the kernel makes files for it
/// in /proc.
fn is_program(target: Target) -> bool {
    for n in 0..LOOKS {
        let Some(pidfd) = target.pidfd else { break };
        match is_dumpable(pidfd) {
            Some(true) => return true,
            Some(false) if n == 0 && is_ending(pidfd) == Some(false) => {
                return true;
            }
            Some(false) => yield_now(),
            None => break,
        }
    }
    let ended = peek(target, Kind::Any).ok().flatten();
    ended.is_some_and(|ended| ended.signal().is_none())
}

/// Whether a process still has the name that its image gave it; `None` if
/// that cannot be read.
fn is_named(pid: Pid, block: &Block) -> Option<bool> {
    let mut path = [0u8; 32];
    let mut digits = [0u8; 10];
    let (mut n, mut from) = (pid.get(), digits.len());
    while n > 0 {
        from = from.checked_sub(1)?;
        *digits.get_mut(from)? = b'0' + u8::try_from(n % 10).ok()?;
        n /= 10;
    }
    let parts = [b"/proc/", digits.get(from..)?, b"/comm"];
    let all = parts.into_iter().flatten();
    for (to, byte) in path.iter_mut().zip(all) {
        *to = *byte;
    }
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let file = safe::open(path, flags, 0).ok()?;
    let mut name = [0u8; 32];
    let read = safe::read(file, &mut name);
    let _ = safe::close(file);
    let name = name.get(..read.ok()?)?.strip_suffix(b"\n")?;
    let word = |n| u128::from(block.slot(slot::COMM + n));
    let own = (word(0) | word(1) << 64).to_le_bytes();
    let len = own.iter().position(|byte| *byte == 0)?;
    Some(own.get(..len)? == name)
}
