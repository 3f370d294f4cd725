//! Signals: what the child's handlers and its mask become.

use crate::parent::command::method::Engine;
use crate::parent::error::{Error, Step};
use crate::parent::plan::builder::{Arg, PlanBuilder};
use crate::parent::plan::fixed_strings;
use crate::parent::plan::op::Op;
use crate::parent::plan::step::Operand;
use crate::sys::CloneCall;
use crate::sys::abi::SIGSET_SIZE;

/// `sigprocmask`: SIGSYS is blocked too, where the parent's handler for it
/// may still be set.
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

/// `sigaction` of every signal that has a handler: the default. Only for the
/// legacy clone: clone3 has a flag for it. The isolated engine blocks all
/// signals until its last exec, which resets handlers.
pub(crate) fn clear_handlers(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("every signal");
    plan.op(Step::SignalAction, operand, Op::ClearHandlers)
        .note("default, where there is a handler")
        .runs(|s| {
            let reset = s.engine == Engine::Isolated || s.in_place;
            s.clone_call == CloneCall::Clone && !reset
        });
    Ok(())
}

/// `sigaction(SIGPIPE, SIG_DFL)`. Rust's runtime ignores SIGPIPE, and what is
/// ignored stays so over exec; std resets it in children, and so do we.
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

/// `sigprocmask`: the mask is the caller's again.
pub(crate) fn signal_mask(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("the caller's");
    plan.op(Step::SignalMask, operand, Op::SignalMask);
    Ok(())
}
