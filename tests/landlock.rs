//! Landlock: what a confined program can do, what each kernel version leaves
//! out, and that the parent is not confined.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use offshoot::{Command, Engine, Landlock, Stdio, Step};
use util::clean::{assert_error, clean, command, refused};
use util::filter::{self, Action};
use util::{PRIVATE, alone, dumpable, each_engine, each_of, is_root, scratch};

/// Whether the kernel has this version. If so, and if this user needs it, the
/// children of this thread have `no_new_privs`.
fn has_abi(test: &str, abi: u32) -> bool {
    let has = Landlock::kernel_abi() >= abi;
    if !has {
        util::skip(test, "the kernel's version of Landlock is too old");
    }
    if !is_root() {
        no_new_privs();
    }
    has
}

fn no_new_privs() {
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
}

/// What most programs need, but not the root directory itself.
fn system() -> Landlock {
    let all = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"];
    let all = all.into_iter().filter(|path| Path::new(path).exists());
    all.fold(Landlock::new().best_effort(), Landlock::execute)
}

fn sh(engine: Engine, line: &str, rules: Landlock) -> Command {
    let mut sh = command("/bin/sh", engine);
    sh.args(["-c", line]).landlock(rules);
    sh
}

#[track_caller]
fn code(mut command: Command) -> i32 {
    let output = command.output().unwrap();
    output.status.code().unwrap()
}

/// The filter, which is installed last, may forbid what Landlock took.
#[test]
fn a_program_may_be_confined_by_rules_and_by_a_filter() {
    let name = "a_program_may_be_confined_by_rules_and_by_a_filter";
    if !has_abi(name, 1) {
        return;
    }
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap();
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let mut filter = vec![(0x20, 0, 0, 0)];
    for nr in [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_restrict_self,
        libc::SYS_prctl,
        libc::SYS_setpgid,
    ] {
        filter.push((0x15, 0, 1, number(nr)));
        filter.push((0x06, 0, 0, eperm));
    }
    filter.push((0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = offshoot::SeccompFilter::from(filter);
    each_engine(|engine| {
        let line = "{ : </etc/passwd; } 2>/dev/null && exit 3; \
                    grep -q 'Seccomp:.2' /proc/self/status";
        let mut both = sh(engine, line, system().read("/proc"));
        both.seccomp(filter.clone());
        assert_eq!(code(both), 0, "{engine}");
    });
}

/// In shared memory too: the parent keeps its rights and its dumpable flag.
#[test]
fn a_confined_program_can_do_what_the_rules_permit_and_no_more() {
    let name = "a_confined_program_can_do_what_the_rules_permit_and_no_more";
    if !has_abi(name, 1) {
        return;
    }
    let dir = scratch("landlock");
    let inside = dir.join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("file"), "text\n").unwrap();
    fs::write(dir.join("outside"), "text\n").unwrap();
    let (read, change) = (
        format!("read x < {}/file", inside.display()),
        format!("echo > {}/new", inside.display()),
    );
    let outside = format!("read x < {}/outside", dir.display());
    each_engine(|engine| {
        let flag = dumpable();
        for (line, rules, want) in [
            (&read, system(), false),
            (&read, system().read(&inside), true),
            (&read, system().read(inside.join("file")), true),
            (&read, system().write(&inside), false),
            (&change, system().read(&inside), false),
            (&change, system().write(&inside), true),
            (&outside, system().read(&inside), false),
            (&outside, system().read(&dir), true),
        ] {
            let ran = code(sh(engine, line, rules.clone())) == 0;
            assert_eq!(ran, want, "{engine} {line} {rules:?}");
        }
        assert_eq!(dumpable(), flag);
        File::open(dir.join("outside")).unwrap();
        fs::write(inside.join("file"), "text\n").unwrap();
    });
}

/// Truncation and ioctl are rights of their own.
#[test]
fn a_file_that_may_only_be_read_cannot_be_truncated() {
    let name = "a_file_that_may_only_be_read_cannot_be_truncated";
    if !has_abi(name, 3) {
        return;
    }
    let dir = scratch("landlock-truncate");
    let file = dir.join("file");
    fs::write(&file, "text\n").unwrap();
    each_engine(|engine| {
        let mut truncate = command("truncate", engine);
        truncate.arg("--size=0").arg(&file).landlock(system().read(&dir));
        assert_ne!(code(truncate), 0);
        assert_eq!(fs::read(&file).unwrap(), b"text\n");
    });
}

#[test]
fn tcp_ports_are_permitted_one_by_one() {
    if !has_abi("tcp_ports_are_permitted_one_by_one", 4) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    each_engine(|engine| {
        let all = system().read("/");
        for (rules, want) in [
            (all.clone(), true),
            (all.clone().no_tcp(), false),
            (all.clone().tcp_connect(port), true),
            (all.clone().tcp_bind(port), false),
            (all.clone().tcp_connect(port ^ 1), false),
        ] {
            let mut bash = command("bash", engine);
            bash.args(["-c", &line]).landlock(rules.clone());
            assert_eq!(code(bash) == 0, want, "{engine} {rules:?}");
        }
    });
}

#[test]
fn a_program_cannot_signal_its_parent_if_signals_are_scoped() {
    let name = "a_program_cannot_signal_its_parent_if_signals_are_scoped";
    if !has_abi(name, 6) {
        return;
    }
    each_engine(|engine| {
        let line = "kill -0 $PPID";
        assert_eq!(code(sh(engine, line, system())), 0);
        let scoped = system().scope_signals().scope_abstract_sockets();
        assert_ne!(code(sh(engine, line, scoped.clone())), 0);
        assert_ne!(code(sh(engine, line, scoped.log_denials())), 0);
    });
}

/// A ruleset that handles one access to files and permits it nowhere.
fn ruleset(access: u64) -> OwnedFd {
    let size = size_of_val(&access);
    // SAFETY: reads the 8 bytes.
    let fd = unsafe {
        let nr = libc::SYS_landlock_create_ruleset;
        libc::syscall(nr, &raw const access, size, 0)
    };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) }
}

