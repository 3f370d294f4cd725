//! Filter answer: what the filters of a plan do with exec, so that an error
//! can say that they are its cause.

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use crate::call::Block;
use crate::launch::Outcome;
use crate::parent::command::{SeccompFilter, SockFilter};
use crate::parent::error::Cause;
use crate::sys::Errno;
use crate::sys::wait::{Kind, Target, wait};

const WHY: &str = "a filter of `seccomp` forbids it";

/// The most that a filter can return as an errno.
const MAX_ERRNO: u32 = 4095;

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`.
const ARCH: u32 =
    if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };

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
                let ended = wait(Target { pid, pidfd }, Kind::Any, true);
                let (row, ended) = (block.reached, ended.ok().flatten());
                Outcome::Died { row, ended, pidfd }
            }
            _ => outcome,
        }
    }
}

/// The answer of several filters: the strictest, and of equal ones that of the
/// filter that was installed last. `None` if it depends on arguments.
fn answer(filters: &[SeccompFilter], nr: u32) -> Option<u32> {
    // As the kernel compares them: killing is below 0.
    let action = |answer: u32| {
        let action = answer & libc::SECCOMP_RET_ACTION_FULL;
        i32::from_ne_bytes(action.to_ne_bytes())
    };
    let mut strictest = None;
    for filter in filters.iter().rev() {
        let own = run(&filter.program, nr)?;
        if strictest.is_none_or(|other| action(own) < action(other)) {
            strictest = Some(own);
        }
    }
    strictest
}

/// Runs a program that has been validated. `None` if it reads the arguments or
/// the address of the call.
fn run(program: &[SockFilter], nr: u32) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; 16]);
    let mut at = 0;
    loop {
        let SockFilter { code, jt, jf, k } = *program.get(at)?;
        let word = memory.get_mut(usize::try_from(k & 15).ok()?)?;
        let operand = if code & 0x08 == 0 { k } else { x };
        at += 1;
        match code {
            0x20 if k == 0 => a = nr,
            0x20 if k == 4 => a = ARCH,
            0x20 => return None,
            0x80 => a = 64,
            0x81 => x = 64,
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = *word,
            0x61 => x = *word,
            0x02 => *word = a,
            0x03 => *word = x,
            0x07 => x = a,
            0x87 => a = x,
            0x06 => return Some(k),
            0x16 => return Some(a),
            0x05 => at += usize::try_from(k).ok()?,
            _ if code & 0x07 == 0x05 => {
                let holds = match code & 0xF0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            _ => {
                a = match code & 0xF0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    // The kernel ends the program with 0.
                    0x30 if operand == 0 => return Some(0),
                    0x30 => a / operand,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.wrapping_shl(operand),
                    0x70 => a.wrapping_shr(operand),
                    0x80 => a.wrapping_neg(),
                    0xA0 => a ^ operand,
                    _ => return None,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{answer, run};
    use crate::parent::command::{SeccompFilter, SockFilter};
    use crate::parent::std::vec::Vec;

    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn one(nr: u32, action: u32) -> SeccompFilter {
        SeccompFilter::from([
            (0x20, 0, 0, 0),
            (0x15, 0, 1, nr),
            (0x06, 0, 0, action),
            (0x06, 0, 0, ALLOW),
        ])
    }

    #[test]
    fn the_strictest_answer_counts_and_the_last_of_equal_ones() {
        let filters = [one(59, ERRNO | 1), one(59, ERRNO | 2)];
        assert_eq!(answer(&filters, 59), Some(ERRNO | 2));
        assert_eq!(answer(&filters, 60), Some(ALLOW));
        let kill = libc::SECCOMP_RET_KILL_PROCESS;
        let filters = [one(59, kill), one(59, ERRNO)];
        assert_eq!(answer(&filters, 59), Some(kill));
        assert_eq!(answer(&[], 59), None);
    }

    #[test]
    fn an_answer_that_depends_on_arguments_is_unknown() {
        let argument = [(0x20, 0, 0, 16), (0x16, 0, 0, 0)];
        let program = SeccompFilter::from(argument).program;
        assert_eq!(run(&program, 59), None);
    }

    #[test]
    fn every_operation_computes() {
        let run = |all: &[(u16, u8, u8, u32)]| {
            let program: Vec<SockFilter> =
                all.iter().map(|it| SockFilter::from(*it)).collect();
            run(&program, 59)
        };
        // A = (59 + 5) << 2 >> 1 = 128; M[3] = 128; X = 128; A ^= X; A - X.
        let all = [
            (0x20, 0, 0, 0),
            (0x04, 0, 0, 5),
            (0x64, 0, 0, 2),
            (0x74, 0, 0, 1),
            (0x02, 0, 0, 3),
            (0x61, 0, 0, 3),
            (0xAC, 0, 0, 0),
            (0x1C, 0, 0, 0),
            (0x84, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        assert_eq!(run(&all), Some(128));
        let divide = [(0x3C, 0, 0, 0), (0x06, 0, 0, 7)];
        assert_eq!(run(&divide), Some(0), "X is 0");
        let jump = [(0x05, 0, 0, 1), (0x06, 0, 0, 1), (0x06, 0, 0, 2)];
        assert_eq!(run(&jump), Some(2));
    }
}
