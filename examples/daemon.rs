//! Daemon: a program that outlives its starter, with a pid file.
//!
//! A pid file by itself has races: between the check that it exists and its
//! creation (O_EXCL makes these one) a second starter can come, and after a
//! crash it names an id that another process may have by now; to remove such a
//! file may remove the new one of another starter. Here the file is *locked*
//! instead, and the daemon inherits the lock: the kernel drops it when the last
//! process that has it ends, however it ends. Only who has the lock writes or
//! removes the file. The id in it is for people; `stop` uses the pidfd.
//!
//! `cargo run --example daemon`

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, process};

use offshoot::{Command, Detached, Stdio};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, pidfd_send_signal};

/// Opens the pid file and locks it, whether it is new or stale.
fn pid_file(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Its owner may have removed it before it dropped the lock.
        let own = file.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|named| named.ino() == own) {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

fn start(path: &Path) -> Result<Detached, Box<dyn Error>> {
    let mut file = pid_file(path)?;
    let mut daemon = Command::new("sleep");
    daemon.arg("60").current_dir("/").umask(0o027);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The lock is that of the open file, which the daemon has at 3.
    daemon.fd(3, file.try_clone()?);
    match daemon.detach() {
        Ok(daemon) => {
            writeln!(file, "{}", daemon.id())?;
            Ok(daemon)
        }
        Err(error) => {
            fs::remove_file(path)?;
            Err(error.into())
        }
    }
}

/// Asks it to end, and waits until it has.
fn stop(daemon: &Detached) -> Result<(), Box<dyn Error>> {
    let pidfd = daemon.pidfd().ok_or("no pidfd: Linux before 5.2")?;
    pidfd_send_signal(pidfd, Signal::TERM)?;
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let name = format!("offshoot-daemon-{}.pid", process::id());
    let path: PathBuf = env::temp_dir().join(name);
    let daemon = start(&path)?;
    println!("started; its pid file: {}", fs::read_to_string(&path)?.trim());
    let again = start(&path).map(|daemon| daemon.id());
    println!("a second start: {}", again.unwrap_err());
    stop(&daemon)?;
    println!("stopped");
    let next = start(&path)?;
    println!("started again, over the stale file");
    stop(&next)?;
    // Nobody has the lock: take it to remove the file.
    let _lock = pid_file(&path)?;
    fs::remove_file(&path)?;
    Ok(())
}
