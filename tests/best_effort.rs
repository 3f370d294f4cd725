//! Best effort: options that the kernel rejects do not fail the spawn, in
//! every engine, and the launch has their errors.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use offshoot::{Child, Command, Engine, Groups, Memory, Method, Stdio, Step};
use util::clean::{assert_error, command, refused};
use util::{each_engine, report, reporter_with};

/// A child's output, and the errors of its refused options.
fn run(mut child: Child) -> (String, Vec<(Step, Option<String>, i32)>) {
    let refused = child.launch().refused().map(|error| {
        let operand = error.operand().map(|o| o.to_str().unwrap().to_string());
        (error.step(), operand, error.raw_os_error().unwrap())
    });
    let refused = refused.collect();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), refused)
}

#[test]
fn a_directory_that_is_refused_leaves_the_child_where_it_was() {
    let own = std::env::current_dir().unwrap();
    each_engine(|engine| {
        let mut pwd = command("pwd", engine);
        pwd.arg("-P").stdout(Stdio::piped());
        pwd.best_effort(|it| it.current_dir("/nope").umask(0o27));
        let (out, refused) = run(pwd.spawn().unwrap());
        assert_eq!(Path::new(out.trim_end()), own);
        let nope = Some("/nope".to_string());
        assert_eq!(refused, [(Step::Chdir, nope, libc::ENOENT)]);
        let prepared = pwd.prepare().unwrap();
        for _ in 0..2 {
            let child = prepared.spawn().unwrap();
            let launch = child.launch().to_string();
            assert!(
                launch.ends_with("; without chdir \"/nope\": No such file or directory (os error 2)"),
                "{launch}"
            );
            assert_eq!(run(child).1.len(), 1);
        }
    });
}

#[test]
fn options_that_are_not_refused_take_effect() {
    each_engine(|engine| {
        let mut reporter = reporter_with(engine);
        reporter.best_effort(|it| it.setsid(true).umask(0o137));
        reporter.best_effort(|it| it.nice(19));
        let seen = report(&mut reporter);
        assert_eq!((seen.one("session"), seen.one("Umask")), ("own", "0137"));
        let mut nice = command("nice", engine);
        nice.stdout(Stdio::piped()).best_effort(|it| it.nice(19));
        let (out, refused) = run(nice.spawn().unwrap());
        assert_eq!((out.as_str(), refused.len()), ("19\n", 0));
    });
}

