//! Before exec: run a function in the parent while the child waits for it.
//!
//! `Command::before_exec` calls a function of this process after the child has
//! done all other steps and before it calls exec. Use it for what needs the
//! child's pid and must be in place before the program runs: writing to
//! `/proc/PID`, adding the pid to a table, attaching a tracer. An error that
//! the function returns fails the spawn.
//!
//! Run: `cargo run --example before_exec`

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use offshoot::{Command, Error, Stdio, Step};

fn main() -> Result<(), Error> {
    // The pid is in this table before the program runs.
    let ours = Arc::new(Mutex::new(HashSet::new()));
    let known = Arc::clone(&ours);
    let mut sh = Command::new("sh");
    sh.args(["-c", "echo my score is $(cat /proc/$$/oom_score_adj)"]);
    sh.stdout(Stdio::piped()).before_exec(move |pid, _pidfd| {
        known.lock().expect("no panic").insert(pid);
        // The OOM killer will choose this process first.
        fs::write(format!("/proc/{pid}/oom_score_adj"), "900")
    });
    println!("{}", sh.plan()?);
    let child = sh.spawn()?;
    assert!(ours.lock().expect("no panic").contains(&child.id()));
    let output = child.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));

    // An error kills the child before it executes the program.
    let mut no = Command::new("true");
    no.before_exec(|_, _| Err(io::Error::other("there are enough")));
    let error = no.spawn().expect_err("it was refused");
    assert_eq!(error.step(), Step::BeforeExec);
    println!("{error}");
    Ok(())
}
