//! Lesser: the shape that may serve where a step of this one was refused.

use super::changes::Change;
use super::compiled_plan::CompiledPlan;
use crate::call::number;
use crate::parent::plan::Plan;
use crate::parent::plan::op::Op;
use crate::parent::plan::strategy::Strategy;

/// A shape, and what it has instead of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Downgrade {
    pub(super) strategy: Strategy,
    pub(super) change: Change,
    pub(super) feature: &'static str,
    pub(super) instead: &'static str,
}

/// What is missing or refused by a filter answers so.
const MISSING: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// What may serve after `row` gave `errno`, if anything does. See the table
/// of errnos in docs/kernels.md.
pub(super) fn fallback_for(
    plan: &Plan,
    compiled: &CompiledPlan,
    row: u32,
    errno: i32,
) -> Option<Downgrade> {
    let strategy = compiled.strategy;
    let missing = MISSING.contains(&errno);
    match compiled.op(plan, row)? {
        // EINVAL: its flags came later than the call.
        Op::CloseRange | Op::MarkRange
            if !strategy.no_close_range
                && is_call(compiled, row, libc::SYS_close_range)
                && (missing || errno == libc::EINVAL) =>
        {
            Some(without_close_range(strategy))
        }
        Op::ExecFd(_) if missing && !strategy.no_execveat => {
            Some(without_execveat(strategy))
        }
        Op::Exec(_)
            if errno == libc::ENOEXEC
                && plan.shell_fallback
                && strategy.shell.is_none() =>
        {
            let step = compiled.row(row)?.step;
            Some(Downgrade {
                strategy: Strategy { shell: Some(step), ..strategy },
                change: Change::Shell,
                feature: "execve",
                instead: "/bin/sh",
            })
        }
        Op::SignalMask if !strategy.keeps_stops => {
            // An error of these goes on; only SIGSYS comes here.
            let calls = [
                (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
                (libc::SYS_faccessat, "faccessat"),
            ];
            let call = |(nr, _): &&_| is_call(compiled, row, *nr);
            let (_, feature) = *calls.iter().find(call)?;
            Some(Downgrade {
                strategy: Strategy { keeps_stops: true, ..strategy },
                change: Change::KeepStops,
                feature,
                instead: "stops that stay pending",
            })
        }
        _ => None,
    }
}

/// Without `close_range`.
pub(super) fn without_close_range(strategy: Strategy) -> Downgrade {
    Downgrade {
        strategy: Strategy { no_close_range: true, ..strategy },
        change: Change::NoCloseRange,
        feature: "close_range",
        instead: "a list of descriptors",
    }
}

/// Without `execveat`.
pub(super) fn without_execveat(strategy: Strategy) -> Downgrade {
    Downgrade {
        strategy: Strategy { no_execveat: true, ..strategy },
        change: Change::NoExecveat,
        feature: "execveat",
        instead: "its path in /proc/self/fd",
    }
}

/// Whether a row makes this system call.
fn is_call(compiled: &CompiledPlan, row: u32, nr: libc::c_long) -> bool {
    compiled.row(row).is_some_and(|row| row.nr == number(nr))
}
