//! Siblings where `/proc` does not show them: it is that of another PID
//! namespace, or there is none.

use offshoot::Step;

use crate::helper::{
    MAKING, command, exited, in_own_pids, kill, sleeper, with_helper,
};
use crate::util::filter::{self, Action};
use crate::util::{inside, is_root, skip};

/// Processes with the same ids in the outer namespace are others.
#[test]
fn a_sibling_is_not_looked_for_in_the_proc_of_another_pid_namespace() {
    let name = "proc::a_sibling_is_not_looked_for_in_the_proc_of_another_pid_namespace";
    if !is_root() {
        return skip(name, "takes root, for a PID namespace alone");
    }
    let wrap = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c"];
    let mut wrap = wrap.to_vec();
    wrap.extend(["\"$@\"; exit $?", "sh"]);
    if !inside(name, &wrap) {
        return;
    }
    const TIMES: usize = 10;
    for engine in MAKING {
        let others = with_helper(|| {
            filter::with(libc::SYS_execve, Action::Kill, || {
                for _ in 0..TIMES {
                    match command(engine, "/bin/true").spawn_sibling() {
                        Ok(it) => assert!(!it.launch().confirmed()),
                        Err(it) => assert_eq!(it.step(), Step::Exec, "{it}"),
                    }
                }
            });
        });
        let died = |status: &i32| *status & 0x7f == libc::SIGSYS;
        assert!(others.len() == TIMES && others.iter().all(died), "{engine}");
        let others = with_helper(|| {
            let program = sleeper(engine).spawn_sibling().unwrap();
            assert!(
                program.launch().confirmed(),
                "{engine}: {}",
                program.launch()
            );
            kill(&program);
        });
        assert_eq!(others, [libc::SIGKILL], "{engine}");
    }
}

/// Whether this process has no `/proc`.
fn in_no_proc(test: &str) -> bool {
    if !is_root() {
        skip(test, "takes root, to unmount /proc");
        return false;
    }
    if !in_own_pids(test) {
        return false;
    }
    let proc = c"/proc".as_ptr();
    // SAFETY: unmounts from this process's own mount namespace.
    while unsafe { libc::umount2(proc, libc::MNT_DETACH) } == 0 {}
    assert!(!std::fs::exists("/proc/self").unwrap());
    true
}

#[test]
fn a_sibling_of_which_nothing_tells_is_not_waited_for() {
    let name = "proc::a_sibling_of_which_nothing_tells_is_not_waited_for";
    if !in_no_proc(name) {
        return;
    }
    let second = libc::FUTEX_TRYLOCK_PI.unsigned_abs();
    for engine in MAKING {
        let others = with_helper(|| {
            filter::without_second(libc::SYS_futex, second, || {
                let program = sleeper(engine).spawn_sibling().unwrap();
                assert!(!program.launch().confirmed());
                kill(&program);
            });
        });
        assert_eq!(others, [libc::SIGKILL], "{engine}");
    }
}

/// Descriptors cannot be listed instead.
#[test]
fn close_range_is_kept_under_a_filter_where_there_is_no_proc() {
    let name =
        "proc::close_range_is_kept_under_a_filter_where_there_is_no_proc";
    if !in_no_proc(name) {
        return;
    }
    for engine in MAKING {
        let others = with_helper(|| {
            filter::with(libc::SYS_acct, Action::errno(libc::EPERM), || {
                command(engine, "true").spawn_sibling().unwrap();
            });
        });
        assert_eq!(others, [exited(0)], "{engine}");
    }
}
