//! `fs.suid_dumpable`, a sysctl of the whole machine, set for one test that
//! runs in its own process and PID namespace.

use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

use crate::attacker::os;
use crate::util::{self, is_root, skip};

/// Whether a process stays dumpable when it changes its ids: not with 0 and 2;
/// with 1 ("debug") it does, and the new user may ptrace it.
const SYSCTL: &str = "/proc/sys/fs/suid_dumpable";
/// The variable that holds a secret of the parent.
const SECRET: &str = "OFFSHOOT_SECRET";

/// The machine's value, restored on drop, and a lock: one process of the
/// machine changes it at a time.
struct Saved(Vec<u8>, File);

impl Saved {
    fn save() -> io::Result<Saved> {
        let lock = File::open("/")?;
        // SAFETY: waits for another process that holds the lock.
        os(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }.into())?;
        let value = fs::read(SYSCTL)?;
        fs::write(SYSCTL, &value)?;
        Ok(Saved(value, lock))
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        fs::write(SYSCTL, &self.0).unwrap();
        let _lock = &self.1;
    }
}

/// Runs a test that sets the sysctl in its own process and PID namespace, with
/// a secret in its environment; true in there.
pub(crate) fn with_suid_dumpable(test: &str) -> bool {
    if env::var_os(SECRET).is_some() {
        return util::inside(test, &[]);
    }
    if !is_root() {
        skip(test, "another user's attacks, and the sysctl, need root");
        return false;
    }
    let Ok(_saved) = Saved::save() else {
        skip(test, "fs.suid_dumpable cannot be written");
        return false;
    };
    let mut random = [0; 32];
    let mut source = File::open("/dev/urandom").unwrap();
    source.read_exact(&mut random).unwrap();
    let hex: String = random.iter().map(|n| format!("{n:02x}")).collect();
    let secret = format!("{SECRET}={hex}");
    let words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    util::inside(test, &[&["env", &secret][..], &words].concat());
    false
}

pub(crate) fn set_suid_dumpable(value: u8) {
    fs::write(SYSCTL, value.to_string()).unwrap();
}

/// The secret, which is then in this process's memory twice.
pub(crate) fn secret() -> String {
    let secret = env::var(SECRET).unwrap();
    black_box(secret)
}
