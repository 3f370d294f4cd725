//! Cgroup: start a child inside a control group.
//!
//! `Command::cgroup` takes the directory of a cgroup2 group. With clone3 the
//! kernel creates the child inside the group (CLONE_INTO_CGROUP); otherwise
//! the child joins it before exec. Either way the program never runs outside
//! its limits. Use it for services and jobs with limits on memory, CPU time or
//! processes.
//!
//! Run: `cargo run --example cgroup` (as root, or in a delegated group)

use std::fs;
use std::path::{Path, PathBuf};

use offshoot::{Command, Stdio};

/// The mount point of cgroup2.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|line| line.contains(" cgroup2 "))?;
    line.split(' ').nth(1).map(PathBuf::from)
}

/// Runs `cat` in the group and prints how it got there.
fn run(group: &Path) -> Result<(), offshoot::Error> {
    let mut cat = Command::new("cat");
    cat.arg("/proc/self/cgroup").cgroup(group).stdout(Stdio::piped());
    let child = cat.spawn()?;
    println!("{:?}: {}", child.launch().cgroup(), child.launch());
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let own = text.lines().find(|line| line.starts_with("0::"));
    println!("the child sees {}", own.unwrap_or("no cgroup2"));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A directory that is not a control group is an error before the clone.
    let refused = Command::new("true").cgroup("/tmp").spawn();
    println!("{}", refused.map(drop).unwrap_err());
    let Some(root) = root() else {
        println!("no cgroup2 here");
        return Ok(());
    };
    let group = root.join(format!("offshoot-example-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&group) {
        println!("cannot create a group in {}: {error}", root.display());
        return Ok(());
    }
    let ran = run(&group);
    fs::remove_dir(&group)?;
    Ok(ran?)
}
