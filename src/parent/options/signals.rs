//! Signals: the child's handlers and signal mask.

use crate::parent::command::Engine;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Op, Operand, PlanBuilder, fixed_strings};
use crate::sys::CloneCall;
use crate::sys::abi::SIGSET_SIZE;

/// `sigprocmask` blocks SIGSYS while the parent's handler may still be set.
pub(crate) fn block_sigsys(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let how = Arg::Value(libc::SIG_BLOCK.unsigned_abs().into());
    let set = fixed_strings::SIGSYS.into();
    let args = [how, set, 0.into(), Arg::Value(SIGSET_SIZE)];
    plan.step(Step::SignalMask, Operand::Label("SIGSYS"))
        .call(libc::SYS_rt_sigprocmask, &args)
        .note("blocked, as there are handlers")
        .runs(|s| s.clone_call == CloneCall::Clone && !s.in_place);
    Ok(())
}

/// `sigaction` sets the default for every signal that has a handler. Only
/// for the legacy clone, as clone3 has a flag for it. The isolated engine
/// blocks all signals until its last exec, which resets handlers.
pub(crate) fn clear_handlers(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("every signal");
    plan.op(Step::SignalAction, operand, Op::ClearHandlers)
        .note("default, if it has a handler")
        .runs(|s| {
            let reset = s.engine == Engine::Isolated || s.in_place;
            s.clone_call == CloneCall::Clone && !reset
        });
    Ok(())
}

/// `sigaction(SIGPIPE, SIG_DFL)`, as in std: Rust's runtime ignores SIGPIPE,
/// and exec does not reset an ignored signal.
pub(crate) fn default_sigpipe(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let signal = libc::SIGPIPE.unsigned_abs();
    let action = fixed_strings::ZEROS.into();
    let args = [signal.into(), action, 0.into(), Arg::Value(SIGSET_SIZE)];
    plan.step(Step::SignalAction, Operand::Label("SIGPIPE"))
        .call(libc::SYS_rt_sigaction, &args)
        .note("default");
    Ok(())
}

/// `sigprocmask` restores the caller's mask.
pub(crate) fn signal_mask(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("the caller's mask");
    plan.op(Step::SignalMask, operand, Op::SignalMask);
    Ok(())
}
