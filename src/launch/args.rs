//! `LaunchArgs`: what one launch asks of the kernel beside its table.

use super::environ::Environ;
use super::gate::Gate;
use super::listener::Listener;
use super::robust_futex::{LAST_TIMEOUT, WATCHED_TIMEOUT};
use super::watch::Watch;
use crate::call::{Block, number, slot};
use crate::sys::abi::CloneArgs;
use crate::sys::arch::clone_arguments;
use crate::sys::kill::kill_child;
use crate::sys::safe::getpid;
use crate::sys::wait::Target;
use crate::sys::{CloneCall, CloneFlags, bits};

/// `CLONE_PARENT_SETTID`: the kernel writes the child's id once nothing can
/// fail any more.
const PARENT_SETTID: u64 = 0x10_0000;

/// `CLONE_CHILD_SETTID`: the child writes its id, as soon as it runs.
const CHILD_SETTID: u64 = 0x100_0000;

/// What the kernel is asked for beside the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchArgs<'a> {
    pub(crate) clone_call: CloneCall,
    pub(crate) flags: CloneFlags,
    /// Flags that the engine has by default and this launch leaves out.
    pub(crate) omitted_flags: CloneFlags,
    /// A descriptor at or above [`slot::SOURCE_END`]. Without one the child's
    /// pidfd takes its place: it is created after the pipes, so its number is
    /// higher unless lower numbers were free.
    pub(crate) probe_fd: Option<i32>,
    /// The control group that the child is created in.
    pub(crate) cgroup: Option<i32>,
    /// The child's process ids, the innermost namespace's first.
    pub(crate) tids: &'a [i32],
    /// The signal mask of the program, if it is not that of the calling thread.
    pub(crate) mask: Option<u64>,
    /// Whether the table compares the parent with the one at the start.
    pub(crate) parent_pid: bool,
    /// The environment of this launch, if the table uses one.
    pub(crate) environ: Option<Environ<'a>>,
    /// Whether the child asks to be traced by this thread.
    pub(crate) traced: bool,
    /// What the parent does while the child waits, if the table has a gate.
    pub(crate) gate: Option<Gate<'a>>,
    /// Takes the descriptor of the child's filter, if it has a listener.
    pub(crate) listener: Option<Listener<'a>>,
    /// Lets another thread kill the child before exec.
    pub(crate) watch: Option<Watch<'a>>,
    /// Whether the block of the clone is memory that another process reads, if
    /// this one ends before it has told how the launch ended.
    pub(crate) in_between: bool,
}

