//! Identity: user, group and supplementary groups are set in private memory
//! only and read back, and the parent's state does not change.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io::{Read, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, fs};

use offshoot::{Command, Engine, Groups, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::filter::{self, Action};
use util::fork::{exit, fork, reap};
use util::{
    PRIVATE, alone, dumpable, each_of, is_root, limit, report, reporter_with,
    scratch,
};

const NOBODY: u32 = 65534;

fn may_change_ids(test: &str) -> bool {
    let root = is_root();
    if !root {
        util::skip(test, "only root has other ids to change to");
    }
    root
}

/// A copy of the reporter that every user can run.
fn reporter_for_all(engine: Engine) -> Command {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    let path = COPY.get_or_init(|| {
        let path = scratch("identity").join("reporter");
        fs::copy(env::current_exe().unwrap(), &path).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path
    });
    let mut command = Command::new(path);
    command.arg(util::reporter::ASK).arg("-").engine(engine);
    command
}

#[test]
fn ids_and_groups_are_set_and_the_parent_stays_dumpable() {
    let _alone = alone();
    let name = "ids_and_groups_are_set_and_the_parent_stays_dumpable";
    if !may_change_ids(name) {
        return;
    }
    each_of(&PRIVATE, |engine| {
        assert_eq!(dumpable(), 1);
        let mut child = reporter_for_all(engine);
        // The kernel keeps a group that is there twice, in ascending order.
        let seen = report(child.uid(NOBODY).gid(7).groups([9, 3, 9]));
        assert_eq!(seen.one("Uid"), "65534\t65534\t65534\t65534");
        assert_eq!(seen.one("Gid"), "7\t7\t7\t7");
        assert_eq!(seen.one("Groups"), "3 9 9");
        let seen = report(reporter_for_all(engine).gid(8));
        assert_eq!(seen.one("Uid"), "0\t0\t0\t0");
        assert_eq!(seen.one("Gid"), "8\t8\t8\t8");
        assert_eq!(dumpable(), 1);
    });
}

/// A root parent with supplementary groups: they are dropped when ids change,
/// unless `Groups::keep` is set.
#[test]
fn supplementary_groups_are_dropped_with_the_ids_unless_kept() {
    let _alone = alone();
    let name = "supplementary_groups_are_dropped_with_the_ids_unless_kept";
    if !may_change_ids(name) || !util::inside(name, &[]) {
        return;
    }
    let own = [4, 27, 1000];
    // SAFETY: reads three numbers.
    assert_eq!(unsafe { libc::setgroups(3, own.as_ptr()) }, 0);
    each_of(&PRIVATE, |engine| {
        let groups = |command: &mut Command| {
            let seen = report(command);
            seen.one("Groups").to_string()
        };
        assert_eq!(groups(&mut reporter_for_all(engine)), "4 27 1000");
        assert_eq!(groups(reporter_for_all(engine).uid(NOBODY)), "");
        assert_eq!(groups(reporter_for_all(engine).gid(NOBODY)), "");
        // Dropped for the same user too, as root may drop them.
        assert_eq!(groups(reporter_for_all(engine).uid(0)), "");
        let mut kept = reporter_for_all(engine);
        kept.uid(NOBODY).groups(Groups::keep());
        assert_eq!(groups(&mut kept), "4 27 1000");
        assert_eq!(
            groups(reporter_for_all(engine).groups(Groups::clear())),
            ""
        );
        let many: Vec<u32> = (1000..1100).collect();
        let seen =
            groups(reporter_for_all(engine).uid(1).groups(many.as_slice()));
        assert_eq!(seen.split(' ').count(), 100);
    });
}

/// Podman's keep-id: ids in the namespace are ordered differently from the
/// kernel's ids, by which the kernel sorts groups.
#[test]
fn groups_are_compared_as_a_set_when_an_id_map_reorders_them() {
    let name = "groups_are_compared_as_a_set_when_an_id_map_reorders_them";
    let _alone = alone();
    if !may_change_ids(name) || !util::inside(name, &[]) {
        return;
    }
    drop(reporter_for_all(Engine::Copied));
    let [(asked, ask), (allowed, allow)] = [(); 2].map(|()| pipe().unwrap());
    let pid = fork();
    if pid == 0 {
        // SAFETY: changes the child only, which has one thread.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0;
        drop((ask, allow));
        // Waits until the parent has written the maps, or has ended.
        let _ = (&allowed).read(&mut [0]);
        // SAFETY: as above.
        let ids = [unsafe { libc::setgid(0) }, unsafe { libc::setuid(0) }];
        let test = || std::panic::catch_unwind(groups_of_another_order);
        exit(match unshared && ids == [0; 2] {
            true => i32::from(test().is_err()),
            false => 77,
        });
    }
    drop(ask);
    // The end of the pipe means that the namespace exists, or failed.
    let _ = (&asked).read(&mut [0]);
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{map}");
        let _ = std::fs::write(path, "0 100000 1000\n1000 1000 1\n");
    }
    drop(allow);
    let status = reap(pid);
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 77 {
        return util::skip(name, "user namespaces are not to be had");
    }
    assert_eq!(status, 0);
}

