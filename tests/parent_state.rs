//! Parent state: a child in shared memory leaves its parent as it was, with
//! every option of the corpus, and the calls that do not are known.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[allow(dead_code, reason = "only the plans are used here")]
#[path = "inject/corpus/mod.rs"]
mod corpus;
mod util;

use std::io;

use offshoot::{Command, Engine, Errno, Error};
use util::parent_state::ParentState;
use util::{alone, is_root};

/// Spawns in shared memory: what has changed of the parent, whether or not
/// the program runs.
fn changes(command: &mut Command) -> (Vec<String>, Result<(), Error>) {
    let before = ParentState::now();
    let ran =
        command.engine(Engine::Suspended).spawn().and_then(|mut child| {
            assert_eq!(child.launch().engine(), Engine::Suspended);
            child.wait().map(drop)
        });
    (before.changes(&ParentState::now()), ran)
}

#[test]
fn a_child_in_shared_memory_leaves_its_parent_as_it_was() {
    let _alone = alone();
    let mut count = 0;
    for case in corpus::cases() {
        if !case.engines.contains(&Engine::Suspended) {
            continue;
        }
        let mut command = Command::new("/bin/true");
        (case.options)(&mut command);
        let (seen, ran) = changes(&mut command);
        assert_eq!(seen, Vec::<String>::new(), "{}", case.name);
        match ran {
            Ok(()) => count += 1,
            // A seccomp filter alone takes CAP_SYS_ADMIN.
            Err(error) if !is_root() => {
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                assert!(denied, "{}: {error}", case.name);
            }
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
    assert!(count > 10, "{count} plans");
}

/// A call of a child, and the property of the parent that it changes.
type Act = (&'static str, fn() -> bool, Option<&'static str>);

/// Whether the call succeeded.
fn call(nr: libc::c_long, args: [u64; 5]) -> bool {
    let [a, b, c, d, e] = args;
    // SAFETY: the calls below read no memory but that of a constant.
    unsafe { libc::syscall(nr, a, b, c, d, e) != -1 }
}

fn last_errno() -> Errno {
    io::Error::last_os_error().into()
}

fn control(option: i32, value: u64) -> bool {
    let option = u64::from(option.unsigned_abs());
    call(libc::SYS_prctl, [option, value, 0, 0, 0])
}

/// Sets a flag that is not set, or clears it.
fn exchange(set: i32, get: i32) -> bool {
    // SAFETY: returns a number.
    let is_set = unsafe { libc::prctl(get, 0, 0, 0, 0) } > 0;
    control(set, u64::from(!is_set))
}

fn write_score() -> bool {
    let path = c"/proc/self/oom_score_adj".as_ptr();
    // SAFETY: the path is a constant.
    let fd = unsafe { libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC) };
    // SAFETY: reads a constant of four bytes.
    let written = unsafe { libc::write(fd, c"1000".as_ptr().cast(), 4) };
    // SAFETY: the descriptor is this function's own.
    unsafe { libc::close(fd) == 0 && written == 4 }
}

/// `PR_SET_MEMORY_MERGE` and `PR_GET_MEMORY_MERGE`, Linux 6.4.
const SET_MEMORY_MERGE: i32 = 67;
const GET_MEMORY_MERGE: i32 = 68;

/// `RLIMIT_NOFILE`, and a limit that a test process does not have.
const FILES: u64 = 7;
static FEW: [u64; 2] = [77, 77];
static FIRST_CPU: [u64; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `struct sched_param`: a static priority of 0.
static PRIORITY: [u64; 1] = [0];

const ACTS: &[Act] = &[
    (
        "THP",
        || exchange(libc::PR_SET_THP_DISABLE, libc::PR_GET_THP_DISABLE),
        Some("THP disabled"),
    ),
    ("KSM", || exchange(SET_MEMORY_MERGE, GET_MEMORY_MERGE), Some("KSM")),
    ("nice", || call(libc::SYS_setpriority, [0, 0, 19, 0, 0]), None),
    ("timer slack", || control(libc::PR_SET_TIMERSLACK, 77_777), None),
    ("no_new_privs", || control(libc::PR_SET_NO_NEW_PRIVS, 1), None),
    ("death signal", || control(libc::PR_SET_PDEATHSIG, 10), None),
    ("umask", || call(libc::SYS_umask, [0o777, 0, 0, 0, 0]), None),
    ("session", || call(libc::SYS_setsid, [0; 5]), None),
    ("personality", || call(libc::SYS_personality, [PERSONALITY; 5]), None),
    ("oom_score_adj", write_score, None),
    (
        "limit",
        || {
            let limit = FEW.as_ptr() as u64;
            call(libc::SYS_prlimit64, [0, FILES, limit, 0, 0])
        },
        None,
    ),
    (
        "affinity",
        || {
            let set = FIRST_CPU.as_ptr() as u64;
            call(libc::SYS_sched_setaffinity, [0, 128, set, 0, 0])
        },
        None,
    ),
    (
        "scheduler",
        || {
            let (idle, set) = (libc::SCHED_IDLE, PRIORITY.as_ptr() as u64);
            let idle = u64::from(idle.unsigned_abs());
            call(libc::SYS_sched_setscheduler, [0, idle, set, 0, 0])
        },
        None,
    ),
    // The class idle.
    ("I/O", || call(libc::SYS_ioprio_set, [1, 0, 3 << 13, 0, 0]), None),
    // MPOL_LOCAL.
    ("NUMA", || call(libc::SYS_set_mempolicy, [4, 0, 0, 0, 0]), None),
    // The last one: a user's process may not write to its files any more.
    ("dumpable", || control(libc::PR_SET_DUMPABLE, 0), Some("dumpable")),
];

/// `ADDR_NO_RANDOMIZE`.
const PERSONALITY: u64 = 0x004_0000;

/// Those with a property belong to memory and need an engine with private
/// memory; the others belong to the child. It shows too that the comparison sees a
/// change.
#[test]
fn calls_that_change_shared_memory_are_seen_and_others_are_the_childs() {
    let name =
        "calls_that_change_shared_memory_are_seen_and_others_are_the_childs";
    let _alone = alone();
    // The changes stay.
    if !util::inside(name, &[]) {
        return;
    }
    for (act, run, property) in ACTS {
        let mut command = Command::new("/bin/true");
        // SAFETY: the hook makes system calls, which change nothing that this
        // process depends on.
        let hook = unsafe {
            command.pre_exec_shared(|_| {
                if run() { Ok(()) } else { Err(last_errno()) }
            })
        };
        let (seen, ran) = changes(hook);
        // This kernel has no such call, or a filter rejects it.
        if let Err(error) = ran {
            util::skip(name, &format!("{act}: {error}"));
            continue;
        }
        // Without a property no line may be there, else one that names it.
        let is_own = |line: &String| {
            property.is_some_and(|property| line.starts_with(property))
        };
        let own = seen.iter().filter(|line| is_own(line)).count();
        assert_eq!(own, usize::from(property.is_some()), "{act}: {seen:?}");
        let other = seen.iter().find(|line| !is_own(line));
        let same = other.is_none_or(|line| line.contains("status THP"));
        assert!(same, "{act}: {seen:?}");
    }
}
