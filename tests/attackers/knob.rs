//! Knob: `fs.suid_dumpable`, which is the whole machine's, for one test that
//! runs in a process and a PID namespace of its own.

use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

use crate::attacker::os;
use crate::util::{self, is_root, skip};

/// What the kernel does with memory whose process lowers its ids: with 0 and
/// 2 it is closed to the new user, with 1 ("debug") it stays open.
const KNOB: &str = "/proc/sys/fs/suid_dumpable";
/// The variable that holds what only the parent may know.
const SECRET: &str = "OFFSHOOT_SECRET";

/// The machine's value, put back whatever becomes of the test. Only one
/// process of a machine may hold it.
struct Knob(Vec<u8>, File);

impl Knob {
    fn keep() -> io::Result<Knob> {
        let lock = File::open("/")?;
        // SAFETY: waits for who else may hold it.
        os(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }.into())?;
        let value = fs::read(KNOB)?;
        fs::write(KNOB, &value)?;
        Ok(Knob(value, lock))
    }
}

impl Drop for Knob {
    fn drop(&mut self) {
        fs::write(KNOB, &self.0).unwrap();
        let _lock = &self.1;
    }
}

/// Runs a test that turns the knob in a process and a PID namespace of its
/// own, with a secret in its environment; true in there.
pub(crate) fn inside(test: &str) -> bool {
    if env::var_os(SECRET).is_some() {
        return util::inside(test, &[]);
    }
    if !is_root() {
        skip(test, "another user's attacks, and the knob, take root");
        return false;
    }
    let Ok(_knob) = Knob::keep() else {
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

pub(crate) fn turn(value: u8) {
    fs::write(KNOB, value.to_string()).unwrap();
}

/// The secret, of which there are then two in this process.
pub(crate) fn secret() -> String {
    let secret = env::var(SECRET).unwrap();
    black_box(secret)
}
