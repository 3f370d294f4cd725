//! Sealed self: execute a sealed copy of this program.
//!
//! `Command::self_exe` runs a copy of this program in a sealed memfd, and
//! `exec` replaces this process by it. Then no process that can open
//! `/proc/PID/exe` can overwrite the program (runc's CVE-2019-5736). Use it in
//! programs that run as root and enter containers.
//!
//! Run: `cargo run --example sealed_self`

use std::error::Error;
use std::fs::{File, OpenOptions, read_link};
use std::{env, process};

use offshoot::{Command, self_exe_is_sealed};
use rustix::fs::{SealFlags, fcntl_get_seals};

const EXE: &str = "/proc/self/exe";

/// Call this first in `main`: it returns in the sealed copy only.
fn seal() -> Result<(), Box<dyn Error>> {
    if self_exe_is_sealed()? {
        return Ok(());
    }
    println!("process {}: {}", process::id(), read_link(EXE)?.display());
    let mut again = Command::self_exe();
    Err(again.args(env::args_os().skip(1)).exec().into())
}

/// The attack of the CVE: keeps a descriptor of the program until no process
/// runs it, then opens it for writing.
const ATTACK: &str = "
    exec 2>/dev/null
    if echo evil >>/proc/self/fd/3; then echo overwritten; exit 1; fi
    if true >/proc/self/fd/3; then echo emptied; exit 1; fi
    echo neither written to nor emptied";

fn main() -> Result<(), Box<dyn Error>> {
    seal()?;
    println!("process {}: {}", process::id(), read_link(EXE)?.display());
    let exe = File::open(EXE)?;
    let seals = fcntl_get_seals(&exe)?;
    println!("{seals:?}");
    assert!(seals.contains(SealFlags::WRITE | SealFlags::SEAL));

    // A running program cannot be opened for writing, sealed or not.
    let busy = OpenOptions::new().append(true).open(EXE);
    println!("while it runs: {:?}", busy.map_err(|error| error.kind()));

    // The attacker replaces this process, so the program no longer runs.
    let mut attack = Command::new("sh");
    Err(attack.args(["-c", ATTACK]).fd(3, exe).exec().into())
}
