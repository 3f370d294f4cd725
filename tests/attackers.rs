//! Attackers: what a process of the user that a child becomes gets from that
//! child, and through it from the parent, before the program runs.
#![allow(unsafe_code, reason = "attackers ask the kernel what std does not")]

#[path = "attackers/attacker.rs"]
mod attacker;
#[path = "attackers/held.rs"]
mod held;
#[path = "attackers/knob.rs"]
mod knob;
mod util;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use attacker::{Attacker, Loot, OTHER};
use held::{Held, held};
use knob::{inside, secret, turn};
use offshoot::{Child, Command, Engine, Error, Stdio};
use util::{
    ENGINES, PRIVATE, alone, dumpable, each_of, elf, is_root, scratch, skip,
};

const IMAGE: &str = "/memfd:offshoot (deleted)";

/// A child that becomes another user and enters a directory after that.
fn lowered(engine: Engine) -> Command {
    let mut command = Command::new("/bin/true");
    command.engine(engine).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.gid(OTHER).uid(OTHER);
    } else {
        // SAFETY: asks for a number.
        command.uid(unsafe { libc::getuid() });
    }
    command
}

/// Spawns, looks at the child as it is about to enter its directory, and
/// waits for its success. What interrupts the call has it made again; that
/// is not looked at.
fn at_chdir<T>(
    spawn: impl FnOnce() -> Result<Child, Error> + Send,
    look: impl Fn(&Held) -> T,
) -> T {
    let mut seen = None;
    let child = held(libc::SYS_chdir, spawn, |held| {
        seen.get_or_insert_with(|| look(&held));
    });
    assert!(child.unwrap().wait().unwrap().success());
    seen.expect("it was never there")
}

fn attacked(tool: &Attacker, engine: Engine, secret: &str) -> Loot {
    let mut command = lowered(engine);
    at_chdir(move || command.spawn(), |held| tool.attack(held.pid, secret))
}

#[test]
fn a_child_that_lowered_its_ids_cannot_be_inspected_by_its_new_user() {
    let name =
        "a_child_that_lowered_its_ids_cannot_be_inspected_by_its_new_user";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let (tool, secret) = (Attacker::new(name), secret());
    for value in [0, 2] {
        turn(value);
        each_of(&PRIVATE, |engine| {
            attacked(&tool, engine, &secret).is_nothing(engine);
        });
    }
}

/// A fork of this process, with all its memory, that lowers its ids.
struct Fork(u32);

