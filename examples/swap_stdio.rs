//! Output and errors that trade places, as a shell's `3>&1 1>&2 2>&3`.
//!
//! `cargo run --example swap_stdio`
#![allow(unsafe_code, reason = "1 and 2 may be named by their numbers")]

use std::error::Error;
use std::os::fd::AsFd;
use std::{env, io};

use offshoot::Command;

/// Gives away a copy of each.
fn swap(command: &mut Command) -> io::Result<()> {
    command.fd(1, io::stderr().as_fd().try_clone_to_owned()?);
    command.fd(2, io::stdout().as_fd().try_clone_to_owned()?);
    Ok(())
}

/// The same by number: the spawn makes the one temporary that it takes.
fn swap_by_number(command: &mut Command) {
    // SAFETY: nobody closes 2 in this program.
    unsafe { command.raw_fd(1, 2) };
    // SAFETY: nobody closes 1 in this program.
    unsafe { command.raw_fd(2, 1) };
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut talker = Command::new("sh");
    talker.args(["-c", "echo said to 1; echo said to 2 >&2"]);
    match env::args().nth(1).as_deref() {
        Some("swapped") => swap(&mut talker)?,
        Some("by number") => swap_by_number(&mut talker),
        Some(_) => {}
        None => return watch(),
    }
    assert!(talker.status()?.success());
    Ok(())
}

/// Who sees which is which is a parent that captures both.
fn watch() -> Result<(), Box<dyn Error>> {
    let [first, second] = ["said to 1\n", "said to 2\n"];
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
