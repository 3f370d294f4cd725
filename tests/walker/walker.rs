//! Walker: its machine code is decoded from the built object and checked: no
//! call, no stack access, no relocation, no branch out of it except to its end.

mod aarch64;
#[path = "../util/skip.rs"]
#[allow(unreachable_pub, reason = "the other tests' helper")]
mod skip;
mod x86_64;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use object::{Object, ObjectSection, ObjectSymbol};

use skip::skip;

/// The symbols around the entry, which the parent calls, and the walker, which
/// runs in the child.
const PARTS: [&str; 3] =
    ["offshoot_0_1_enter", "offshoot_0_1_walker", "offshoot_0_1_walker_end"];

/// The second copy of the walker, after the entry of the helper.
const HELPER: [&str; 3] = [
    "offshoot_0_1_helper",
    "offshoot_0_1_helper_walker",
    "offshoot_0_1_helper_end",
];

/// The maximum size of a walker. It interprets a table, so it does not
/// grow with features.
const MOST_INSTRUCTIONS: usize = 96;

/// A decoded instruction, with what the rules check.
struct Seen {
    at: u64,
    text: String,
    /// The target of a branch, from the start of the part.
    target: Option<u64>,
    /// Why it is not allowed in the walker; the entry may have one `ret`.
    fault: Option<&'static str>,
    returns: bool,
    accesses_memory: bool,
}

/// Every violation of a rule in the code, with its instruction.
fn faults(seen: &[Seen], len: u64) -> Vec<String> {
    let starts: BTreeSet<u64> = seen.iter().map(|one| one.at).collect();
    let mut faults = Vec::new();
    for one in seen {
        // A branch to the end leads to the hooks.
        let outside = |to: &u64| *to != len && !starts.contains(to);
        if let Some(fault) = one.fault {
            faults.push(format!("{:#x} {}: {fault}", one.at, one.text));
        }
        if one.target.as_ref().is_some_and(outside) {
            faults
                .push(format!("{:#x} {}: branches outside", one.at, one.text));
        }
    }
    faults
}

/// The bytes of entry and walker, and the number of their relocations.
struct Code {
    entry: Vec<u8>,
    walker: Vec<u8>,
    relocations: usize,
}

fn code(path: &Path) -> Code {
    parts(path, PARTS)
}

fn parts(path: &Path, names: [&str; 3]) -> Code {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let [enter, walker, end] = names.map(|name| {
        let mut symbols = file.symbols();
        let symbol = symbols.find(|symbol| symbol.name() == Ok(name));
        symbol.unwrap_or_else(|| panic!("{name} in {}", path.display()))
    });
    let section = file.section_by_index(enter.section_index().unwrap());
    let section = section.unwrap();
    let data = section.data().unwrap();
    let offset =
        |address: u64| usize::try_from(address - section.address()).unwrap();
    let offsets = [&enter, &walker, &end].map(|one| offset(one.address()));
    let [from, middle, to] = offsets;
    assert!(from < middle && middle < to, "{offsets:?}");
    let range = enter.address()..end.address();
    let inside = |(at, _): &(u64, _)| range.contains(at);
    Code {
        entry: data[from..middle].to_vec(),
        walker: data[middle..to].to_vec(),
        relocations: section.relocations().filter(inside).count(),
    }
}

/// Assembles a file of src/child.
fn assemble(program: &str, flags: &[&str], name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = own.join("../../src/child");
    let file = format!("{name}-{}.o", std::process::id());
    let object = env::temp_dir().join(file);
    let run = Command::new(program)
        .args(flags)
        .arg(source.join(name))
        .arg("-o")
        .arg(&object)
        .output();
    run.ok().filter(|output| output.status.success()).map(|_| object)
}

/// The two copies of the walker are equal, byte for byte.
fn assert_same_walker(name: &str, path: &Path) {
    let (own, helper) = (code(path), parts(path, HELPER));
    assert!(own.walker == helper.walker, "{name}: another walker");
    assert_eq!(helper.relocations, 0, "{name}");
    // Between the ELF headers and the descriptor of the status page, in
    // `call::helper_table`.
    let room = 0x400 - 4 - (64 + 2 * 56);
    let size = helper.entry.len() + helper.walker.len();
    assert!(size <= room, "{name}: {size} bytes");
}