const WRITE_FILE: u64 = 2;

#[test]
fn a_ruleset_of_the_caller_confines_the_program() {
    let name = "a_ruleset_of_the_caller_confines_the_program";
    if !has_abi(name, 1) {
        return;
    }
    let file = scratch("landlock-fd").join("file");
    fs::write(&file, "").unwrap();
    let line = format!("echo > {}", file.display());
    each_engine(|engine| {
        let mut sh = command("/bin/sh", engine);
        sh.args(["-c", &line]).landlock_fd(ruleset(WRITE_FILE));
        assert_ne!(code(sh.clone()), 0, "{engine}");
        // Both confine it: neither adds to the other's rights.
        assert_ne!(code(sh.landlock(system().write("/")).clone()), 0);
        let prepared = sh.stderr(Stdio::null()).prepare().unwrap();
        for _ in 0..2 {
            assert!(!prepared.status().unwrap().success());
        }
        let mut fds = util::reporter_with(engine);
        fds.landlock_fd(ruleset(WRITE_FILE));
        let seen = util::report(&mut fds);
        assert_eq!(seen.fds(), [0, 1, 2]);
        fs::write(&file, "").unwrap();
    });
}

#[test]
fn a_ruleset_that_is_none_or_a_path_that_is_missing_is_named() {
    let name = "a_ruleset_that_is_none_or_a_path_that_is_missing_is_named";
    if !has_abi(name, 1) {
        return;
    }
    let restrict = Step::LandlockRestrictSelf;
    each_engine(|engine| {
        let mut child = command("/bin/true", engine);
        child.landlock_fd(File::open("/dev/null").unwrap());
        let error = clean(|| child.spawn().map(drop));
        assert_error(&error, restrict, None, libc::EBADFD);
        assert!(error.to_string().contains("no Landlock ruleset"), "{error}");
        let mut child = command("/bin/true", engine);
        child.landlock(system().read("/nope/at all"));
        let error = clean(|| child.spawn().map(drop));
        let path = Some("/nope/at all");
        assert_error(&error, Step::Landlock, path, libc::ENOENT);
        let mut child = command("/bin/true", engine);
        child.landlock(system().at_least(99));
        let error = clean(|| child.spawn().map(drop));
        let step = Step::Landlock;
        assert_error(&error, step, Some("ABI 99"), libc::EOPNOTSUPP);
    });
}

/// The file itself needs the right to be executed, and so does its loader.
#[test]
fn a_program_that_may_not_be_executed_is_an_error_that_says_so() {
    let name = "a_program_that_may_not_be_executed_is_an_error_that_says_so";
    if !has_abi(name, 1) {
        return;
    }
    each_engine(|engine| {
        let mut child = command("/bin/true", engine);
        child.landlock(Landlock::new().best_effort().read("/"));
        let error = clean(|| child.spawn().map(drop));
        assert_error(&error, Step::Exec, Some("/bin/true"), libc::EACCES);
        assert!(error.to_string().contains("Landlock"), "{error}");
    });
}

