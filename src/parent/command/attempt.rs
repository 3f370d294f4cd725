//! Attempt: what changes from one try of a spawn to the next, and what a
//! refusal leads to.

use core::time::Duration;

use super::lesser::{Lesser, is_proof, lesser, listed};
use super::lowered::Lowered;
use super::prepared::Prepared;
use crate::call::number;
use crate::launch::gate::Gate;
use crate::launch::{Ask, Environ, Made};
use crate::op::Op;
use crate::parent::cgroup::Group;
use crate::parent::error::{Error, Step};
use crate::parent::handle::launch::{
    CgroupEntry, Fallback, Fallbacks, Launch,
};
use crate::parent::kernel;
use crate::parent::plan::Plan;
use crate::parent::plan::method::Engine;
use crate::parent::plan::shape::Shape;
use crate::parent::std::{
    os::fd::{AsRawFd, OwnedFd},
    thread,
};
use crate::sys::abi::SET_IDS;
use crate::sys::call::{capabilities, saved_ids_are_effective};
use crate::sys::{CloneFlags, Errno, Maker};

/// How often a program that is open for writing is tried again: 50 us, then
/// twice as long each time, 5 ms at most; about 30 ms in all.
const BUSY_RETRIES: u32 = 12;
const BUSY_FIRST: Duration = Duration::from_micros(50);
const BUSY_LAST: Duration = Duration::from_millis(5);

/// What to do after a launch that did not end in a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Again,
    GiveUp,
}

/// One try of a spawn.
pub(super) struct Attempt {
    pub(super) shape: Shape,
    /// Flags beside those of the engine.
    pub(super) flags: CloneFlags,
    pub(super) canary: Option<OwnedFd>,
    /// Whether there is no room for one.
    pub(super) bare: bool,
    /// The number of one that stays open over this spawn.
    pub(super) kept: Option<i32>,
    /// What a canary has to be above.
    pub(super) cut: i32,
    /// What this thread may do, if that matters.
    pub(super) rights: [u64; 3],
    busy: u32,
    fallbacks: Fallbacks,
}

impl Attempt {
    /// The planned shape, but for what is known to be refused. A frozen
    /// group would hold a caller who cannot be interrupted. A debugger that
    /// does not see vfork takes a child with exit signal 0 for a thread of
    /// ours.
    pub(super) fn first(
        prepared: &Prepared,
        group: Option<&Group>,
    ) -> Attempt {
        let plan = &prepared.plan;
        let mut attempt = Attempt {
            shape: plan.shape,
            flags: CloneFlags::empty(),
            canary: None,
            bare: false,
            kept: None,
            cut: 3,
            rights: [0; 3],
            busy: 0,
            fallbacks: Fallbacks::default(),
        };
        if let Some((feature, errno)) = prepared.held.unimaged {
            attempt.told_of(feature, errno, "copied");
        }
        let known = kernel::refused();
        if let Some(errno) = known.clone3 {
            attempt.legacy(prepared, errno);
        }
        if let Some(errno) = known.close_range {
            attempt.take(listed(attempt.shape), errno);
        }
        let engine = attempt.shape.engine;
        let sleeps = matches!(engine, Engine::Suspended | Engine::Isolated);
        if sleeps && plan.any_engine && group.is_some_and(Group::frozen) {
            let why = "copied, as the group is frozen";
            attempt.told_of(engine.name(), 0, why);
            attempt.shape.engine = Engine::Copied;
        }
        let isolated = attempt.shape.engine == Engine::Isolated;
        if isolated {
            attempt.rights = capabilities();
        }
        let changed = match () {
            () if !isolated || !plan.any_engine => None,
            () if !sets_ids(plan, attempt.rights)
                && !saved_ids_are_effective() =>
            {
                Some("copied, as exec drops saved ids")
            }
            () if kernel::has_exec_label() => {
                Some("copied, as exec uses up the label asked for")
            }
            () => None,
        };
        if let Some(why) = changed {
            attempt.told_of("isolated", 0, why);
            attempt.shape.engine = Engine::Copied;
        }
        if attempt.shape.engine == Engine::Copied {
            attempt.copied(prepared);
        }
        if plan.shares(attempt.shape) {
            attempt.flags |= CloneFlags::FILES;
        }
        attempt
    }

