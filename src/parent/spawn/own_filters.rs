//! Own filters: whether the filters of a plan are the cause of a failure, and
//! why their listener could not be taken.

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use crate::call::Block;
use crate::launch::Outcome;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::filter_answer::answer;
use crate::sys::Errno;
use crate::sys::wait::{Kind, wait};

const WHY: &str = "a filter of `seccomp` forbids it";

/// The most that a filter can return as an errno.
const MAX_ERRNO: u32 = 4095;

impl Prepared {
    /// Why an exec failed, if the plan's filters are the cause, whatever the
    /// arguments of the call are.
    pub(super) fn forbidden(
        &self,
        compiled: &CompiledPlan,
        row: u32,
        result: i64,
    ) -> Option<Cause> {
        let nr = compiled.row(row)?.nr;
        let answer = answer(&self.plan.filters, nr)?;
        let errno = match answer & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_ERRNO => {
                (answer & libc::SECCOMP_RET_DATA).min(MAX_ERRNO)
            }
            // The parent lets the kernel make the call.
            libc::SECCOMP_RET_USER_NOTIF if self.plan.listener => return None,
            // Without a tracer or a listener.
            libc::SECCOMP_RET_TRACE | libc::SECCOMP_RET_USER_NOTIF => {
                libc::ENOSYS.unsigned_abs()
            }
            _ => return None,
        };
        match Errno::of(result) {
            Some(Errno(own)) if own.unsigned_abs() == errno => {
                Some(Cause::Explained(own, WHY))
            }
            // The filter skips the call and lets it succeed.
            None if errno == 0 => Some(Cause::Refused(WHY, libc::EPERM)),
            _ => None,
        }
    }

    /// Corrects the outcome of the pipe engine, which cannot tell exec from
    /// death in exec: a child that a filter of the plan kills for exec has
    /// died.
    pub(super) fn verify_filters(
        &self,
        compiled: &CompiledPlan,
        outcome: Outcome,
        block: &Block,
    ) -> Outcome {
        let Outcome::Running { pid, pidfd, confirmed: false } = outcome else {
            return outcome;
        };
        let nr = compiled.row(block.reached).map(|row| row.nr);
        let answer = nr.and_then(|nr| answer(&self.plan.filters, nr));
        let action = answer.map(|it| it & libc::SECCOMP_RET_ACTION_FULL);
        match action {
            Some(
                libc::SECCOMP_RET_KILL_PROCESS
                | libc::SECCOMP_RET_KILL_THREAD
                | libc::SECCOMP_RET_TRAP,
            ) => {
                let ended =
                    wait(self.plan.target(pid, pidfd), Kind::Any, true);
                let (row, ended) = (block.reached, ended.ok().flatten());
                Outcome::Died { row, ended, pidfd }
            }
            _ => outcome,
        }
    }
}

/// The error of a listener that the parent could not take.
pub(super) fn listener_error(Errno(errno): Errno) -> Error {
    let why = match errno {
        libc::EPERM => {
            "the parent may not take it from the child: that takes what \
             ptrace takes (the same user and a dumpable process, or \
             CAP_SYS_PTRACE; /proc/sys/kernel/yama/ptrace_scope)"
        }
        libc::ENOSYS => "pidfd_getfd is newer than this kernel (Linux 5.6)",
        _ => return Error::os(Step::SeccompListener, errno),
    };
    Error::explained(Step::SeccompListener, errno, why)
}
