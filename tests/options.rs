//! Options: each option as the child sees it, in every engine; and invalid
//! options, refused by name.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use offshoot::{
    Command, Engine, Error, Memory, Method, PathSearch, Stdio, Step,
};
use util::clean::{clean, command, spawn};
use util::reporter::{ASK, Report};
use util::{alone, each_engine, report, reporter_with, scratch};

fn own(id: libc::pid_t) -> String {
    id.to_string()
}

#[test]
fn arg0_is_what_the_program_sees_as_its_name() {
    each_engine(|engine| {
        let seen = report(reporter_with(engine).arg0("-renamed sh"));
        let name = std::env::current_exe().unwrap();
        let name = name.file_name().unwrap().to_str().unwrap();
        assert_eq!(seen.all("arg")[0], "-renamed sh");
        assert!(name.starts_with(seen.one("Name")), "the name of the file");
        let seen = report(reporter_with(engine).arg0(""));
        assert_eq!(seen.all("arg")[0], ASK, "the empty one is left out");
    });
}

#[test]
fn setsid_makes_the_child_a_session_leader() {
    each_engine(|engine| {
        let seen = report(reporter_with(engine).setsid(true));
        assert_eq!((seen.one("session"), seen.one("group")), ("own", "own"));
        let seen = report(reporter_with(engine).setsid(true).setsid(false));
        // SAFETY: returns a number and writes no memory.
        let session = unsafe { libc::getsid(0) };
        assert_eq!(seen.one("session"), own(session));
    });
}

#[test]
fn process_group_is_new_or_the_one_given() {
    each_engine(|engine| {
        // SAFETY: returns a number and writes no memory.
        let session = own(unsafe { libc::getsid(0) });
        let seen = report(reporter_with(engine).process_group(0));
        assert_eq!(seen.one("group"), "own");
        assert_eq!(seen.one("session"), session);
        let mut cat = Command::new("cat");
        let mut leader =
            cat.stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let seen = report(reporter_with(engine).process_group(group));
        assert_eq!(seen.one("group"), own(group));
        leader.wait().unwrap();
    });
}

#[test]
fn a_missing_process_group_is_named() {
    let _alone = alone();
    each_engine(|engine| {
        let mut lost = command("/bin/true", engine);
        lost.process_group(i32::MAX);
        let error = clean(spawn(lost));
        let max = i32::MAX.to_string();
        util::clean::assert_error(
            &error,
            Step::Setpgid,
            Some(&max),
            libc::EPERM,
        );
    });
}

#[test]
fn umask_applies_to_the_child_only() {
    each_engine(|engine| {
        let before =
            report(&mut reporter_with(engine)).one("Umask").to_string();
        let seen = report(reporter_with(engine).umask(0o137));
        assert_eq!(seen.one("Umask"), "0137");
        assert_eq!(report(&mut reporter_with(engine)).one("Umask"), before);
    });
}

/// The nice value in `/proc/self/stat`: the 19th field, the 17th behind the
/// name.
fn nice_value(stat: &[u8]) -> i32 {
    let stat = std::str::from_utf8(stat).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

/// In shared memory too: the value belongs to a thread, not to memory.
#[test]
fn nice_applies_to_the_child_only() {
    // SAFETY: reads the nice value of this thread.
    let own = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let before = own();
    each_engine(|engine| {
        let mut cat = command("cat", engine);
        let stat = cat.arg("/proc/self/stat").nice(19).output().unwrap();
        assert_eq!(nice_value(&stat.stdout), 19);
        assert_eq!(own(), before);
    });
}

#[test]
fn a_nice_value_below_the_inherited_one_takes_a_capability() {
    let name = "a_nice_value_below_the_inherited_one_takes_a_capability";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    util::limit(libc::RLIMIT_NICE, 0, 0);
    // SAFETY: reads the nice value of this thread.
    let own = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let own = own.clamp(5, 18);
    // SAFETY: changes the nice value of this process.
    assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, own) }, 0);
    if util::is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    let low = (own - 1).to_string();
    let denied = |error: &Error| {
        let (step, errno) = (Step::Nice, libc::EACCES);
        util::clean::assert_error(error, step, Some(&low), errno);
        assert!(error.to_string().contains("takes CAP_SYS_NICE"), "{error}");
    };
    each_engine(|engine| {
        denied(
            &command("/bin/true", engine).nice(own - 1).spawn().unwrap_err(),
        );
        for value in [own, own + 1] {
            let mut cat = command("cat", engine);
            let stat = cat.arg("/proc/self/stat").nice(value).output();
            assert_eq!(nice_value(&stat.unwrap().stdout), value);
        }
    });
    let in_place = util::fork::forked(|| {
        denied(&Command::new("/bin/true").nice(own - 1).exec());
        let script = "set -- $(cat /proc/self/stat); exit ${19}";
        let error =
            Command::new("sh").args(["-c", script]).nice(own + 1).exec();
        panic!("{error}");
    });
    assert_eq!(in_place, (own + 1) << 8);
}

