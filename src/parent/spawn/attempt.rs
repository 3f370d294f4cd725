//! Attempt: one try of a spawn, and how the first is chosen.

use super::changes::Budget;
use super::fallback::{without_close_range, without_execveat};
use super::prepared::Prepared;
use crate::launch::gate::Gate;
use crate::launch::{Environ, LaunchArgs};
use crate::parent::command::cgroup::Group;
use crate::parent::command::method::Engine;
use crate::parent::error::{Error, Step};
use crate::parent::handle::launch::{
    CgroupEntry, Fallback, Fallbacks, Launch,
};
use crate::parent::plan::Plan;
use crate::parent::plan::op::Op;
use crate::parent::plan::step::Effect;
use crate::parent::plan::strategy::Strategy;
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::parent::support::{self, Proven};
use crate::sys::abi::SET_IDS;
use crate::sys::call::{capabilities, saved_ids_are_effective};
use crate::sys::wait::reaped_elsewhere;
use crate::sys::{CloneCall, CloneFlags};

use rustix::event::{EventfdFlags, eventfd};

/// One try of a spawn.
pub(super) struct Attempt {
    pub(super) strategy: Strategy,
    /// Flags beside those of the engine.
    pub(super) flags: CloneFlags,
    pub(super) probe_fd: Option<OwnedFd>,
    /// Whether there is no room for one.
    pub(super) bare: bool,
    /// The number of one that stays open over this spawn.
    pub(super) kept: Option<i32>,
    /// What a canary has to be above.
    pub(super) source_end: i32,
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
            strategy: plan.strategy,
            flags: CloneFlags::empty(),
            probe_fd: None,
            bare: false,
            kept: None,
            source_end: 3,
            rights: [0; 3],
            apart: plan.execs_apart() && reaped_elsewhere(),
            pidfd: true,
            may_lack_pidfd: true,
            budget: Budget::default(),
            fallbacks: Fallbacks::default(),
        };
        if let Some((feature, errno)) = prepared.source_fds.no_helper {
            attempt.record_fallback(feature, errno, "copied");
        }
        let known = support::refused();
        if let Some(errno) = known.clone3 {
            let _ = attempt.legacy(prepared, errno);
        }
        if let Some(errno) = known.close_range {
            attempt.take(without_close_range(attempt.strategy), errno);
        }
        let engine = attempt.strategy.engine;
        let sleeps = matches!(engine, Engine::Suspended | Engine::Isolated);
        if sleeps && plan.any_engine && group.is_some_and(Group::frozen) {
            let why = "copied, as the group is frozen";
            attempt.record_fallback(engine.name(), 0, why);
            attempt.strategy.engine = Engine::Copied;
        }
        let isolated = attempt.strategy.engine == Engine::Isolated;
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
            () if support::has_exec_label() => {
                Some("copied, as exec uses up the label asked for")
            }
            () => None,
        };
        if let Some(why) = changed {
            attempt.record_fallback("isolated", 0, why);
            attempt.strategy.engine = Engine::Copied;
        }
        attempt.once(prepared);
        if attempt.strategy.engine == Engine::Copied {
            attempt.show_to_debugger(prepared);
        }
        if plan.shares(attempt.strategy) {
            attempt.flags |= CloneFlags::FILES;
        }
        attempt
    }

    /// The first of a PID namespace is its init: where it has failed, there is
    /// no second. So what could be refused is not tried, unless it is known
    /// to work here. Asked until it is: one call of the first spawn.
    fn once(&mut self, prepared: &Prepared) {
        let plan = &prepared.plan;
        let known = support::proven();
        let image =
            self.strategy.engine == Engine::Isolated && plan.any_engine;
        let image = image && !known.image;
        let has = |op| plan.has(op);
        let range = has(Op::CloseRange) && !known.close_range;
        let range = range || has(Op::MarkRange) && !known.mark_range;
        let range = range && !self.strategy.no_close_range;
        let by_fd = plan.program_fd.is_some() && !self.strategy.no_execveat;
        let by_fd = by_fd && !known.execveat;
        if !(image || range || by_fd) || !support::next_is_init() {
            return;
        }
        // The kernel makes the process id before it looks for a number for
        // the pidfd.
        let full = eventfd(0, EventfdFlags::CLOEXEC).err();
        if let Some(errno) = full {
            let _ = self.without_pidfd(errno.raw_os_error());
        }
        if image {
            self.record_fallback(
                "isolated",
                0,
                "copied, as the child is an init",
            );
            self.strategy.engine = Engine::Copied;
        }
        // A list of descriptors is read by one more.
        if range && full.is_none() {
            self.take(without_close_range(self.strategy), 0);
        }
        if by_fd {
            self.take(without_execveat(self.strategy), 0);
        }
    }

    /// What need not be asked any more, as the program runs.
    pub(super) fn prove_shape(&self, plan: &Plan) {
        let has = |op| plan.has(op);
        support::prove(Proven {
            close_range: !self.strategy.no_close_range && has(Op::CloseRange),
            mark_range: !self.strategy.no_close_range && has(Op::MarkRange),
            execveat: plan.program_fd.is_some() && !self.strategy.no_execveat,
            image: self.strategy.engine == Engine::Isolated,
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
    ) -> LaunchArgs<'a> {
        let own = self.probe_fd.as_ref().map(AsRawFd::as_raw_fd);
        let born = group.filter(|_| !self.strategy.joins_cgroup);
        LaunchArgs {
            clone_call: self.strategy.clone_call,
            flags: self.flags,
            omitted_flags: self.absent(),
            probe_fd: self.kept.or(own),
            cgroup: born.map(Group::number),
            tids: &prepared.plan.set_tid,
            environ,
            gate,
        }
    }

    /// What is not tried, as it would end this process.
    pub(super) fn forbidden(&self) -> Option<Error> {
        let plain = self.strategy.engine == Engine::Pipe;
        let clone = self.strategy.clone_call == CloneCall::Clone && !plain;
        let why = "valgrind pipes a program that makes such a clone";
        (clone && support::valgrind())
            .then(|| Error::explained(Step::Clone, libc::ENOSYS, why))
    }

    pub(super) fn record_fallback(
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

    pub(super) fn launch(
        &self,
        prepared: &Prepared,
        confirmed: bool,
    ) -> Launch {
        let plan = &prepared.plan;
        let shared = CloneFlags::FILES;
        let planned = plan.flags(self.strategy).difference(shared);
        let cgroup =
            plan.cgroup.as_ref().map(|_| match self.strategy.joins_cgroup {
                true => CgroupEntry::Joined,
                false => CgroupEntry::Born,
            });
        Launch {
            engine: self.strategy.engine,
            clone_call: self.strategy.clone_call,
            flags: (planned | self.flags).difference(self.absent()),
            cgroup,
            busy: self.budget.busy_retries(),
            extra_probe_fd: self.probe_fd.is_some(),
            confirmed,
            fallbacks: self.fallbacks,
        }
    }
}

/// Whether all six ids will be others, whatever they are, by the right to
/// make them so.
fn sets_ids(plan: &Plan, rights: [u64; 3]) -> bool {
    let user = plan.effects().any(|effect| matches!(effect, Effect::Uid(_)));
    let group = plan.effects().any(|effect| matches!(effect, Effect::Gid(_)));
    let may = rights[0] & SET_IDS == SET_IDS;
    user && group && may
}
