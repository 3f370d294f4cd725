//! Engine pipe: a plain clone, told apart from its program by the end of a
//! pipe. For emulators and kernels that do not honour what the others need.
//!
//! Its limits: another thread that forks without exec holds the pipe open,
//! and the caller with it; a failed child raises SIGCHLD and can be waited
//! for by others; a child killed inside execve cannot be told from its
//! program (`sure` is false).
#![allow(unsafe_code, reason = "the door of this engine")]

use core::mem;

use rustix::fd::OwnedFd;
use rustix::io::{Errno as Failure, read};

use super::shared::Shared;
use super::{Ask, Made, ended, failed, first_exec, gate, make, seat};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{pidfd_open, set_signal_mask};
use crate::sys::wait::{Kind, Target, wait};
use crate::sys::{CloneFlags, Errno, Maker, Pid, bits};

/// Makes a child by a plain clone that walks `table`, and returns when the
/// pipe's writing end, which is close-on-exec, is closed in the child.
pub(crate) fn launch(
    table: &Table<'_>,
    block: Block,
    ask: Ask<'_>,
    pipe: (OwnedFd, OwnedFd),
) -> (Made, Block) {
    let (ours, theirs) = pipe;
    let flags = CloneFlags::empty();
    let ask = Ask { maker: Maker::Clone, flags, ..ask };
    let mut shared = match Shared::new(block) {
        Ok(shared) => shared,
        Err(errno) => return (Made::Refused(errno), block),
    };
    let at = shared.at();
    seat(shared.block(), at, ask);
    let signal = bits(i64::from(libc::SIGCHLD));
    let (nr, arguments) = make(ask, &mut CloneArgs::default(), 0, signal);
    let mask = set_signal_mask(u64::MAX);
    shared.block().set(slot::MASK, mask);
    // SAFETY: clause 1 of `enter`: clone without a stack and without
    // addresses. Clause 2: no VM, so the child has copies of the table; the
    // mapping outlives this call. Clause 3: `seat` has set the address
    // slots. Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    mem::drop(theirs);
    let Some(pid) = Pid::new(made) else {
        let errno = Errno::of(made).unwrap_or(Errno(libc::EINVAL));
        return (Made::Refused(errno), shared.read());
    };
    let pidfd = pidfd_open(pid);
    let target = Target { pid, pidfd };
    if !gate::pass(&shared, ask.gate, target, || ended(target)) {
        return (Made::Stopped { pidfd }, shared.read());
    }
    while matches!(read(&ours, &mut [0u8; 1]), Err(Failure::INTR)) {}
    let block = shared.read();
    (verdict(table, &block, target), block)
}

fn verdict(table: &Table<'_>, block: &Block, target: Target) -> Made {
    let Target { pid, pidfd } = target;
    if block.failed == 0 && block.reached >= first_exec(table) {
        return Made::Running { pid, pidfd, sure: false };
    }
    // Another thread may have waited for it.
    let ended = wait(target, Kind::Any, true).ok().flatten();
    match block.failed {
        0 => Made::Died { row: block.reached, ended, pidfd },
        _ => failed(block, pidfd),
    }
}
