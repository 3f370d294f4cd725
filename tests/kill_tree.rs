//! Killing a tree of processes: what is found without a control group, and
//! what is not.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[path = "kill_tree/bomb.rs"]
mod bomb;
#[path = "kill_tree/tree.rs"]
mod tree;
mod util;

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use offshoot::{PidFd, Step, TreeKill, child_subreaper, set_child_subreaper};
use tree::{MANY, Tree, sh};
use util::clean::assert_error;
use util::{alone, each_engine, has_children, inside, limit_with, own_pids};

/// Processes of the group whose parents have ended.
const ORPHANS: &str = "(sleep 1000 & (sleep 1000 & echo 1)); wait";

#[test]
fn a_tree_is_killed_whatever_its_members_do() {
    let name = "a_tree_is_killed_whatever_its_members_do";
    if !inside(name, &own_pids()) {
        return;
    }
    each_engine(|engine| {
        let descriptors = util::State::now();
        for group in [false, true] {
            let mut command = sh(MANY);
            if group {
                command.process_group(0);
            }
            let (mut tree, _) = Tree::start(command.engine(engine), 4);
            tree.kill(TreeKill::BestEffort);
        }
        let mut command = sh(&format!("({ORPHANS}); {MANY}"));
        command.engine(engine).setsid(true);
        let (mut tree, _) = Tree::start(&mut command, 5);
        tree.kill(TreeKill::BestEffort);
        drop(tree);
        // As an init this process has become the parent of all.
        if std::process::id() == 1 {
            reap_orphans();
        }
        assert!(!has_children());
        assert_eq!(util::State::now(), descriptors);
    });
}

/// Reaps the children that came to this init before the tree was killed.
fn reap_orphans() {
    // SAFETY: no address; this process has no other child.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0
    {
    }
}

/// Also what it has found after the child has ended, but was not reaped.
#[test]
fn orphans_in_the_group_are_killed_after_the_childs_end() {
    let name = "orphans_in_the_group_are_killed_after_the_childs_end";
    if !inside(name, &own_pids()) {
        return;
    }
    let script = "(sleep 1000 & (sleep 1000 & echo 1))";
    let (mut tree, _) = Tree::start(sh(script).process_group(0), 1);
    while !ended(tree.child.id()) {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!tree.is_gone());
    let kill = tree.child.kill_tree().unwrap();
    assert_eq!(kill, TreeKill::BestEffort);
    assert!(tree.is_gone());
    assert_eq!(tree.child.wait().unwrap().code(), Some(0));
    // Reaped before: the group only, by the pidfd.
    let (mut tree, _) = Tree::start(sh(script).process_group(0), 1);
    assert_eq!(tree.child.wait().unwrap().code(), Some(0));
    let by_pidfd = tree.child.signal_group(libc::SIGCONT).is_ok();
    for _ in 0..2 {
        let kill = tree.child.kill_tree().unwrap();
        assert_eq!(kill, TreeKill::BestEffort);
    }
    if by_pidfd {
        let mut rest = Vec::new();
        tree.out.read_to_end(&mut rest).unwrap();
    }
}

fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.contains(") Z ")
}

#[test]
fn a_fork_bomb_ends_as_a_whole() {
    let name = "a_fork_bomb_ends_as_a_whole";
    bomb::explode_if_asked();
    if !inside(name, &own_pids()) {
        return;
    }
    for group in [true, false] {
        let mut command = bomb::command(name);
        if group {
            command.process_group(0);
        }
        let (mut tree, _) = Tree::start(&mut command, 1);
        tree.kill(TreeKill::BestEffort);
    }
}

/// It has left its session, and its parent has ended.
#[test]
fn a_daemon_is_not_found_without_a_group_and_comes_to_a_subreaper() {
    let name =
        "a_daemon_is_not_found_without_a_group_and_comes_to_a_subreaper";
    if !inside(name, &own_pids()) {
        return;
    }
    assert!(!child_subreaper());
    set_child_subreaper(true).unwrap();
    assert!(child_subreaper());
    let script = "setsid sh -c 'sleep 1000 & echo $!'; echo; sleep 1000";
    // The second line comes after the daemon's parent has been reaped.
    let (mut tree, lines) = Tree::start(&mut sh(script), 2);
    let daemon: u32 = lines[0].parse().unwrap();
    let pidfd = PidFd::open(daemon).unwrap();
    assert_eq!(tree.child.kill_tree().unwrap(), TreeKill::BestEffort);
    assert!(!tree.is_gone());
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    let parent = format!("PPid:\t{}\n", std::process::id());
    assert!(status.contains(&parent), "{status}");
    pidfd.signal(libc::SIGKILL).unwrap();
    assert_eq!(pidfd.wait().unwrap().signal(), Some(9));
    assert!(tree.is_gone() && !has_children());
    // What it adopts while it kills, it reaps.
    let (mut tree, _) = Tree::start(&mut sh(MANY), 4);
    tree.kill(TreeKill::BestEffort);
    assert!(!has_children());
    set_child_subreaper(false).unwrap();
    assert!(!child_subreaper());
}

