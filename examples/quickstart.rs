//! The main job: run a program, feed one through a pipe, and see one fail.
//!
//! `cargo run --example quickstart`

use std::io::Write;

use offshoot::{Command, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The output of a real program.
    let output = Command::new("uname").arg("-sm").output()?;
    print!("uname says: {}", String::from_utf8_lossy(&output.stdout));

    // A program that is fed through a pipe.
    let mut sort = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = sort.stdin.take().ok_or("stdin is piped")?;
    stdin.write_all(b"pear\napple\nquince\n")?;
    drop(stdin);
    let sorted = sort.wait_with_output()?;
    let sorted = String::from_utf8_lossy(&sorted.stdout).replace('\n', " ");
    println!("sort gives: {sorted}");

    // One that fails: the error names the step and what it was about.
    let failed = Command::new("uname").current_dir("/no/such/dir").spawn();
    match failed {
        Ok(_) => return Err("a program started in no directory".into()),
        Err(error) => println!("it failed at {}: {error}", error.step()),
    }
    Ok(())
}
