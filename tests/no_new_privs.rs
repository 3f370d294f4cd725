//! Tests of `no_new_privs`: set in the child, read back, never in the parent.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use offshoot::Step;
use util::clean::{clean, command, spawn};
use util::filter::{self, Action};
use util::{ENGINES, alone, each_engine, report, reporter_with};

fn own() -> i32 {
    // SAFETY: reads a flag of this thread.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }
}

#[test]
fn no_new_privs_is_set_in_the_child_only() {
    let before = own();
    each_engine(|engine| {
        let seen = report(reporter_with(engine).no_new_privs(true));
        assert_eq!(seen.one("NoNewPrivs"), "1");
        assert_eq!(own(), before);
        let mut off = reporter_with(engine);
        let seen = report(off.no_new_privs(true).no_new_privs(false));
        assert_eq!(seen.one("NoNewPrivs"), before.to_string());
    });
}

/// su and ping would otherwise get another user.
#[test]
fn a_set_user_id_program_keeps_the_user_of_its_caller() {
    let name = "a_set_user_id_program_keeps_the_user_of_its_caller";
    if !util::is_root() || own() == 1 {
        return util::skip(name, "only root makes a set-user-ID program");
    }
    let _alone = alone();
    let dir = util::scratch("set-user-id");
    let copy = dir.join("id");
    fs::copy("/usr/bin/id", &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let user = |no_new_privs| {
        let mut id = offshoot::Command::new(&copy);
        id.arg("-u").uid(65534).no_new_privs(no_new_privs);
        String::from_utf8(id.output().unwrap().stdout).unwrap()
    };
    if user(false) != "0\n" {
        return util::skip(name, "the file system is mounted with nosuid");
    }
    assert_eq!(user(true), "65534\n");
}

#[test]
fn a_no_new_privs_without_effect_is_detected() {
    let _alone = alone();
    // The thread of a filter has the flag itself, so that only what the child
    // reads can differ.
    let (set, get) = (libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS);
    let faults = [
        (set, Action::errno(libc::EINVAL), Some(libc::EINVAL)),
        (get, Action::Errno(0), None),
        (get, Action::errno(libc::EPERM), Some(libc::EPERM)),
    ];
    for engine in ENGINES {
        for (option, action, errno) in faults {
            let run = || {
                util::ENGINE.set(engine);
                let mut least = command("/bin/true", engine);
                least.no_new_privs(true);
                clean(spawn(least))
            };
            let (nr, option) = (libc::SYS_prctl, option.unsigned_abs());
            let error = filter::with_first(nr, option, action, run);
            assert_eq!(error.step(), Step::NoNewPrivs, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), errno, "{engine}: {error}");
        }
    }
}