/// It has a status of its own to be waited for.
#[test]
fn a_child_in_the_group_of_another_is_killed_and_not_reaped() {
    let name = "a_child_in_the_group_of_another_is_killed_and_not_reaped";
    if !inside(name, &own_pids()) {
        return;
    }
    let mut first = sh("sleep 1000");
    let mut first = first.process_group(0).spawn().unwrap();
    let mut second = sh("sleep 1000");
    second.process_group(first.process_group().unwrap());
    let mut second = second.spawn().unwrap();
    assert_eq!(first.kill_tree().unwrap(), TreeKill::BestEffort);
    assert_eq!(second.wait().unwrap().signal(), Some(9));
}

/// A second call, a call after the end, and calls of two threads.
#[test]
fn a_tree_can_be_killed_twice_and_from_any_thread() {
    let name = "a_tree_can_be_killed_twice_and_from_any_thread";
    if !inside(name, &own_pids()) {
        return;
    }
    let (mut tree, _) = Tree::start(&mut sh(MANY), 4);
    let processes = [tree.child.process(), tree.child.process()];
    thread::scope(|scope| {
        for process in &processes {
            scope.spawn(|| process.kill_tree().unwrap());
        }
        assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
    });
    // One of the two may still have been at work when `wait` returned.
    for _ in 0..2 {
        assert_eq!(tree.child.kill_tree().unwrap(), TreeKill::BestEffort);
    }
    let mut child = sh("exit 7").spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(child.kill_tree().unwrap(), TreeKill::BestEffort);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_tree_is_killed_amid_periodic_signals() {
    let name = "a_tree_is_killed_amid_periodic_signals";
    bomb::explode_if_asked();
    if !inside(name, &own_pids()) {
        return;
    }
    bomb::ticks(5000, || {
        let (mut tree, _) = Tree::start(&mut bomb::command(name), 1);
        tree.kill(TreeKill::BestEffort);
    });
}

/// Without a free descriptor `/proc` cannot be read, but the group is killed.
#[test]
fn without_descriptors_the_group_is_killed_and_the_error_says_so() {
    let name = "without_descriptors_the_group_is_killed_and_the_error_says_so";
    if !inside(name, &own_pids()) {
        return;
    }
    let script = "sleep 1000 & echo 1; wait";
    let (mut tree, _) = Tree::start(sh(script).process_group(0), 1);
    let (soft, hard) = descriptor_limit();
    util::limit(libc::RLIMIT_NOFILE, limit_with(0), hard);
    let killed = tree.child.kill_tree();
    util::limit(libc::RLIMIT_NOFILE, soft, hard);
    let error = killed.unwrap_err();
    assert_error(&error, Step::Kill, None, libc::EMFILE);
    assert!(error.to_string().contains("the group"), "{error}");
    let mut rest = Vec::new();
    tree.out.read_to_end(&mut rest).unwrap();
    assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
}

/// Its numbers would name other processes.
#[test]
fn a_proc_of_another_namespace_is_not_used() {
    let name = "a_proc_of_another_namespace_is_not_used";
    let mut wrap = own_pids();
    if wrap.is_empty() {
        return util::skip(name, "no PID namespaces");
    }
    wrap.retain(|word| *word != "--mount-proc");
    if !inside(name, &wrap) {
        return;
    }
    let _alone = alone();
    let (mut tree, _) = Tree::start(sh("echo 1; sleep 1000").setsid(true), 1);
    let error = tree.child.kill_tree().unwrap_err();
    assert_error(&error, Step::Kill, None, libc::ENOENT);
    assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
}

/// Of a child that is not dumpable `/proc` shows nothing to an ordinary user
/// then; other users' processes are there too.
#[test]
fn a_child_that_proc_hides_is_killed_with_its_children() {
    let name = "a_child_that_proc_hides_is_killed_with_its_children";
    if !util::is_root() && !util::is_inside(name) {
        return util::skip(name, "only root may hide processes");
    }
    for hide in ["hidepid=1", "hidepid=2"] {
        let script = format!(
            "mount -t proc proc /proc -o {hide} || exit; sleep 1000 & \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\""
        );
        let mut wrap = own_pids();
        wrap.extend(["sh", "-c", &script]);
        if inside(name, &wrap) {
            return hidden_child();
        }
    }
}

fn hidden_child() {
    // A program that may not be read makes its process not dumpable.
    let program = util::scratch("hidden").join("sh");
    fs::copy("/bin/sh", &program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o111);
    fs::set_permissions(&program, mode).unwrap();
    let mut command = offshoot::Command::new(program);
    // Nor is it the leader of their group.
    command.args(["-c", "sleep 1000 & echo 1; wait"]);
    let (mut tree, _) = Tree::start(&mut command, 1);
    let path = format!("/proc/{}/stat", tree.child.id());
    assert!(fs::read(path).is_err());
    tree.kill(TreeKill::BestEffort);
}

/// Its end is not waited for: without the skip that takes thirty seconds.
#[test]
fn a_process_that_may_not_be_signalled_is_not_waited_for() {
    let name = "a_process_that_may_not_be_signalled_is_not_waited_for";
    if !util::is_root() && !util::is_inside(name) {
        return util::skip(name, "only root may make its processes");
    }
    let script = "cp \"$(command -v setpriv)\" \"$TMPDIR/roots\" || exit
                  chmod 4755 \"$TMPDIR/roots\" || exit
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";
    let mut wrap = own_pids();
    wrap.extend(["sh", "-c", script]);
    if !inside(name, &wrap) {
        return;
    }
    let script = "sleep 1000 &
         \"$TMPDIR/roots\" --reuid 0 --clear-groups sleep 1000 & echo $!; wait";
    let (mut tree, lines) = Tree::start(&mut sh(script), 1);
    let status = format!("/proc/{}/status", lines[0]);
    while !fs::read_to_string(&status).unwrap().contains("Uid:\t0\t0") {
        thread::sleep(Duration::from_millis(1));
    }
    let started = std::time::Instant::now();
    let error = tree.child.kill_tree().unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(25));
    assert_error(&error, Step::Kill, Some(&lines[0]), libc::EPERM);
    assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
}

