//! Quickstart: run a program, write to one through a pipe, handle an error.
//!
//! The API is that of `std::process`: for most programs it is enough to change
//! the import.
//!
//! Run: `cargo run --example quickstart`

use std::io::Write;

use offshoot::{Command, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Run a program and read its output.
    let output = Command::new("uname").arg("-sm").output()?;
    print!("uname prints: {}", String::from_utf8_lossy(&output.stdout));

    // Write to the standard input of a program and read its output.
    let mut sort = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = sort.stdin.take().ok_or("stdin is piped")?;
    stdin.write_all(b"pear\napple\nquince\n")?;
    drop(stdin);
    let sorted = sort.wait_with_output()?;
    let sorted = String::from_utf8_lossy(&sorted.stdout).replace('\n', " ");
    println!("sort prints: {sorted}");

    // A spawn that fails: the error names the step and its operand.
    let failed = Command::new("uname").current_dir("/no/such/dir").spawn();
    match failed {
        Ok(_) => return Err("the directory does not exist".into()),
        Err(error) => println!("it failed at {}: {error}", error.step()),
    }
    Ok(())
}
