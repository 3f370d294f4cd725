//! Users by name, ids apart, and masks that are added to.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;
use std::process::Command as Std;

use offshoot::{Command, Groups, Step};
use util::clean::refused;
use util::filter::{self, Action};
use util::{PRIVATE, each_engine, each_of, report, reporter_with};

/// The output of `id`, as numbers.
fn id(flag: &str, user: &str) -> Vec<u32> {
    let output = Std::new("id").args([flag, user]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|n| n.parse().unwrap()).collect()
}

fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace().map(|n| n.parse().unwrap()).collect()
}

#[test]
fn a_user_is_looked_up_with_its_primary_and_other_groups() {
    let name = "a_user_is_looked_up_with_its_primary_and_other_groups";
    if !util::is_root() {
        return util::skip(name, "only root may become another user");
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let names = passwd.lines().filter_map(|line| line.split(':').next());
    let mut looked = 0;
    for user in names.filter(|user| ["daemon", "nobody"].contains(user)) {
        looked += 1;
        let (uid, gid) = (id("-u", user)[0], id("-g", user)[0]);
        let mut groups = id("-G", user);
        groups.sort_unstable();
        each_of(&PRIVATE, |engine| {
            let seen = report(reporter_with(engine).user(user));
            assert_eq!(numbers(seen.one("Uid")), [uid; 4]);
            assert_eq!(numbers(seen.one("Gid")), [gid; 4]);
            let mut own = numbers(seen.one("Groups"));
            own.sort_unstable();
            assert_eq!(own, groups, "{user}");
            assert!(own.contains(&gid), "the primary group is one of them");
            let mut reporter = reporter_with(engine);
            reporter.user(user).gid(12).groups(Groups::clear());
            let seen = report(&mut reporter);
            assert_eq!(numbers(seen.one("Uid")), [uid; 4]);
            assert_eq!(numbers(seen.one("Gid")), [12; 4]);
            assert_eq!(seen.one("Groups"), "");
        });
    }
    assert_eq!(looked, 2, "{passwd}");
}

#[test]
fn an_unknown_user_is_refused_by_name() {
    let of =
        |user: &str| Command::new("/bin/true").user(user).plan().unwrap_err();
    let nobody = "no-such-user-4711";
    refused(&of(nobody), Step::User, Some(nobody), "there is no such user");
    refused(&of(""), Step::User, Some(""), "empty");
    refused(&of("a\0b"), Step::User, Some("a\0b"), "NUL");
}

/// execve sets the saved id to the effective one.
#[test]
fn real_and_effective_ids_may_differ() {
    let name = "real_and_effective_ids_may_differ";
    if !util::is_root() {
        return util::skip(name, "only root may have other ids");
    }
    // Where real and effective ids differ, /proc/self belongs to root but for
    // its status.
    let line = |status: &str, key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        numbers(line.unwrap())
    };
    let cat = |engine| {
        let mut cat = util::clean::command("cat", engine);
        cat.arg("/proc/self/status");
        cat
    };
    each_of(&PRIVATE, |engine| {
        let output = cat(engine).resuid(5, 6, 7).resgid(8, 9, 10).output();
        let status = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(line(&status, "Uid:"), [5, 6, 6, 6], "{engine}");
        assert_eq!(line(&status, "Gid:"), [8, 9, 9, 9], "{engine}");
        assert_eq!(line(&status, "Groups:"), [0u32; 0]);
        // The effective user decides which groups are dropped.
        let output = cat(engine).resuid(5, 0, 5).groups([3, 4]).output();
        let status = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(line(&status, "Uid:"), [5, 0, 0, 0], "{engine}");
        assert_eq!(line(&status, "Groups:"), [3, 4]);
    });
}