/// As the processes of a tree that belong to another user.
#[test]
fn a_child_that_may_not_be_signalled_is_named() {
    let name = "a_child_that_may_not_be_signalled_is_named";
    if !util::is_root() && !util::is_inside(name) {
        return util::skip(name, "only root may make its processes");
    }
    let script = "cp \"$(command -v setpriv)\" \"$TMPDIR/roots\" || exit
                  chmod 4755 \"$TMPDIR/roots\" || exit
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";
    let mut wrap = own_pids();
    wrap.extend(["sh", "-c", script]);
    if !inside(name, &wrap) {
        return;
    }
    let roots = std::env::temp_dir().join("roots");
    let mut sleep = offshoot::Command::new(roots);
    sleep.args(["--reuid", "0", "--clear-groups", "sleep", "1000"]);
    let mut sleep = sleep.spawn().unwrap();
    let id = sleep.id().to_string();
    let status = format!("/proc/{id}/status");
    while !fs::read_to_string(&status).unwrap().contains("Uid:\t0\t0") {
        thread::sleep(Duration::from_millis(1));
    }
    let error = sleep.kill_tree().unwrap_err();
    assert_error(&error, Step::Kill, Some(&id), libc::EPERM);
    assert_eq!(sleep.try_wait().unwrap(), None);
}

const HIDE: &str = "OFFSHOOT_HIDE";

extern "C" fn hide(_: libc::c_int) {
    // SAFETY: changes a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// Never returns in a process that is to hide itself once it is continued.
fn hide_if_asked() {
    if std::env::var_os(HIDE).is_none() {
        return;
    }
    let handler = hide as extern "C" fn(libc::c_int);
    // SAFETY: the handler makes one system call.
    unsafe { libc::signal(libc::SIGCONT, handler as usize) };
    let own = std::process::id();
    if util::fork::fork() == 0 {
        let how = libc::c_long::from(libc::CLONE_VFORK | libc::SIGCHLD);
        // It waits in the kernel for its child, and does not stop there.
        // SAFETY: a clone without memory or a stack of its own is a fork.
        if unsafe { libc::syscall(libc::SYS_clone, how, 0, 0, 0, 0) } == 0 {
            println!("\n{own}");
        }
    }
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}

/// Another process continues a member that was stopped.
#[test]
fn a_process_that_hides_itself_after_it_was_found_is_killed() {
    let name = "a_process_that_hides_itself_after_it_was_found_is_killed";
    hide_if_asked();
    if !util::is_root() && !util::is_inside(name) {
        return util::skip(name, "only root may hide processes");
    }
    let script = "mount -t proc proc /proc -o hidepid=1 || exit; sleep 1000 & \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";
    let mut wrap = own_pids();
    wrap.extend(["sh", "-c", script]);
    if !inside(name, &wrap) {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let script = "\"$0\" --exact \"$1\" --nocapture --test-threads=1 & wait";
    let mut sh = sh(script);
    sh.arg(exe).arg(name).env(HIDE, "1");
    // The harness writes three lines before.
    let (mut tree, lines) = Tree::start(&mut sh, 4);
    let member: u32 = lines.last().unwrap().parse().unwrap();
    let pidfd = PidFd::open(member).unwrap();
    let stat = format!("/proc/{member}/stat");
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                let stat = fs::read_to_string(&stat).unwrap_or_default();
                if stat.contains(") T ") {
                    pidfd.signal(libc::SIGCONT).unwrap();
                }
            }
        });
        let killed = tree.child.kill_tree();
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(killed.unwrap(), TreeKill::BestEffort);
    });
    assert!(fs::read(&stat).is_err());
    assert!(tree.is_gone());
}

/// The soft and the hard limit of descriptors.
fn descriptor_limit() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(got, 0);
    (limit.rlim_cur, limit.rlim_max)
}
