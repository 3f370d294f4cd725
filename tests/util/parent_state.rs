//! `ParentState`: what a child in shared memory could change of its parent,
//! as the kernel reports it.

use std::collections::BTreeMap;
use std::{env, fs, io};

use super::reporter::{descriptors, session_keyring};

/// Each property by its name. A property that this kernel lacks has the error
/// as its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentState(BTreeMap<String, String>);

impl ParentState {
    /// The state of the calling thread and of its process.
    pub fn now() -> ParentState {
        let mut all = BTreeMap::new();
        controls(&mut all);
        status(&mut all);
        signals(&mut all);
        scheduling(&mut all);
        files(&mut all);
        for (fd, target) in descriptors() {
            all.insert(format!("descriptor {fd}"), target);
        }
        ParentState(all)
    }

    /// The names of the properties that differ, with both values.
    pub fn changes(&self, after: &ParentState) -> Vec<String> {
        let names = self.0.keys().chain(after.0.keys());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.dedup();
        let changed = |name: &&String| self.0.get(*name) != after.0.get(*name);
        let shown = |name: &String| {
            let (old, new) = (self.0.get(name), after.0.get(name));
            format!("{name}: {old:?} -> {new:?}")
        };
        names.into_iter().filter(changed).map(shown).collect()
    }
}

type State = BTreeMap<String, String>;

/// The result of a system call, or its error.
fn call(nr: libc::c_long, args: [u64; 5]) -> String {
    let [a, b, c, d, e] = args;
    // SAFETY: the callers pass calls that read, and write only what they own.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e) };
    match result {
        -1 => io::Error::last_os_error().to_string(),
        value => value.to_string(),
    }
}

/// A call that writes to the words at one of its arguments.
fn written(nr: libc::c_long, at: usize, mut args: [u64; 5]) -> String {
    let mut words = [0u64; 32];
    args[at] = words.as_mut_ptr() as u64;
    let result = call(nr, args);
    format!("{result} {words:x?}")
}

/// `PR_GET_*`: those that return a value, and those that write an int.
fn controls(all: &mut State) {
    const RETURN: &[(&str, libc::c_int)] = &[
        ("dumpable", libc::PR_GET_DUMPABLE),
        ("keep capabilities", libc::PR_GET_KEEPCAPS),
        ("securebits", libc::PR_GET_SECUREBITS),
        ("no_new_privs", libc::PR_GET_NO_NEW_PRIVS),
        ("seccomp mode", libc::PR_GET_SECCOMP),
        ("timer slack", libc::PR_GET_TIMERSLACK),
        ("THP disabled", libc::PR_GET_THP_DISABLE),
        // PR_GET_MEMORY_MERGE, Linux 6.4.
        ("KSM", 68),
        // PR_GET_MDWE, Linux 6.3.
        ("MDWE", 66),
        ("machine check policy", libc::PR_MCE_KILL_GET),
    ];
    const WRITE: &[(&str, libc::c_int)] = &[
        ("parent death signal", libc::PR_GET_PDEATHSIG),
        ("child subreaper", libc::PR_GET_CHILD_SUBREAPER),
        ("name", libc::PR_GET_NAME),
    ];
    for (name, option) in RETURN {
        let option = u64::from(option.unsigned_abs());
        let value = call(libc::SYS_prctl, [option, 0, 0, 0, 0]);
        all.insert((*name).into(), value);
    }
    for (name, option) in WRITE {
        let option = u64::from(option.unsigned_abs());
        let value = written(libc::SYS_prctl, 1, [option, 0, 0, 0, 0]);
        all.insert((*name).into(), value);
    }
    // PR_SCHED_CORE, PR_SCHED_CORE_GET: the cookie of this thread.
    let cookie = written(libc::SYS_prctl, 4, [62, 0, 0, 0, 0]);
    all.insert("core scheduling".into(), cookie);
}

