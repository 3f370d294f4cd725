//! Hook: run a function in the child before exec.
//!
//! `pre_exec` runs the function in private memory, `pre_exec_shared` in the
//! parent's memory, which is faster and has a stricter contract. Use a hook
//! only if no option does what you need: it may make async-signal-safe calls
//! only, best through its `HookContext`.
//!
//! Run: `cargo run --example hook`
#![allow(unsafe_code, reason = "the caller has to keep a hook's contract")]

use offshoot::{Command, Errno, Error, HookContext, Stdio};

/// Sets the soft and hard limit of open files to 200, and duplicates standard
/// error to descriptor 9.
fn prepare(context: &mut HookContext<'_>) -> Result<(), Errno> {
    context.setrlimit(libc::RLIMIT_NOFILE, 200, 200)?;
    context.dup2(2, 9)
}

fn main() -> Result<(), Error> {
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -n; echo on nine >&9"]).stdout(Stdio::piped());
    sh.stderr(Stdio::same_as(1));
    // SAFETY: two system calls through the context: no allocation, no lock,
    // no panic and no write to memory, as shared memory requires.
    unsafe { sh.pre_exec_shared(prepare) };
    println!("{}", sh.plan()?);
    let output = sh.spawn()?.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));

    // An error of the hook is returned by spawn with its errno.
    let mut lost = Command::new("true");
    // SAFETY: as above.
    unsafe { lost.pre_exec(|context| context.chdir(c"/no/such/place")) };
    if let Err(error) = lost.spawn() {
        println!("{error}");
    }
    Ok(())
}