fn groups_of_another_order() {
    let mut many: Vec<u32> = (900..931).collect();
    many.push(1000);
    let lists: [&[u32]; 6] =
        [&[27, 1000], &[1000, 27], &[1000], &[5, 5, 7, 1000], &many, &[]];
    for list in lists {
        each_of(&PRIVATE, |engine| {
            let seen = report(reporter_for_all(engine).groups(list));
            let mut seen: Vec<u32> = seen
                .one("Groups")
                .split_whitespace()
                .map(|word| word.parse().unwrap())
                .collect();
            if list == [27, 1000] {
                assert_eq!(seen, [1000, 27], "the kernel's order");
            }
            let mut want = list.to_vec();
            seen.sort_unstable();
            want.sort_unstable();
            assert_eq!(seen, want, "{engine}");
        });
    }
}

/// What an unprivileged user may do: set its own ids.
fn as_user() {
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::getuid() };
    assert_ne!(own, 0);
    each_of(&PRIVATE, |engine| {
        let seen = report(reporter_with(engine).uid(own));
        let want = format!("{own}\t{own}\t{own}\t{own}");
        assert_eq!(seen.one("Uid"), want);
        let mut other = command("/bin/true", engine);
        other.uid(own + 1);
        let error = clean(spawn(other));
        assert_error(&error, Step::Setgroups, Some("[]"), libc::EPERM);
        let mut kept = command("/bin/true", engine);
        kept.uid(own + 1).groups(Groups::keep());
        let error = clean(spawn(kept));
        let next = (own + 1).to_string();
        assert_error(&error, Step::Setresuid, Some(&next), libc::EPERM);
        let mut group = command("/bin/true", engine);
        group.gid(0).groups(Groups::keep());
        let error = clean(spawn(group));
        assert_error(&error, Step::Setresgid, Some("0"), libc::EPERM);
        let mut list = command("/bin/true", engine);
        list.groups([5, 6]);
        let error = clean(spawn(list));
        assert_error(&error, Step::Setgroups, Some("[5, 6]"), libc::EPERM);
    });
}

#[test]
fn an_unprivileged_user_may_set_only_its_own_ids() {
    let _alone = alone();
    let name = "an_unprivileged_user_may_set_only_its_own_ids";
    if !is_root() {
        return as_user();
    }
    let user = std::process::Command::new("setpriv")
        .args(["--reuid", "1", "--clear-groups", "true"])
        .output();
    if !user.is_ok_and(|output| output.status.success()) {
        return util::skip(name, "no setpriv of util-linux");
    }
    // The directory of the test binary may be readable by root only.
    let path = reporter_for_all(Engine::Copied);
    let path = path.get_program().to_owned();
    let id = NOBODY.to_string();
    let status = std::process::Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(path)
        .args(["--exact", name, "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && text.contains("1 passed"), "{text}");
}

/// A filter gives each call no effect.
#[test]
fn a_change_of_ids_without_effect_is_detected() {
    let _alone = alone();
    if !may_change_ids("a_change_of_ids_without_effect_is_detected") {
        return;
    }
    let calls = [
        (libc::SYS_setgroups, Step::Setgroups),
        (libc::SYS_setresgid, Step::Setresgid),
        (libc::SYS_setresuid, Step::Setresuid),
    ];
    each_of(&PRIVATE, |engine| {
        for (nr, step) in calls {
            for errno in [0, libc::EPERM, libc::ENOSYS] {
                let mut command = command("/bin/true", engine);
                command.uid(1).gid(2).groups([3]);
                let action = Action::errno(errno);
                let pretend = || filter::with(nr, action, spawn(command));
                let error = clean(pretend);
                assert_eq!(error.step(), step, "{error}");
                let os = (errno != 0).then_some(errno);
                assert_eq!(error.raw_os_error(), os, "{error}");
            }
        }
    });
}

/// As many groups as before: the count alone would not detect it.
#[test]
fn setgroups_without_effect_on_a_long_list_is_detected() {
    let _alone = alone();
    let name = "setgroups_without_effect_on_a_long_list_is_detected";
    if !may_change_ids(name) || !util::inside(name, &[]) {
        return;
    }
    let own: Vec<u32> = (100..140).collect();
    // SAFETY: reads so many numbers.
    let done = unsafe { libc::setgroups(own.len(), own.as_ptr()) };
    assert_eq!(done, 0);
    each_of(&PRIVATE, |engine| {
        for (own, others) in [(40, 200..240), (40, 0..0)] {
            let others: Vec<u32> = others.collect();
            let mut command = command("/bin/true", engine);
            command.groups(others.as_slice());
            let action = Action::Errno(0);
            let pretend =
                || filter::with(libc::SYS_setgroups, action, spawn(command));
            let error = clean(pretend);
            assert_eq!(error.step(), Step::Setgroups, "{error}");
            assert!(error.to_string().contains(&format!("{own}")), "{error}");
        }
    });
}

/// The process limit of the user that the child becomes.
#[test]
fn rlimit_nproc_of_the_new_user_is_an_error_at_exec() {
    let _alone = alone();
    let name = "rlimit_nproc_of_the_new_user_is_an_error_at_exec";
    if !may_change_ids(name) || !util::inside(name, &[]) {
        return;
    }
    limit(libc::RLIMIT_NPROC, 0, 0);
    each_of(&PRIVATE, |engine| {
        let mut first = command("/bin/sleep", engine);
        let mut first = first.arg("60").uid(4711).spawn().unwrap();
        let mut second = command("/bin/true", engine);
        let error = second.uid(4711).spawn().map(drop).unwrap_err();
        assert_error(&error, Step::Exec, Some("/bin/true"), libc::EAGAIN);
        first.kill().unwrap();
        first.wait().unwrap();
    });
}
