//! Cgroup: a child that is born in a control group of its own.
//! Run: `cargo run --example cgroup`

use std::fs;
use std::path::{Path, PathBuf};

use offshoot::{Command, Stdio};

/// Where version 2 lies: alone, or beside version 1.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|line| line.contains(" cgroup2 "))?;
    line.split(' ').nth(1).map(PathBuf::from)
}

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
    // What is no group is refused before anything is made.
    let refused = Command::new("true").cgroup("/tmp").spawn();
    println!("{}", refused.map(drop).unwrap_err());
    let Some(root) = root() else {
        println!("no cgroup2 here");
        return Ok(());
    };
    let group = root.join(format!("offshoot-example-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&group) {
        println!("no group can be made in {}: {error}", root.display());
        return Ok(());
    }
    let ran = run(&group);
    fs::remove_dir(&group)?;
    Ok(ran?)
}
