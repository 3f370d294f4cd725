//! Sandbox: a program that may read and execute /usr, write one directory and
//! use no TCP.
//!
//! ```sh
//! cargo run --example sandbox
//! ```

use std::path::Path;
use std::{env, fs, process};

use offshoot::{Command, Landlock};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if Landlock::kernel_abi() == 0 {
        println!(
            "this kernel has no Landlock (Linux 5.13), or a filter rejects it"
        );
        return Ok(());
    }
    let dir = env::temp_dir().join(format!("sandbox-{}", process::id()));
    fs::create_dir(&dir)?;
    // The program, its dynamic loader and its libraries.
    let system = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"];
    let system = system.into_iter().filter(|path| Path::new(path).exists());
    let rules = system.fold(Landlock::new().best_effort(), Landlock::execute);
    let rules = rules.read("/dev/null").write("/dev/null");
    let rules = rules.read(&dir).write(&dir).no_tcp().scope_signals();
    for what in rules.left_out() {
        println!("this kernel does not restrict {what}");
    }
    let inside =
        format!("echo hello > {0}/file && cat {0}/file", dir.display());
    for (what, line) in [
        ("write in its directory", inside.as_str()),
        ("list /usr", "ls /usr > /dev/null"),
        ("read /etc/passwd", "cat /etc/passwd"),
        ("write to /tmp", "echo > /tmp/denied"),
        ("signal its parent", "kill -0 $PPID"),
    ] {
        let mut sh = Command::new("sh");
        sh.args(["-c", line]).no_new_privs(true).landlock(rules.clone());
        let output = sh.output()?;
        let denied = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => println!("may {what}"),
            false => println!("may not {what}: {}", denied.trim()),
        }
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}
