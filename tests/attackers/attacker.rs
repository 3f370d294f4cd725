//! Attacker: this test binary, run as the child's new user, tries every way
//! into that child and reports the errno of each.

use std::fmt::Display;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::{env, io, process};

use memchr::memmem;

use crate::util::{is_root, scratch};

/// The uid of the attacker, which children run as root are given.
pub(crate) const OTHER: u32 = 1234;

/// The first argument that makes this binary the attacker. The second is the
/// pid of the victim, the third the bytes to search for, or `stop`, or `go`.
const ATTACK: &str = "offshoot-attacker";

pub(crate) fn os(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[used]
#[unsafe(link_section = ".init_array")]
static ATTACKER: extern "C" fn() = attacker;

extern "C" fn attacker() {
    let line = fs::read_to_string("/proc/self/cmdline").unwrap_or_default();
    let words: Vec<&str> = line.split('\0').collect();
    if words.get(1) != Some(&ATTACK) {
        return;
    }
    let pid: i32 = words[2].parse().unwrap();
    assert!(pid > 1, "never a group, never init");
    // SAFETY: ends this process if the kernel blocks it.
    unsafe { libc::alarm(20) };
    let (what, bytes) = match words[3] {
        "stop" => (libc::SIGSTOP, None),
        "go" => (libc::SIGCONT, None),
        bytes => (0, Some(bytes.as_bytes())),
    };
    // SAFETY: signals a process of the same user, or is rejected.
    let signal = os(unsafe { libc::kill(pid, what) }.into());
    let mut report = format!("signal {}\n", errno(signal));
    if let Some(bytes) = bytes {
        report += &search(pid, bytes);
        for (act, result) in acts(pid) {
            report += &format!("act {act} {}\n", errno(result));
        }
    }
    // SAFETY: writes the report's own bytes.
    unsafe { libc::write(1, report.as_ptr().cast(), report.len()) };
    // SAFETY: ends the process, which has no threads yet.
    unsafe { libc::_exit(0) };
}

fn errno(result: io::Result<()>) -> i32 {
    result.map_or_else(|e| e.raw_os_error().unwrap(), |()| 0)
}

const ACTS: usize = 14;

/// Every kind of access that needs the right to ptrace.
fn acts(pid: i32) -> [(&'static str, io::Result<()>); ACTS] {
    let open = |file| File::open(format!("/proc/{pid}/{file}")).map(drop);
    let link = |file| fs::read_link(format!("/proc/{pid}/{file}")).map(drop);
    let list = |file| fs::read_dir(format!("/proc/{pid}/{file}")).map(drop);
    [
        ("maps", open("maps")),
        ("mem", open("mem")),
        ("environ", open("environ")),
        ("auxv", open("auxv")),
        ("exe", link("exe")),
        ("program", open("exe")),
        ("root", link("root")),
        ("fd", list("fd")),
        ("files", list("map_files")),
        ("input", open("fd/0")),
        ("getfd", getfd(pid)),
        ("read", read(pid)),
        ("seize", trace(libc::PTRACE_SEIZE, pid)),
        ("attach", trace(libc::PTRACE_ATTACH, pid)),
    ]
}

fn getfd(pid: i32) -> io::Result<()> {
    // SAFETY: opens a descriptor and writes no memory.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    os(pidfd)?;
    // SAFETY: opens a descriptor and writes no memory.
    os(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) })
}

/// `process_vm_readv`: EFAULT, from an unmapped address, means access.
fn read(pid: i32) -> io::Result<()> {
    let mut byte = 0u8;
    let to = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let nowhere = std::ptr::without_provenance_mut(8);
    let from = libc::iovec { iov_base: nowhere, iov_len: 1 };
    // SAFETY: writes one byte, in this frame.
    let n = unsafe { libc::process_vm_readv(pid, &to, 1, &from, 1, 0) };
    let fault = |e: &io::Error| e.raw_os_error() == Some(libc::EFAULT);
    os(n.try_into().unwrap()).or_else(|e| fault(&e).then_some(()).ok_or(e))
}

