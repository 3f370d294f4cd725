//! A control group of the child's own: made, removed, and killed as a whole.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[path = "kill_tree/bomb.rs"]
mod bomb;
#[path = "kill_tree/tree.rs"]
mod tree;
mod util;

use std::fs;
use std::io::Read;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use offshoot::{Cgroup, Command, Engine, Method, Stdio, Step, TreeKill};
use tree::{MANY, Tree, sh};
use util::clean::{assert_error, clean, spawn};
use util::{alone, each_engine, has_children, inside, own_pids};

/// The mount point of cgroup2, alone or beside version 1.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|l| l.contains(" cgroup2 "))?;
    Some(line.split(' ').nth(1)?.into())
}

/// The lock is also for what looks for a PID namespace.
fn in_own_pids(test: &str) -> bool {
    let _alone = alone();
    inside(test, &own_pids())
}

/// A group below which children get theirs. Nothing may be left in it.
struct Above(PathBuf);

impl Above {
    fn new(test: &str) -> Option<Above> {
        // In its own PID namespace a test is always the same process.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("{test}-{now}");
        let created = root().map(|root| root.join(name));
        let created = created.filter(|path| fs::create_dir(path).is_ok());
        if created.is_none() {
            util::skip(
                test,
                "no cgroup2 in which this user may create groups",
            );
        }
        created.map(Above)
    }

