//! Fallback: the strategy that may work where a step of this one failed.

use super::changes::Change;
use super::compiled_plan::CompiledPlan;
use crate::call::number;
use crate::parent::plan::{Op, Plan, Strategy};

/// A strategy, the feature that it does without, and what replaces that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Downgrade {
    pub(super) strategy: Strategy,
    pub(super) change: Change,
    pub(super) feature: &'static str,
    pub(super) instead: &'static str,
}

/// The errnos of a system call that is missing or that a filter rejects.
const MISSING: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// Returns what may work after `row` failed with `errno`. docs/kernels.md has
/// the table of errnos.
pub(super) fn fallback_for(
    plan: &Plan,
    compiled: &CompiledPlan,
    row: u32,
    errno: i32,
) -> Option<Downgrade> {
    let strategy = compiled.strategy;
    let missing = MISSING.contains(&errno);
    match compiled.op(plan, row)? {
        // EINVAL: CLOSE_RANGE_CLOEXEC is newer (Linux 5.11) than the call.
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
            let shell = Some(compiled.row(row)?.step);
            let strategy = Strategy { shell, ..strategy };
            let (feature, instead) = ("execve", "/bin/sh");
            Some(Downgrade {
                strategy,
                change: Change::Shell,
                feature,
                instead,
            })
        }
        Op::SignalMask if !strategy.leaves_stops_pending => {
            // Their errors are ignored: only SIGSYS leads here.
            let calls = [
                (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
                (libc::SYS_faccessat, "faccessat"),
            ];
            let call = |(nr, _): &&_| is_call(compiled, row, *nr);
            let (_, feature) = *calls.iter().find(call)?;
            let strategy = Strategy { leaves_stops_pending: true, ..strategy };
            let change = Change::KeepStops;
            let instead = "stop signals that stay pending";
            Some(Downgrade { strategy, change, feature, instead })
        }
        _ => None,
    }
}

pub(super) fn without_close_range(strategy: Strategy) -> Downgrade {
    let strategy = Strategy { no_close_range: true, ..strategy };
    let (feature, instead) = ("close_range", "a list of descriptors");
    Downgrade { strategy, change: Change::NoCloseRange, feature, instead }
}

pub(super) fn without_execveat(strategy: Strategy) -> Downgrade {
    let strategy = Strategy { no_execveat: true, ..strategy };
    let (feature, instead) = ("execveat", "its path in /proc/self/fd");
    Downgrade { strategy, change: Change::NoExecveat, feature, instead }
}

/// Whether a row makes this system call.
fn is_call(compiled: &CompiledPlan, row: u32, nr: libc::c_long) -> bool {
    compiled.row(row).is_some_and(|row| row.nr == number(nr))
}
