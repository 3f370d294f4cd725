//! Control groups: membership as the child sees it, the reason of each
//! refusal, a frozen group, and `set_tid`.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offshoot::{
    Cgroup, CgroupEntry, CloneFlags, Command, Engine, Memory, Method, Stdio,
    Step,
};
use util::clean::{assert_error, clean, spawn};
use util::filter::{self, Action};
use util::reporter::Report;
use util::{alone, each_engine, is_root, reporter, run};

/// The mount point of cgroup2, alone or beside version 1.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|l| l.contains(" cgroup2 "))?;
    Some(line.split(' ').nth(1)?.into())
}

/// A group of this test's own, removed with it.
struct Group(PathBuf);

impl Group {
    fn new(test: &str) -> Option<Group> {
        let name = format!("offshoot-{test}-{}", std::process::id());
        let created = root().map(|root| root.join(name));
        let created = created.filter(|path| fs::create_dir(path).is_ok());
        if created.is_none() {
            util::skip(
                test,
                "no cgroup2 in which this user may create groups",
            );
        }
        created.map(Group)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    /// The end of its path in `/proc/self/cgroup`.
    fn name(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process may be a zombie for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn report(command: &mut Command) -> (Report, Option<CgroupEntry>) {
    let (report, launch) = run(command);
    let born = launch.flags().contains(CloneFlags::INTO_CGROUP);
    assert_eq!(born, launch.cgroup() == Some(CgroupEntry::Born));
    (report, launch.cgroup())
}

#[test]
fn a_child_is_in_the_requested_cgroup() {
    let _alone = alone();
    let name = "a_child_is_in_the_requested_cgroup";
    let Some(group) = Group::new(name) else { return };
    let ends = |report: &Report| report.one("cgroup").ends_with(group.name());
    assert!(!ends(&report(&mut reporter()).0));
    each_engine(|engine| {
        let mut command = util::reporter_with(engine);
        let (seen, how) = report(command.cgroup(group.0.as_path()));
        assert!(ends(&seen), "{engine}: {}", seen.one("cgroup"));
        let born = engine != Engine::Pipe;
        let want = [CgroupEntry::Joined, CgroupEntry::Born];
        assert_eq!(how, Some(want[usize::from(born)]), "{engine}");
        assert_eq!(seen.fds(), [0, 1, 2]);
    });
    let dir = fs::File::open(&group.0).unwrap();
    let given = Cgroup::from(OwnedFd::from(dir));
    assert!(
        ends(&report(reporter().cgroup(given.clone())).0),
        "by descriptor"
    );
    for method in [Method::Fork, Method::Vfork] {
        let mut command = reporter();
        command.cgroup(given.clone()).method(method);
        let (seen, how) = report(&mut command);
        assert!(ends(&seen), "{method:?}");
        assert_eq!(how, Some(CgroupEntry::Joined));
        assert_eq!(seen.fds(), [0, 1, 2]);
    }
    // Linux 5.3 to 5.6, whose clone3 does not know the field.
    filter::with_clone3_of(80, || {
        let mut command = reporter();
        command.cgroup(group.0.as_path());
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let launch = child.launch().clone();
        assert_eq!(launch.call(), "clone3");
        assert_eq!(launch.cgroup(), Some(CgroupEntry::Joined));
        let why = launch.fallbacks().next().unwrap();
        assert_eq!(why.feature(), "CLONE_INTO_CGROUP");
        assert_eq!(why.raw_os_error(), Some(libc::E2BIG));
        let output = child.wait_with_output().unwrap();
        assert!(ends(&Report::parse(&output.stdout)));
        let mut strict = Command::new("/bin/true");
        strict.cgroup(group.0.as_path()).method(Method::Clone3);
        let error = strict.spawn().map(drop).unwrap_err();
        assert_error(&error, Step::Clone, None, libc::E2BIG);
    });
    // Blocked.
    for (errno, call) in [(libc::ENOSYS, "clone"), (libc::EPERM, "clone")] {
        let action = Action::errno(errno);
        filter::with(libc::SYS_clone3, action, || {
            let mut command = reporter();
            command.cgroup(group.0.as_path()).stdout(Stdio::piped());
            let child = command.spawn().unwrap();
            assert_eq!(child.launch().call(), call);
            assert_eq!(child.launch().cgroup(), Some(CgroupEntry::Joined));
            let output = child.wait_with_output().unwrap();
            assert!(ends(&Report::parse(&output.stdout)));
        });
    }
}

#[test]
fn exec_in_place_joins_its_cgroup() {
    let name = "exec_in_place_joins_its_cgroup";
    const GROUP: &str = "OFFSHOOT_EXEC_GROUP";
    const OUT: &str = "OFFSHOOT_EXEC_GROUP_OUT";
    let exe = std::env::current_exe().unwrap();
    if let Some(group) = std::env::var_os(GROUP) {
        let out = std::env::var_os(OUT).unwrap();
        let mut command = Command::new(exe);
        command.arg(util::reporter::ASK).arg(out);
        // Targets that may equal the descriptor of the group's file.
        for n in 3..12 {
            command.fd(n, fs::File::open("/dev/null").unwrap());
        }
        command.cgroup(PathBuf::from(group));
        let mut fails = Command::new("/no/such/program");
        let error = fails.cgroup("/no/such/group").exec();
        assert_eq!(error.step(), Step::Cgroup, "{error}");
        panic!("{}", command.exec());
    }
    let _alone = alone();
    let Some(group) = Group::new(name) else { return };
    let out = util::scratch("exec-group").join("report");
    let mut before = std::process::Command::new(exe);
    before.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = before.env(GROUP, &group.0).env(OUT, &out).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = Report::parse(&fs::read(&out).unwrap());
    assert!(seen.one("cgroup").ends_with(group.name()), "{seen:?}");
    assert_eq!(seen.fds().len(), 12);
}

#[test]
fn a_cgroup_that_cannot_be_joined_says_why() {
    let _alone = alone();
    let refused = |group: &Path, errno, why: &str| {
        let mut command = Command::new("/bin/true");
        command.cgroup(group);
        let error = clean(spawn(command));
        assert_error(&error, Step::Cgroup, group.to_str(), errno);
        assert!(error.to_string().ends_with(why), "{error}");
    };
    let text = |errno| std::io::Error::from_raw_os_error(errno).to_string();
    refused(Path::new("/tmp"), libc::EBADF, "not a control group");
    let gone = Path::new("/nope/group");
    refused(gone, libc::ENOENT, &text(libc::ENOENT));
    let file = Path::new("/dev/null");
    refused(file, libc::ENOTDIR, &text(libc::ENOTDIR));
    let one = Path::new("/sys/fs/cgroup/pids");
    if one.exists() && root() != Some("/sys/fs/cgroup".into()) {
        let why = "version 1 is not supported";
        refused(one, libc::EBADF, why);
    }
    let name = "a_cgroup_that_cannot_be_joined_says_why";
    let Some(group) = Group::new(name) else { return };
    // A group that is removed after it was opened.
    let path = group.0.join("removed");
    fs::create_dir(&path).unwrap();
    let dir = fs::File::open(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    let mut command = Command::new("/bin/true");
    command.cgroup(dir);
    for method in [Method::Auto, Method::Vfork] {
        let mut command = command.clone();
        command.method(method);
        let error = clean(spawn(command));
        assert_eq!(error.step(), Step::Cgroup, "{error}");
        let errno = error.raw_os_error().unwrap();
        assert!([libc::ENODEV, libc::ENOENT].contains(&errno), "{error}");
    }
    // With a threaded child the domain is invalid, and no process may join.
    let threaded = group.0.join("threaded");
    fs::create_dir(&threaded).unwrap();
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    let sibling = group.0.join("sibling");
    fs::create_dir(&sibling).unwrap();
    refused(&sibling, libc::EOPNOTSUPP, "in an invalid domain");
    fs::remove_dir(&sibling).unwrap();
    fs::remove_dir(&threaded).unwrap();
}

/// Controllers for child groups, and a limit of processes: only where
/// version 2 has controllers (not on hybrid systems).
#[test]
fn a_cgroup_with_controllers_or_at_its_limit_says_so() {
    let _alone = alone();
    let name = "a_cgroup_with_controllers_or_at_its_limit_says_so";
    let has = root().is_some_and(|root| {
        let all = fs::read_to_string(root.join("cgroup.subtree_control"));
        all.is_ok_and(|all| all.contains("pids") && all.contains("memory"))
    });
    if !has {
        return util::skip(
            name,
            "the root of cgroup2 delegates no controllers",
        );
    }
    let Some(group) = Group::new(name) else { return };
    group.write("pids.max", "0");
    let mut full = Command::new("/bin/true");
    full.cgroup(group.0.as_path());
    let error = clean(spawn(full));
    assert_error(&error, Step::Cgroup, group.0.to_str(), libc::EAGAIN);
    assert!(error.to_string().contains("pids.max"), "{error}");
    group.write("pids.max", "max");
    // A domain controller; a threaded one (pids) would not prevent joining.
    group.write("cgroup.subtree_control", "+memory");
    let mut busy = Command::new("/bin/true");
    busy.cgroup(group.0.as_path());
    let error = clean(spawn(busy));
    assert_error(&error, Step::Cgroup, group.0.to_str(), libc::EBUSY);
}

/// An unprivileged user joins a group of root's.
#[test]
fn a_cgroup_that_is_not_delegated_says_so() {
    let _alone = alone();
    let name = "a_cgroup_that_is_not_delegated_says_so";
    let user = !is_root();
    let Some(root) = root() else {
        return util::skip(name, "no cgroup2");
    };
    let denied = |root: &Path| {
        let mut command = Command::new("/bin/true");
        command.cgroup(root);
        let error = command.spawn().map(drop).unwrap_err();
        assert_error(&error, Step::Cgroup, root.to_str(), libc::EACCES);
        assert!(error.to_string().contains("delegated"), "{error}");
    };
    if user {
        return denied(&root);
    }
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: changes this process only, which ends with the test.
    assert_eq!(unsafe { libc::setresuid(1, 1, 1) }, 0);
    denied(&root);
}

/// With shared memory the caller could not be interrupted until the thaw.
#[test]
fn a_frozen_cgroup_is_joined_with_private_memory() {
    let _alone = alone();
    let name = "a_frozen_cgroup_is_joined_with_private_memory";
    let Some(group) = Group::new(name) else { return };
    group.write("cgroup.freeze", "1");
    let frozen = || {
        let events = fs::read_to_string(group.0.join("cgroup.events"));
        events.unwrap().contains("frozen 1")
    };
    while !frozen() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let thaw = group.0.join("cgroup.freeze");
    let thaw = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        fs::write(thaw, "0").unwrap();
    });
    let began = std::time::Instant::now();
    let mut command = Command::new("/bin/true");
    let mut child = command.cgroup(group.0.as_path()).spawn().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50), "not frozen");
    thaw.join().unwrap();
    let launch = child.launch();
    assert_eq!(launch.engine(), Engine::Copied);
    assert_eq!(launch.cgroup(), Some(CgroupEntry::Born));
    let why = launch.fallbacks().next().unwrap();
    assert_eq!((why.feature(), why.raw_os_error()), ("suspended", None));
    assert!(child.wait().unwrap().success());
}

#[test]
fn set_tid_gives_the_child_the_chosen_pid() {
    let _alone = alone();
    let name = "set_tid_gives_the_child_the_chosen_pid";
    if !is_root() {
        let mut command = Command::new("/bin/true");
        let error = command.set_tid([30_001]).spawn().unwrap_err();
        assert_error(&error, Step::SetTid, Some("[30001]"), libc::EPERM);
        return;
    }
    if !util::inside(name, &["unshare", "--pid", "--fork", "--mount-proc"]) {
        return;
    }
    for memory in [Memory::Shared, Memory::Private] {
        let mut command = Command::new("/bin/true");
        command.set_tid([4711]).memory(memory);
        let mut child = command.spawn().unwrap();
        assert_eq!(child.id(), 4711);
        let error = command.spawn().map(drop).unwrap_err();
        assert_error(&error, Step::SetTid, Some("[4711]"), libc::EEXIST);
        assert!(child.wait().unwrap().success());
    }
    let mut deep = Command::new("/bin/true");
    let error = deep.set_tid([4711; 32]).spawn().unwrap_err();
    assert_error(
        &error,
        Step::SetTid,
        error.operand().unwrap().to_str(),
        libc::EINVAL,
    );
}