    pub(super) fn ask<'a>(
        &self,
        prepared: &'a Prepared,
        group: Option<&Group>,
        environ: Option<Environ<'a>>,
        gate: Option<Gate<'a>>,
    ) -> Ask<'a> {
        let own = self.canary.as_ref().map(AsRawFd::as_raw_fd);
        let born = group.filter(|_| !self.shape.join);
        Ask {
            maker: self.shape.maker,
            flags: self.flags,
            canary: self.kept.or(own),
            cgroup: born.map(Group::number),
            tids: &prepared.plan.set_tid,
            environ,
            gate,
        }
    }

    /// Changes what can be changed after a failure, or gives up.
    pub(super) fn after(
        &mut self,
        prepared: &Prepared,
        lowered: &Lowered,
        made: Made,
        group: Option<&Group>,
    ) -> Next {
        match made {
            Made::Refused(errno) => self.after_clone(prepared, errno.0, group),
            Made::Failed { row, result, .. } => {
                self.after_row(prepared, lowered, row, result)
            }
            Made::Running { .. }
            | Made::Died { .. }
            | Made::Stopped { .. } => Next::GiveUp,
        }
    }

    /// See the table of errnos in docs/kernels.md.
    fn after_clone(
        &mut self,
        prepared: &Prepared,
        errno: i32,
        group: Option<&Group>,
    ) -> Next {
        let born = group.is_some() && !self.shape.join;
        let isolated = self.shape.engine == Engine::Isolated;
        match (self.shape.maker, errno) {
            // A child with a copy of the table can do without a canary.
            (_, libc::EMFILE | libc::ENFILE) if self.canary.is_some() => {
                self.canary = None;
                self.bare = true;
                self.flags -= CloneFlags::FILES;
                Next::Again
            }
            // Without a page there is a descriptor more.
            (_, libc::EMFILE | libc::ENFILE)
                if isolated && prepared.plan.any_engine =>
            {
                prepared.let_go();
                self.told_of("isolated", errno, "copied");
                self.copied(prepared)
            }
            (Maker::Clone3, libc::E2BIG) if born => {
                if !prepared.plan.any_method {
                    return Next::GiveUp;
                }
                self.told_of("CLONE_INTO_CGROUP", errno, "a write");
                self.shape.join = true;
                Next::Again
            }
            (Maker::Clone3, libc::ENOSYS | libc::EPERM) => {
                if !kernel::clone3_is_blocked(errno) {
                    return Next::GiveUp;
                }
                kernel::note(|refused| refused.clone3 = Some(errno));
                self.legacy(prepared, errno)
            }
            // Before Linux 5.5 clone3 has no CLONE_CLEAR_SIGHAND.
            (Maker::Clone3, libc::EINVAL) => self.legacy(prepared, errno),
            (Maker::Clone, libc::EINVAL) if prepared.plan.any_engine => {
                self.piped(prepared, errno)
            }
            _ => Next::GiveUp,
        }
    }

    fn after_row(
        &mut self,
        prepared: &Prepared,
        lowered: &Lowered,
        row: u32,
        result: i64,
    ) -> Next {
        let plan = &prepared.plan;
        let op = lowered.op(plan, row);
        let closes = matches!(op, Some(Op::CloseRange | Op::MarkRange));
        let nr = lowered.row(row).map(|row| row.nr);
        let watches = [libc::SYS_set_robust_list, libc::SYS_gettid];
        let watches = nr.is_some_and(|nr| watches.map(number).contains(&nr));
        let own =
            matches!(op, Some(Op::Lend | Op::Enter | Op::Arrive | Op::Name));
        if own && plan.any_engine && !watches {
            return self.unimaged(prepared, nr, Errno::of(result));
        }
        let Some(Errno(errno)) = Errno::of(result) else {
            // The proof says that the canary is open still. Perhaps it is
            // the pidfd, and not as high as it has to be.
            let shared = self.flags.contains(CloneFlags::FILES);
            let proof = closes && is_proof(lowered, row);
            if proof && shared && self.canary.is_none() {
                self.prove();
                return Next::Again;
            }
            return Next::GiveUp;
        };
        if let Some(lesser) = lesser(plan, lowered, row, errno) {
            if closes && errno != libc::EINVAL {
                kernel::note(|known| known.close_range = Some(errno));
            }
            self.take(lesser, errno);
            return Next::Again;
        }
        match (op, errno) {
            (_, libc::ENOSYS | libc::EPERM) if watches && plan.any_engine => {
                self.piped(prepared, errno)
            }
            (_, libc::ETXTBSY) if wait_for_writer(self.busy) => {
                self.busy += 1;
                Next::Again
            }
            _ => Next::GiveUp,
        }
    }

    /// A copied child makes no such call.
    fn unimaged(
        &mut self,
        prepared: &Prepared,
        nr: Option<u32>,
        errno: Option<Errno>,
    ) -> Next {
        let execveat = Some(number(libc::SYS_execveat));
        match errno {
            // What the image may do is not what the parent may.
            None => {
                let why = "copied, as exec changes the capabilities";
                self.told_of("isolated", 0, why);
            }
            Some(Errno(errno)) if nr == execveat => {
                self.told_of("execveat of an image", errno, "copied");
            }
            // Its steps are told by the plan, which displays.
            Some(Errno(errno)) => self.told_of("isolated", errno, "copied"),
        }
        self.copied(prepared)
    }

    /// Without a page or an image this launch has a copied child, if anybody
    /// may choose.
    pub(super) fn does_without(
        &mut self,
        prepared: &Prepared,
        error: &Error,
    ) -> bool {
        if error.step() != Step::Image || !prepared.plan.any_engine {
            return false;
        }
        let errno = error.raw_os_error().unwrap_or_default();
        self.told_of("memfd_create", errno, "copied");
        self.copied(prepared);
        true
    }

    fn take(&mut self, lesser: Lesser, errno: i32) {
        self.told_of(lesser.feature, errno, lesser.instead);
        self.shape = lesser.shape;
        if self.shape.listed {
            self.flags -= CloneFlags::FILES;
        }
    }

    /// clone instead of clone3, if anybody may choose. Nothing asked for is
    /// dropped: only clone3 has set_tid.
    fn legacy(&mut self, prepared: &Prepared, errno: i32) -> Next {
        let plan = &prepared.plan;
        let clone3 = self.shape.maker == Maker::Clone3;
        if !clone3 || !plan.any_method || !plan.set_tid.is_empty() {
            return Next::GiveUp;
        }
        if kernel::valgrind() && plan.any_engine {
            return self.piped(prepared, errno);
        }
        self.told_of("clone3", errno, "clone");
        self.shape.maker = Maker::Clone;
        self.shape.join = plan.cgroup.is_some();
        Next::Again
    }

    /// With what a debugger needs to see: that it is a vfork, or, where the
    /// caller must not sleep until exec, a fork.
    fn copied(&mut self, prepared: &Prepared) -> Next {
        self.shape.engine = Engine::Copied;
        self.flags = CloneFlags::empty();
        if kernel::traced() {
            if prepared.plan.before.is_empty() {
                self.flags = CloneFlags::VFORK;
            } else if prepared.plan.set_tid.is_empty() {
                self.told_of(
                    "copied",
                    0,
                    "a plain clone, as a debugger looks",
                );
                self.plain(prepared);
            }
        }
        Next::Again
    }

    /// Only clone3 has set_tid.
    fn piped(&mut self, prepared: &Prepared, errno: i32) -> Next {
        if !prepared.plan.set_tid.is_empty() {
            return Next::GiveUp;
        }
        self.told_of("clone flags", errno, "a plain clone");
        self.plain(prepared);
        Next::Again
    }

    fn plain(&mut self, prepared: &Prepared) {
        self.shape.engine = Engine::Pipe;
        self.shape.maker = Maker::Clone;
        self.shape.join = prepared.plan.cgroup.is_some();
        self.flags = CloneFlags::empty();
    }

    /// What is not tried, as it would end this process.
    pub(super) fn forbidden(&self) -> Option<Error> {
        let plain = self.shape.engine == Engine::Pipe;
        let clone = self.shape.maker == Maker::Clone && !plain;
        let why = "valgrind ends a program that makes such a clone";
        (clone && kernel::valgrind())
            .then(|| Error::told(Step::Clone, libc::ENOSYS, why))
    }

    fn told_of(
        &mut self,
        feature: &'static str,
        errno: i32,
        instead: &'static str,
    ) {
        let free = self.fallbacks.iter_mut().find(|one| one.is_none());
        if let Some(free) = free {
            *free = Some(Fallback { feature, errno, instead });
        }
    }

    pub(super) fn told(&self, prepared: &Prepared, sure: bool) -> Launch {
        let plan = &prepared.plan;
        let shared = CloneFlags::FILES;
        let planned = plan.flags(self.shape).difference(shared);
        let cgroup = plan.cgroup.as_ref().map(|_| match self.shape.join {
            true => CgroupEntry::Joined,
            false => CgroupEntry::Born,
        });
        Launch {
            engine: self.shape.engine,
            maker: self.shape.maker,
            flags: planned | self.flags,
            cgroup,
            busy: self.busy,
            canary: self.canary.is_some(),
            sure,
            fallbacks: self.fallbacks,
        }
    }
}

/// Waits before a program that is open for writing is tried once more, or
/// says that it was tried often enough.
pub(super) fn wait_for_writer(tried: u32) -> bool {
    let again = tried < BUSY_RETRIES;
    if again {
        thread::sleep((BUSY_FIRST * (1 << tried)).min(BUSY_LAST));
    }
    again
}

/// Whether all six ids will be others, whatever they are, by the right to
/// make them so.
fn sets_ids(plan: &Plan, rights: [u64; 3]) -> bool {
    let user = plan.ops.iter().any(|op| matches!(op, Op::Setuid(_)));
    let group = plan.ops.iter().any(|op| matches!(op, Op::Setgid(_)));
    let may = rights[0] & SET_IDS == SET_IDS;
    user && group && may
}
