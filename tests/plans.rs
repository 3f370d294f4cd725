//! Golden plans: the text of the plan of each set of options. No process is
//! created.
//!
//! `OFFSHOOT_BLESS=1 cargo test --test plans` rewrites the files; the
//! difference is then reviewed.
#![allow(unsafe_code, reason = "raw calls are vouched for")]

mod util;

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use offshoot::{
    CapabilitySet, ChildOpenOptions, Command, Engine, IoPriority, Memory,
    Method, Namespaces, NumaPolicy, Personality, Plan, RawArg, Resource,
    Rlimit, Scheduler, Securebits, Stdio,
};

fn golden(name: &str, command: &Command) {
    golden_plan(name, &command.plan().unwrap());
}

fn golden_plan(name: &str, plan: &Plan) {
    golden_text(name, &plan.to_string());
}

fn golden_text(name: &str, text: &str) {
    let dir = util::source::root().join("tests/plans");
    let path = dir.join(format!("{name}.txt"));
    if std::env::var_os("OFFSHOOT_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, want, "{}", path.display());
}

/// A command whose plan does not depend on where the test runs.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

#[test]
fn a_command_without_options() {
    golden("least", &command("/bin/true"));
}

#[test]
fn a_copied_child_registers_a_robust_list() {
    let mut least = command("/bin/true");
    golden("copied", least.engine(Engine::Copied));
}

#[test]
fn a_concurrent_child_takes_no_stops_and_its_caller_runs_on() {
    let mut least = command("/bin/true");
    golden("concurrent", least.engine(Engine::Concurrent));
}

#[test]
fn a_child_is_created_in_its_namespaces() {
    let mut uts = command("/bin/true");
    uts.namespaces(Namespaces::all() - Namespaces::USER);
    golden("namespaces", uts.hostname("inside").domainname("of.it"));
}

#[test]
fn a_child_maps_its_own_ids_before_all_other_steps() {
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let gid = unsafe { libc::getegid() };
    let mut root = command("/bin/true");
    root.map_root_user().current_dir("/");
    let text = root.plan().unwrap().to_string();
    let maps = [(uid, "0 UID 1"), (gid, "0 GID 1")];
    let text = maps.iter().fold(text, |text, (id, map)| {
        text.replacen(&format!("0 {id} 1"), map, 1)
    });
    // The width of an id is that of the padding, too.
    let words: Vec<&str> = text.split_whitespace().collect();
    golden_text("user-namespace", &words.join(" "));
}

#[test]
fn a_bare_name_becomes_a_list_of_candidates() {
    golden("search", command("tar").args(["-c", "a b"]));
}

#[test]
fn candidates_are_tried_after_any_error() {
    let mut all = Command::candidates(["/opt/tar", "tar", "-x"]);
    all.env_exact(["B=2", "PATH=/bin:/usr/bin", "A=1"]).arg("-c");
    golden("candidates", &all);
}

#[test]
fn a_directory_comes_after_descriptors_and_before_exec() {
    golden("directory", command("./tar").current_dir("/srv"));
}

#[test]
fn descriptors_are_shown_by_their_role() {
    let mut all = command("/bin/cat");
    all.stdin(Stdio::piped()).stdout(Stdio::null());
    all.stderr(File::open("/dev/null").unwrap());
    golden("descriptors", &all);
    let mut write = OpenOptions::new();
    write.write(true).create(true);
    // The file is not created: a plan opens nothing.
    let log = Stdio::open("/nope/log \"file\"", &write);
    golden("files", command("/bin/cat").stdout(log));
    assert!(!Path::new("/nope").exists());
}

#[test]
fn everything_at_once_in_both_engines() {
    let mut all = command("tar");
    all.arg("-x").current_dir("/srv");
    all.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    golden("everything", &all);
    golden("everything-copied", all.engine(Engine::Copied));
}

#[test]
fn the_plan_of_a_prepared_command_is_the_plan_of_the_command() {
    let mut command = command("/bin/true");
    command.stdout(Stdio::piped()).current_dir("/");
    let prepared = command.prepare().unwrap();
    let plan = command.plan().unwrap().to_string();
    assert_eq!(prepared.plan().to_string(), plan);
}

#[test]
fn signals_are_named_in_the_order_of_their_numbers() {
    let mut signals = command("/bin/true");
    signals.ignore_signal(libc::SIGTERM).ignore_signal(libc::SIGHUP);
    signals.default_signal(libc::SIGINT).default_signal(40);
    let mask = offshoot::SignalSet::from([libc::SIGTERM, libc::SIGUSR1]);
    golden("signals", signals.signal_mask(mask));
    let mut reset = command("/bin/true");
    reset.reset_signals().ignore_signal(libc::SIGHUP).keep_sigpipe(true);
    let mut dies = command("/bin/true");
    dies.parent_death_signal(libc::SIGTERM)
        .uid(1000)
        .before_exec(|_, _| Ok(()));
    golden("parent-death", &dies);
    golden("die-with-parent", command("/bin/true").die_with_parent());
    golden("signals-reset", reset.signal_mask(offshoot::SignalSet::empty()));
}

#[test]
fn a_legacy_clone_resets_handlers_by_itself() {
    let mut command = Command::new("/bin/true");
    command.env_clear().method(Method::Vfork);
    golden("vfork", &command);
    command.method(Method::Fork);
    golden("fork", &command);
}

#[test]
fn a_plain_clone_keeps_its_pipe_until_exec() {
    let mut command = Command::new("/bin/true");
    command.env_clear().engine(Engine::Pipe);
    golden("pipe", &command);
}

#[test]
fn sessions_groups_and_masks_are_set_in_shared_memory() {
    let mut command = Command::new("/bin/true");
    command.env_clear().setsid(true).umask(0o027).arg0("-true");
    command.stdin(Stdio::closed()).stderr(Stdio::same_as(1));
    golden("session", &command);
    let mut group = Command::new("/bin/true");
    group.env_clear().process_group(0);
    golden("group", &group);
    let mut nice = Command::new("/bin/true");
    golden("nice", nice.env_clear().nice(-5));
    let mut best = Command::new("/bin/true");
    best.env_clear().nice(5).best_effort(|it| it.setsid(true).nice(-5));
    golden("best-effort", &best);
}

#[test]
fn a_terminal_is_acquired_or_given_up_before_the_root_changes() {
    let null = || File::open("/dev/null").unwrap();
    let root = |c: &mut Command| c.env_clear().chroot("/srv/jail").clone();
    let mut all = root(&mut Command::new("/bin/true"));
    golden("controlling-terminal", all.terminal(null()).foreground(null()));
    let mut job = root(&mut Command::new("/bin/true"));
    golden("foreground", job.foreground(null()));
    let mut alone = root(&mut Command::new("/bin/true"));
    golden("detach-terminal", alone.detach_terminal(true));
    let mut session = Command::new("/bin/true");
    session.env_clear().detach_terminal(true).setsid(true);
    golden("detach-terminal-session", &session);
}

#[test]
fn labels_are_written_before_the_root_changes_and_keyrings_after_the_ids() {
    let mut command = Command::new("/bin/true");
    command.env_clear().chroot("/srv/jail").current_dir("/").uid(1000);
    command.new_session_keyring(true).apparmor_profile("server");
    golden("labels", &command);
    let mut shared = Command::new("/bin/true");
    shared.env_clear().session_keyring("backup");
    let context = "system_u:system_r:httpd_t:s0";
    golden("labels-shared", shared.selinux_context(context));
}

#[test]
fn a_ruleset_confines_the_child_after_everything_but_signals_and_exec() {
    let mut command = Command::new("/bin/true");
    let null = || File::open("/dev/null").unwrap();
    command.env_clear().current_dir("/srv").landlock_fd(null());
    // Without hooks a caller that lacks CAP_SYS_ADMIN would be refused.
    #[allow(unsafe_code, reason = "a hook that does nothing")]
    // SAFETY: the hook does nothing.
    unsafe {
        command.pre_exec_shared(|_| Ok(()));
    }
    golden("landlock", &command);
}

#[test]
fn a_traced_child_asks_for_it_right_before_exec() {
    let mut command = Command::new("/bin/true");
    golden("ptrace", command.env_clear().ptrace_traceme(true));
}

/// Never in shared memory: a change of ids there would clear the parent's
/// dumpable flag.
#[test]
fn scheduling_and_limits_are_set_before_the_ids_change() {
    let mut all = command("/bin/true");
    all.rlimit(Resource::NProc, 100).rlimit(Resource::Core, 0);
    all.rlimit(Resource::RtTime, Rlimit::new(1, Rlimit::INFINITY));
    all.oom_score_adj(500).personality(Personality::ADDR_NO_RANDOMIZE);
    all.scheduler(Scheduler::Fifo(9)).scheduler_reset_on_fork(true);
    all.nice(5).cpu_affinity([0, 65]).io_priority(IoPriority::Idle);
    all.timer_slack(Duration::from_micros(60)).core_scheduling(true);
    all.numa_policy(NumaPolicy::Interleave(vec![0, 1]));
    golden("attributes", &all);
    let mut private = command("/bin/true");
    private.transparent_huge_pages(false).memory_merge(true);
    golden("memory-policy", &private);
}

#[test]
fn ids_are_changed_in_private_memory_and_read_back() {
    let mut command = Command::new("/bin/true");
    command.env_clear().uid(1000).gid(1001).current_dir("/srv");
    golden("ids", &command);
    command.groups([5, 3]);
    golden("groups", &command);
    command.chroot("/srv/jail");
    golden("chroot", &command);
    for alone in [
        &command,
        Command::new("/x").uid(0),
        Command::new("/x").gid(0),
        Command::new("/x").groups([]),
    ] {
        let text = alone.plan().unwrap().to_string();
        assert!(text.starts_with("engine  isolated: "), "{text}");
        let (shared, own) =
            text.split_once("execveat         helper image").unwrap();
        assert!(!shared.contains("setres"), "{text}");
        assert!(own.contains("setres") || own.contains("groups"), "{text}");
    }
    let text = command.engine(Engine::Copied).plan().unwrap().to_string();
    assert!(!text.lines().next().unwrap().contains("VM"), "{text}");
    golden("groups-copied", &command);
    let mut shared = Command::new("/bin/true");
    shared.env_clear().chroot("/srv/jail").current_dir("/tmp");
    golden("chroot-shared", &shared);
    let null = File::open("/dev/null").unwrap();
    let mut with_fd = Command::new("/bin/true");
    with_fd.env_clear().memory(Memory::Private).current_dir_fd(null);
    golden("isolated", &with_fd);
}

#[test]
fn ids_may_differ_and_a_mask_may_be_added() {
    let mut apart = command("/bin/true");
    apart.resuid(1, 2, 3).resgid(4, 4, 5).groups([6]);
    golden("ids-apart", &apart);
    golden("umask-or", command("/bin/true").umask_or(0o027));
}

#[test]
fn capabilities_are_kept_through_a_change_of_user() {
    let mut all = command("/bin/true");
    all.uid(65534).gid(65534);
    all.ambient_capabilities(CapabilitySet::NET_BIND_SERVICE);
    all.bounding_capabilities(CapabilitySet::NET_BIND_SERVICE);
    all.securebits(Securebits::NO_CAP_AMBIENT_RAISE);
    golden("capabilities", &all);
}

#[test]
fn no_new_privs_is_read_back() {
    let mut command = command("/bin/true");
    golden("no-new-privs", command.no_new_privs(true));
}

#[test]
fn a_child_waits_at_the_gate_after_its_ids_are_set() {
    let mut command = Command::new("/bin/true");
    command.env_clear().uid(1000).before_exec(|_, _| Ok(()));
    golden("gate", &command);
    golden("gate-copied", command.engine(Engine::Copied));
}

#[allow(unsafe_code, reason = "hooks that do nothing")]
#[test]
fn hooks_keep_descriptors_open_until_exec() {
    let mut command = Command::new("/bin/true");
    command.env_clear().stdin(Stdio::null());
    let mut shared = command.clone();
    // SAFETY: the hook does nothing.
    unsafe { command.pre_exec(|_| Ok(())) };
    golden("hook", &command);
    // SAFETY: the hook does nothing.
    unsafe { shared.pre_exec_shared(|_| Ok(())) };
    golden("hook-shared", &shared);
}

#[test]
fn a_cgroup_is_entered_by_clone3_or_joined() {
    let mut command = Command::new("/bin/true");
    command.env_clear().cgroup("/sys/fs/cgroup/x").set_tid([7]);
    golden("cgroup", &command);
    command.set_tid([]).method(Method::Vfork);
    golden("cgroup-joined", &command);
    let mut command = Command::new("/bin/true");
    command.env_clear().own_cgroup("/sys/fs/cgroup/x");
    golden("cgroup-own", &command);
}

#[test]
fn a_detached_program_has_another_parent_and_a_session() {
    let mut daemon = command("/bin/true");
    daemon.stdin(Stdio::null()).cgroup("/sys/fs/cgroup/x");
    golden_plan("detached", &daemon.detach_plan().unwrap());
}

#[test]
fn a_sibling_is_cloned_for_the_parent() {
    let mut job = command("/bin/true");
    golden_plan("sibling", &job.sibling_plan().unwrap());
    job.engine(Engine::Copied).current_dir("/");
    golden_plan("sibling-copied", &job.sibling_plan().unwrap());
}

#[test]
fn the_kernel_reaps_and_kills_by_flags_of_the_clone() {
    let mut program = command("/bin/true");
    golden("autoreap", program.autoreap(true));
    program.autokill(true).no_new_privs(true);
    golden("autokill", &program);
}

#[test]
fn descriptors_are_moved_in_an_order_that_overwrites_none() {
    let mut command = Command::new("/bin/true");
    command.env_clear();
    let map = [(1, 2), (2, 1), (0, 0), (9, 1), (5, 5)];
    util::raw_fds(&mut command, &map);
    golden("fds", &command);
    command.engine(Engine::Copied).inherit_unlisted_fds(true);
    golden("fds-unlisted", &command);
}

#[test]
fn a_file_is_opened_by_the_child_after_its_directory_is_set() {
    let mut log = ChildOpenOptions::new();
    log.append(true).create(true);
    let mut all = command("/bin/server");
    all.chroot("/jail").current_dir("/srv").umask(0o027);
    all.open_in_child(2, "log", &log).nonblocking(0, false);
    golden("opened", &all);
    let mut shared = command("/bin/server");
    shared.open_in_child(7, "log", &log).nonblocking(7, true);
    golden("opened-shared", &shared);
}

#[test]
fn a_raw_call_is_made_before_hooks() {
    let mut all = command("/bin/server");
    let slack = [RawArg::from(29u64), RawArg::from(70_000)];
    // SAFETY: a plan makes no call.
    unsafe { all.raw_syscall("slack", libc::SYS_prctl, slack) };
    // SAFETY: as above.
    unsafe { all.raw_syscall_shared("setsid", libc::SYS_setsid, []) };
    golden("raw", &all);
}

#[test]
fn a_directory_or_a_program_may_be_a_descriptor() {
    let null = || File::open("/dev/null").unwrap();
    let mut command = Command::new("/bin/true");
    golden("directory-fd", command.env_clear().current_dir_fd(null()));
    let mut program = Command::from_fd(null());
    golden("from-fd", program.env_clear().arg0("it"));
    let mut bytes = Command::from_bytes("#!/bin/sh\n");
    golden("from-bytes", bytes.env_clear().script_fd(5));
}

#[test]
fn a_socket_is_passed_with_the_childs_own_id() {
    let mut command = Command::new("/bin/true");
    let null = File::open("/dev/null").unwrap();
    // Descriptor 3 would not be moved.
    let null = rustix::io::fcntl_dupfd_cloexec(null, 20).unwrap();
    golden("listen", command.env_clear().listen_fds_named([("a", null)]));
}

#[test]
fn filters_are_installed_last() {
    let mut command = Command::new("/bin/true");
    let allow = (6u16, 0u8, 0u8, 0x7FFF_0000u32);
    command.env_clear().memory(Memory::Private).no_new_privs(true);
    golden("seccomp", command.seccomp([allow]).seccomp([allow, allow]));
    let mut listens = Command::new("/bin/true");
    listens
        .env_clear()
        .no_new_privs(true)
        .seccomp([allow])
        .seccomp_with_listener([allow]);
    golden("seccomp-listener", &listens);
}

/// The README shows what `cargo run --example explain` prints.
#[test]
fn the_readme_shows_the_plan_that_its_example_prints() {
    let mut tar = command("tar");
    tar.arg("-x").current_dir("/srv");
    tar.stdin(Stdio::null()).stdout(Stdio::piped());
    let root = util::source::root();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let block = readme.split("```text\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let shown: Vec<&str> = block.lines().map(str::trim).collect();
    let plan = tar.plan().unwrap().to_string();
    let want: Vec<&str> = plan.lines().map(str::trim).collect();
    assert_eq!(shown[..want.len()], want);
}
