//! Order: pairs of steps whose exchange is a known bug. The order table holds
//! them, no exchange of such a pair passes the check, and neither does a plan
//! of random options.

mod util;

use std::collections::HashMap;
use std::fs::File;
use std::time::Duration;

use offshoot::{
    CapabilitySet, Command, Engine, IoPriority, Landlock, NumaPolicy,
    Personality, Resource, Scheduler, Securebits, Stdio,
};

/// The first step must run before the second.
type Pair = (&'static str, &'static str, &'static str);

/// The letters and numbers are those of the hazards that each pair is about.
const PAIRS: &[Pair] = &[
    (
        "close_range",
        "dup",
        "the table may be the parent's until it is unshared",
    ),
    (
        "close_range",
        "close",
        "the table may be the parent's until it is unshared",
    ),
    ("dup", "close_gaps", "a source is closed before it is copied"),
    (
        "close_gaps",
        "exec_helper",
        "the helper keeps descriptors of the parent",
    ),
    ("exec_helper", "setuid", "shared memory becomes undumpable for life"),
    ("exec_helper", "setgid", "shared memory becomes undumpable for life"),
    ("exec_helper", "setgroups", "shared memory has two credentials"),
    ("exec_helper", "helper_init", "exec removes the robust list"),
    ("setsid", "setpgid", "a leader cannot change its group"),
    ("setsid", "controlling_terminal", "only a leader acquires a terminal"),
    ("setpgid", "foreground", "another group would be in the foreground"),
    ("foreground", "signal_mask", "SIGTTOU would stop the child, H100"),
    ("detach_terminal", "chroot", "the new root may have no /dev/tty"),
    ("chroot", "setuid", "chroot takes CAP_SYS_CHROOT"),
    ("chroot", "chdir", "the directory would be outside of the root"),
    ("clear_groups", "setgid", "groups take CAP_SETGID of the old user"),
    ("setgroups", "setuid", "groups take CAP_SETGID"),
    ("setgid", "setuid", "the group takes CAP_SETGID"),
    (
        "bounding_capabilities",
        "setuid",
        "it takes CAP_SETPCAP of the old user",
    ),
    ("keep_capabilities", "setuid", "the capabilities would be removed"),
    ("setuid", "capabilities", "the change clears the effective set"),
    ("setuid", "ambient_capabilities", "the change clears the ambient set"),
    ("capabilities", "ambient_capabilities", "they must be inheritable"),
    ("ambient_capabilities", "securebits", "a bit may forbid to raise them"),
    ("securebits", "drop_setpcap", "a change of securebits takes CAP_SETPCAP"),
    ("drop_setpcap", "hooks", "a hook would have CAP_SETPCAP"),
    ("setuid", "chdir", "another user's permissions would decide"),
    ("scheduler", "nice", "a change of policy would set it anew"),
    ("scheduler", "setuid", "a real-time policy takes CAP_SYS_NICE"),
    ("io_priority", "setuid", "the real-time class takes CAP_SYS_NICE"),
    ("oom_score_adj", "chroot", "the new root may have no /proc"),
    ("oom_score_adj", "setuid", "a lower value takes CAP_SYS_RESOURCE"),
    ("oom_score_adj", "rlimits", "RLIMIT_NOFILE would forbid its file"),
    ("apparmor_profile", "rlimits", "RLIMIT_NOFILE would forbid its file"),
    ("selinux_context", "rlimits", "RLIMIT_NOFILE would forbid its file"),
    ("detach_terminal", "rlimits", "RLIMIT_NOFILE would forbid its file"),
    ("rlimits", "setuid", "a higher limit takes CAP_SYS_RESOURCE"),
    ("dup", "rlimits", "RLIMIT_NOFILE would forbid the number"),
    ("exec_helper", "transparent_huge_pages", "the parent's memory has it"),
    ("exec_helper", "memory_merge", "the parent's memory would have it"),
    ("helper_init", "personality", "the helper restores the caller's"),
    ("nice", "setuid", "a lower value takes CAP_SYS_NICE"),
    ("exec_helper", "apparmor_profile", "the helper's exec consumes a label"),
    ("exec_helper", "selinux_context", "the helper's exec consumes a label"),
    ("apparmor_profile", "chroot", "the new root may have no /proc"),
    ("apparmor_profile", "setuid", "the file in /proc is root's by then"),
    ("selinux_context", "chroot", "the new root may have no /proc"),
    ("selinux_context", "setuid", "the file in /proc is root's by then"),
    ("setuid", "session_keyring", "the keyring would be another user's"),
    ("chdir", "landlock", "a directory would need a rule"),
    ("no_new_privs", "landlock", "the kernel would reject the ruleset"),
    ("hooks", "landlock", "a hook could not open its files"),
    ("landlock", "exec", "the program would not be confined"),
    ("exec_helper", "ptrace_traceme", "the helper's exec would stop"),
    ("gate", "ptrace_traceme", "a signal would stop a child that waits"),
    ("signal_mask", "ptrace_traceme", "pending signals would stop the child"),
    ("ptrace_traceme", "exec", "the program would not stop"),
    ("clear_handlers", "signal_mask", "a handler of the parent would run"),
    ("dispositions", "signal_mask", "a pending SIGPIPE would be ignored"),
    ("setuid", "gate", "a change of ids clears the death signal"),
    ("apparmor_profile", "no_new_privs", "it restricts changes of the label"),
    ("selinux_context", "no_new_privs", "it restricts changes of the label"),
    ("setuid", "hooks", "a hook would have the privileges of the parent"),
    ("setuid", "parent_death", "a change of ids clears the death signal"),
    ("setgid", "parent_death", "a change of ids clears the death signal"),
    ("hooks", "parent_death", "a hook may change the ids or fork"),
    ("mark_helper", "parent_death", "a second thread has no death signal"),
    ("parent_death", "signal_mask", "an early signal could end the child"),
    ("gate", "signal_mask", "a signal would end a child that waits"),
    ("hooks", "mark_helper", "a death in a hook would look like an exec"),
    ("mark_helper", "exec", "the exec of the helper could not be told"),
    ("signal_mask", "seccomp", "the filter may reject sigprocmask"),
    ("listen_pid", "seccomp", "the filter may reject getpid"),
    ("mark_helper", "seccomp", "the filter may reject prctl"),
    ("hooks", "seccomp", "the filter may reject what a hook calls"),
    ("no_new_privs", "seccomp", "a filter takes no_new_privs"),
    ("no_new_privs", "seccomp_listener", "a filter takes no_new_privs"),
    ("seccomp", "seccomp_listener", "it would be notified of seccomp"),
    ("mark_helper", "seccomp_listener", "the filter may reject prctl"),
    ("seccomp_listener", "exec", "the program would have no filter"),
    ("seccomp_listener", "exec_fd", "the program would have no filter"),
    ("seccomp", "exec", "the program would run without the filter"),
    ("seccomp", "exec_fd", "the program would run without the filter"),
    ("signal_mask", "exec", "the program would have all signals blocked"),
    ("signal_mask", "exec_fd", "the program would have all signals blocked"),
];

/// The first pair that an order has the wrong way round. A step that it does
/// not have is in no pair.
fn wrong(order: &[&str]) -> Option<Pair> {
    let at: HashMap<&str, usize> =
        order.iter().enumerate().map(|(n, step)| (*step, n)).collect();
    let is_wrong = |(first, second, _): &&Pair| {
        let both = at.get(first).zip(at.get(second));
        both.is_some_and(|(first, second)| first > second)
    };
    PAIRS.iter().find(is_wrong).copied()
}

#[test]
fn the_order_table_has_every_known_pair_the_right_way_round() {
    let steps = util::source::steps();
    let order: Vec<&str> = steps.iter().map(String::as_str).collect();
    for (first, second, why) in PAIRS {
        assert!(order.contains(first), "{first} is no step");
        assert!(order.contains(second), "{second} is no step");
        assert!(why.len() > 20, "{first}, {second}: no reason");
    }
    assert_eq!(wrong(&order), None);
}

/// Exchanges any two steps: the check refuses it if, and only if, a pair is
/// the wrong way round then.
#[test]
fn an_exchange_of_two_steps_that_is_a_known_bug_is_refused() {
    let steps = util::source::steps();
    let order: Vec<&str> = steps.iter().map(String::as_str).collect();
    for (first, second, _) in PAIRS {
        let at = |step| order.iter().position(|own| own == step).unwrap();
        let mut swapped = order.clone();
        swapped.swap(at(first), at(second));
        assert!(wrong(&swapped).is_some(), "{first} and {second}");
        // The steps in between stay where they are: only one moves.
        let mut moved = order.clone();
        let step = moved.remove(at(first));
        moved.insert(at(second), step);
        assert!(wrong(&moved).is_some(), "{first} behind {second}");
    }
}

/// Every option that does not exclude another: its steps are in the order of
/// the table, in each engine that may run them.
#[test]
fn a_maximal_plan_has_its_steps_in_the_order_of_the_table() {
    let steps = util::source::steps();
    let null = || File::open("/dev/null").unwrap();
    for engine in [Engine::Isolated, Engine::Copied, Engine::Pipe] {
        let mut all = Command::new("/bin/true");
        all.stdin(Stdio::closed()).fd(9, null()).listen_fds([null()]);
        all.controlling_terminal(null()).umask(0o27);
        all.scheduler(Scheduler::Batch).nice(5).cpu_affinity([0]);
        all.io_priority(IoPriority::Idle).core_scheduling(true);
        all.timer_slack(Duration::from_micros(60)).oom_score_adj(5);
        all.transparent_huge_pages(false).memory_merge(true);
        all.numa_policy(NumaPolicy::Local).rlimit(Resource::Core, 0);
        all.personality(Personality::empty()).apparmor_profile("a");
        all.selinux_context("b").chroot("/").uid(1).gid(2).groups([3]);
        all.ambient_capabilities(CapabilitySet::KILL);
        all.bounding_capabilities(CapabilitySet::KILL);
        all.securebits(Securebits::NOROOT).new_session_keyring(true);
        all.current_dir("/").no_new_privs(true).nonblocking(9, true);
        all.landlock(Landlock::new().best_effort().execute("/"));
        all.seccomp([(6, 0, 0, 0x7FFF_0000)]);
        all.parent_death_signal(9).before_exec(|_, _| Ok(()));
        all.best_effort(|it| it.nice(-5).umask_or(0o7));
        let plan = all.engine(engine).plan().unwrap();
        let names: Vec<&str> = plan.step_names().collect();
        let at = |name: &&str| steps.iter().position(|own| own == name);
        let order: Vec<usize> = names.iter().filter_map(at).collect();
        assert_eq!(order.len(), names.len(), "{names:?}");
        assert!(order.is_sorted(), "{engine}: {names:?}");
        assert!(names.len() > 45, "{engine}: {} of {names:?}", names.len());
        assert_eq!(wrong(&names), None);
    }
}
