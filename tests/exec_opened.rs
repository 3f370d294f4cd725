//! Exec in place: what a step has opened is closed when the step fails.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use offshoot::{ChildOpenOptions, Command, Error};
use util::filter::{self, Action};
use util::place::{acquire, lead};
use util::{alone, inside};

/// Each descriptor of this process and what it is open for.
fn open() -> BTreeMap<i32, PathBuf> {
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers =
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.collect();
    let file = |n: i32| fs::read_link(format!("/proc/self/fd/{n}")).ok();
    // The directory itself is closed by now.
    numbers.into_iter().filter_map(|n| Some((n, file(n)?))).collect()
}

/// The error of an exec of this command, after which the descriptors are the
/// same.
#[track_caller]
fn fails(set: impl FnOnce(&mut Command)) -> Error {
    let mut command = Command::new("/nope");
    set(&mut command);
    let before = open();
    let error = command.exec();
    assert_eq!(open(), before, "{error}");
    error
}

#[test]
fn a_failed_exec_closes_what_a_step_has_opened() {
    let name = "a_failed_exec_closes_what_a_step_has_opened";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let (_controller, terminal) = lead();
    acquire(&terminal);
    let score = |it: &mut Command| _ = it.oom_score_adj(1000);
    let opened = |it: &mut Command| {
        let mut read = ChildOpenOptions::new();
        it.open_in_child(50, "/dev/null", read.read(true));
    };
    let detach = |it: &mut Command| _ = it.detach_terminal(true);
    let apparmor = |it: &mut Command| _ = it.apparmor_profile("unconfined");
    let selinux = |it: &mut Command| _ = it.selinux_context("a:b:c");
    // With the kernel's own answer, which depends on its security modules, and
    // with calls on the descriptor rejected.
    let labels = [fails(apparmor), fails(selinux)];
    assert!(labels.iter().all(|error| error.step() != offshoot::Step::Exec));
    type Set = fn(&mut Command);
    let all: [(libc::c_long, Set); 6] = [
        (libc::SYS_write, score),
        (libc::SYS_dup3, opened),
        (libc::SYS_ioctl, detach),
        (libc::SYS_write, apparmor),
        (libc::SYS_write, selinux),
        (libc::SYS_fstatfs, selinux),
    ];
    for (nr, set) in all {
        let action = Action::errno(libc::EBUSY);
        filter::with(nr, action, || fails(set));
    }
}
