//! Hook: a function of one's own in the child, before exec, by
//! async-signal-safe calls. Run: `cargo run --example hook`
#![allow(unsafe_code, reason = "a hook's contract is the caller's to keep")]

use offshoot::{Command, Errno, Error, HookContext, Stdio};

/// Sets both limits of open files to 200, and gives
/// the program a copy of its standard error as descriptor 9.
fn prepare(context: &mut HookContext<'_>) -> Result<(), Errno> {
    context.setrlimit(libc::RLIMIT_NOFILE, 200, 200)?;
    context.dup2(2, 9)
}

fn main() -> Result<(), Error> {
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -n; echo on nine >&9"]).stdout(Stdio::piped());
    sh.stderr(Stdio::same_as(1));
    // SAFETY: two system calls through the context: no allocation, no lock,
    // no panic, no memory written; so it may even share the memory.
    unsafe { sh.pre_exec_shared(prepare) };
    println!("{}", sh.plan()?);
    let output = sh.spawn()?.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));

    // What fails in a hook comes back with its errno.
    let mut lost = Command::new("true");
    // SAFETY: as above.
    unsafe { lost.pre_exec(|context| context.chdir(c"/no/such/place")) };
    if let Err(error) = lost.spawn() {
        println!("{error}");
    }
    Ok(())
}