/// Whichever value the kernel rejects, the other stays.
#[test]
fn a_nice_value_may_be_refused_and_the_one_outside_stays() {
    let name = "a_nice_value_may_be_refused_and_the_one_outside_stays";
    if !util::inside(name, &[]) {
        return;
    }
    util::limit(libc::RLIMIT_NICE, 0, 0);
    if util::is_root() {
        // SAFETY: changes the nice value of this thread.
        let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
        assert_eq!(done, 0);
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    // SAFETY: reads the nice value of this thread.
    let own = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    if own > 16 {
        return util::skip(name, "the nice value is above 16");
    }
    let (low, middle, high) = (own + 1, own + 2, own + 3);
    each_engine(|engine| {
        let mut nice = command("nice", engine);
        nice.nice(middle).best_effort(|it| it.nice(low));
        let child = nice.stdout(Stdio::piped()).spawn().unwrap();
        let error = child.launch().refused().next().unwrap().to_string();
        assert!(error.contains("takes CAP_SYS_NICE"), "{error}");
        let (out, refused) = run(child);
        assert_eq!(out, format!("{middle}\n"));
        let low = Some(low.to_string());
        assert_eq!(refused, [(Step::Nice, low, libc::EACCES)]);
        let mut both = command("nice", engine);
        both.nice(middle).best_effort(|it| it.nice(high));
        both.stdout(Stdio::piped());
        let out = run(both.spawn().unwrap());
        assert_eq!(out, (format!("{high}\n"), vec![]));
    });
}

#[test]
fn options_that_must_take_effect_are_refused_by_name() {
    type Set = fn(&mut Command) -> &mut Command;
    let all: &[(&str, Set)] = &[
        ("uid", |it| it.uid(1)),
        ("gid", |it| it.gid(1)),
        ("groups", |it| it.groups(Groups::clear())),
        ("chroot", |it| it.chroot("/")),
        ("fd, inherit_fd or listen_fds", |it| {
            it.fd(5, File::open("/dev/null").unwrap())
        }),
        ("stdin or terminal", |it| it.stdin(Stdio::null())),
        ("current_dir_fd", |it| it.current_dir_fd(File::open("/").unwrap())),
        ("before_exec", |it| it.before_exec(|_, _| Ok(()))),
        ("method", |it| it.method(Method::Fork)),
        ("memory", |it| it.memory(Memory::Private)),
        ("engine", |it| it.engine(Engine::Copied)),
        ("set_tid", |it| it.set_tid([7])),
        ("arg or arg0", |it| it.arg("x")),
        ("arg or arg0", |it| it.arg0("x")),
        ("env, env_remove or env_clear", |it| it.env("A", "1")),
        ("env, env_remove or env_clear", |it| it.env_clear()),
        ("env_exact", |it| it.env_exact(["A=1"])),
        ("best_effort", |it| it.best_effort(|it| it.nice(3))),
        ("program", |it| {
            *it = Command::new("/bin/false");
            it
        }),
    ];
    for (option, set) in all {
        let mut command = Command::new("/bin/true");
        let error = command.best_effort(set).plan().unwrap_err();
        assert_eq!(error.step(), Step::BestEffort, "{error}");
        assert_eq!(error.operand().unwrap(), *option, "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn an_invalid_value_is_an_error_inside_too() {
    let mut command = Command::new("/bin/true");
    command.best_effort(|it| it.nice(100));
    let error = command.plan().unwrap_err();
    assert_eq!((error.step(), error.raw_os_error()), (Step::Nice, None));
    let mut command = Command::new("/bin/true");
    command.best_effort(|it| it.setsid(true)).process_group(0);
    let error = command.plan().unwrap_err();
    assert_eq!(error.step(), Step::Setsid, "{error}");
    let mut command = Command::new("/bin/true");
    command.setsid(true).best_effort(|it| it.process_group(0));
    assert_eq!(command.plan().unwrap_err().step(), Step::Setsid);
}

/// Each pair must fail, whichever of the two may.
#[test]
fn options_of_a_session_that_exclude_each_other_are_refused_inside_too() {
    let (_controller, terminal) = offshoot::pty::open().unwrap();
    let file = || terminal.as_fd().try_clone_to_owned().unwrap();
    let acquire = |it: &mut Command| _ = it.controlling_terminal(file());
    let foreground = |it: &mut Command| _ = it.foreground(file());
    let detach = |it: &mut Command| _ = it.detach_terminal(true);
    let setsid = |it: &mut Command| _ = it.setsid(true);
    let group = |it: &mut Command| _ = it.process_group(0);
    type Set<'s> = &'s dyn Fn(&mut Command);
    let all: [(Set<'_>, Set<'_>, Step, &str); 5] = [
        (&acquire, &detach, Step::DetachTerminal, "controlling_terminal"),
        (&foreground, &detach, Step::Foreground, "detach_terminal"),
        (&foreground, &setsid, Step::Foreground, "setsid"),
        (&setsid, &group, Step::Setsid, "process_group"),
        (&acquire, &group, Step::ControllingTerminal, "process_group"),
    ];
    for (one, other, step, option) in all {
        for (outside, inside) in [(one, other), (other, one)] {
            let mut least = Command::new("/bin/true");
            outside(&mut least);
            least.best_effort(|it| {
                inside(it);
                it
            });
            let error = least.plan().unwrap_err();
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.operand().unwrap(), option, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        }
    }
}

/// The option outside would replace the one inside, or be broken by it.
#[test]
fn an_option_inside_that_has_no_effect_is_refused() {
    let read = || {
        let mut read = offshoot::ChildOpenOptions::new();
        read.read(true).clone()
    };
    let mut dir = Command::new("/bin/true");
    dir.current_dir_fd(File::open("/").unwrap());
    dir.best_effort(|it| it.current_dir("/var"));
    let mut mask = Command::new("/bin/true");
    mask.umask_or(0o77).best_effort(|it| it.umask(0o22));
    let mut files = Command::new("/bin/true");
    files.open_in_child(20, "/dev/null", &read());
    files.best_effort(|it| it.rlimit(offshoot::Resource::NoFile, 5));
    for (command, step, option, other) in [
        (dir, Step::CurrentDir, "current_dir", "current_dir_fd"),
        (mask, Step::Umask, "umask", "umask_or"),
        (files, Step::Rlimit, "RLIMIT_NOFILE", "open_in_child"),
    ] {
        let error = command.plan().unwrap_err();
        refused(&error, step, Some(option), other);
    }
}

/// A relative program is looked for in the directory that the child is in.
#[test]
fn a_missing_interpreter_is_found_whether_the_directory_was_refused_or_not() {
    let dir = util::scratch("best-effort");
    util::program(&dir.join("script"), b"#!/nope/interpreter\n");
    let own = std::env::current_dir().unwrap();
    let up = "../".repeat(own.components().count());
    let relative = format!("./{up}{}", dir.join("script").display());
    each_engine(|engine| {
        for (path, wanted) in
            [("/nope", relative.as_str()), (dir.to_str().unwrap(), "./script")]
        {
            let mut script = command(wanted, engine);
            script.best_effort(|it| it.current_dir(path));
            let error = script.spawn().unwrap_err();
            let interpreter = Some("/nope/interpreter");
            let step = Step::Interpreter;
            assert_error(&error, step, interpreter, libc::ENOENT);
        }
    });
}

#[test]
fn an_exec_in_place_continues_without_a_refused_option() {
    let _alone = util::alone();
    let status = util::fork::forked(|| {
        let script = "[ $(umask) = 0027 ] && [ $PWD != /nope ] && exit 6";
        let mut sh = Command::new("sh");
        sh.args(["-c", script]);
        sh.best_effort(|it| it.current_dir("/nope").umask(0o27));
        panic!("{}", sh.exec());
    });
    assert_eq!(status, 6 << 8);
}
