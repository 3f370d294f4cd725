//! Swap standard output and standard error, as a shell's `3>&1 1>&2 2>&3`.
//!
//! Descriptors may be permuted in any way; the spawn makes the temporary
//! copies. Use `fd` with a copy that the command owns, or `raw_fd` with a
//! number that stays open until the spawn.
//!
//! Run: `cargo run --example swap_stdio`
#![allow(unsafe_code, reason = "raw_fd is unsafe: the number must stay open")]

use std::error::Error;
use std::os::fd::AsFd;
use std::{env, io};

use offshoot::Command;

/// Passes a copy of each descriptor.
fn swap(command: &mut Command) -> io::Result<()> {
    command.fd(1, io::stderr().as_fd().try_clone_to_owned()?);
    command.fd(2, io::stdout().as_fd().try_clone_to_owned()?);
    Ok(())
}

/// The same by number, without copies in this process.
fn swap_by_number(command: &mut Command) {
    // SAFETY: this program never closes 2.
    unsafe { command.raw_fd(1, 2) };
    // SAFETY: this program never closes 1.
    unsafe { command.raw_fd(2, 1) };
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut sh = Command::new("sh");
    sh.args(["-c", "echo written to 1; echo written to 2 >&2"]);
    match env::args().nth(1).as_deref() {
        Some("swapped") => swap(&mut sh)?,
        Some("by number") => swap_by_number(&mut sh),
        Some(_) => {}
        None => return compare(),
    }
    assert!(sh.status()?.success());
    Ok(())
}

/// Runs this program in each way, and captures both outputs.
fn compare() -> Result<(), Box<dyn Error>> {
    let [first, second] = ["written to 1\n", "written to 2\n"];
    for (how, out, err) in [
        ("plain", first, second),
        ("swapped", second, first),
        ("by number", second, first),
    ] {
        let output = Command::new(env::current_exe()?).arg(how).output()?;
        assert!(output.status.success());
        let stdout = String::from_utf8(output.stdout)?;
        let stderr = String::from_utf8(output.stderr)?;
        println!("{how}: stdout {stdout:?}, stderr {stderr:?}");
        assert_eq!((&*stdout, &*stderr), (out, err));
    }
    Ok(())
}
