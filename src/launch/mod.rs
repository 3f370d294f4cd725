//! The door: runs in the parent and makes the child. Its contract.
//!
//! A launch lends the child three things: the table (with the plan's text
//! and lists behind it), the block, and, where memory is shared, the address
//! space itself. The clauses that the unsafe blocks of this folder cite:
//!
//! 1. **The table is verified.** A [`Table`] exists only if its rows make
//!    listed calls with addresses inside the plan or the block, and end in
//!    exec or exit.
//! 2. **The block belongs to one launch.** It is made, lent and read back
//!    here; no reference to it is used while a child may write it.
//! 3. **The caller sleeps.** With `CLONE_VM` there is `CLONE_VFORK`: the
//!    kernel holds the caller until the child has exec'd or died, so what
//!    the caller's stack and the plan hold outlives the child's use.
//! 4. **The child uses no stack**, so the caller's frame, which a shared
//!    address space makes its own too, is never written.
//! 5. **Signals are blocked from before the clone**, all but SIGSYS, which a
//!    filter may send to the parent for the clone itself. The child has no
//!    handler for it (CLEAR_SIGHAND); or it is left unblocked only under a
//!    filter, and blocked by the child's first row: there a handler for
//!    SIGSYS runs in the child if somebody sends it that signal before. No
//!    other handler of the parent can run in the child; its own mask is set
//!    by a row, after all handlers are gone (by CLEAR_SIGHAND, or rows of
//!    their own).
//! 6. **Functions keep to the block.** An [`Entry`](crate::call::Entry) that
//!    a row calls is valid in this process and its copies for as long as the
//!    table is borrowed, and writes through what it is given only.
//!
//! Absent here: retries, pipes, files, allocation. Those are the parent's.

pub(crate) mod copied;
pub(crate) mod exec_in_place;
mod execd;
mod forked;
pub(crate) mod gate;
pub(crate) mod isolated;
pub(crate) mod pipe;
pub(crate) mod shared;
mod stops;
pub(crate) mod suspended;

use core::cell::Cell;

use crate::call::{Block, Callback, LISTEN, Table, number, slot};
pub(crate) use crate::child::helper_code;

use crate::child::{closefrom_fallback, through};
use crate::sys::abi::CloneArgs;
use crate::sys::arch::clone_arguments;
use crate::sys::call::pidfd_open;
use crate::sys::safe::getpid;
use crate::sys::wait::{Ended, Kind, Target, peek, wait};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid, bits};
use gate::Gate;

/// What plans call: to close descriptors or to mark them, one by one, and
/// to let one process through the hooks.
pub(crate) const CALLBACKS: [Callback; 4] = [
    closefrom_fallback::CLOSE,
    closefrom_fallback::MARK,
    through::FIRST,
    through::CHILD,
];

/// How a launch ended, seen from the parent. `pidfd` is a descriptor that
/// nobody owns yet: whoever takes a `Made` closes it or keeps it. Rows are
/// counted from 1; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The program runs; `sure` if the kernel has said so.
    Running { pid: Pid, pidfd: Option<i32>, confirmed: bool },
    /// The kernel made no child.
    Refused(Errno),
    /// A row failed; the child is gone and reaped.
    Failed { row: u32, result: i64, denied: u32, pidfd: Option<i32> },
    /// The child ended before exec without failing a row; it is reaped.
    Died { row: u32, ended: Option<Ended>, pidfd: Option<i32> },
    /// The parent would not open the gate; the child is gone and reaped.
    Stopped { pidfd: Option<i32> },
}

impl Outcome {
    /// The descriptor that came with the child.
    pub(crate) fn pidfd(self) -> Option<i32> {
        match self {
            Outcome::Refused(_) => None,
            Outcome::Running { pidfd, .. }
            | Outcome::Failed { pidfd, .. }
            | Outcome::Died { pidfd, .. }
            | Outcome::Stopped { pidfd } => pidfd,
        }
    }
}

