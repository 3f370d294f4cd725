//! A plan, printed: what a child would do before it becomes the program, in
//! order. Nothing is opened, made or run.
//!
//! `cargo run --example explain`

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
