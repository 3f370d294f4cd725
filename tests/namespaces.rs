//! Namespaces: those that a child gets anew, alone and together, and what it
//! sets up in them. As an ordinary user each comes with a user namespace.
#![allow(unsafe_code, reason = "a test has a mount namespace of its own")]

mod util;

use std::collections::BTreeMap;
use std::fs;

use offshoot::{
    CloneFlags, Command, Engine, Error, IdMap, Namespaces, Propagation, Stdio,
    Step,
};
use util::clean::{clean, command, spawn};
use util::{
    PRIVATE, WITHOUT_HELPER, alone, each_of, has_children, inside, is_root,
    scratch, skip,
};

const ALL: [(&str, Namespaces); 7] = [
    ("mnt", Namespaces::MOUNT),
    ("cgroup", Namespaces::CGROUP),
    ("uts", Namespaces::UTS),
    ("ipc", Namespaces::IPC),
    ("user", Namespaces::USER),
    ("pid", Namespaces::PID),
    ("net", Namespaces::NET),
];

/// The engines that may run it: a helper's exec would change capabilities.
fn engines(new: Namespaces) -> Vec<Engine> {
    let mut all = WITHOUT_HELPER.to_vec();
    if !new.contains(Namespaces::USER) && is_root() {
        all.push(Engine::Isolated);
    }
    all
}

/// Whether this user may create namespaces; says so if not.
fn may_create(name: &str) -> bool {
    let _alone = alone();
    match Command::new("/bin/true").map_root_user().status() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.step(), Step::Namespaces, "{error}");
            skip(name, "user namespaces are not permitted here");
            false
        }
    }
}

fn sh(engine: Engine, new: Namespaces, line: &str) -> Command {
    let mut sh = command("/bin/sh", engine);
    sh.args(["-c", line]).namespaces(new);
    if !is_root() || new.contains(Namespaces::USER) {
        sh.map_root_user();
    }
    sh
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn own_links() -> BTreeMap<&'static str, String> {
    let link = |name: &str| {
        let link = fs::read_link(format!("/proc/thread-self/ns/{name}"));
        link.unwrap().to_str().unwrap().to_string()
    };
    ALL.iter().map(|(name, _)| (*name, link(name))).collect()
}

#[test]
fn each_namespace_is_a_new_one_alone_and_with_all_others() {
    let name = "each_namespace_is_a_new_one_alone_and_with_all_others";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    let before = own_links();
    let together = ("all", Namespaces::all());
    for (_, new) in ALL.into_iter().chain([together]) {
        for engine in engines(new) {
            let names = ALL.map(|(name, _)| name).join(" ");
            let line = format!(
                "for n in {names}; do readlink /proc/self/ns/$n; done"
            );
            let mut sh = sh(engine, new, &line);
            let child = sh.stdout(Stdio::piped()).spawn().unwrap();
            let launch = child.launch().clone();
            assert_eq!(launch.engine(), engine);
            let by_clone = launch.flags().contains(CloneFlags::NEWUTS);
            assert_eq!(by_clone, new.contains(Namespaces::UTS), "{launch}");
            let output = child.wait_with_output().unwrap();
            let seen = String::from_utf8(output.stdout).unwrap();
            let user = new.contains(Namespaces::USER) || !is_root();
            for ((kind, flag), seen) in ALL.iter().zip(seen.lines()) {
                let is_new =
                    new.contains(*flag) || (user && *flag == Namespaces::USER);
                let differs = before[kind] != seen;
                assert_eq!(differs, is_new, "{engine} {new:?} {kind}");
            }
            assert_eq!(seen.lines().count(), ALL.len());
        }
    }
    assert_eq!(own_links(), before);
}