impl Fork {
    fn new() -> Fork {
        // SAFETY: the child makes three calls, and no other function.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let id = OTHER;
            // SAFETY: changes the child's group.
            unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) };
            // SAFETY: changes the child's user.
            unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) };
            loop {
                // SAFETY: waits for the end.
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
        // SAFETY: our own child, which nobody has waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: waits for it, and wants no status.
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

/// Where the kernel leaves memory open to the new user, that of an image is
/// open too: what it holds is the plan, which that user's program is given.
/// A copy of the parent's memory holds all that the parent knows.
#[test]
fn the_helper_has_no_parent_memory_even_when_it_is_dumpable() {
    let name = "the_helper_has_no_parent_memory_even_when_it_is_dumpable";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let (tool, secret) = (Attacker::new(name), secret());
    turn(0);
    let fork = Fork::new();
    tool.attack(fork.0, &secret).is_nothing("a fork");
    drop(fork);
    turn(1);
    // What an attacker gets from one who is open: it can tell.
    let fork = Fork::new();
    let copy = tool.attack(fork.0, &secret);
    if !copy.all("act").contains(&"attach 0") {
        return skip(name, "nobody may trace here, whoever is open");
    }
    assert!(copy.is("found") >= 2, "{copy:?}");
    copy.is_everything();
    let image = attacked(&tool, Engine::Isolated, &secret);
    image.is_everything();
    assert_eq!(image.is("found"), 0, "{image:?}");
    // No file of ours either, by which it could go on looking.
    assert_eq!(image.all("link"), ["/dev/null"; 3]);
    let files = image.all("file");
    assert!(!files.is_empty() && files.iter().all(|file| *file == IMAGE));
    // It was read all the same.
    let plan = attacked(&tool, Engine::Isolated, "/bin/true");
    assert!(plan.is("found") >= 1, "{plan:?}");
}

#[test]
fn proc_files_of_a_child_with_lowered_ids_stay_roots() {
    let name = "proc_files_of_a_child_with_lowered_ids_stay_roots";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let closed = |held: &Held, engine| {
        for fd in fs::read_dir(held.of("fd")).unwrap() {
            let link = fs::read_link(fd.unwrap().path()).unwrap();
            let link = link.to_str().unwrap();
            // The pipe engine reports by a pipe, not a page.
            let own = engine == Engine::Pipe && link.starts_with("pipe:");
            assert!(own || link == "/dev/null", "{engine}: {link}");
        }
    };
    // Root's, as nobody has made its memory dumpable again. The directory
    // itself always is its process's own.
    let owners = |held: &Held| {
        let files = ["", "fd", "mem", "maps", "environ", "exe"];
        files.map(|file| fs::symlink_metadata(held.of(file)).unwrap().uid())
    };
    for (value, owner) in [(0, 0), (2, 0), (1, OTHER)] {
        turn(value);
        each_of(&PRIVATE, |engine| {
            let mut command = lowered(engine);
            let look = |held: &Held| {
                closed(held, engine);
                owners(held)
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
    if !inside(name) {
        return;
    }
    for own in [1, 0] {
        // SAFETY: sets a flag of this process.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, own, 0, 0, 0) };
        for value in [0, 1, 2] {
            turn(value);
            each_of(&PRIVATE, |engine| {
                let mut command = lowered(engine);
                let during = at_chdir(move || command.spawn(), |_| dumpable());
                assert_eq!((during, dumpable()), (own, own), "{engine}");
            });
            // Nobody lowers ids in the parent's own memory.
            let error = lowered(Engine::Suspended).spawn().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert_eq!(dumpable(), own);
        }
    }
}

static HANDLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(_: libc::c_int) {
    // SAFETY: asks for a number.
    HANDLED.store(unsafe { libc::gettid() }, Ordering::SeqCst);
}

/// Signals the thread that spawns.
fn signal(caller: i32) {
    HANDLED.store(0, Ordering::SeqCst);
    let (call, own) = (libc::SYS_tgkill, process::id());
    // SAFETY: a thread of ours, which handles it.
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
    if is_root() && !inside(name) {
        return;
    }
    let tool = Attacker::new(name);
    let handler = handle as extern "C" fn(libc::c_int);
    // SAFETY: the handler stores a number.
    unsafe { libc::signal(libc::SIGUSR1, handler as usize) };
    let thread = |held: &Held| format!("/proc/self/task/{}", held.caller);
    each_of(&PRIVATE, |engine| {
        let mut command = lowered(engine);
        at_chdir(
            move || command.spawn(),
            |held| {
                assert_eq!(tool.attack(held.pid, "stop").is("signal"), 0);
                within_a_second(|| state(&held.of("")) == "T");
                within_a_second(|| state(&thread(held)) == "S");
                for _ in 0..3 {
                    signal(held.caller);
                    within_a_second(|| handled(held.caller));
                }
                assert_eq!(state(&held.of("")), "T", "{engine}");
                assert_eq!(tool.attack(held.pid, "go").is("signal"), 0);
            },
        );
    });
    // It can tell: a caller that sleeps in the kernel takes no signal, which
    // is why nobody else may have a say in such a child.
    let mut shared = Command::new("/bin/true");
    shared.engine(Engine::Suspended).current_dir("/");
    at_chdir(
        move || shared.spawn(),
        |held| {
            within_a_second(|| state(&thread(held)) == "D");
            signal(held.caller);
            thread::sleep(Duration::from_millis(50));
            assert!(!handled(held.caller));
            let stop = tool.attack(held.pid, "stop");
            assert_eq!(
                stop.is("signal"),
                if is_root() { libc::EPERM } else { 0 }
            );
            tool.attack(held.pid, "go");
        },
    );
}

/// The same file, by device and number.
fn id(path: impl AsRef<Path>) -> (u64, u64) {
    let file = fs::metadata(path).unwrap();
    (file.dev(), file.ino())
}

/// The files that a process has in memory.
fn mapped(held: &Held) -> Vec<String> {
    let maps = fs::read_to_string(held.of("maps")).unwrap();
    let file = |line: &str| line.find('/').map(|at| line[at..].to_string());
    maps.lines().filter_map(file).collect()
}

/// Tries to write to a program, by each way that its path offers.
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

/// CVE-2019-5736: a process that comes into a container is that container's
/// to look at, and through its `exe` the container's root wrote to the
/// host's program, as soon as nobody ran it. Joining namespaces, once there
/// is such a step, has to be done in the image: in a copy, and in shared
/// memory, `exe` and maps are the host's. The attacker here is root outside,
/// who may do all that root in a container may.
#[test]
fn the_helpers_exe_is_sealed_and_never_the_hosts_program() {
    let name = "the_helpers_exe_is_sealed_and_never_the_hosts_program";
    let _alone = alone();
    let jail = scratch(name);
    util::program(&jail.join("census"), &elf::census());
    let host = env::current_exe().unwrap();
    let (own, path) = (id(&host), host.to_str().unwrap());
    let is_hosts = |held: &Held| {
        let exe = id(held.of("exe")) == own;
        assert_eq!(exe, mapped(held).iter().any(|file| file == path));
        exe
    };
    // Jailed: a new root, for which it takes root.
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
        let kept = at_chdir(
            || prepared.spawn(),
            |held| {
                let exe = held.of("exe");
                assert!(!is_hosts(held));
                assert_eq!(fs::read_link(&exe).unwrap(), Path::new(IMAGE));
                let all = mapped(held);
                assert!(
                    !all.is_empty() && all.iter().all(|file| file == IMAGE)
                );
                cannot_be_written(&exe, &[libc::ETXTBSY, libc::EPERM]);
                File::open(exe).unwrap()
            },
        );
        // Nobody runs it now; only its seals are left.
        let kept = format!("/proc/self/fd/{}", kept.as_raw_fd());
        cannot_be_written(&kept, &[libc::EPERM]);
        let again = at_chdir(|| prepared.spawn(), |held| id(held.of("exe")));
        assert_eq!(again, id(&kept));
    }
    // It can tell: without an image the program is the host's.
    for engine in [Engine::Suspended, Engine::Copied] {
        let mut command = Command::new("/bin/true");
        command.engine(engine).current_dir("/");
        assert!(at_chdir(move || command.spawn(), is_hosts), "{engine}");
    }
    fs::remove_dir_all(jail).unwrap();
}

/// It may make it undumpable, and no more. Plans with what makes most such
/// calls: ids, a gate.
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
        let child = held(libc::SYS_prctl, spawn, |held| {
            calls.push((i32::try_from(held.args[0]).unwrap(), held.args[1]));
        });
        assert!(child.unwrap().wait().unwrap().success(), "{engine}");
        // It can tell: the signal of a parent's end, set and cleared.
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
