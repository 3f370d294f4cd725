//! Attackers: what a process of the child's new user can read or change in
//! that child, and through it in the parent, before the program runs.
#![allow(unsafe_code, reason = "attackers make calls that std does not offer")]

#[path = "attackers/attacker.rs"]
mod attacker;
#[path = "attackers/stopped_call.rs"]
mod stopped_call;
#[path = "attackers/suid_dumpable.rs"]
mod suid_dumpable;
mod util;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use attacker::{Attacker, Findings, OTHER};
use offshoot::{Child, Command, Engine, Error, Stdio};
use stopped_call::{StoppedCall, stop_at};
use suid_dumpable::{secret, set_suid_dumpable, with_suid_dumpable};
use util::{
    ENGINES, PRIVATE, alone, dumpable, each_of, elf, is_root, scratch, skip,
};

const HELPER_EXE: &str = "/memfd:offshoot (deleted)";

/// A child that changes its ids and then its directory.
fn lowered(engine: Engine) -> Command {
    let mut command = Command::new("/bin/true");
    command.engine(engine).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.gid(OTHER).uid(OTHER);
    } else {
        // SAFETY: returns a number and writes no memory.
        command.uid(unsafe { libc::getuid() });
    }
    command
}

/// Spawns, calls `look` while the child is stopped at its chdir, and waits
/// for its success. A chdir that is restarted after a signal is not looked at
/// again.
fn at_chdir<T>(
    spawn: impl FnOnce() -> Result<Child, Error> + Send,
    look: impl Fn(&StoppedCall) -> T,
) -> T {
    let mut seen = None;
    let child = stop_at(libc::SYS_chdir, spawn, |call| {
        seen.get_or_insert_with(|| look(&call));
    });
    assert!(child.unwrap().wait().unwrap().success());
    seen.expect("the child never called chdir")
}

fn attack_at_chdir(tool: &Attacker, engine: Engine, secret: &str) -> Findings {
    let mut command = lowered(engine);
    at_chdir(move || command.spawn(), |call| tool.attack(call.pid, secret))
}

#[test]
fn a_child_that_lowered_its_ids_cannot_be_inspected_by_its_new_user() {
    let name =
        "a_child_that_lowered_its_ids_cannot_be_inspected_by_its_new_user";
    let _alone = alone();
    if !with_suid_dumpable(name) {
        return;
    }
    let (tool, secret) = (Attacker::new(name), secret());
    for value in [0, 2] {
        set_suid_dumpable(value);
        each_of(&PRIVATE, |engine| {
            attack_at_chdir(&tool, engine, &secret).assert_denied(engine);
        });
    }
}

/// A fork of this process that has all its memory and lowers its ids.
struct Fork(u32);

impl Fork {
    fn new() -> Fork {
        // SAFETY: the child makes three system calls and calls nothing else.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let id = OTHER;
            // SAFETY: changes the child's group.
            unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) };
            // SAFETY: changes the child's user.
            unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) };
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        }
        let pid = u32::try_from(pid).unwrap();
        let lowered = || {
            let file = format!("/proc/{pid}/status");
            let status = fs::read_to_string(file).unwrap();
            status.contains(&format!("Uid:\t{OTHER}\t{OTHER}"))
        };
        within_a_second(lowered);
        Fork(pid)
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).unwrap();
        assert!(pid > 1, "never a group, never init");
        // SAFETY: our own child, which has not been reaped.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: waits for our own child, without a status.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
}