#[test]
fn root_inside_is_the_caller_outside() {
    let name = "root_inside_is_the_caller_outside";
    if !may_create(name) {
        return;
    }
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let gid = unsafe { libc::getegid() };
    each_of(&WITHOUT_HELPER, |engine| {
        let line = "id -u; id -g; cat /proc/self/setgroups \
                    /proc/self/uid_map /proc/self/gid_map; \
                    grep CapEff /proc/self/status";
        let mut root = command("/bin/sh", engine);
        let seen = text(root.args(["-c", line]).map_root_user());
        let words: Vec<&str> = seen.split_whitespace().collect();
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let maps = ["deny", "0", &uid, "1", "0", &gid, "1", "CapEff:"];
        assert_eq!(words[..10], [&["0", "0"][..], &maps].concat(), "{engine}");
        assert_ne!(words[10].trim_matches('0'), "", "{engine}: capabilities");
        let mut same = command("/bin/sh", engine);
        let seen = text(same.args(["-c", "id -u; id -g"]).map_current_user());
        assert_eq!(seen, format!("{uid}\n{gid}\n"), "{engine}");
        let mut other = command("/bin/sh", engine);
        other.args(["-c", "id -u; id -g"]).namespaces(Namespaces::USER);
        other.uid_map([IdMap::new(7, uid.parse().unwrap(), 1)]);
        other.gid_map([IdMap::new(8, gid.parse().unwrap(), 1)]);
        assert_eq!(text(&mut other), "7\n8\n", "{engine}");
    });
}

