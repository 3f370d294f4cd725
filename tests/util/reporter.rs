//! Reporter: this test binary, run as a child, prints its descriptors, ids,
//! arguments and so on, and exits before Rust's runtime opens a descriptor.

use std::collections::BTreeMap;
use std::{env, fs};

use super::attributes::attributes;

/// The first argument that makes this binary a reporter; the second is the
/// file to write to, or `-` for standard output.
pub const ASK: &str = "offshoot-reporter";

#[used]
#[unsafe(link_section = ".init_array")]
static REPORTER: extern "C" fn() = reporter;

extern "C" fn reporter() {
    let line = fs::read("/proc/self/cmdline").unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1);
    if words.next() != Some(ASK.as_bytes()) {
        return;
    }
    let to = String::from_utf8_lossy(words.next().unwrap_or(b"-"));
    let report = report(&line);
    if to == "-" {
        // SAFETY: writes the report's own bytes.
        unsafe { libc::write(1, report.as_ptr().cast(), report.len()) };
    } else {
        fs::write(to.as_ref(), report).unwrap();
    }
    // SAFETY: ends the process, which has no threads yet.
    unsafe { libc::_exit(0) };
}

/// Every open descriptor with its target, except the one that reads the list.
pub fn descriptors() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target.starts_with("/proc/") && target.ends_with("/fd") {
            continue;
        }
        all.push((entry.file_name().into_string().unwrap(), target));
    }
    all.sort();
    all
}

fn report(cmdline: &[u8]) -> String {
    let mut lines = Vec::new();
    for (fd, target) in descriptors() {
        lines.push(format!("fd {fd} {target}"));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines() {
        let key = line.split(':').next().unwrap_or_default();
        let keys =
            ["FDSize", "Name", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs"];
        // SigQ counts the queued signals of all processes of this user.
        let signals = line.starts_with("Sig") && key != "SigQ";
        if signals || keys.contains(&key) {
            lines.push(line.replacen(":\t", " ", 1).trim_end().into());
        }
    }
    let mut signal: libc::c_int = 0;
    // SAFETY: writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    lines.push(format!("deathsig {signal}"));
    lines.push(format!("session {}", leader(0)));
    lines.push(format!("group {}", leader(1)));
    for line in fs::read_to_string("/proc/self/limits").unwrap().lines() {
        lines.push(format!("limit {line}"));
    }
    // Signals, session and group are in the report already.
    let others = attributes().into_iter().filter(|(name, _)| {
        !name.starts_with("Sig")
            && !["session", "group"].contains(&name.as_str())
    });
    for (name, value) in others {
        lines.push(format!("attribute {name} = {value}"));
    }
    lines.push(format!("keyring {}", session_keyring()));
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap();
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    lines.push(format!("cgroup {}", cgroup.unwrap_or_default()));
    let cwd = env::current_dir().unwrap_or_default();
    lines.push(format!("cwd {}", cwd.display()));
    let words = cmdline.split(|byte| *byte == 0);
    for word in words.filter(|word| !word.is_empty()) {
        lines.push(format!("arg {}", String::from_utf8_lossy(word)));
    }
    let environ = fs::read("/proc/self/environ").unwrap();
    for word in environ.split(|byte| *byte == 0).filter(|w| !w.is_empty()) {
        lines.push(format!("env {}", String::from_utf8_lossy(word)));
    }
    lines.join("\n") + "\n"
}

/// The serial number of the calling thread's session keyring, then its type,
/// uid, gid, permissions and name; an errno where keyctl is not available.
pub fn session_keyring() -> String {
    const SESSION: libc::c_long = -3;
    const GET_ID: libc::c_long = 0;
    const DESCRIBE: libc::c_long = 6;
    // SAFETY: returns a number.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_ID, SESSION, 0) };
    if id < 0 {
        return std::io::Error::last_os_error().to_string();
    }
    let mut text = [0u8; 256];
    let at = text.as_mut_ptr();
    // SAFETY: writes 256 bytes at most.
    unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, at, 256) };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    format!("{id} {}", String::from_utf8_lossy(text))
}

/// The id of the session or of the process group; `own` if it is the pid.
fn leader(what: u8) -> String {
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::getpid() };
    let id = match what {
        // SAFETY: as above; 0 is the asking process.
        0 => unsafe { libc::getsid(0) },
        // SAFETY: as above.
        _ => unsafe { libc::getpgid(0) },
    };
    if id == own { "own".into() } else { id.to_string() }
}

/// A parsed report: the lines by their first word.
#[derive(Debug, PartialEq, Eq)]
pub struct Report(BTreeMap<String, Vec<String>>);

impl Report {
    pub fn parse(text: &[u8]) -> Report {
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.is_empty(), "the reporter wrote nothing");
        let mut all = BTreeMap::<String, Vec<String>>::new();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            all.entry(key.into()).or_default().push(value.into());
        }
        Report(all)
    }

    pub fn all(&self, key: &str) -> Vec<&str> {
        let all = self.0.get(key).map(Vec::as_slice).unwrap_or_default();
        all.iter().map(String::as_str).collect()
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> &str {
        let all = self.all("attribute").into_iter();
        let mut pairs = all.filter_map(|line| line.split_once(" = "));
        let pair = pairs.find(|pair| pair.0 == name);
        pair.unwrap_or_else(|| panic!("no attribute {name}")).1
    }

    pub fn one(&self, key: &str) -> &str {
        let all = self.all(key);
        assert_eq!(all.len(), 1, "{key}: {all:?}");
        all[0]
    }

    /// The open descriptors.
    pub fn fds(&self) -> Vec<u32> {
        let number = |line: &&str| line.split(' ').next()?.parse().ok();
        let mut all: Vec<u32> =
            self.all("fd").iter().filter_map(number).collect();
        all.sort_unstable();
        all
    }
}
