//! Attributes: what the kernel keeps of the calling thread and its process
//! that an option may set.
#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]

use std::fs;

/// The result of a call that takes no memory, or its errno.
fn call(nr: libc::c_long, args: [libc::c_long; 5]) -> String {
    let [a, b, c, d, e] = args;
    // SAFETY: the callers pass calls without addresses, or addresses of their
    // own locals.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e) };
    match result {
        -1 => std::io::Error::last_os_error().to_string(),
        n => n.to_string(),
    }
}

fn prctl(option: libc::c_int) -> String {
    call(libc::SYS_prctl, [option.into(), 0, 0, 0, 0])
}

fn file(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_string()
}

/// Each attribute and its value.
pub fn attributes() -> Vec<(String, String)> {
    const MEMORY_MERGE: libc::c_int = 68;
    let mut all = Vec::new();
    let mut add = |name: &str, value: String| all.push((name.into(), value));
    let status = file("/proc/thread-self/status");
    for line in status.lines() {
        let (key, value) = line.split_once(':').unwrap();
        let ids = ["Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Umask"];
        let masks = ["SigBlk", "SigIgn", "SigCgt", "Cpus_allowed_list"];
        if ids.contains(&key)
            || masks.contains(&key)
            || key.starts_with("Cap")
            || key == "Seccomp_filters"
        {
            add(key, value.trim().into());
        }
    }
    for line in file("/proc/self/limits").lines() {
        let (name, value) = line.split_at(line.len().min(26));
        add(name.trim(), value.trim().into());
    }
    add("oom_score_adj", file("/proc/self/oom_score_adj"));
    let cwd = fs::read_link("/proc/thread-self/cwd").unwrap_or_default();
    add("cwd", cwd.display().to_string());
    let root = fs::read_link("/proc/thread-self/root").unwrap_or_default();
    add("root", root.display().to_string());
    add("policy", call(libc::SYS_sched_getscheduler, [0; 5]));
    add("nice", call(libc::SYS_getpriority, [0; 5]));
    add("ioprio", call(libc::SYS_ioprio_get, [1, 0, 0, 0, 0]));
    let all_ones = libc::c_long::from(u32::MAX);
    add("personality", call(libc::SYS_personality, [all_ones, 0, 0, 0, 0]));
    add("timer_slack", prctl(libc::PR_GET_TIMERSLACK));
    add("thp_disable", prctl(libc::PR_GET_THP_DISABLE));
    add("memory_merge", prctl(MEMORY_MERGE));
    add("dumpable", prctl(libc::PR_GET_DUMPABLE));
    add("securebits", prctl(libc::PR_GET_SECUREBITS));
    add("keep_caps", prctl(libc::PR_GET_KEEPCAPS));
    add("session", call(libc::SYS_getsid, [0; 5]));
    add("group", call(libc::SYS_getpgid, [0; 5]));
    let mut value: libc::c_int = 0;
    let at = (&raw mut value).expose_provenance() as libc::c_long;
    let done =
        call(libc::SYS_prctl, [libc::PR_GET_PDEATHSIG.into(), at, 0, 0, 0]);
    add("death_signal", format!("{done} {value}"));
    let done = call(libc::SYS_get_mempolicy, [at, 0, 0, 0, 0]);
    add("numa", format!("{done} {value}"));
    all
}