/// The child's ids change after they are mapped; no helper can do that.
#[test]
fn options_of_private_memory_copy_the_memory_of_a_new_user_namespace() {
    let name =
        "options_of_private_memory_copy_the_memory_of_a_new_user_namespace";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    let mut own = Command::new("/bin/sh");
    own.args(["-c", "exit $(id -u)"]).map_root_user().uid(0).gid(0);
    let mut child = own.spawn().unwrap();
    assert_eq!(child.launch().engine(), Engine::Copied);
    assert!(child.wait().unwrap().success());
    let error = own.engine(Engine::Isolated).plan().unwrap_err();
    assert!(error.to_string().contains("namespaces"), "{error}");
    // An id that is not mapped does not exist there.
    let error = Command::new("/bin/true").map_root_user().uid(1).spawn();
    let error = error.unwrap_err();
    assert_eq!(error.step(), Step::Setresuid, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn the_host_name_is_the_childs_only() {
    let name = "the_host_name_is_the_childs_only";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    let read = |file| fs::read_to_string(file).unwrap();
    let own = || {
        ["hostname", "domainname"]
            .map(|name| read(format!("/proc/sys/kernel/{name}")))
    };
    let before = own();
    for engine in engines(Namespaces::UTS) {
        let line = "cd /proc/sys/kernel; cat hostname domainname";
        let mut sh = sh(engine, Namespaces::UTS, line);
        sh.hostname("inside").domainname("of.the.box");
        assert_eq!(text(&mut sh), "inside\nof.the.box\n", "{engine}");
        let full = "x".repeat(64);
        sh.hostname(full.as_str());
        assert!(text(&mut sh).starts_with(&full), "{engine}");
        assert_eq!(own(), before);
    }
}

#[test]
fn the_child_is_the_init_of_its_pid_namespace() {
    let name = "the_child_is_the_init_of_its_pid_namespace";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    for engine in engines(Namespaces::PID) {
        // It ignores SIGTERM, and what it leaves ends with it.
        let line = "echo $$ $PPID; sleep 60 >/dev/null & kill -TERM $$; \
                    echo still; read line";
        let mut sh = sh(engine, Namespaces::PID, line);
        sh.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        assert!(child.id() > 1);
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        // Without a writer of the pipe the sleep has ended.
        let seen = String::from_utf8(output.stdout).unwrap();
        assert_eq!(seen, "1 0\nstill\n", "{engine}");
    }
    // One that fails leaves nothing, and another is an init of its own.
    for engine in engines(Namespaces::PID) {
        util::ENGINE.set(engine);
        let mut missing = command("/no/such", engine);
        missing.namespaces(Namespaces::PID);
        if !is_root() {
            missing.map_root_user();
        }
        let error = clean(spawn(missing));
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{engine}");
    }
    util::ENGINE.set(Engine::Suspended);
}

/// Both steps compare a process id with that of the parent, which is in
/// another namespace.
#[test]
fn an_init_waits_at_the_gate_and_dies_with_its_parent() {
    let name = "an_init_waits_at_the_gate_and_dies_with_its_parent";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    for engine in [Engine::Copied, Engine::Pipe] {
        let mut sh = sh(engine, Namespaces::PID, "exit $$");
        sh.before_exec(|pid, _| {
            let link = format!("/proc/{pid}/ns/pid");
            let own = fs::read_link("/proc/self/ns/pid")?;
            assert_ne!(fs::read_link(link)?, own, "in its namespaces");
            Ok(())
        });
        sh.die_with_parent();
        assert_eq!(sh.status().unwrap().code(), Some(1), "{engine}");
    }
}

#[test]
fn mounts_of_the_child_do_not_reach_the_parent() {
    let name = "mounts_of_the_child_do_not_reach_the_parent";
    if !may_create(name) {
        return;
    }
    let _alone = alone();
    let dir = scratch("namespaces-mounts");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for engine in engines(Namespaces::MOUNT) {
        let line = "mount -t tmpfs none $PWD && cd $PWD && : >in && ls";
        let mut sh = sh(engine, Namespaces::MOUNT, line);
        sh.current_dir(&dir);
        assert_eq!(text(&mut sh), "in\n", "{engine}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let now = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(now, before);
    }
}

/// In a process whose mounts are shared, as systemd makes them.
#[test]
fn the_propagation_is_private_unless_another_is_asked_for() {
    let name = "the_propagation_is_private_unless_another_is_asked_for";
    if !inside(name, &[]) {
        return;
    }
    if !is_root() {
        return skip(name, "shared mounts take root");
    }
    // SAFETY: this process is the test's own, and so are its mounts.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let (none, root) = (std::ptr::null(), c"/".as_ptr());
    for how in [libc::MS_PRIVATE, libc::MS_SHARED] {
        let flags = libc::MS_REC | how;
        // SAFETY: as above; the strings end in NUL.
        let done =
            unsafe { libc::mount(none, root, none, flags, none.cast()) };
        assert_eq!(done, 0);
    }
    for engine in engines(Namespaces::MOUNT) {
        for (how, shared, slave) in [
            (None, false, false),
            (Some(Propagation::Private), false, false),
            (Some(Propagation::Slave), false, true),
            (Some(Propagation::Shared), true, false),
            (Some(Propagation::Unchanged), true, false),
        ] {
            let line = "cat /proc/self/mountinfo";
            let mut cat = sh(engine, Namespaces::MOUNT, line);
            if let Some(how) = how {
                cat.mount_propagation(how);
            }
            let seen = text(&mut cat);
            let has = |tag: &str| seen.lines().any(|line| line.contains(tag));
            assert_eq!(has(" shared:"), shared, "{engine} {how:?}: {seen}");
            assert_eq!(has(" master:"), slave, "{engine} {how:?}: {seen}");
        }
    }
}

/// Not that of the caller, in which the clone call is made.
#[test]
fn the_root_of_a_cgroup_namespace_is_the_childs_own_group() {
    let name = "the_root_of_a_cgroup_namespace_is_the_childs_own_group";
    let _alone = alone();
    let unified = "/sys/fs/cgroup/unified";
    let root = [unified, "/sys/fs/cgroup"]
        .into_iter()
        .find(|root| std::path::Path::new(root).join("cgroup.procs").exists());
    let Some(root) = root.filter(|_| is_root()) else {
        return skip(name, "only root may make control groups here");
    };
    for engine in engines(Namespaces::CGROUP) {
        let line = "grep ^0: /proc/self/cgroup";
        let mut sh = sh(engine, Namespaces::CGROUP, line);
        sh.own_cgroup(root);
        assert_eq!(text(&mut sh), "0::/\n", "{engine}");
    }
}

fn refused(set: impl FnOnce(&mut Command)) -> (Step, String) {
    let mut command = Command::new("/bin/true");
    set(&mut command);
    let error = command.plan().unwrap_err();
    assert!(error.raw_os_error().is_none(), "{error}");
    (error.step(), error.to_string())
}

#[test]
fn what_the_namespaces_do_not_permit_is_refused_by_name() {
    let _alone = alone();
    let own = |n| IdMap::new(0, n, 1);
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    let one = |step, why: &str, set: &dyn Fn(&mut Command)| {
        let (seen, text) = refused(set);
        assert_eq!(seen, step, "{text}");
        assert!(text.contains(why), "{text}");
    };
    one(Step::Hostname, "new UTS namespace", &|c| drop_it(c.hostname("x")));
    one(Step::Domainname, "UTS", &|c| drop_it(c.domainname("x")));
    one(Step::MountPropagation, "mount namespace", &|c| {
        drop_it(c.mount_propagation(Propagation::Slave));
    });
    one(Step::UidMap, "user namespace", &|c| drop_it(c.uid_map([own(uid)])));
    one(Step::GidMap, "user namespace", &|c| drop_it(c.gid_map([own(1)])));
    one(Step::Hostname, "64 bytes", &|c| {
        drop_it(c.namespaces(Namespaces::UTS).hostname("x".repeat(65)));
    });
    let user = Namespaces::USER;
    for (map, why) in [
        (vec![IdMap::new(0, uid, 0)], "count is 0"),
        (vec![IdMap::new(0, uid, 2)], "only a map of one id"),
        (vec![own(uid), own(uid)], "only a map of one id"),
        (vec![own(uid + 1)], "effective id"),
        (vec![IdMap::new(u32::MAX, uid, 1)], "is no id"),
    ] {
        one(Step::UidMap, why, &|c| {
            drop_it(c.namespaces(user).uid_map(map.clone()));
        });
    }
    one(Step::UidMap, "make the maps", &|c| {
        drop_it(c.map_root_user().uid_map([own(uid)]));
    });
    one(Step::Groups, "setgroups is denied", &|c| {
        drop_it(c.map_root_user().groups([1]));
    });
    one(Step::Namespaces, "unknown", &|c| {
        drop_it(c.namespaces(Namespaces::from_bits_retain(0x100)));
    });
    for engine in PRIVATE {
        let mut command = command("/bin/true", engine);
        let plan = command.map_root_user().plan();
        let fits = engine != Engine::Isolated;
        assert_eq!(plan.is_ok(), fits, "{engine}");
    }
    let mut beside = command("/bin/true", Engine::Concurrent);
    let error = beside.namespaces(Namespaces::UTS).plan().unwrap_err();
    assert!(error.to_string().contains("namespaces"), "{error}");
    let error: Error = Command::new("/bin/true").map_root_user().exec();
    assert_eq!(error.step(), Step::Namespaces);
    assert!(!has_children());
}

fn drop_it(_: &mut Command) {}

/// Only root may make one without a user namespace.
#[test]
fn without_a_privilege_the_error_says_what_it_takes() {
    let name = "without_a_privilege_the_error_says_what_it_takes";
    if is_root() {
        return skip(name, "root has the privilege");
    }
    let _alone = alone();
    for engine in util::ENGINES {
        util::ENGINE.set(engine);
        let mut uts = command("/bin/true", engine);
        uts.namespaces(Namespaces::UTS);
        let error = clean(spawn(uts));
        assert_eq!(error.step(), Step::Namespaces, "{engine}");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let text = error.to_string();
        assert!(text.contains("CAP_SYS_ADMIN"), "{text}");
        assert!(text.contains("NEWUTS"), "{text}");
    }
    util::ENGINE.set(Engine::Suspended);
}

/// A limit of a user namespace that this test has made.
#[test]
fn a_limit_is_an_error_that_names_it() {
    let name = "a_limit_is_an_error_that_names_it";
    if !may_create(name) || !inside(name, &["unshare", "--map-root-user"]) {
        return;
    }
    fs::write("/proc/sys/user/max_uts_namespaces", "0").unwrap();
    let mut uts = Command::new("/bin/true");
    let error = uts.namespaces(Namespaces::UTS).spawn().unwrap_err();
    assert_eq!(error.step(), Step::Namespaces);
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
    assert!(error.to_string().contains("/proc/sys/user"), "{error}");
}