    fn groups(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.0).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.is_dir()).collect()
    }

    fn command(&self, script: &str) -> Command {
        let mut command = sh(script);
        command.own_cgroup(self.0.as_path());
        command
    }

    /// How many descriptors are open on groups below it.
    fn descriptors(&self) -> usize {
        let below =
            format!("{}/", self.0.file_name().unwrap().to_str().unwrap());
        let all = util::reporter::descriptors();
        all.iter().filter(|(_, file)| file.contains(&below)).count()
    }

    #[track_caller]
    fn is_empty(&self) {
        let groups = self.groups();
        assert!(groups.is_empty(), "{groups:?}");
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        for group in self.groups() {
            let _ = fs::write(group.join("cgroup.kill"), "1");
            for _ in 0..1000 {
                if fs::remove_dir(&group).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        let removed = fs::remove_dir(&self.0);
        assert!(thread::panicking() || removed.is_ok(), "{removed:?}");
    }
}

/// Leaves its session and its parent.
const DAEMON: &str = "setsid sh -c '(sleep 1000 & echo 1) &'; echo; ";

#[test]
fn a_child_has_a_group_of_its_own_which_is_removed_with_it() {
    let _alone = alone();
    let name = "a_child_has_a_group_of_its_own_which_is_removed_with_it";
    let Some(above) = Above::new(name) else { return };
    let last = above.0.file_name().unwrap().to_str().unwrap();
    let is_own = |text: &str| {
        let pid = std::process::id();
        text.contains(&format!("/{last}/offshoot-{pid}-"))
    };
    each_engine(|engine| {
        let mut cat = Command::new("cat");
        cat.arg("/proc/self/cgroup").own_cgroup(above.0.as_path());
        cat.stdout(Stdio::piped()).engine(engine);
        let cat = cat.prepare().unwrap();
        let children = [cat.spawn().unwrap(), cat.spawn().unwrap()];
        let texts = children.map(|child| {
            let output = child.wait_with_output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        assert!(is_own(&texts[0]) && is_own(&texts[1]), "{texts:?}");
        assert_ne!(texts[0], texts[1]);
        above.is_empty();
        assert_eq!(above.descriptors(), 0);
        // A spawn that fails, before and after the clone.
        for path in ["/", "/nope"] {
            let mut fails = Command::new("/no/such/program");
            fails.own_cgroup(above.0.as_path()).engine(engine);
            fails.current_dir(path);
            clean(spawn(fails));
            above.is_empty();
        }
        // Each wait removes it.
        let mut child = above.command("exit 7").spawn().unwrap();
        assert_eq!(above.groups().len(), 1);
        assert_eq!(child.process().wait().unwrap().code(), Some(7));
        above.is_empty();
        let mut child = above.command("exit 7").spawn().unwrap();
        while child.try_wait().unwrap().is_none() {}
        above.is_empty();
        assert_eq!(child.kill_tree().unwrap(), TreeKill::Complete);
    });
    let mut joins = above.command("exit 7");
    let status = joins.method(Method::Vfork).status().unwrap();
    assert_eq!(status.code(), Some(7));
    above.is_empty();
}

/// A daemon, and a child that ends before it.
#[test]
fn descendants_keep_the_group_until_the_tree_is_killed() {
    let name = "descendants_keep_the_group_until_the_tree_is_killed";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let (mut tree, _) = Tree::start(&mut above.command(DAEMON), 2);
    assert_eq!(tree.child.wait().unwrap().code(), Some(0));
    assert_eq!(above.groups().len(), 1);
    assert!(!tree.is_gone());
    assert_eq!(tree.child.kill_tree().unwrap(), TreeKill::Complete);
    assert!(tree.is_gone());
    above.is_empty();
    assert_eq!(tree.child.kill_tree().unwrap(), TreeKill::Complete);
    assert_eq!(tree.child.wait().unwrap().code(), Some(0));
    // Dropped: it stays, as its processes do.
    let (tree, _) = Tree::start(&mut above.command(DAEMON), 2);
    drop(tree);
    assert_eq!(above.groups().len(), 1);
}

#[test]
fn the_whole_group_is_killed_with_what_has_left_the_session() {
    let name = "the_whole_group_is_killed_with_what_has_left_the_session";
    bomb::explode_if_asked();
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let kill = |command: &mut Command, lines| {
        let (mut tree, _) = Tree::start(command, lines);
        tree.kill(TreeKill::Complete);
        above.is_empty();
        drop(tree);
    };
    each_engine(|engine| {
        let mut command = above.command(&format!("{DAEMON} {MANY}"));
        kill(command.engine(engine), 6);
        assert_eq!(above.descriptors(), 0);
    });
    kill(bomb::command(name).own_cgroup(above.0.as_path()), 1);
    bomb::ticks(5000, || {
        kill(bomb::command(name).own_cgroup(above.0.as_path()), 1);
    });
    // Of the orphans that have come to this init none is a zombie.
    if std::process::id() == 1 {
        let zombie = has_children();
        assert!(!zombie);
    }
}

#[test]
fn stopped_and_frozen_groups_and_groups_below_are_killed() {
    let name = "stopped_and_frozen_groups_and_groups_below_are_killed";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    for engine in [Engine::Suspended, Engine::Copied] {
        let mut command = above.command("echo 1; sleep 1000 & sleep 1000");
        let (mut tree, _) = Tree::start(command.engine(engine), 1);
        let [group] = &above.groups()[..] else { panic!() };
        fs::write(group.join("cgroup.freeze"), "1").unwrap();
        tree.kill(TreeKill::Complete);
        above.is_empty();
    }
    let (mut tree, _) = Tree::start(&mut above.command(MANY), 4);
    tree.child.signal(libc::SIGSTOP).unwrap();
    tree.kill(TreeKill::Complete);
    let dir = above.0.display();
    let script = format!(
        "cd {dir}/offshoot-*; mkdir -p a/b c;
         (sh -c 'echo $$ > a/b/cgroup.procs; echo 1; sleep 1000') & wait"
    );
    let (mut tree, _) = Tree::start(&mut above.command(&script), 1);
    tree.kill(TreeKill::Complete);
    above.is_empty();
    // Groups below are removed by a wait too.
    let script = format!("cd {dir}/offshoot-*; mkdir -p a/b c");
    assert!(above.command(&script).status().unwrap().success());
    above.is_empty();
    // By another thread, while one waits.
    let (mut tree, _) = Tree::start(&mut above.command(MANY), 4);
    let process = tree.child.process();
    thread::scope(|scope| {
        let kills = scope.spawn(|| process.kill_tree().unwrap());
        assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
        assert_eq!(kills.join().unwrap(), TreeKill::Complete);
    });
    assert!(tree.is_gone());
    above.is_empty();
}

/// Without a free descriptor the control group cannot be killed.
#[test]
fn without_descriptors_the_child_of_an_own_group_is_killed() {
    let name = "without_descriptors_the_child_of_an_own_group_is_killed";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let mut command = above.command("sleep 1000 & echo 1; wait");
    let (mut tree, _) = Tree::start(command.process_group(0), 1);
    let [group] = &above.groups()[..] else { panic!() };
    util::limit(libc::RLIMIT_NOFILE, util::limit_with(0), 1024);
    let killed = tree.child.kill_tree();
    util::limit(libc::RLIMIT_NOFILE, 1024, 1024);
    let operand = group.to_str();
    assert_error(&killed.unwrap_err(), Step::Kill, operand, libc::EMFILE);
    let mut rest = Vec::new();
    tree.out.read_to_end(&mut rest).unwrap();
    assert_eq!(tree.child.wait().unwrap().signal(), Some(9));
    above.is_empty();
}

/// Its owner may kill the group, although its processes are another user's.
#[test]
fn the_group_of_a_child_of_another_user_is_killed() {
    let name = "the_group_of_a_child_of_another_user_is_killed";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let mut child = above.command("sleep 1000").spawn().unwrap();
    let group = above.groups().remove(0);
    let files = fs::read_dir(&group).unwrap();
    let files = files.map(|file| file.unwrap().path());
    for path in files.chain([group.clone(), above.0.clone()]) {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    // SAFETY: this process has another user now.
    assert_eq!(unsafe { libc::setresuid(65_534, 65_534, 0) }, 0);
    assert_eq!(child.kill().unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(child.kill_tree().unwrap(), TreeKill::Complete);
    assert!(!has_children());
    above.is_empty();
    // SAFETY: as root, it removes the group above.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
}

#[test]
fn an_own_group_that_cannot_be_made_says_why() {
    let _alone = alone();
    let refused = |command: Command, operand: &str, errno, why: &str| {
        let error = clean(spawn(command));
        assert_error(&error, Step::Cgroup, Some(operand), errno);
        assert!(error.to_string().ends_with(why), "{error}");
    };
    let own = |path: &str| {
        let mut command = Command::new("/bin/true");
        command.own_cgroup(path);
        command
    };
    refused(own("/tmp"), "/tmp", libc::EBADF, "not a control group");
    let one = "/sys/fs/cgroup/pids";
    if Path::new(one).exists() && root() != Some("/sys/fs/cgroup".into()) {
        let why = "version 1 is not supported";
        refused(own(one), one, libc::EBADF, why);
    }
    let error = own("/tmp").cgroup("/tmp").spawn().map(drop).unwrap_err();
    let text = "`cgroup` cannot be combined with `own_cgroup`";
    assert_eq!(error.to_string(), text);
    let error = own("/tmp").exec();
    assert!(error.to_string().contains("own_cgroup"), "{error}");
    let error = own("/tmp").detach().map(drop).unwrap_err();
    assert_eq!(error.operand().unwrap(), "own_cgroup");
    if let Some(root) = root() {
        let current = format!("{:?}", Cgroup::current().unwrap());
        let mount = root.to_str().unwrap();
        assert!(current.starts_with(&format!("\"{mount}")), "{current}");
    }
    let name = "an_own_group_that_cannot_be_made_says_why";
    let Some(above) = Above::new(name) else { return };
    fs::write(above.0.join("cgroup.max.descendants"), "0").unwrap();
    let path = above.0.to_str().unwrap();
    let command = own(path);
    let error = clean(spawn(command));
    assert_error(&error, Step::Cgroup, Some(path), libc::EAGAIN);
    assert!(error.to_string().contains("cgroup.max"), "{error}");
    let mut user = own(path);
    fs::write(above.0.join("cgroup.max.descendants"), "max").unwrap();
    assert!(user.status().unwrap().success());
}

/// A daemon that has left the session, too; its end is waited for.
#[test]
fn the_whole_group_is_asked_to_end_and_waited_for() {
    let name = "the_whole_group_is_asked_to_end_and_waited_for";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let polite = "trap 'sleep 0.05; echo bye; exit 0' TERM; echo here
                  while :; do sleep 0.01; done";
    let script = format!("setsid sh -c \"{polite}\" & {polite}");
    let (mut tree, _) = Tree::start(&mut above.command(&script), 2);
    let killed = tree.child.terminate_tree(Duration::from_secs(60));
    assert_eq!(killed.unwrap(), TreeKill::Complete);
    let mut text = String::new();
    tree.out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye\nbye\n");
    assert_eq!(tree.child.wait().unwrap().code(), Some(0));
    above.is_empty();
}

/// The recipe of `own_cgroup`'s documentation.
fn remove_leftovers(above: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(above)? {
        let group = entry?.path();
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        let words: Vec<&str> = name.split('-').collect();
        let ["offshoot", pid, _number] = words[..] else { continue };
        if Path::new("/proc").join(pid).exists() {
            continue;
        }
        fs::write(group.join("cgroup.kill"), "1")?;
        // EBUSY, until the last process has ended.
        for _ in 0..100 {
            match fs::remove_dir(&group) {
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                    thread::sleep(Duration::from_millis(10));
                }
                done => {
                    done?;
                    break;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn groups_that_a_killed_caller_leaves_are_known_by_their_names() {
    let name = "groups_that_a_killed_caller_leaves_are_known_by_their_names";
    if !in_own_pids(name) {
        return;
    }
    let Some(above) = Above::new(name) else { return };
    let fork = util::fork::fork();
    if fork == 0 {
        util::fork::end_with(|| {
            let _child = above.command("sleep 1000").spawn().unwrap();
            std::process::abort();
        });
    }
    util::fork::reap(fork);
    let mut running = above.command("sleep 1000");
    let mut running = running.spawn().unwrap();
    assert_eq!(above.groups().len(), 2);
    // Linux before 5.14 has no cgroup.kill.
    if above.groups()[0].join("cgroup.kill").exists() {
        remove_leftovers(&above.0).unwrap();
        assert_eq!(above.groups().len(), 1);
    } else {
        return util::skip(name, "no cgroup.kill");
    }
    assert_eq!(running.kill_tree().unwrap(), TreeKill::Complete);
    above.is_empty();
}