/// What is asked of the kernel beside the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchArgs<'a> {
    pub(crate) clone_call: CloneCall,
    pub(crate) flags: CloneFlags,
    /// Flags that the engine does without.
    pub(crate) without: CloneFlags,
    /// A descriptor above the cut, or none: then the child's pidfd serves,
    /// as it is made above the pipes unless numbers below were free.
    pub(crate) probe_fd: Option<i32>,
    /// The control group that the child is born in.
    pub(crate) cgroup: Option<i32>,
    /// The child's process ids, the innermost namespace's first.
    pub(crate) tids: &'a [i32],
    /// The launch's own environment, if the table asks for one.
    pub(crate) environ: Option<Environ<'a>>,
    /// What the parent does while the child waits, if the table has a gate.
    pub(crate) gate: Option<Gate<'a>>,
}

impl<'a> LaunchArgs<'a> {
    /// With an engine's own flags, as far as the call has them.
    fn with(self, own: CloneFlags) -> LaunchArgs<'a> {
        let flags = self.flags.union(own).difference(self.without);
        LaunchArgs { flags: flags.within(self.clone_call), ..self }
    }
}

/// The environment of one launch: that of the plan, but for its first
/// variable, which stands in the block. Holding one is the proof that it
/// ends and holds addresses of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environ<'a>(&'a [Cell<u64>]);

impl<'a> Environ<'a> {
    /// Copies the list that begins at a byte of the table's lists into
    /// `room`, which must hold all of it, and its end.
    pub(crate) fn new(
        table: &Table<'a>,
        from: u64,
        room: &'a [Cell<u64>],
    ) -> Option<Environ<'a>> {
        let from = usize::try_from(from / 8).ok()?;
        let list = table.lists().get(from..)?;
        let end = list.iter().position(|at| *at == 0)?;
        let list = list.get(..=end)?;
        if list.len() < 2 || room.len() < list.len() {
            return None;
        }
        for (to, at) in room.iter().zip(list) {
            to.set(*at);
        }
        Some(Environ(room))
    }
}

/// Puts the launch's own variable first, and its name into the block, right
/// before the digits that a row will store.
fn seat_environ(block: &mut Block, base: *mut Block, environ: Environ<'_>) {
    seat_name(block);
    if let Some(first) = environ.0.first() {
        first.set(address(base, slot::DIGITS) - LISTEN.len() as u64);
    }
    let at = environ.0.as_ptr().expose_provenance() as u64;
    block.set(slot::ENVIRON, at);
}

fn seat_name(block: &mut Block) {
    let mut name = [0; 16];
    let start = name.len() - LISTEN.len();
    for (to, from) in name.iter_mut().skip(start).zip(LISTEN) {
        *to = from;
    }
    let name = u128::from_le_bytes(name);
    let low = u128::from(u64::MAX);
    let half = |n: u128| u64::try_from(n & low).unwrap_or_default();
    block.set(slot::NAME, half(name));
    block.set(slot::NAME + 1, half(name >> 64));
}

/// Fills the slots that every launch has. `base` is where the child finds
/// the block.
fn seat(block: &mut Block, base: *mut Block, ask: LaunchArgs<'_>) {
    if let Some(probe_fd) = ask.probe_fd {
        block.set(slot::PROBE_FD, bits(i64::from(probe_fd)));
    }
    // An older kernel ignores CLONE_PIDFD and writes nothing.
    block.set(pidfd_slot(ask), bits(-1));
    for (held, slot, _) in slot::ADDRESSES {
        block.set(held, address(base, slot));
    }
    if let Some(environ) = ask.environ {
        seat_environ(block, base, environ);
    }
    let (node, head) = (address(base, slot::NODE), address(base, slot::HEAD));
    block.set(slot::NODE, head);
    block.set(slot::HEAD, node);
    let word = address(base, slot::WORD);
    block.set(slot::HEAD + 1, word.wrapping_sub(node));
    if ask.gate.is_some() {
        block.set(slot::NODE, address(base, slot::GATE_NODE));
        block.set(slot::GATE_NODE, head);
        block.set(slot::PARENT, getpid().into());
    }
}

/// Where the kernel writes the pidfd, as a slot.
fn pidfd_slot(ask: LaunchArgs<'_>) -> u8 {
    if ask.probe_fd.is_some() { slot::PIDFD } else { slot::PROBE_FD }
}

/// The address of a slot of the block at `base`.
fn address(base: *mut Block, n: u8) -> u64 {
    let first = core::mem::offset_of!(Block, slots);
    (base.expose_provenance() + first + 8 * usize::from(n)) as u64
}

