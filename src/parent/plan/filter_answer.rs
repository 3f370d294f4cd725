//! Filter answer: what filters do with a system call, as far as that does not
//! depend on its arguments.

use crate::parent::command::{SeccompFilter, SockFilter};

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`.
const ARCH: u32 =
    if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };

/// The answer of several filters: the strictest, and of equal ones that of the
/// filter that was installed last. `None` if it depends on arguments.
pub(crate) fn answer(filters: &[SeccompFilter], nr: u32) -> Option<u32> {
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
