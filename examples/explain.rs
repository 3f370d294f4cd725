//! Explain: print the plan of a command without running it.
//!
//! `Command::plan` validates the options and returns the calls that the child
//! will make before exec, in order. Nothing is opened, created or run. Use it
//! for dry runs, for logs, and in tests that compare the text of a plan.
//!
//! Run: `cargo run --example explain`

use offshoot::{Command, Error, Stdio};

fn main() -> Result<(), Error> {
    let mut tar = Command::new("tar");
    tar.arg("-x")
        .current_dir("/srv")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    print!("{}", tar.plan()?);
    Ok(())
}
