//! First attempt: the planned strategy, without what is known not to work
//! here.

use rustix::event::{EventfdFlags, eventfd};

use super::attempt::Attempt;
use super::changes::Budget;
use super::fallback::{without_close_range, without_execveat};
use super::prepared::Prepared;
use crate::parent::command::{Engine, OpenCgroup};
use crate::parent::error::{Error, Step};
use crate::parent::handle::{Fallbacks, PidFd};
use crate::parent::plan::{Effect, Op, Parentage, Plan};
use crate::parent::support;
use crate::sys::abi::SET_IDS;
use crate::sys::call::{capabilities, is_filtered, saved_ids_are_effective};
use crate::sys::fds::close_range_probe;
use crate::sys::pidfd::can_signal;
use crate::sys::safe::{close, getpid, open};
use crate::sys::wait::reaped_elsewhere;
use crate::sys::{CloneCall, CloneFlags};

impl Attempt {
    pub(super) fn first(
        prepared: &Prepared,
        group: Option<&OpenCgroup>,
        pidfd_optional: bool,
        parentage: Parentage,
    ) -> Attempt {
        let plan = &prepared.plan;
        let mut attempt = Attempt {
            strategy: plan.strategy,
            parentage,
            flags: CloneFlags::empty(),
            probe_fd: None,
            cached_probe_fd: None,
            no_probe_fd: false,
            capabilities: [0; 3],
            exec_in_thread: plan.may_exec_in_thread()
                && parentage != Parentage::Sibling
                && (reaped_elsewhere() || plan.is_autoreaped()),
            with_pidfd: true,
            pidfd_optional,
            budget: Budget::default(),
            fallbacks: Fallbacks::default(),
        };
        if let Some((feature, errno)) = prepared.source_fds.no_helper {
            attempt.record_fallback(feature, errno, "copied");
        }
        if let Some(instead) = plan.landlock_lacks {
            attempt.record_fallback("landlock", 0, instead);
        }
        let missing = support::known_missing();
        if let Some(errno) = missing.clone3 {
            let _ = attempt.with_clone(plan, errno);
        }
        if let Some(errno) = missing.close_range {
            attempt.apply(without_close_range(attempt.strategy), errno);
        }
        attempt.choose_engine(plan, group);
        attempt.avoid_failure_of_init(plan);
        if attempt.is_of_sibling() {
            attempt.avoid_failure_of_sibling(plan);
        }
        if attempt.strategy.engine == Engine::Copied {
            attempt.adapt_to_debugger(plan);
        }
        if attempt.strategy.engine == Engine::Concurrent
            && support::is_traced()
        {
            attempt.flags |= CloneFlags::VFORK;
        }
        if plan.shares(attempt.strategy) {
            attempt.flags |= CloneFlags::FILES;
        }
        attempt
    }

    /// Uses the copied engine where a child of another would stop, or differ
    /// from it in what exec preserves.
    fn choose_engine(&mut self, plan: &Plan, group: Option<&OpenCgroup>) {
        let engine = self.strategy.engine;
        let suspends = matches!(engine, Engine::Suspended | Engine::Isolated);
        // The caller would sleep, uninterruptible, until the group is thawed.
        if suspends && plan.any_engine && group.is_some_and(OpenCgroup::frozen)
        {
            let why = "copied, as the group is frozen";
            self.record_fallback(engine.name(), 0, why);
            self.strategy.engine = Engine::Copied;
        }
        if self.strategy.engine != Engine::Isolated {
            return;
        }
        self.capabilities = capabilities();
        let drops_ids = || {
            !sets_ids(plan, self.capabilities) && !saved_ids_are_effective()
        };
        let why = match () {
            () if !plan.any_engine => return,
            () if drops_ids() => "copied, as exec drops saved ids",
            () if support::has_exec_label() => {
                "copied, as exec consumes the security label"
            }
            () => return,
        };
        self.record_fallback("isolated", 0, why);
        self.strategy.engine = Engine::Copied;
    }

