//! Decodes aarch64 code and finds instructions that a walker may not have.

use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Instruction, Opcode, Operand};

use super::Seen;

pub(crate) fn decode(bytes: &[u8]) -> Vec<Seen> {
    let decoder = InstDecoder::default();
    let mut all = Vec::new();
    for (n, word) in (0u64..).zip(bytes.chunks(4)) {
        let at = 4 * n;
        let mut reader = U8Reader::new(word);
        let Ok(one) = decoder.decode(&mut reader) else {
            let text = format!("{word:02x?}");
            let fault = Some("is no instruction");
            all.push(Seen {
                at,
                text,
                target: None,
                fault,
                returns: false,
                accesses_memory: false,
            });
            continue;
        };
        let target = one.operands.iter().find_map(|operand| match operand {
            Operand::PCOffset(offset) => at.checked_add_signed(*offset),
            _ => None,
        });
        all.push(Seen {
            at,
            text: format!("{:?}", one.opcode),
            target: target.filter(|_| branches(one.opcode)),
            fault: fault(&one),
            returns: one.opcode == Opcode::RET,
            accesses_memory: accesses_memory(one.opcode),
        });
    }
    all
}

fn accesses_memory(opcode: Opcode) -> bool {
    use Opcode::{LDP, LDR, LDRB, LDRH, STP, STR, STRB};
    matches!(opcode, LDP | LDR | LDRB | LDRH | STP | STR | STRB)
}

fn branches(opcode: Opcode) -> bool {
    use Opcode::{B, Bcc, CBNZ, CBZ, TBNZ, TBZ};
    matches!(opcode, B | Bcc(_) | CBZ | CBNZ | TBZ | TBNZ)
}

/// The instructions that a walker may have; all others are violations.
fn known(opcode: Opcode) -> bool {
    use Opcode::{
        ADD, ADDS, AND, ANDS, BRK, HINT, LDP, LDR, LDRB, LDRH, LSRV, MADD,
        MOVK, MOVN, MOVZ, MSUB, ORR, RET, STP, STR, STRB, SUB, SUBS, SVC,
        UBFM, UDIV, UMADDL,
    };
    let plain = matches!(
        opcode,
        ADD | ADDS
            | AND
            | ANDS
            | LSRV
            | MADD
            | MOVK
            | MOVN
            | MOVZ
            | MSUB
            | ORR
            | SUB
            | SUBS
            | UBFM
            | UDIV
            | UMADDL
    );
    let memory = matches!(opcode, LDP | LDR | LDRB | LDRH | STP | STR | STRB);
    let system = matches!(opcode, BRK | HINT | RET | SVC);
    plain || memory || system || branches(opcode)
}

fn fault(one: &Instruction) -> Option<&'static str> {
    if !known(one.opcode) {
        return Some("is not an allowed instruction");
    }
    if one.opcode == Opcode::RET {
        return None;
    }
    if !branches(one.opcode) {
        let relative = |o: &Operand| matches!(o, Operand::PCOffset(_));
        if one.operands.iter().any(relative) {
            return Some("reads relative to the program counter");
        }
    }
    one.operands.iter().any(stack).then_some("uses the stack")
}

/// Whether an operand is the stack pointer, x29 or x30. 31 is the stack
/// pointer as a base, and the zero register elsewhere.
fn stack(operand: &Operand) -> bool {
    let frame = |n: u16| n == 29 || n == 30;
    match *operand {
        Operand::Register(_, n) => frame(n),
        Operand::RegisterPair(_, n)
        | Operand::RegisterOrSP(_, n)
        | Operand::RegPreIndex(n, _, _)
        | Operand::RegPostIndex(n, _)
        | Operand::RegPostIndexReg(n, _)
        | Operand::RegRegOffset(n, ..) => frame(n) || n == 31,
        _ => false,
    }
}
