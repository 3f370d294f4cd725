//! Programs that are no path: bytes in a sealed memory file, a script in one,
//! and the very file that was opened and looked at.
//!
//! `cargo run --example exec_memfd`

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use offshoot::{Command, Step};

fn main() -> Result<(), Box<dyn Error>> {
    // A program from its bytes: decrypted, downloaded, built in with
    // include_bytes!. What it is called is free: some look at it.
    let bytes = fs::read("/bin/echo")?;
    let mut echo = Command::from_bytes(bytes);
    let output = echo.arg0("echo").arg("from memory").output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"from memory\n");

    // Its file is sealed: the program itself cannot write to it. `prepare`
    // makes it once, for many spawns.
    let mut script = Command::from_bytes(
        "#!/bin/sh\n\
         echo \"$0 says $1\"\n\
         echo more 2>/dev/null >>$0 || echo and so it stays\n",
    );
    // A script is read by its interpreter, which needs it open somewhere.
    let refused = script.spawn().err().ok_or("it should be told where")?;
    println!("{refused}");
    assert_eq!(refused.step(), Step::FromBytes);
    let output = script.script_fd(9).arg("hi").output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"/dev/fd/9 says hi\nand so it stays\n");

    // What was opened and looked at is what runs, even if its path leads
    // somewhere else by now.
    let program = File::open("/bin/echo")?;
    let mode = program.metadata()?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err("anybody may have written that program".into());
    }
    let mut echo = Command::from_fd(program);
    let output = echo.arg0("echo").arg("opened and checked").output()?;
    print!("mode {mode:o}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"opened and checked\n");
    Ok(())
}