/// Ids, groups, capabilities and signals of this thread and of the first, but
/// not the mask of the first, which it changes when it creates a thread.
fn status(all: &mut State) {
    const KEYS: &[&str] =
        &["Name", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "TracerPid"];
    for file in ["/proc/thread-self/status", "/proc/self/status"] {
        for line in fs::read_to_string(file).unwrap().lines() {
            let (key, value) = line.split_once(':').unwrap();
            let kind = ["Cap", "Seccomp", "Specul", "NS", "THP"];
            let kind = kind.iter().any(|start| key.starts_with(start));
            let set = ["SigIgn", "SigCgt"].contains(&key);
            let allowed = key.ends_with("_allowed");
            if kind || set || allowed || KEYS.contains(&key) {
                all.insert(format!("{file} {key}"), value.trim().into());
            }
        }
    }
}

fn signals(all: &mut State) {
    for signal in 1..=64 {
        let args = [signal, 0, 0, 8, 0];
        let action = written(libc::SYS_rt_sigaction, 2, args);
        all.insert(format!("action of signal {signal}"), action);
    }
    let mask = written(libc::SYS_rt_sigprocmask, 2, [0, 0, 0, 8, 0]);
    all.insert("signal mask".into(), mask);
    let stack = written(libc::SYS_sigaltstack, 1, [0; 5]);
    all.insert("signal stack".into(), stack);
}

/// Limits, priorities and policies.
fn scheduling(all: &mut State) {
    for resource in 0..16 {
        let args = [0, resource, 0, 0, 0];
        let limit = written(libc::SYS_prlimit64, 3, args);
        all.insert(format!("limit {resource}"), limit);
    }
    let mut set = |name: &str, value| all.insert(name.into(), value);
    set("nice", call(libc::SYS_getpriority, [0; 5]));
    let attributes = [0, 0, 56, 0, 0];
    set("scheduler", written(libc::SYS_sched_getattr, 1, attributes));
    let cpus = written(libc::SYS_sched_getaffinity, 2, [0, 256, 0, 0, 0]);
    set("affinity", cpus);
    // IOPRIO_WHO_PROCESS.
    set("I/O priority", call(libc::SYS_ioprio_get, [1, 0, 0, 0, 0]));
    let ask = u64::from(u32::MAX);
    set("personality", call(libc::SYS_personality, [ask, 0, 0, 0, 0]));
    let mut mode = 0u64;
    let nodes = [(&raw mut mode) as u64, 0, 2048, 0, 0];
    let nodes = written(libc::SYS_get_mempolicy, 1, nodes);
    set("NUMA policy", format!("{mode} {nodes}"));
    let mut head = 0u64;
    let robust = [0, (&raw mut head) as u64, 0, 0, 0];
    let robust = written(libc::SYS_get_robust_list, 2, robust);
    set("robust list", format!("{head:x} {robust}"));
}

/// Session, group, terminal, directory, root, namespaces and the files of
/// `/proc` that have a setting.
fn files(all: &mut State) {
    const FILES: &[&str] = &[
        "oom_score_adj",
        "coredump_filter",
        "cgroup",
        "uid_map",
        "gid_map",
        "setgroups",
        "loginuid",
        "attr/current",
        "attr/exec",
        "attr/apparmor/exec",
    ];
    const LINKS: &[&str] = &[
        "cwd",
        "root",
        "exe",
        "ns/cgroup",
        "ns/ipc",
        "ns/mnt",
        "ns/net",
        "ns/pid",
        "ns/pid_for_children",
        "ns/time",
        "ns/time_for_children",
        "ns/user",
        "ns/uts",
    ];
    let read = |path: &str| match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    };
    for file in FILES {
        for of in ["self", "thread-self"] {
            let path = format!("/proc/{of}/{file}");
            let text = read(&path);
            all.insert(path, text);
        }
    }
    for link in LINKS {
        let path = format!("/proc/thread-self/{link}");
        let target = format!("{:?}", fs::read_link(&path));
        all.insert(path, target);
    }
    // Parent, group, session, terminal and its foreground group.
    let stat = read("/proc/thread-self/stat");
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(1).take(5);
    all.insert("session".into(), fields.collect::<Vec<_>>().join(" "));
    all.insert("keyring".into(), session_keyring());
    let variables: Vec<_> = env::vars_os().collect();
    all.insert("environment".into(), format!("{variables:?}"));
}
