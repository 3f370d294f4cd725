//! Die with parent: a program that ends with the process that started it, and
//! not with the thread.
//!
//! This process starts itself as a middle process. That starts a program on a
//! thread, which ends; then it is killed, and the program ends with it.
//!
//! Run: `cargo run --example die_with_parent`

use std::io::{self, Read};
use std::{env, error, process, thread};

use offshoot::{Command, Stdio};

const MIDDLE: &str = "--middle";

fn main() -> Result<(), Box<dyn error::Error>> {
    if env::args().nth(1).as_deref() == Some(MIDDLE) {
        return middle();
    }
    // The program gets the write end of this pipe from the middle process, so
    // the pipe ends when both have ended.
    let mut middle = Command::new(env::current_exe()?)
        .arg(MIDDLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = middle.stdout.take().ok_or("no pipe")?;
    let mut line = [0; 256];
    let len = output.read(&mut line)?;
    print!("{}", String::from_utf8_lossy(&line[..len]));
    println!("killing the process");
    middle.kill()?;
    middle.wait()?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    println!("its program has ended, a minute early");
    Ok(())
}

/// Starts `sleep` on a thread, and waits to be killed.
fn middle() -> Result<(), Box<dyn error::Error>> {
    let start = || {
        let mut sleep = Command::new("sleep");
        sleep.arg("60").stdin(Stdio::null()).die_with_parent().spawn()
    };
    let started = thread::spawn(start).join();
    let mut child = started.map_err(|_| "the thread has panicked")??;
    let runs = child.try_wait()?.is_none();
    println!("the thread has ended, the program runs: {runs}");
    // Ends at the end of standard input at the latest.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    process::exit(0)
}
