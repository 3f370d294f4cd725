//! Before exec: the parent does something with the child that only the
//! parent can, while the child waits. Run: `cargo run --example before_exec`

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use offshoot::{Command, Error, Stdio, Step};

fn main() -> Result<(), Error> {
    // Whoever asks for a child of ours finds it here, from its first moment.
    let ours = Arc::new(Mutex::new(HashSet::new()));
    let known = Arc::clone(&ours);
    let mut sh = Command::new("sh");
    sh.args(["-c", "echo my score is $(cat /proc/$$/oom_score_adj)"]);
    sh.stdout(Stdio::piped()).before_exec(move |pid, _pidfd| {
        known.lock().expect("no panic").insert(pid);
        // The first that the kernel ends where memory is short.
        fs::write(format!("/proc/{pid}/oom_score_adj"), "900")
    });
    println!("{}", sh.plan()?);
    let child = sh.spawn()?;
    assert!(ours.lock().expect("no panic").contains(&child.id()));
    let output = child.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));

    // A refusal ends the child before it has become anything.
    let mut no = Command::new("true");
    no.before_exec(|_, _| Err(io::Error::other("there are enough")));
    let error = no.spawn().expect_err("it was refused");
    assert_eq!(error.step(), Step::BeforeExec);
    println!("{error}");
    Ok(())
}