#[test]
fn a_closed_standard_descriptor_is_closed() {
    each_engine(|engine| {
        let path = scratch("closed-stdio").join("report");
        for closed in 0..8u32 {
            let stdio = |n: u32| match closed & (1 << n) {
                0 => Stdio::null(),
                _ => Stdio::closed(),
            };
            let mut command =
                command(std::env::current_exe().unwrap(), engine);
            command.arg(ASK).arg(&path);
            command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
            assert!(command.status().unwrap().success());
            let seen = Report::parse(&fs::read(&path).unwrap());
            let want: Vec<u32> =
                (0..3).filter(|n| closed & (1 << n) == 0).collect();
            assert_eq!(seen.fds(), want, "{engine} {closed:03b}");
        }
    });
}

#[test]
fn same_as_duplicates_another_standard_descriptor() {
    each_engine(|engine| {
        let script = "echo a; echo b >&2; echo c";
        let mut both = Command::new("sh");
        both.args(["-c", script]).stderr(Stdio::same_as(1)).engine(engine);
        assert_eq!(both.output().unwrap().stdout, b"a\nb\nc\n");
        let mut other = Command::new("sh");
        other.args(["-c", script]).stdout(Stdio::same_as(2)).engine(engine);
        assert_eq!(other.output().unwrap().stderr, b"a\nb\nc\n");
        // A chain: 0 is 2, which is 1, which is a pipe.
        let mut chain = reporter_with(engine);
        chain.stdin(Stdio::same_as(2)).stderr(Stdio::same_as(1));
        let seen = report(&mut chain);
        let targets: Vec<&str> = seen
            .all("fd")
            .iter()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        assert_eq!(targets.len(), 3);
        assert!(targets[0].starts_with("pipe:"), "{targets:?}");
        assert!(targets.iter().all(|target| *target == targets[0]));
    });
}

#[test]
fn path_search_looks_in_the_directories_it_is_given() {
    each_engine(|engine| {
        let dir = scratch("search-in");
        util::program(&dir.join("offshoot-x"), b"#!/bin/sh\nexit 9\n");
        let code = |command: &mut Command| {
            command.engine(engine).status().unwrap().code()
        };
        let mut named = Command::new("offshoot-x");
        named.path_search(PathSearch::Dirs(vec!["/nope".into(), dir.clone()]));
        assert_eq!(code(&mut named), Some(9));
        let mut parent = Command::new("true");
        parent.env("PATH", "/nope").path_search(PathSearch::Parent);
        assert_eq!(code(&mut parent), Some(0));
        let mut here = Command::new("offshoot-x");
        here.current_dir(&dir).path_search(PathSearch::Never);
        assert_eq!(code(&mut here), Some(9));
        let mut child = Command::new("true");
        child.env("PATH", "/nope").engine(engine);
        assert_eq!(child.status().unwrap_err().step(), Step::Exec);
    });
}

type Set = fn(&mut Command) -> &mut Command;