fn within_a_second(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !done() {
        assert!(Instant::now() < deadline, "not within a second");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Where the kernel leaves a process dumpable after a change of ids, the new
/// user can read the helper's memory too. That holds the plan only, which the
/// new user's program gets anyway. A copy of the parent holds all its memory.
#[test]
fn the_helper_has_no_parent_memory_even_when_it_is_dumpable() {
    let name = "the_helper_has_no_parent_memory_even_when_it_is_dumpable";
    let _alone = alone();
    if !with_suid_dumpable(name) {
        return;
    }
    let (tool, secret) = (Attacker::new(name), secret());
    set_suid_dumpable(0);
    let fork = Fork::new();
    tool.attack(fork.0, &secret).assert_denied("a fork");
    drop(fork);
    set_suid_dumpable(1);
    // Control: the attacker can read a dumpable fork.
    let fork = Fork::new();
    let copy = tool.attack(fork.0, &secret);
    if !copy.all("act").contains(&"attach 0") {
        return skip(name, "ptrace is not allowed here");
    }
    assert!(copy.is("found") >= 2, "{copy:?}");
    copy.assert_allowed();
    let helper = attack_at_chdir(&tool, Engine::Isolated, &secret);
    helper.assert_allowed();
    assert_eq!(helper.is("found"), 0, "{helper:?}");
    // Nor does the helper hold a file of the parent.
    assert_eq!(helper.all("link"), ["/dev/null"; 3]);
    let files = helper.all("file");
    assert!(!files.is_empty() && files.iter().all(|file| *file == HELPER_EXE));
    // Control: the helper's memory was read.
    let plan = attack_at_chdir(&tool, Engine::Isolated, "/bin/true");
    assert!(plan.is("found") >= 1, "{plan:?}");
}

#[test]
fn proc_files_of_a_child_with_lowered_ids_stay_roots() {
    let name = "proc_files_of_a_child_with_lowered_ids_stay_roots";
    let _alone = alone();
    if !with_suid_dumpable(name) {
        return;
    }
    let closed = |call: &StoppedCall, engine| {
        for fd in fs::read_dir(call.of("fd")).unwrap() {
            let link = fs::read_link(fd.unwrap().path()).unwrap();
            let link = link.to_str().unwrap();
            // The pipe engine reports by a pipe, not a status page.
            let own = engine == Engine::Pipe && link.starts_with("pipe:");
            assert!(own || link == "/dev/null", "{engine}: {link}");
        }
    };
    // Owned by root while the process is not dumpable. The directory itself
    // always has the owner of the process.
    let owners = |call: &StoppedCall| {
        let files = ["", "fd", "mem", "maps", "environ", "exe"];
        files.map(|file| fs::symlink_metadata(call.of(file)).unwrap().uid())
    };
    for (value, owner) in [(0, 0), (2, 0), (1, OTHER)] {
        set_suid_dumpable(value);
        each_of(&PRIVATE, |engine| {
            let mut command = lowered(engine);
            let look = |call: &StoppedCall| {
                closed(call, engine);
                owners(call)
            };
            let [own, rest @ ..] = at_chdir(move || command.spawn(), look);
            assert_eq!((own, rest), (OTHER, [owner; 5]), "{engine} {value}");
        });
    }
}

#[test]
fn the_parent_keeps_its_dumpable_flag_while_a_child_lowers_its_ids() {
    let name =
        "the_parent_keeps_its_dumpable_flag_while_a_child_lowers_its_ids";
    let _alone = alone();
    if !with_suid_dumpable(name) {
        return;
    }
    for own in [1, 0] {
        // SAFETY: sets a flag of this process.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, own, 0, 0, 0) };
        for value in [0, 1, 2] {
            set_suid_dumpable(value);
            each_of(&PRIVATE, |engine| {
                let mut command = lowered(engine);
                let during = at_chdir(move || command.spawn(), |_| dumpable());
                assert_eq!((during, dumpable()), (own, own), "{engine}");
            });
            // Ids are never lowered in the parent's own memory.
            let error = lowered(Engine::Suspended).spawn().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert_eq!(dumpable(), own);
        }
    }
}

static HANDLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(_: libc::c_int) {
    // SAFETY: returns a number and writes no memory.
    HANDLED.store(unsafe { libc::gettid() }, Ordering::SeqCst);
}

/// Signals the spawning thread.
fn signal(caller: i32) {
    HANDLED.store(0, Ordering::SeqCst);
    let (call, own) = (libc::SYS_tgkill, process::id());
    // SAFETY: a thread of this process, which has a handler.
    let done = unsafe { libc::syscall(call, own, caller, libc::SIGUSR1) };
    assert_eq!(done, 0);
}

fn handled(caller: i32) -> bool {
    HANDLED.load(Ordering::SeqCst) == caller
}

/// The state of a process or thread, as ps shows it.
fn state(of: &str) -> String {
    let stat = fs::read_to_string(format!("{of}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap()[..1].into()
}

#[test]
fn a_stopped_child_leaves_its_caller_open_to_signals() {
    let name = "a_stopped_child_leaves_its_caller_open_to_signals";
    let _alone = alone();
    if is_root() && !with_suid_dumpable(name) {
        return;
    }
    let tool = Attacker::new(name);
    let handler = handle as extern "C" fn(libc::c_int);
    // SAFETY: the handler stores a number.
    unsafe { libc::signal(libc::SIGUSR1, handler as usize) };
    let thread =
        |call: &StoppedCall| format!("/proc/self/task/{}", call.caller);
    each_of(&PRIVATE, |engine| {
        let mut command = lowered(engine);
        at_chdir(
            move || command.spawn(),
            |call| {
                assert_eq!(tool.attack(call.pid, "stop").is("signal"), 0);
                within_a_second(|| state(&call.of("")) == "T");
                within_a_second(|| state(&thread(call)) == "S");
                for _ in 0..3 {
                    signal(call.caller);
                    within_a_second(|| handled(call.caller));
                }
                assert_eq!(state(&call.of("")), "T", "{engine}");
                assert_eq!(tool.attack(call.pid, "go").is("signal"), 0);
            },
        );
    });
    // Control: a caller in vfork's sleep handles no signal, which is why no
    // other user may be able to stop such a child.
    let mut shared = Command::new("/bin/true");
    shared.engine(Engine::Suspended).current_dir("/");
    at_chdir(
        move || shared.spawn(),
        |call| {
            within_a_second(|| state(&thread(call)) == "D");
            signal(call.caller);
            thread::sleep(Duration::from_millis(50));
            assert!(!handled(call.caller));
            let stop = tool.attack(call.pid, "stop");
            assert_eq!(
                stop.is("signal"),
                if is_root() { libc::EPERM } else { 0 }
            );
            tool.attack(call.pid, "go");
        },
    );
}

/// Identifies a file by device and inode.
fn id(path: impl AsRef<Path>) -> (u64, u64) {
    let file = fs::metadata(path).unwrap();
    (file.dev(), file.ino())
}

/// The files that are mapped by the child.
fn mapped(call: &StoppedCall) -> Vec<String> {
    let maps = fs::read_to_string(call.of("maps")).unwrap();
    let file = |line: &str| line.find('/').map(|at| line[at..].to_string());
    maps.lines().filter_map(file).collect()
}

/// Tries each way of writing to a program through its path.
fn cannot_be_written(path: &str, refused: &[i32]) {
    let before = fs::read(path).unwrap();
    let refused = |result: io::Result<()>| {
        let errno = result.expect_err("written").raw_os_error();
        assert!(errno.is_some_and(|n| refused.contains(&n)), "{errno:?}");
    };
    let open = || OpenOptions::new().read(true).write(true).open(path);
    refused(open().and_then(|mut file| file.write_all(b"#!/bin/evil\n")));
    refused(open().and_then(|file| file.set_len(0)));
    refused(open().and_then(|file| file.set_len(1 << 20)));
    refused(
        OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(b"evil")),
    );
    refused(File::create(path).map(drop));
    assert_eq!(fs::read(path).unwrap(), before);
}

/// CVE-2019-5736: a process that enters a container can be inspected from
/// inside it, and through its `/proc/PID/exe` the container's root could
/// overwrite the host's program once it no longer ran. A future step that
/// joins namespaces has to run in the helper: in a copy and in shared memory
/// `exe` and maps are the host's. The attacker here is root outside, who may
/// do all that root in a container may.
#[test]
fn the_helpers_exe_is_sealed_and_never_the_hosts_program() {
    let name = "the_helpers_exe_is_sealed_and_never_the_hosts_program";
    let _alone = alone();
    let jail = scratch(name);
    util::program(&jail.join("census"), &elf::census());
    let host = env::current_exe().unwrap();
    let (own, path) = (id(&host), host.to_str().unwrap());
    let is_hosts = |call: &StoppedCall| {
        let exe = id(call.of("exe")) == own;
        assert_eq!(exe, mapped(call).iter().any(|file| file == path));
        exe
    };
    // Jailed: with chroot, which needs root.
    for jailed in [false, true] {
        if jailed && !is_root() {
            continue;
        }
        let program = if jailed { "/census" } else { "/bin/true" };
        let mut command = Command::new(program);
        command.engine(Engine::Isolated).current_dir("/");
        command.fd(5, File::open("/dev/null").unwrap());
        if jailed {
            command.chroot(&jail);
        }
        let prepared = command.prepare().unwrap();
        let file = at_chdir(
            || prepared.spawn(),
            |call| {
                let exe = call.of("exe");
                assert!(!is_hosts(call));
                assert_eq!(
                    fs::read_link(&exe).unwrap(),
                    Path::new(HELPER_EXE)
                );
                let all = mapped(call);
                assert!(
                    !all.is_empty()
                        && all.iter().all(|file| file == HELPER_EXE)
                );
                cannot_be_written(&exe, &[libc::ETXTBSY, libc::EPERM]);
                File::open(exe).unwrap()
            },
        );
        // It no longer runs; only its seals protect it.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        cannot_be_written(&path, &[libc::EPERM]);
        let again = at_chdir(|| prepared.spawn(), |call| id(call.of("exe")));
        assert_eq!(again, id(&path));
    }
    // Control: without a helper the program is the host's.
    for engine in [Engine::Suspended, Engine::Copied] {
        let mut command = Command::new("/bin/true");
        command.engine(engine).current_dir("/");
        assert!(at_chdir(move || command.spawn(), is_hosts), "{engine}");
    }
    fs::remove_dir_all(jail).unwrap();
}

/// A child may clear the dumpable flag and never set it. The plans have ids
/// and a gate, whose steps call prctl most.
#[test]
fn no_child_makes_its_memory_dumpable() {
    each_of(&ENGINES, |engine| {
        let mut command = lowered(engine);
        if engine == Engine::Suspended {
            command = Command::new("/bin/true");
            command.engine(engine);
        } else {
            command.before_exec(|_, _| Ok(()));
        }
        let mut calls = Vec::new();
        let spawn = move || command.spawn();
        let child = stop_at(libc::SYS_prctl, spawn, |call| {
            calls.push((i32::try_from(call.args[0]).unwrap(), call.args[1]));
        });
        assert!(child.unwrap().wait().unwrap().success(), "{engine}");
        // Control: the parent-death signal, set and cleared.
        let [death, dumpable] =
            [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE].map(|option| {
                calls.iter().filter(move |call| call.0 == option)
            });
        let gate = if engine == Engine::Suspended { 0 } else { 2 };
        assert_eq!(death.count(), gate, "{engine} {calls:?}");
        for (_, value) in dumpable {
            assert_eq!(*value, 0, "{engine}");
            assert_ne!(engine, Engine::Suspended, "the parent's memory");
        }
    });
}