impl<'a> LaunchArgs<'a> {
    /// Adds an engine's own flags, those that the clone call supports.
    pub(super) fn with_engine_flags(self, own: CloneFlags) -> LaunchArgs<'a> {
        let flags = self.flags.union(own).difference(self.omitted_flags);
        LaunchArgs { flags: flags.within(self.clone_call), ..self }
    }

    /// Fills the slots that every launch uses. `base` is the block's address
    /// in the child.
    pub(super) fn fill_slots(self, block: &mut Block, base: *mut Block) {
        let address = |n| Block::slot_address(base, n);
        if let Some(probe_fd) = self.probe_fd {
            block.set(slot::PROBE_FD, bits(i64::from(probe_fd)));
        }
        // A kernel before 5.2 ignores CLONE_PIDFD and writes nothing.
        block.set(self.pidfd_slot(), bits(-1));
        for (holder, slot, _) in slot::ADDRESSES {
            block.set(holder, address(slot));
        }
        if let Some(environ) = self.environ {
            environ.fill_slots(block, base);
        }
        let node = address(slot::ROBUST_NODE);
        let head = address(slot::ROBUST_HEAD);
        block.set(slot::ROBUST_NODE, head);
        block.set(slot::ROBUST_HEAD, node);
        let futex = address(slot::ROBUST_FUTEX);
        block.set(slot::ROBUST_HEAD + 1, futex.wrapping_sub(node));
        block.set(slot::CHILD_TID, 0);
        if self.listener.is_some() {
            block.set(slot::LISTENER, bits(-1));
        }
        if self.gate.is_some() {
            block.set(slot::ROBUST_NODE, address(slot::GATE_NODE));
            block.set(slot::GATE_NODE, head);
        }
        if self.gate.is_some() || self.parent_pid {
            block.set(slot::PARENT_PID, getpid().into());
        }
    }

    /// Kills a child that another thread no longer wants, while it waits. For
    /// the engines whose caller runs; in the others the other thread does it.
    pub(super) fn kill_if_cancelled(self, target: Target) {
        if self.watch.is_some_and(|watch| watch.watcher.is_cancelled()) {
            let _ = kill_child(target);
        }
    }

    /// Returns the longest time in nanoseconds between two looks at whether the
    /// child is to be killed.
    pub(super) fn last_timeout(self) -> i64 {
        match self.watch {
            Some(_) => WATCHED_TIMEOUT,
            None => LAST_TIMEOUT,
        }
    }

    /// Returns the slot that the kernel writes the pidfd to.
    pub(super) fn pidfd_slot(self) -> u8 {
        match self.probe_fd {
            Some(_) => slot::PIDFD,
            None => slot::PROBE_FD,
        }
    }

    /// What clone3 reads beside what `system_call` writes: where the kernel
    /// tells another thread or process that the child exists. clone has no room
    /// for it: there the child tells a process.
    pub(super) fn clone_args(self, base: *mut Block) -> CloneArgs {
        let parent_tid = match self.watch.is_some() || self.in_between {
            true => Block::slot_address(base, slot::CHILD_TID),
            false => 0,
        };
        CloneArgs { parent_tid, ..CloneArgs::default() }
    }

    /// Returns the system call and its arguments for
    /// [`crate::child::enter`], for a child without a stack of its own. With
    /// clone3 the kernel reads `clone_args`.
    ///
    /// The exit signal is 0 unless `exit_signal` is another: until exec the
    /// child's death raises no SIGCHLD and only a wait with `__WCLONE` or
    /// `__WALL` sees it; exec sets it to SIGCHLD.
    pub(super) fn system_call(
        self,
        clone_args: &mut CloneArgs,
        pidfd: u64,
        exit_signal: u64,
    ) -> (u64, [u64; 5]) {
        let flags = self.flags.bits();
        let wanted = self.flags.contains(CloneFlags::PIDFD);
        let pidfd = if wanted { pidfd } else { 0 };
        if self.clone_call == CloneCall::Clone {
            let nr = u64::from(number(libc::SYS_clone));
            let (flags, tid) = match self.in_between {
                true => (flags | CHILD_SETTID, clone_args.parent_tid),
                false => (flags, 0),
            };
            let flags = flags | exit_signal;
            return (nr, clone_arguments(flags, 0, pidfd, tid, 0));
        }
        let mut size = CloneArgs::SIZE_VER0;
        *clone_args = CloneArgs { flags, pidfd, exit_signal, ..*clone_args };
        if clone_args.parent_tid != 0 {
            clone_args.flags |= PARENT_SETTID;
        }
        if !self.tids.is_empty() {
            size = CloneArgs::SIZE_VER1;
            clone_args.set_tid = self.tids.as_ptr().expose_provenance() as u64;
            clone_args.set_tid_size = self.tids.len() as u64;
        }
        if let Some(cgroup) = self.cgroup {
            size = CloneArgs::SIZE_VER2;
            clone_args.flags |= CloneFlags::INTO_CGROUP.bits();
            clone_args.cgroup = bits(i64::from(cgroup));
        }
        let nr = u64::from(number(libc::SYS_clone3));
        let at = core::ptr::from_mut(clone_args).expose_provenance() as u64;
        (nr, [at, size, 0, 0, 0])
    }
}

/// The descriptor that the kernel wrote into the low half of a slot.
pub(super) fn fd_in(slot: u64) -> Option<i32> {
    let low = u32::try_from(slot & u64::from(u32::MAX)).ok()?;
    i32::try_from(low).ok()
}