/// Attaches and detaches.
fn trace(how: libc::c_uint, pid: i32) -> io::Result<()> {
    // SAFETY: traces another process, or is rejected.
    os(unsafe { libc::ptrace(how, pid, 0, 0) })?;
    // SAFETY: stops the tracee, unless it is stopped.
    unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) };
    // SAFETY: waits for the stop; no status is written.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
    // SAFETY: detaches from the tracee.
    os(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) })
}

/// Counts these bytes in the victim's memory, and lists the files that are
/// mapped or open there.
fn search(pid: i32, bytes: &[u8]) -> String {
    let of = |file: &str| format!("/proc/{pid}/{file}");
    let (mut found, mut report) = (0, String::new());
    let maps = fs::read_to_string(of("maps")).unwrap_or_default();
    let memory = File::open(of("mem"));
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let hex = |word| u64::from_str_radix(word, 16).unwrap();
        let mut all = vec![0; usize::try_from(hex(to) - hex(from)).unwrap()];
        if let (Ok(memory), true) = (&memory, rest.starts_with('r')) {
            // What cannot be read, such as the vvar page, stays zero.
            let _ = memory.read_exact_at(&mut all, hex(from));
        }
        found += memmem::find_iter(&all, bytes).count();
        if let Some(at) = rest.find('/') {
            report += &format!("file {}\n", &rest[at..]);
        }
    }
    for fd in fs::read_dir(of("fd")).into_iter().flatten().flatten() {
        let link = fs::read_link(fd.path()).unwrap_or_default();
        report += &format!("link {}\n", link.display());
    }
    report + &format!("found {found}\n")
}

/// The attacker's output, by the first word of a line: for each act an errno,
/// 0 if access was granted.
#[derive(Debug)]
pub(crate) struct Findings(Vec<(String, String)>);

impl Findings {
    pub(crate) fn all(&self, word: &str) -> Vec<&str> {
        let all = self.0.iter().filter(|line| line.0 == word);
        all.map(|line| line.1.as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn is(&self, act: &str) -> i32 {
        let all = self.all(act);
        assert_eq!(all.len(), 1, "{act}: {self:?}");
        all[0].parse().unwrap()
    }

    /// The errno of each act. A signal is always allowed: the ids are equal.
    fn acts(&self) -> Vec<i32> {
        assert_eq!(self.is("signal"), 0, "{self:?}");
        self.all("act").iter().map(|act| last(act)).collect()
    }

    #[track_caller]
    pub(crate) fn assert_allowed(&self) {
        assert_eq!(self.acts(), [0; ACTS], "{self:?}");
    }

    /// Asserts that every act was rejected.
    #[track_caller]
    pub(crate) fn assert_denied(&self, of: impl Display) {
        let acts = self.acts();
        let rejected = |n: &i32| [libc::EPERM, libc::EACCES].contains(n);
        assert!(acts.iter().all(rejected), "{of}: {self:?}");
        assert_eq!(acts.len(), ACTS);
        assert_eq!(self.is("found"), 0, "{of}: {self:?}");
        assert!(self.all("link").is_empty() && self.all("file").is_empty());
    }
}

fn last(act: &str) -> i32 {
    act.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The path of the attacker's program, which every user can execute.
pub(crate) struct Attacker(PathBuf);

impl Attacker {
    pub(crate) fn new(test: &str) -> Attacker {
        let path = scratch(test).join("attacker");
        fs::copy(env::current_exe().unwrap(), &path).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        Attacker(path)
    }

    pub(crate) fn attack(&self, pid: u32, what: &str) -> Findings {
        let mut attacker = process::Command::new(&self.0);
        attacker.args([ATTACK, &pid.to_string(), what]).env_clear();
        if is_root() {
            attacker.uid(OTHER).gid(OTHER);
        }
        let output = attacker.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Findings(pairs.map(|(a, b)| (a.into(), b.into())).collect())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}
