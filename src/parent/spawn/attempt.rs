//! `Attempt`: how one attempt of a spawn launches the child, and the changes
//! that lead to the next.

use super::changes::{Budget, Change, Try};
use super::fallback::Downgrade;
use super::status_page::init_block;
use crate::call::Block;
use crate::launch::gate::Gate;
use crate::launch::listener::Listener;
use crate::launch::watch::Watch;
use crate::launch::{Environ, LaunchArgs};
use crate::parent::command::{Engine, OpenCgroup, SignalSet};
use crate::parent::error::{Error, Step};
use crate::parent::handle::{CgroupEntry, Fallback, Fallbacks, Launch};
use crate::parent::plan::{Parentage, Plan, Strategy};
use crate::parent::std::boxed::Box;
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::parent::std::sync::Arc;
use crate::parent::support;
use crate::sys::wait::note_traced;
use crate::sys::{CloneCall, CloneFlags};

/// How an attempt failed.
pub(super) enum Failure {
    Final(Error),
    /// Another attempt may succeed; the error, if a child was created.
    Retry(Try, Option<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// One attempt of a spawn.
pub(super) struct Attempt {
    pub(super) strategy: Strategy,
    /// Whose child it makes.
    pub(super) parentage: Parentage,
    /// Flags in addition to those of the engine.
    pub(super) flags: CloneFlags,
    pub(super) probe_fd: Option<OwnedFd>,
    /// A probe descriptor that stays open after this spawn.
    pub(super) cached_probe_fd: Option<i32>,
    /// Whether there is no free descriptor for one.
    pub(super) no_probe_fd: bool,
    /// The capabilities of this thread, for a helper.
    pub(super) capabilities: [u64; 3],
    /// Whether a helper execs in a second thread, so that its exec differs
    /// from its death although another thread reaps the child.
    pub(super) exec_in_thread: bool,
    pub(super) with_pidfd: bool,
    /// Whether an attempt without a pidfd is permitted.
    pub(super) pidfd_optional: bool,
    pub(super) budget: Budget,
    pub(super) fallbacks: Fallbacks,
}

impl Attempt {
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

    /// Permits one more attempt, with this change.
    pub(super) fn change(
        &mut self,
        change: Change,
        (feature, errno, instead): (&'static str, i32, &'static str),
    ) -> Option<Try> {
        let again = self.budget.change(change)?;
        self.record_fallback(feature, errno, instead);
        Some(again)
    }

    pub(super) fn apply(&mut self, downgrade: Downgrade, errno: i32) {
        self.record_fallback(downgrade.feature, errno, downgrade.instead);
        self.strategy = downgrade.strategy;
        if self.strategy.no_close_range {
            self.flags -= CloneFlags::FILES;
            self.suspend();
        }
    }

    pub(super) fn without_pidfd(&mut self, errno: i32) -> Option<Try> {
        self.with_pidfd = false;
        let fallback = ("CLONE_PIDFD", errno, "the process id");
        self.change(Change::NoPidfd, fallback)
    }

    /// Uses clone in place of clone3, if the method permits it and no option
    /// exists in clone3 only.
    pub(super) fn with_clone(
        &mut self,
        plan: &Plan,
        errno: i32,
    ) -> Option<Try> {
        let clone3 = self.strategy.clone_call == CloneCall::Clone3;
        if !clone3 || !plan.any_method || plan.takes_clone3() {
            return None;
        }
        if support::is_under_valgrind() && plan.any_engine {
            return self.with_pipe(plan, errno);
        }
        self.strategy.clone_call = CloneCall::Clone;
        self.strategy.joins_cgroup = plan.cgroup.is_some();
        self.suspend();
        self.change(Change::Clone, ("clone3", errno, "clone"))
    }

    /// Where the caller cannot run on: functions of the child's, and handlers,
    /// use its stack.
    fn suspend(&mut self) {
        if self.strategy.engine == Engine::Concurrent {
            self.strategy.engine = Engine::Suspended;
        }
    }

    pub(super) fn with_copied(&mut self, plan: &Plan) -> Option<Try> {
        let again = self.budget.change(Change::Copied)?;
        self.strategy.engine = Engine::Copied;
        self.flags = CloneFlags::empty();
        self.adapt_to_debugger(plan);
        Some(again)
    }

    /// A debugger follows the copied engine's child only if it sees a vfork,
    /// or, where the caller must run until exec, a plain clone.
    pub(super) fn adapt_to_debugger(&mut self, plan: &Plan) {
        // A caller that sleeps until exec could not take the listener.
        if !support::is_traced() || plan.listener {
            return;
        }
        if plan.parent_hooks.is_empty() {
            self.flags = CloneFlags::VFORK;
        } else if !plan.takes_clone3() {
            let instead = "a plain clone, as a debugger is attached";
            self.record_fallback("copied", 0, instead);
            self.use_pipe(plan);
        }
    }

    /// Whether a child that failed is a zombie of this process's parent: then
    /// no other attempt follows it.
    pub(super) fn is_of_sibling(&self) -> bool {
        self.parentage == Parentage::Sibling
    }

    /// Uses the pipe engine, whose plain clone has nothing of clone3, and which
    /// takes no listener and makes no sibling.
    pub(super) fn with_pipe(
        &mut self,
        plan: &Plan,
        errno: i32,
    ) -> Option<Try> {
        let other = plan.listener || self.is_of_sibling();
        if plan.takes_clone3() || other {
            return None;
        }
        self.use_pipe(plan);
        self.change(Change::Pipe, ("clone flags", errno, "a plain clone"))
    }

    fn use_pipe(&mut self, plan: &Plan) {
        self.strategy.engine = Engine::Pipe;
        self.strategy.clone_call = CloneCall::Clone;
        self.strategy.joins_cgroup = plan.cgroup.is_some();
        self.flags = CloneFlags::empty();
    }

    /// valgrind ends a process that makes a clone with flags it does not
    /// know.
    pub(super) fn check_valgrind(&self) -> Result<(), Error> {
        let plain = self.strategy.engine == Engine::Pipe;
        let clone = self.strategy.clone_call == CloneCall::Clone && !plain;
        if clone && support::is_under_valgrind() {
            let why = "valgrind ends a process that makes such a clone";
            return Err(Error::explained(Step::Clone, libc::ENOSYS, why));
        }
        Ok(())
    }

    /// Flags of the engine that this attempt leaves out.
    fn omitted_flags(&self) -> CloneFlags {
        match self.with_pidfd {
            true => CloneFlags::empty(),
            false => CloneFlags::PIDFD,
        }
    }

    /// Sets the slots that only a helper reads.
    pub(super) fn init_block(&self, block: &mut Block) {
        let Attempt { capabilities, exec_in_thread, .. } = *self;
        // Nobody asks for a sibling's result, and there is no other attempt
        // if a filter kills it for the call.
        let mrelease = !self.is_of_sibling();
        init_block(block, capabilities, exec_in_thread, mrelease);
    }

    pub(super) fn launch_args<'a>(
        &self,
        plan: &'a Plan,
        group: Option<&OpenCgroup>,
        environ: Option<Environ<'a>>,
        gate: Option<Gate<'a>>,
        listener: Option<Listener<'a>>,
        watch: Option<Watch<'a>>,
    ) -> LaunchArgs<'a> {
        let own = self.probe_fd.as_ref().map(AsRawFd::as_raw_fd);
        if plan.traced {
            note_traced();
        }
        let mask = plan.mask.map(SignalSet::bits);
        let into_group = group.filter(|_| !self.strategy.joins_cgroup);
        LaunchArgs {
            clone_call: self.strategy.clone_call,
            flags: self.flags | self.parentage.flags() | plan.own_flags(),
            omitted_flags: self.omitted_flags(),
            probe_fd: self.cached_probe_fd.or(own),
            cgroup: into_group.map(OpenCgroup::number),
            tids: &plan.set_tid,
            mask: mask.or(watch.map(|watch| watch.mask)),
            parent_pid: plan.parent_death.is_some(),
            environ,
            traced: plan.traced,
            gate,
            listener,
            watch,
            in_between: false,
        }
    }

    /// Describes this attempt, which created the child.
    pub(super) fn launch(
        &self,
        plan: &Plan,
        confirmed: bool,
        refused: Option<Arc<[Error]>>,
    ) -> Launch {
        let shared = CloneFlags::FILES;
        let planned = plan.flags(self.strategy).difference(shared);
        let planned = planned | self.parentage.flags();
        let entry = match self.strategy.joins_cgroup {
            true => CgroupEntry::Joined,
            false => CgroupEntry::Born,
        };
        Launch {
            engine: self.strategy.engine,
            clone_call: self.strategy.clone_call,
            flags: (planned | self.flags).difference(self.omitted_flags()),
            cgroup: plan.cgroup.as_ref().map(|_| entry),
            busy: self.budget.busy_retries(),
            again: self.budget.again_retries(),
            extra_probe_fd: self.probe_fd.is_some(),
            confirmed,
            fallbacks: self.fallbacks[0].map(|_| Box::new(self.fallbacks)),
            parent_death: plan.parent_death,
            refused,
            process_group: None,
        }
    }
}
