//! Attempt: one try of a spawn, and how the first is chosen.

use super::changes::Budget;
use super::lesser::{by_path, listed};
use super::prepared::Prepared;
use crate::launch::gate::Gate;
use crate::launch::{Ask, Environ};
use crate::op::Op;
use crate::parent::cgroup::Group;
use crate::parent::error::{Error, Step};
use crate::parent::handle::launch::{
    CgroupEntry, Fallback, Fallbacks, Launch,
};
use crate::parent::kernel::{self, Proven};
use crate::parent::plan::Plan;
use crate::parent::plan::method::Engine;
use crate::parent::plan::shape::Shape;
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::sys::abi::SET_IDS;
use crate::sys::call::{capabilities, saved_ids_are_effective};
use crate::sys::wait::others_reap;
use crate::sys::{CloneFlags, Maker};

use rustix::event::{EventfdFlags, eventfd};

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
    /// Whether an image execs in a second thread, so that its exec is told
    /// from its death although another thread reaps.
    pub(super) apart: bool,
    /// Whether the kernel is asked for a pidfd, and whether it may not be.
    pub(super) pidfd: bool,
    pub(super) may_lack_pidfd: bool,
    pub(super) budget: Budget,
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
            apart: plan.execs_apart() && others_reap(),
            pidfd: true,
            may_lack_pidfd: true,
            budget: Budget::default(),
            fallbacks: Fallbacks::default(),
        };
        if let Some((feature, errno)) = prepared.held.unimaged {
            attempt.told_of(feature, errno, "copied");
        }
        let known = kernel::refused();
        if let Some(errno) = known.clone3 {
            let _ = attempt.legacy(prepared, errno);
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
        attempt.once(prepared);
        if attempt.shape.engine == Engine::Copied {
            attempt.show_to_debugger(prepared);
        }
        if plan.shares(attempt.shape) {
            attempt.flags |= CloneFlags::FILES;
        }
        attempt
    }

    /// The first of a PID namespace is its init: where it has failed, there is
    /// no second. So what could be refused is not tried, unless it is known
    /// to work here. Asked until it is: one call of the first spawn.
    fn once(&mut self, prepared: &Prepared) {
        let plan = &prepared.plan;
        let known = kernel::proven();
        let image = self.shape.engine == Engine::Isolated && plan.any_engine;
        let image = image && !known.image;
        let has = |op| plan.ops.contains(&op);
        let range = has(Op::CloseRange) && !known.close_range;
        let range = range || has(Op::MarkRange) && !known.mark_range;
        let range = range && !self.shape.listed;
        let by_fd = plan.program_fd.is_some() && !self.shape.by_path;
        let by_fd = by_fd && !known.execveat;
        if !(image || range || by_fd) || !kernel::next_is_init() {
            return;
        }
        // The kernel makes the process id before it looks for a number for
        // the pidfd.
        let full = eventfd(0, EventfdFlags::CLOEXEC).err();
        if let Some(errno) = full {
            let _ = self.without_pidfd(errno.raw_os_error());
        }
        if image {
            self.told_of("isolated", 0, "copied, as the child is an init");
            self.shape.engine = Engine::Copied;
        }
        // A list of descriptors is read by one more.
        if range && full.is_none() {
            self.take(listed(self.shape), 0);
        }
        if by_fd {
            self.take(by_path(self.shape), 0);
        }
    }

    /// What need not be asked any more, as the program runs.
    pub(super) fn prove_shape(&self, plan: &Plan) {
        let has = |op| plan.ops.contains(&op);
        kernel::prove(Proven {
            close_range: !self.shape.listed && has(Op::CloseRange),
            mark_range: !self.shape.listed && has(Op::MarkRange),
            execveat: plan.program_fd.is_some() && !self.shape.by_path,
            image: self.shape.engine == Engine::Isolated,
        });
    }

    /// Flags that this try is made without, whatever the engine has.
    fn absent(&self) -> CloneFlags {
        let pidfd = CloneFlags::PIDFD;
        if self.pidfd { CloneFlags::empty() } else { pidfd }
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
            without: self.absent(),
            canary: self.kept.or(own),
            cgroup: born.map(Group::number),
            tids: &prepared.plan.set_tid,
            environ,
            gate,
        }
    }

    /// What is not tried, as it would end this process.
    pub(super) fn forbidden(&self) -> Option<Error> {
        let plain = self.shape.engine == Engine::Pipe;
        let clone = self.shape.maker == Maker::Clone && !plain;
        let why = "valgrind ends a program that makes such a clone";
        (clone && kernel::valgrind())
            .then(|| Error::told(Step::Clone, libc::ENOSYS, why))
    }

    pub(super) fn told_of(
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
            flags: (planned | self.flags).difference(self.absent()),
            cgroup,
            busy: self.budget.busy_retries(),
            canary: self.canary.is_some(),
            sure,
            fallbacks: self.fallbacks,
        }
    }
}

/// Whether all six ids will be others, whatever they are, by the right to
/// make them so.
fn sets_ids(plan: &Plan, rights: [u64; 3]) -> bool {
    let user = plan.ops.iter().any(|op| matches!(op, Op::Setuid(_)));
    let group = plan.ops.iter().any(|op| matches!(op, Op::Setgid(_)));
    let may = rights[0] & SET_IDS == SET_IDS;
    user && group && may
}
