//! Run a program from memory or from an open file instead of a path.
//!
//! `Command::from_bytes` runs bytes from a sealed memfd: a program that was
//! decrypted, downloaded or included in this binary, without a temporary file.
//! `Command::from_fd` runs the file that was opened and checked, even if its
//! path is replaced in between (no time-of-check race).
//!
//! Run: `cargo run --example exec_memfd`

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use offshoot::{Command, Step};

fn main() -> Result<(), Box<dyn Error>> {
    // A program from its bytes, for example of include_bytes!. It has no
    // path, so set argument 0, which some programs look at.
    let bytes = fs::read("/bin/echo")?;
    let mut echo = Command::from_bytes(bytes);
    let output = echo.arg0("echo").arg("from memory").output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"from memory\n");

    // The memfd is sealed: not even the program can write to it. `prepare`
    // creates it once for many spawns.
    let mut script = Command::from_bytes(
        "#!/bin/sh\n\
         echo \"$0 got $1\"\n\
         echo more 2>/dev/null >>$0 || echo and so it stays\n",
    );
    // The interpreter has to open the script, so it needs a descriptor.
    let refused = script.spawn().err().ok_or("script_fd is missing")?;
    println!("{refused}");
    assert_eq!(refused.step(), Step::FromBytes);
    let output = script.script_fd(9).arg("hi").output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"/dev/fd/9 got hi\nand so it stays\n");

    // The file that was opened and checked is the one that runs, even if its
    // path has been replaced meanwhile.
    let program = File::open("/bin/echo")?;
    let mode = program.metadata()?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err("other users can write to that program".into());
    }
    let mut echo = Command::from_fd(program);
    let output = echo.arg0("echo").arg("opened and checked").output()?;
    print!("mode {mode:o}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"opened and checked\n");
    Ok(())
}
