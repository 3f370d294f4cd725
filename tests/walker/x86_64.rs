//! Decodes x86-64 code and finds instructions that a walker may not have.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpKind, Register,
};

use super::Seen;

pub(crate) fn decode(bytes: &[u8]) -> Vec<Seen> {
    let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let mut info = InstructionInfoFactory::new();
    let mut all = Vec::new();
    while decoder.can_decode() {
        let one = decoder.decode();
        let branch = one.op0_kind() == OpKind::NearBranch64;
        all.push(Seen {
            at: one.ip(),
            text: format!("{:?}", one.mnemonic()),
            target: branch.then(|| one.near_branch_target()),
            fault: fault(&one, &mut info),
            returns: one.flow_control() == FlowControl::Return,
            accesses_memory: one.memory_base() != Register::None,
        });
    }
    all
}

fn fault(
    one: &Instruction,
    info: &mut InstructionInfoFactory,
) -> Option<&'static str> {
    if one.is_invalid() {
        return Some("is no instruction");
    }
    match one.flow_control() {
        FlowControl::Return => return None,
        FlowControl::Call if one.mnemonic() == Mnemonic::Syscall => {}
        FlowControl::Next
        | FlowControl::ConditionalBranch
        | FlowControl::UnconditionalBranch => {}
        FlowControl::Exception if one.mnemonic() == Mnemonic::Ud2 => {}
        _ => return Some("calls, or branches indirectly"),
    }
    let used = info.info(one);
    let stack = [Register::RSP, Register::RBP];
    let registers = used.used_registers().iter();
    if registers
        .map(|r| r.register().full_register())
        .any(|r| stack.contains(&r))
    {
        return Some("uses the stack");
    }
    if one.is_ip_rel_memory_operand() {
        return Some("reads relative to the program counter");
    }
    let segments = [Register::FS, Register::GS];
    if segments.contains(&one.memory_segment()) {
        return Some("reads a thread-local");
    }
    None
}
