//! Errors: the frequent failures of a spawn and their texts.
//!
//! Prints the step, the errno, the text (`Display`) and the debug text of one
//! error of each kind. Use it to see what a log or a user will see.
//! `Error::step` is for code that reacts to a certain failure,
//! `Error::errno_or_einval` for callers that must return a number.
//!
//! Run: `cargo run --example errors`

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;

use offshoot::{Command, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Programs that fail: scripts without an interpreter, without a `#!`
    // line, and with an interpreter that is not executable.
    let dir = std::env::temp_dir().join("offshoot-errors");
    fs::create_dir_all(&dir)?;
    let script = dir.join("script");
    fs::write(&script, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let unformatted = dir.join("unformatted");
    fs::write(&unformatted, "echo no first line\n")?;
    fs::set_permissions(&unformatted, Permissions::from_mode(0o755))?;
    let by_text = dir.join("by-text");
    fs::write(&by_text, "#!/etc/passwd\n")?;
    fs::set_permissions(&by_text, Permissions::from_mode(0o755))?;
    let mut read = OpenOptions::new();
    read.read(true);

    // Options that fail.
    let mut bad_dir = Command::new("true");
    bad_dir.current_dir("/no/such/dir");
    let mut bad_stdin = Command::new("true");
    bad_stdin.stdin(Stdio::open("/no/such/file", &read));
    let mut bad_arg = Command::new("true");
    bad_arg.arg("a\0b");
    let mut bad_env = Command::new("true");
    bad_env.env("A=B", "1");
    let mut long = Command::new("true");
    long.arg("x".repeat(200_000));

    let all = [
        Command::new("/no/such/program"),
        Command::new("no-such-program"),
        Command::new("/etc/passwd"),
        Command::new(script),
        Command::new(by_text),
        Command::new(unformatted),
        bad_dir,
        bad_stdin,
        bad_arg,
        bad_env,
        long,
    ];
    for mut command in all {
        let error = command.spawn().expect_err("each of them fails");
        // The errno for a caller in C, then the text for a person.
        let errno = error.errno_or_einval();
        println!("{:<12} {errno:>2} {error}", error.step());
        // The debug text, which `main` prints when it returns an error.
        println!("{:<15} {error:?}", "");
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}