#[test]
fn ids_apart_without_effect_are_detected() {
    let name = "ids_apart_without_effect_are_detected";
    if !util::is_root() {
        return util::skip(name, "only root may have other ids");
    }
    each_of(&PRIVATE, |engine| {
        for (nr, step) in [
            (libc::SYS_setresuid, Step::Setresuid),
            (libc::SYS_setresgid, Step::Setresgid),
        ] {
            let error = filter::with(nr, Action::Errno(0), || {
                let mut least = util::clean::command("/bin/true", engine);
                // Only one of the three differs.
                least.resuid(0, 0, 1).resgid(0, 1, 0);
                least.spawn().unwrap_err()
            });
            assert_eq!(error.step(), step, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        }
    });
}

#[test]
fn umask_or_adds_to_the_inherited_mask() {
    each_engine(|engine| {
        let own = report(&mut reporter_with(engine));
        let own = u32::from_str_radix(own.one("Umask"), 8).unwrap();
        for mask in [0, 0o002, 0o027, 0o777] {
            let seen = report(reporter_with(engine).umask_or(mask));
            let seen = u32::from_str_radix(seen.one("Umask"), 8).unwrap();
            assert_eq!(seen, own | mask, "{mask:o}");
        }
        let after = report(&mut reporter_with(engine));
        assert_eq!(u32::from_str_radix(after.one("Umask"), 8).unwrap(), own);
    });
}

type Set = fn(&mut Command) -> &mut Command;

/// exec clears the signal (AT_SECURE), so that nothing would be sent.
#[test]
fn a_parent_death_signal_beside_ids_apart_is_refused() {
    let all: [(Set, &str); 4] = [
        (|it| it.resuid(1, 2, 2), "resuid"),
        (|it| it.resgid(1, 2, 1), "resgid"),
        (|it| it.uid(1).resgid(2, 1, 1), "resgid"),
        (|it| it.resuid(1, 2, 2).gid(1), "resuid"),
    ];
    for (set, option) in all {
        let mut thread = Command::new("/bin/true");
        let error = set(thread.parent_death_signal(9)).plan().unwrap_err();
        let why = "exec clears the signal";
        refused(&error, Step::ParentDeathSignal, Some(option), why);
        let mut process = Command::new("/bin/true");
        let error = set(process.die_with_parent()).plan().unwrap_err();
        refused(&error, Step::DieWithParent, Some(option), why);
    }
    let mut same = Command::new("/bin/true");
    same.resuid(1, 1, 2).resgid(2, 2, 1).parent_death_signal(9);
    assert!(same.plan().is_ok());
}

/// What a caller with ids apart passes on.
#[test]
fn a_caller_with_ids_apart_keeps_neither_signal_nor_groups() {
    let name = "a_caller_with_ids_apart_keeps_neither_signal_nor_groups";
    if !util::is_root() {
        return util::skip(name, "only root may have other ids");
    }
    if !util::inside(name, &[]) {
        return;
    }
    let groups = [3u32, 5];
    // SAFETY: reads two ids; the process is the test's own.
    assert_eq!(unsafe { libc::setgroups(2, groups.as_ptr()) }, 0);
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::setresuid(0, 65534, 0) }, 0);
    let mut signal = Command::new("/bin/true");
    let error = signal.parent_death_signal(9).plan().unwrap_err();
    let why = "exec clears the signal";
    refused(&error, Step::ParentDeathSignal, Some("resuid"), why);
    assert!(signal.uid(65534).plan().is_ok());
    each_of(&PRIVATE, |engine| {
        // Its effective user stays, and the others change: with the groups of
        // root's, it would be more than that user.
        let mut least = util::clean::command("/bin/true", engine);
        let error = least.uid(65534).spawn().map(drop).unwrap_err();
        assert_eq!(error.step(), Step::Setgroups, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(error.to_string().contains("drops all groups"), "{error}");
        let mut keeps = util::clean::command("id", engine);
        keeps.arg("-G").groups(Groups::keep()).uid(65534);
        let output = keeps.output().unwrap();
        assert_eq!(output.stdout, b"0 3 5\n", "{engine}");
    });
}

#[test]
fn invalid_ids_and_masks_are_refused_by_name() {
    let all: &[(Set, Step, &str, &str)] = &[
        (|it| it.uid(1).resuid(1, 1, 1), Step::Resuid, "resuid", "`uid`"),
        (|it| it.gid(1).resgid(1, 1, 1), Step::Resgid, "resgid", "`gid`"),
        (|it| it.uid(1).user("nobody"), Step::User, "user", "`uid`"),
        (
            |it| it.resuid(1, 1, 1).user("nobody"),
            Step::User,
            "user",
            "`resuid`",
        ),
        (
            |it| it.resuid(1, u32::MAX, 1),
            Step::Resuid,
            "4294967295",
            "no change",
        ),
        (
            |it| it.resgid(1, 1, u32::MAX),
            Step::Resgid,
            "4294967295",
            "no change",
        ),
        (|it| it.umask_or(0o1000), Step::Umask, "0o1000", "nine bits"),
        (|it| it.umask(0).umask_or(0), Step::Umask, "umask_or", "`umask`"),
    ];
    for (set, step, operand, why) in all {
        let mut least = Command::new("/bin/true");
        let error = set(&mut least).plan().unwrap_err();
        refused(&error, *step, Some(operand), why);
    }
}
