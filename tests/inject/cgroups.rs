//! Control groups: each fault in a child that joins one, or gets one of its
//! own, which is removed then.

use std::path::{Path, PathBuf};
use std::{fs, process};

use offshoot::{Command, Engine};

use crate::Harness;
use crate::corpus::cases;
use crate::util::{self, alone, is_root};

/// The control group of a command.
pub(crate) enum Group {
    /// The child joins it.
    Of(PathBuf),
    /// The child gets one below it.
    Above(PathBuf),
}

impl Group {
    pub(crate) fn set(&self, command: &mut Command) {
        match self {
            Group::Of(path) => command.cgroup(path.as_path()),
            Group::Above(path) => command.own_cgroup(path.as_path()),
        };
    }

    pub(crate) fn is_empty(&self) -> bool {
        let (Group::Of(path) | Group::Above(path)) = self;
        let mut entries = fs::read_dir(path).unwrap();
        entries.all(|entry| !entry.unwrap().path().is_dir())
    }
}

/// Makes a group.
fn group(test: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|l| l.contains(" cgroup2 "));
    let root = line.and_then(|line| line.split(' ').nth(1));
    let name = format!("{test}-{}", process::id());
    let path = root.map(|root| Path::new(root).join(name));
    let made = path.filter(|path| fs::create_dir(path).is_ok());
    if made.is_none() {
        util::skip(test, "no cgroup2 in which this user may create groups");
    }
    made
}

/// Injects each fault into a plan, and returns whether its child joins the
/// group by a write.
fn inject(name: &str, engine: Engine, group: Group) -> bool {
    let case = cases().find(|case| case.name == name).unwrap();
    assert!(case.engines.contains(&engine));
    let group = Some(group);
    let harness = Harness { case, engine, group, root: is_root() };
    let plan = harness.command().plan().unwrap();
    harness.run();
    plan.step_names().any(|step| step == "join_cgroup")
}

#[test]
fn joining_a_cgroup_fails_by_name_too() {
    let _alone = alone();
    let Some(path) = group("joining_a_cgroup_fails_by_name_too") else {
        return;
    };
    let group = Group::Of(path.clone());
    assert!(inject("vfork", Engine::Suspended, group));
    fs::remove_dir(path).unwrap();
}

#[test]
fn a_fault_leaves_no_group_of_the_childs_own() {
    let _alone = alone();
    let Some(path) = group("a_fault_leaves_no_group_of_the_childs_own") else {
        return;
    };
    for engine in util::ENGINES {
        inject("least", engine, Group::Above(path.clone()));
    }
    let above = Group::Above(path.clone());
    assert!(inject("vfork", Engine::Suspended, above));
    fs::remove_dir(path).unwrap();
}