/// By a filter, which can make any call without effect.
#[test]
fn a_child_that_the_kernel_has_not_confined_is_an_error() {
    let name = "a_child_that_the_kernel_has_not_confined_is_an_error";
    if !has_abi(name, 1) {
        return;
    }
    each_engine(|engine| {
        let nr = libc::SYS_landlock_restrict_self;
        filter::with(nr, Action::Errno(0), || {
            let mut child = command("/bin/true", engine);
            let error = child.landlock(system()).spawn().unwrap_err();
            assert_eq!(error.step(), Step::LandlockRestrictSelf, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
            // No probe: the rules permit to list the root directory.
            child.landlock(system().read("/"));
            assert!(child.status().unwrap().success());
        });
        for errno in [libc::EPERM, libc::E2BIG] {
            filter::with(nr, Action::errno(errno), || {
                let mut child = command("/bin/true", engine);
                let error = child.landlock(system()).spawn().unwrap_err();
                let step = Step::LandlockRestrictSelf;
                assert_error(&error, step, None, errno);
            });
        }
    });
}

#[test]
fn what_the_kernel_lacks_is_an_error_or_left_out_and_reported() {
    let _alone = alone();
    let nr = libc::SYS_landlock_create_ruleset;
    for (errno, why) in [
        (libc::ENOSYS, "the kernel has no Landlock"),
        (libc::EOPNOTSUPP, "Landlock is not enabled"),
        (libc::EPERM, "a filter rejects"),
    ] {
        each_engine(|engine| {
            filter::with(nr, Action::errno(errno), || {
                let mut child = command("/bin/true", engine);
                let rules = Landlock::new().execute("/").no_tcp();
                let error = child.landlock(rules.clone()).plan().unwrap_err();
                assert_error(&error, Step::Landlock, Some("ABI 4"), errno);
                assert!(error.to_string().contains(why), "{error}");
                child.landlock(rules.clone().best_effort());
                let mut child = child.spawn().unwrap();
                let used: Vec<_> = util::fallbacks(child.launch());
                assert!(used.contains(&("landlock", None)), "{used:?}");
                assert!(child.wait().unwrap().success());
                let left: Vec<_> = rules.left_out().collect();
                assert_eq!(left.len(), 3, "{left:?}");
                assert_eq!(Landlock::kernel_abi(), 0);
            });
        });
    }
    let all = Landlock::new().no_ioctl().scope_signals();
    assert_eq!(all.required_abi(), 6);
    assert_eq!(all.log_denials().required_abi(), 7);
    assert_eq!(Landlock::new().required_abi(), 3);
}

/// The kernel would reject the call in the child: before anything is cloned.
#[test]
fn a_ruleset_without_no_new_privs_is_refused_where_the_child_may_not() {
    let name =
        "a_ruleset_without_no_new_privs_is_refused_where_the_child_may_not";
    if !has_abi(name, 1) {
        return;
    }
    if !is_root() {
        return util::skip(name, "it drops CAP_SYS_ADMIN");
    }
    let why = "CAP_SYS_ADMIN";
    each_of(&PRIVATE, |engine| {
        let mut child = command("/bin/true", engine);
        child.uid(65534).landlock(Landlock::new().execute("/"));
        let error = clean(|| child.spawn().map(drop));
        refused(&error, Step::Landlock, Some("no_new_privs"), why);
        let mut child = command("/bin/true", engine);
        child.uid(65534).landlock_fd(ruleset(WRITE_FILE));
        let error = clean(|| child.spawn().map(drop));
        refused(&error, Step::LandlockFd, Some("no_new_privs"), why);
        let rules = Landlock::new().best_effort().execute("/");
        let mut child = command("/bin/true", engine);
        child.uid(65534).no_new_privs(true).landlock(rules);
        assert!(child.status().unwrap().success());
        // The caller's flag is inherited.
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                no_new_privs();
                let rules = Landlock::new().best_effort().execute("/");
                let mut child = command("/bin/true", engine);
                child.uid(65534).landlock(rules).status().unwrap()
            });
            assert!(done.join().unwrap().success());
        });
    });
}

/// In place the ruleset confines this process, as the program will be.
#[test]
fn exec_in_place_confines_the_program() {
    let name = "exec_in_place_confines_the_program";
    if !has_abi(name, 1) {
        return;
    }
    let _alone = alone();
    let file = scratch("landlock-exec").join("file");
    fs::write(&file, "").unwrap();
    let line = format!("echo > {}", file.display());
    let status = util::fork::forked(|| {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", &line]).stderr(Stdio::null());
        let error = sh.landlock(system()).exec();
        eprintln!("{error}");
        99
    });
    assert!(libc::WIFEXITED(status));
    assert!(![0, 99].contains(&libc::WEXITSTATUS(status)), "{status}");
}