/// Checks the rules for one architecture's code; prints its size.
fn check(name: &str, code: &Code, decode: fn(&[u8]) -> Vec<Seen>) {
    assert_eq!(code.relocations, 0, "{name}");
    let walker = decode(&code.walker);
    let none: [String; 0] = [];
    assert_eq!(faults(&walker, code.walker.len() as u64), none, "{name}");
    assert!(walker.iter().all(|one| !one.returns), "{name} returns");
    // The entry branches to the start of the walker.
    let both = [code.entry.clone(), code.walker.clone()].concat();
    let entry = decode(&both);
    assert_eq!(faults(&entry, both.len() as u64), none, "{name}");
    let returns = entry.iter().filter(|one| one.returns).count();
    assert_eq!(returns, 1, "{name}: the return to the parent");
    // A caller that runs on reuses the memory that its entry has read.
    let own = entry.iter().filter(|one| one.at < code.entry.len() as u64);
    let calls = |one: &Seen| ["Syscall", "SVC"].contains(&&*one.text);
    let child: Vec<_> = own.skip_while(|one| !calls(one)).collect();
    assert!(child.len() >= 4, "{name}: {}", child.len());
    assert!(!child.iter().any(|one| one.accesses_memory), "{name}");
    let (count, bytes) = (walker.len(), code.walker.len());
    println!("{name}: walker of {count} instructions, {bytes} bytes");
    assert!((60..=MOST_INSTRUCTIONS).contains(&count), "{name}: {count}");
}

#[test]
fn the_x86_64_walker_uses_no_call_no_stack_and_no_relocation() {
    let name = "the_x86_64_walker_uses_no_call_no_stack_and_no_relocation";
    let flags = ["-c", "-x", "assembler", "-Wa,-msyntax=intel,-mnaked-reg"];
    let cc = if cfg!(target_arch = "x86_64") {
        "cc"
    } else {
        "x86_64-linux-gnu-gcc"
    };
    match assemble(cc, &flags, "x86_64.s") {
        Some(object) => {
            check("x86-64", &code(&object), x86_64::decode);
            assert_same_walker("x86-64", &object);
            fs::remove_file(object).unwrap();
        }
        None => skip(name, "no assembler for x86-64"),
    }
}

#[test]
fn the_aarch64_walker_uses_no_call_no_stack_and_no_relocation() {
    let name = "the_aarch64_walker_uses_no_call_no_stack_and_no_relocation";
    let given = env::var_os("OFFSHOOT_AARCH64_OBJECT").map(PathBuf::from);
    let object = given.clone().or_else(|| {
        let native = cfg!(target_arch = "aarch64");
        let cross = if native { "as" } else { "aarch64-linux-gnu-as" };
        assemble(cross, &[], "aarch64.s")
    });
    match object {
        Some(object) => {
            check("aarch64", &code(&object), aarch64::decode);
            assert_same_walker("aarch64", &object);
            if given.is_none() {
                fs::remove_file(object).unwrap();
            }
        }
        None => skip(name, "no assembler for aarch64"),
    }
}

/// The code in this program has the same bytes as the checked object.
#[test]
fn the_linked_walker_is_the_checked_one() {
    let status = offshoot::Command::new("/bin/true").status();
    assert!(status.unwrap().success(), "the walker is linked");
    let linked = code(&env::current_exe().unwrap());
    assert_same_walker("linked", &env::current_exe().unwrap());
    if cfg!(target_arch = "x86_64") {
        check("x86-64, linked", &linked, x86_64::decode);
    } else {
        check("aarch64, linked", &linked, aarch64::decode);
    }
}

/// Control: code that breaks each rule is found.
#[test]
fn code_that_breaks_a_rule_is_found() {
    let x86: [(&[u8], &str); 9] = [
        (&[0xE8, 0, 0, 0, 0], "call"),
        (&[0xFF, 0xD0], "call rax"),
        (&[0xFF, 0xE0], "jmp rax"),
        (&[0x50], "push rax"),
        (&[0x48, 0x89, 0x44, 0x24, 0x08], "mov [rsp+8], rax"),
        (&[0x48, 0x8B, 0x45, 0x00], "mov rax, [rbp]"),
        (&[0x48, 0x8B, 0x05, 0, 0, 0, 0], "mov rax, [rip]"),
        (&[0x64, 0x48, 0x8B, 0x03], "mov rax, fs:[rbx]"),
        (&[0xEB, 0x10], "jmp out"),
    ];
    for (bytes, what) in x86 {
        let seen = x86_64::decode(bytes);
        let found = faults(&seen, bytes.len() as u64);
        assert!(!found.is_empty(), "{what}");
    }
    assert!(x86_64::decode(&[0xC3])[0].returns);
    let a64: [(u32, &str); 9] = [
        (0x9400_0000, "bl ."),
        (0xD63F_0000, "blr x0"),
        (0xD61F_0000, "br x0"),
        (0xA9BF_7BFD, "stp x29, x30, [sp, #-16]!"),
        (0xF940_03E0, "ldr x0, [sp]"),
        (0x5800_0000, "ldr x0, ."),
        (0x9000_0000, "adrp x0, ."),
        (0xD53B_D040, "mrs x0, tpidr_el0"),
        (0x1400_0010, "b out"),
    ];
    for (word, what) in a64 {
        let bytes = word.to_le_bytes();
        let seen = aarch64::decode(&bytes);
        let found = faults(&seen, 4);
        assert!(!found.is_empty(), "{what}");
    }
    assert!(aarch64::decode(&0xD65F_03C0u32.to_le_bytes())[0].returns);
}