/// The system call and its arguments for [`crate::child::enter`], for a
/// child without a stack of its own. `args` is where clone3 reads them.
///
/// Exit signal 0, unless `signal` says otherwise: until it execs the child's
/// death raises no SIGCHLD and only a wait with `__WCLONE` sees it; exec
/// makes it SIGCHLD.
fn make(
    ask: LaunchArgs<'_>,
    args: &mut CloneArgs,
    pidfd: u64,
    signal: u64,
) -> (u64, [u64; 5]) {
    let flags = ask.flags.bits();
    let pidfd = if ask.flags.contains(CloneFlags::PIDFD) { pidfd } else { 0 };
    if ask.clone_call == CloneCall::Clone {
        let nr = u64::from(number(libc::SYS_clone));
        return (nr, clone_arguments(flags | signal, 0, pidfd, 0, 0));
    }
    let mut size = CloneArgs::SIZE_VER0;
    *args = CloneArgs { flags, pidfd, exit_signal: signal, ..*args };
    if !ask.tids.is_empty() {
        size = CloneArgs::SIZE_VER1;
        args.set_tid = ask.tids.as_ptr().expose_provenance() as u64;
        args.set_tid_size = ask.tids.len() as u64;
    }
    if let Some(cgroup) = ask.cgroup {
        size = CloneArgs::SIZE_VER2;
        args.flags |= CloneFlags::INTO_CGROUP.bits();
        args.cgroup = bits(i64::from(cgroup));
    }
    let nr = u64::from(number(libc::SYS_clone3));
    let at = core::ptr::from_mut(args).expose_provenance() as u64;
    (nr, [at, size, 0, 0, 0])
}

/// The number that the kernel wrote into a slot, as a descriptor.
fn descriptor(low: u64) -> Option<i32> {
    let low = u32::try_from(low & u64::from(u32::MAX)).ok()?;
    i32::try_from(low).ok()
}

/// The first row of a table that becomes another program.
fn first_exec(table: &Table<'_>) -> u32 {
    let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
    let exec = table.rows().iter().find(|row| execs.contains(&row.nr));
    exec.map_or(u32::MAX, |row| row.row.into())
}

/// Reads the block back once the child has exec'd or is about to be gone,
/// and reaps a child that did not exec. D8: only `__WCLONE` and `__WALL` see
/// a child that has not, so ECHILD is the proof that it has; or that another
/// thread has waited so, for a child that never came to its exec. One that
/// a hook has made another program is an ordinary child by now.
fn verdict(
    table: &Table<'_>,
    block: &Block,
    pid: Pid,
    pidfd: Option<i32>,
) -> Outcome {
    let row = block.reached;
    let pidfd = pidfd.or_else(|| pidfd_open(pid));
    let target = Target { pid, pidfd };
    if block.failed != 0 {
        let _ = wait(target, Kind::Silent, true);
        return failed(block, pidfd);
    }
    let ended = match wait(target, Kind::Silent, false) {
        Ok(None) => wait(target, Kind::Silent, true),
        other => other,
    };
    let gone = || {
        !forked::came(block, first_exec(table))
            && matches!(peek(target, Kind::Any), Err(Errno(libc::ECHILD)))
    };
    match ended {
        Ok(Some(ended)) => Outcome::Died { row, ended: Some(ended), pidfd },
        Err(Errno(libc::ECHILD)) if gone() => {
            Outcome::Died { row, ended: None, pidfd }
        }
        Err(Errno(libc::ECHILD)) => {
            Outcome::Running { pid, pidfd, confirmed: true }
        }
        // A filter refuses every wait there is.
        Ok(None) | Err(_) => Outcome::Running { pid, pidfd, confirmed: false },
    }
}

/// Whether a child has ended, without taking it.
fn ended(target: Target) -> bool {
    matches!(peek(target, Kind::Any), Ok(Some(_)) | Err(Errno(libc::ECHILD)))
}

fn failed(block: &Block, pidfd: Option<i32>) -> Outcome {
    let Block { failed: row, result, denied, .. } = *block;
    Outcome::Failed { row, result, denied, pidfd }
}