    /// Uses an engine whose caller can kill the child itself, where another
    /// thread cannot: the kernel makes no pidfd (before Linux 5.2), or a filter
    /// rejects signals by it.
    pub(super) fn keep_killable(&mut self, plan: &Plan) -> Result<(), Error> {
        let engine = self.strategy.engine;
        let suspends = matches!(engine, Engine::Suspended | Engine::Isolated);
        let clone = self.strategy.clone_call == CloneCall::Clone;
        let has_pidfd = || !clone || PidFd::open(getpid()).is_ok();
        if !suspends || (can_signal() && has_pidfd()) {
            return Ok(());
        }
        if !plan.any_engine {
            let why = "the engine cannot be ended by a pidfd here, which a \
                       start or a deadline needs";
            return Err(Error::explained(Step::Clone, libc::ENOSYS, why));
        }
        let instead = "copied, as a pidfd cannot end the child";
        self.record_fallback(engine.name(), 0, instead);
        self.strategy.engine = Engine::Copied;
        self.flags = CloneFlags::empty();
        self.adapt_to_debugger(plan);
        Ok(())
    }

    /// The first child in a PID namespace is its init: if it fails, there
    /// can be no second. So that attempt uses only what is known to work
    /// here. Costs a system call in each spawn until that is known.
    fn avoid_failure_of_init(&mut self, plan: &Plan) {
        let known = support::known_working();
        let isolated = self.strategy.engine == Engine::Isolated;
        let helper = isolated && plan.any_engine && !known.helper;
        let range = (plan.has(Op::CloseRange) && !known.close_range)
            || (plan.has(Op::MarkRange) && !known.mark_range);
        let range = range && !self.strategy.no_close_range;
        let by_fd = plan.program_fd.is_some() && !self.strategy.no_execveat;
        let by_fd = by_fd && !known.execveat;
        if !(helper || range || by_fd) || !support::next_is_init() {
            return;
        }
        // The kernel allocates the process id before the pidfd's number.
        let full = eventfd(0, EventfdFlags::CLOEXEC).err();
        // The status of one that the kernel reaps is had by the pidfd only.
        if let Some(errno) = full.filter(|_| !plan.is_autoreaped()) {
            let _ = self.without_pidfd(errno.raw_os_error());
        }
        if helper {
            let why = "copied, as the child is an init";
            self.record_fallback("isolated", 0, why);
            self.strategy.engine = Engine::Copied;
        }
        // Listing descriptors takes one more.
        if range && full.is_none() && can_list() {
            self.apply(without_close_range(self.strategy), 0);
        }
        if by_fd {
            self.apply(without_execveat(self.strategy), 0);
        }
    }

    /// A sibling that fails is a zombie of another process, so there is one
    /// attempt. It uses only what works here, as far as that can be known.
    fn avoid_failure_of_sibling(&mut self, plan: &Plan) {
        const WHY: &str = "copied, as a sibling has one attempt";
        let known = support::known_working();
        let isolated = self.strategy.engine == Engine::Isolated;
        if isolated && plan.any_engine && !known.helper {
            self.record_fallback("isolated", 0, WHY);
            self.strategy.engine = Engine::Copied;
        }
        // A filter could kill this process for the probe.
        let filtered = is_filtered();
        let works = |marks| !filtered && close_range_probe(marks).is_ok();
        let range = (plan.has(Op::CloseRange)
            && !known.close_range
            && !works(false))
            || (plan.has(Op::MarkRange) && !known.mark_range && !works(true));
        if range && !self.strategy.no_close_range && can_list() {
            self.apply(without_close_range(self.strategy), 0);
        }
        let by_fd = plan.program_fd.is_some() && !self.strategy.no_execveat;
        if by_fd && filtered && !known.execveat {
            self.apply(without_execveat(self.strategy), 0);
        }
    }

    /// Records what this attempt, which succeeded, has used.
    pub(super) fn record_working(&self, plan: &Plan) {
        let range = !self.strategy.no_close_range;
        let execveat = plan.program_fd.is_some() && !self.strategy.no_execveat;
        support::record_working(|known| {
            known.close_range |= range && plan.has(Op::CloseRange);
            known.mark_range |= range && plan.has(Op::MarkRange);
            known.execveat |= execveat;
            known.helper |= self.strategy.engine == Engine::Isolated;
        });
    }
}

/// Whether descriptors can be listed, which is what replaces close_range.
fn can_list() -> bool {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    open(c"/proc/self/fd", flags, 0).map(close).is_ok()
}

/// Whether the steps replace all six ids, which takes capabilities.
fn sets_ids(plan: &Plan, capabilities: [u64; 3]) -> bool {
    let user = plan.effects().any(|effect| matches!(effect, Effect::Uid(_)));
    let group = plan.effects().any(|effect| matches!(effect, Effect::Gid(_)));
    user && group && capabilities[0] & SET_IDS == SET_IDS
}
