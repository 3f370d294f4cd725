//! End flags: the flags of clone3 by which the kernel reaps the child, and
//! kills it.

use super::Plan;
use crate::parent::command::{Engine, Options};
use crate::parent::error::{Error, Step};
use crate::sys::wait::Target;
use crate::sys::{CloneCall, CloneFlags, Pid};

/// The flags that the options mean, for a plan whose strategy is chosen. They
/// are never left out: there is no fallback for them.
pub(super) fn end_flags(
    options: &Options,
    plan: &Plan,
) -> Result<CloneFlags, Error> {
    let launch = &options.launch;
    let mut flags = CloneFlags::empty();
    if !(launch.autoreap || launch.autokill) {
        return Ok(flags);
    }
    let step = if launch.autokill { Step::Autokill } else { Step::Autoreap };
    let strategy = plan.strategy;
    let legacy = strategy.clone_call == CloneCall::Clone;
    let pipe = strategy.engine == Engine::Pipe && launch.engine.is_some();
    for (is_set, why, option) in [
        (strategy.in_place, "exec creates no process", "exec"),
        (pipe, "the engine pipe makes a plain clone", "engine"),
        (legacy, "only clone3 has it", "method"),
        (
            plan.traced,
            "the tracer is this process, which has to reap the child",
            "ptrace_traceme",
        ),
    ] {
        if is_set {
            return Err(Error::refused(step, why).with(option));
        }
    }
    flags |= CloneFlags::AUTOREAP;
    if launch.autokill {
        flags |= CloneFlags::PIDFD_AUTOKILL;
        // The kernel takes this flag for it, or CAP_SYS_ADMIN; that the child
        // sets no_new_privs later, or inherits it, is not enough. All other
        // plans have the child set it, which works with every kernel and call.
        if options.identity.no_new_privs {
            flags |= CloneFlags::NNP;
        }
    }
    Ok(flags)
}

impl Plan {
    /// Whether the kernel reaps the child.
    pub(crate) fn is_autoreaped(&self) -> bool {
        self.end_flags.contains(CloneFlags::AUTOREAP)
    }

    /// Whether an option exists in clone3 only.
    pub(crate) fn takes_clone3(&self) -> bool {
        !self.set_tid.is_empty() || self.is_autoreaped()
    }

    /// The option that sets the flags.
    pub(crate) fn end_option(&self) -> &'static str {
        match self.end_flags.contains(CloneFlags::PIDFD_AUTOKILL) {
            true => "autokill",
            false => "autoreap",
        }
    }

    /// The child of this plan, for a wait.
    pub(crate) fn target(&self, pid: Pid, pidfd: Option<i32>) -> Target {
        let autoreaped = self.is_autoreaped();
        Target { autoreaped, ..Target::new(pid, pidfd) }
    }
}