/// Each error names the option, and the value or the conflicting option.
#[allow(clippy::too_many_lines, reason = "a table of cases")]
#[test]
fn contradictions_and_invalid_numbers_are_refused_by_name() {
    let _alone = alone();
    let cases: &[(Step, &str, Set)] = &[
        (Step::Setsid, "process_group", |c| c.setsid(true).process_group(0)),
        (Step::ProcessGroup, "-1", |c| c.process_group(-1)),
        (Step::Umask, "0o1000", |c| c.umask(0o1000)),
        (Step::Nice, "20", |c| c.nice(20)),
        (Step::Nice, "-21", |c| c.nice(-21)),
        (Step::Uid, "4294967295", |c| c.uid(u32::MAX)),
        (Step::Gid, "4294967295", |c| c.gid(u32::MAX)),
        (Step::Groups, "4294967295", |c| c.groups([1, u32::MAX])),
        (Step::Arg0, "a\0b", |c| c.arg0("a\0b")),
        (Step::PathSearch, "/a:b", |c| {
            c.path_search(PathSearch::Dirs(vec!["/a:b".into()]))
        }),
        (Step::PathSearch, "/\0", |c| {
            c.path_search(PathSearch::Dirs(vec!["/\0".into()]))
        }),
        (Step::Method, "uid", |c| c.uid(0).method(Method::Vfork)),
        (Step::Memory, "gid", |c| c.gid(0).memory(Memory::Shared)),
        (Step::Memory, "groups", |c| c.groups([0]).memory(Memory::Shared)),
        (Step::Memory, "uid", |c| c.uid(0).engine(Engine::Suspended)),
        (Step::Memory, "method", |c| {
            c.method(Method::Fork).memory(Memory::Shared)
        }),
        (Step::Memory, "engine", |c| {
            c.engine(Engine::Suspended).memory(Memory::Private)
        }),
        (Step::Memory, "method", |c| {
            c.engine(Engine::Suspended).method(Method::Fork)
        }),
        (Step::Memory, "method", |c| {
            c.method(Method::Vfork).memory(Memory::Private)
        }),
        (Step::SetTid, "[0]", |c| c.set_tid([0])),
        (Step::SetTid, "[-1]", |c| c.set_tid([-1])),
        (Step::SetTid, "method", |c| c.set_tid([9]).method(Method::Fork)),
        (Step::Stdout, "1", |c| c.stdout(Stdio::same_as(1))),
        (Step::Stdin, "3", |c| c.stdin(Stdio::same_as(3))),
        (Step::Stderr, "-1", |c| c.stderr(Stdio::same_as(-1))),
        (Step::Stderr, "1", |c| {
            c.stdout(Stdio::closed()).stderr(Stdio::same_as(1))
        }),
        (Step::Stdin, "1", |c| {
            c.stdin(Stdio::same_as(1)).stdout(Stdio::same_as(0))
        }),
        (Step::Program, "", |c| {
            *c = Command::new("");
            c
        }),
    ];
    for &(step, operand, set) in cases {
        let mut command = Command::new("/bin/true");
        set(&mut command);
        // A clone would kill this process by SIGSYS.
        let fail = || {
            let (nr, action) = (libc::SYS_clone3, util::filter::Action::Kill);
            util::filter::with(nr, action, || {
                let planned = command.plan().map(drop);
                let spawned = command.spawn().map(drop);
                let text = |r: &Result<(), Error>| format!("{r:?}");
                assert_eq!(text(&planned), text(&spawned));
                spawned
            })
        };
        let error = clean(fail);
        assert_eq!(error.step(), step, "{error}");
        let seen = error.operand().map(|word| word.to_str().unwrap());
        assert_eq!(seen, Some(operand), "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn getters_return_what_was_set() {
    let mut command = Command::new("ls");
    command.args(["-l", "x"]).env("B", "2").env("A", "1").env_remove("C");
    command.current_dir("/srv");
    assert_eq!(command.get_program(), "ls");
    assert_eq!(command.get_args().len(), 2);
    assert!(command.get_args().eq(["-l", "x"]));
    let envs: Vec<_> = command.get_envs().collect();
    let word = |word: &'static str| -> &std::ffi::OsStr { word.as_ref() };
    let want = [
        (word("A"), Some(word("1"))),
        (word("B"), Some(word("2"))),
        (word("C"), None),
    ];
    assert_eq!(envs, want);
    assert!(!command.get_env_clear());
    assert_eq!(command.get_current_dir(), Some(Path::new("/srv")));
    command.env_clear();
    assert!(command.get_env_clear());
    assert_eq!(command.get_envs().len(), 0);
}

/// A shell runs the printed line as the command would run.
#[test]
fn debug_prints_a_line_that_a_shell_accepts() {
    let _alone = alone();
    let plain = Command::new("tar");
    assert_eq!(format!("{plain:?}"), "tar");
    let mut words = Command::new("/bin/my tar");
    words.args(["-x", "", "it's", "a$b", "tab\there", "é", "~", "a=b"]);
    words.current_dir("/a b").env("K", "v w").env_remove("GONE");
    let want = r#"cd '/a b' && env -u GONE K="$K" '/bin/my tar' -x '' 'it'\''s' 'a$b' $'tab\011here' 'é' '~' 'a=b'"#;
    assert_eq!(format!("{words:?}"), want);
    let want = want.replace("\"$K\"", "'v w'");
    assert_eq!(words.to_shell_line(), want);
    let bash = std::process::Command::new("bash").arg("--version").output();
    if bash.is_err() {
        let name = "debug_prints_a_line_that_a_shell_accepts";
        return util::skip(name, "no bash");
    }
    use std::os::unix::ffi::OsStrExt;
    let mut odd = Command::new("printf");
    odd.args(["%s|", "it's", "a\nb", "\\", "$HOME", "*", "\u{7f}9", "!x"]);
    odd.arg(std::ffi::OsStr::from_bytes(b"\xff'7\\"));
    let line = format!("{odd:?}");
    let shell =
        std::process::Command::new("bash").arg("-c").arg(line).output();
    assert_eq!(shell.unwrap().stdout, odd.output().unwrap().stdout);
}

/// `exec` in a new process, which becomes the reporter.
#[test]
fn exec_applies_every_option() {
    let _alone = alone();
    let name = "exec_applies_every_option";
    const OUT: &str = "OFFSHOOT_EXEC_OUT";
    if let Some(out) = std::env::var_os(OUT) {
        let file = fs::File::open("/dev/null").unwrap();
        // SAFETY: duplicates an open descriptor without close-on-exec.
        unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 40) };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ASK).arg(out).umask(0o123).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::closed());
        command.stderr(Stdio::null()).env("ONLY", "1").arg0("became");
        let error = command.exec();
        panic!("{error}");
    }
    let out = scratch("exec").join("report");
    let exe = std::env::current_exe().unwrap();
    let run = ["--exact", name, "--nocapture", "--test-threads=1"];
    let mut before = Command::new(exe);
    let mut child =
        before.args(run).env(OUT, &out).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    assert!(pid > 0);
    let seen = Report::parse(&fs::read(&out).unwrap());
    assert_eq!(seen.all("arg")[0], "became");
    assert_eq!(seen.one("Umask"), "0123");
    assert_eq!(seen.one("cwd"), "/");
    assert_eq!(seen.fds(), [0, 2]);
    assert!(seen.all("env").contains(&"ONLY=1"));
}

#[test]
fn a_failed_exec_names_the_step_and_the_process_goes_on() {
    let _alone = alone();
    let name = "a_failed_exec_names_the_step_and_the_process_goes_on";
    if !util::inside(name, &[]) {
        return;
    }
    let error = Command::new("/nope/x").exec();
    util::clean::assert_error(
        &error,
        Step::Exec,
        Some("/nope/x"),
        libc::ENOENT,
    );
    let error = Command::new("/bin/true").current_dir("/nope").exec();
    util::clean::assert_error(
        &error,
        Step::Chdir,
        Some("/nope"),
        libc::ENOENT,
    );
    let error = Command::new("nope").env("PATH", "/bin:/usr/bin").exec();
    assert_eq!(error.candidates().len(), 2);
    let error = Command::new("/bin/true").set_tid([7]).exec();
    assert_eq!(error.step(), Step::SetTid);
    // The process can still spawn children.
    let status = Command::new("sh").args(["-c", "kill $$"]).status();
    assert_eq!(status.unwrap().signal(), Some(15));
}
