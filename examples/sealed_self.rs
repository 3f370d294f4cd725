//! A program that begins again from a sealed copy of itself, so that nobody
//! it starts or enters can write to it (runc's CVE-2019-5736).
//!
//! `cargo run --example sealed_self`

use std::error::Error;
use std::fs::{File, OpenOptions, read_link};
use std::{env, process};

use offshoot::{Command, self_exe_is_sealed};
use rustix::fs::{SealFlags, fcntl_get_seals};

const EXE: &str = "/proc/self/exe";

/// To be called first in `main`: returns in the copy only.
fn seal() -> Result<(), Box<dyn Error>> {
    if self_exe_is_sealed()? {
        return Ok(());
    }
    println!("process {}: {}", process::id(), read_link(EXE)?.display());
    let mut again = Command::self_exe();
    Err(again.args(env::args_os().skip(1)).exec().into())
}

/// What the CVE did: holds a descriptor of the program until nobody runs it
/// any more, then opens that for writing.
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

    // While it runs no program can be opened for writing, sealed or not.
    let busy = OpenOptions::new().append(true).open(EXE);
    println!("while it runs: {:?}", busy.map_err(|error| error.kind()));

    // The attacker takes this process's place, so the program is let go.
    let mut attack = Command::new("sh");
    Err(attack.args(["-c", ATTACK]).fd(3, exe).exec().into())
}
