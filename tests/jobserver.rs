//! Jobserver: a child inherits the token pipe of `make -j`, and no other
//! descriptors of the same numbers.
#![allow(unsafe_code, reason = "the tests inherit descriptors by number")]

mod util;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command as Std;
use std::{env, process};

use offshoot::{Command, Engine, Step};
use rustix::pipe::{PipeFlags, pipe_with};
use util::reporter::Report;
use util::{ENGINES, alone, each_engine, reporter_with, scratch};

/// The descriptors that the reporter has above 2.
fn seen(command: &mut Command) -> Vec<RawFd> {
    let output = command.output().unwrap();
    let fds = Report::parse(&output.stdout).fds();
    let fds = fds.into_iter().map(|n| RawFd::try_from(n).unwrap());
    fds.filter(|n| *n > 2).collect()
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn numbers(read: &impl AsRawFd, write: &impl AsRawFd) -> (RawFd, RawFd) {
    (read.as_raw_fd(), write.as_raw_fd())
}

/// The reporter with `inherit_jobserver` and one of make's variables.
fn with_flags(engine: Engine, name: &str, flags: &str) -> Command {
    let mut command = reporter_with(engine);
    for other in ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"] {
        command.env_remove(other);
    }
    command.env(name, flags).inherit_jobserver();
    command
}

#[test]
fn the_pipe_that_the_variables_name_is_inherited() {
    let _alone = alone();
    let (read, write) = pipe();
    let (r, w) = numbers(&read, &write);
    let both = [r.min(w), r.max(w)];
    each_engine(|engine| {
        let flags = format!("w -j2 --jobserver-auth={r},{w}");
        for name in ["MAKEFLAGS", "CARGO_MAKEFLAGS", "MFLAGS"] {
            assert_eq!(
                seen(&mut with_flags(engine, name, &flags)),
                both,
                "{name}"
            );
        }
        let old =
            format!("-j --jobserver-fds={r},{w} --jobserver-auth={r},{w}");
        assert_eq!(
            seen(&mut with_flags(engine, "CARGO_MAKEFLAGS", &old)),
            both
        );
        // The plan shows both ends.
        let with_flags = with_flags(engine, "MAKEFLAGS", &flags);
        let plan = with_flags.plan().unwrap().to_string();
        assert_eq!(plan.matches("inherit_jobserver").count(), 2, "{plan}");
        // Without the option they are closed.
        let mut without = reporter_with(engine);
        assert_eq!(seen(without.env("MAKEFLAGS", &flags)), []);
    });
}

#[test]
fn only_the_two_ends_of_one_pipe_are_a_jobserver() {
    let _alone = alone();
    let ((read, write), (other, _end)) = (pipe(), pipe());
    let (r, w) = numbers(&read, &write);
    let file = File::open("/dev/null").unwrap();
    let (f, o) = (file.as_raw_fd(), other.as_raw_fd());
    let wrong = [
        format!("--jobserver-auth={w},{r}"),
        format!("--jobserver-auth={r},{r}"),
        format!("--jobserver-auth={o},{w}"),
        format!("--jobserver-auth={f},{f}"),
        format!("--jobserver-auth={r},{f}"),
        format!("--jobserver-auth=4711,{w}"),
        "--jobserver-auth=4711,4712".into(),
        "--jobserver-auth=-2,-2".into(),
        format!("--jobserver-auth={r},{w} --jobserver-auth=-2,-2"),
        "--jobserver-auth=fifo:/tmp/GMfifo1".into(),
        format!("--jobserver-auth={r}"),
        format!("-- A=1 --jobserver-auth={r},{w}"),
        "--jobserver-auth=0,1".into(),
        "k".into(),
    ];
    each_engine(|engine| {
        for flags in &wrong {
            let mut command = with_flags(engine, "MAKEFLAGS", flags);
            assert_eq!(seen(&mut command), [], "{flags}");
        }
        let flags = format!("--jobserver-auth={r},{w}");
        let mut gone = with_flags(engine, "MAKEFLAGS", &flags);
        assert_eq!(seen(gone.env_remove("MAKEFLAGS")), []);
        let mut clear = with_flags(engine, "MAKEFLAGS", &flags);
        assert_eq!(seen(clear.env_clear()), []);
    });
}

/// A named pipe that is open for reading and writing is one descriptor.
#[test]
fn one_descriptor_may_be_both_ends() {
    let _alone = alone();
    let dir = scratch("jobserver-fifo");
    let path = dir.join("fifo");
    let mkfifo = Std::new("mkfifo").arg(&path).status().unwrap();
    assert!(mkfifo.success());
    let fifo = File::options().read(true).write(true).open(&path).unwrap();
    let n = fifo.as_raw_fd();
    each_engine(|engine| {
        let flags = format!("--jobserver-auth={n},{n}");
        assert_eq!(seen(&mut with_flags(engine, "MAKEFLAGS", &flags)), [n]);
    });
}

#[test]
fn another_option_may_name_the_same_descriptors() {
    let _alone = alone();
    let (read, write) = pipe();
    let (r, w) = numbers(&read, &write);
    let flags = format!("--jobserver-auth={r},{w}");
    let mut both = [r, w];
    both.sort_unstable();
    each_engine(|engine| {
        let mut same = with_flags(engine, "MAKEFLAGS", &flags);
        // SAFETY: both stay open to the end of the test.
        unsafe { same.inherit_raw_fd(r) };
        assert_eq!(seen(&mut same), both);
        let mut twice = with_flags(engine, "MAKEFLAGS", &flags);
        assert_eq!(seen(twice.inherit_jobserver()), both);
        let mut other = with_flags(engine, "MAKEFLAGS", &flags);
        other.fd(w, File::open("/dev/null").unwrap());
        let error = other.spawn().unwrap_err();
        assert_eq!(error.step(), Step::InheritJobserver);
        assert_eq!(error.operand().unwrap(), &*format!("{w} -> {w}"));
        // Without a jobserver, the number is free for other options.
        let mut free =
            with_flags(engine, "MAKEFLAGS", "--jobserver-auth=-2,-2");
        free.fd(w, File::open("/dev/null").unwrap());
        assert_eq!(seen(&mut free), [w]);
    });
}

/// The caller must keep the pipe open between plan and spawn.
#[test]
fn a_jobserver_that_is_closed_after_the_plan_is_an_error() {
    // In its own process, as another thread could reuse the numbers.
    let name = "a_jobserver_that_is_closed_after_the_plan_is_an_error";
    if !util::inside(name, &[]) {
        return;
    }
    let _alone = alone();
    let (read, write) = pipe();
    let (r, w) = numbers(&read, &write);
    let flags = format!("--jobserver-auth={r},{w}");
    let plan = with_flags(Engine::Suspended, "MAKEFLAGS", &flags);
    let prepared = plan.prepare().unwrap();
    drop((read, write));
    let error = prepared.spawn().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert!(!util::has_children());
    // A new plan finds no jobserver.
    assert_eq!(
        seen(&mut with_flags(Engine::Suspended, "MAKEFLAGS", &flags)),
        []
    );
}

const NEXT: &str = "OFFSHOOT_NEXT";
const WITHOUT: &str = "OFFSHOOT_WITHOUT";
const BY: &str = "OFFSHOOT_BY";

/// The program between two makes: runs the next make through this crate.
fn tool() {
    let Some(next) = env::var_os(NEXT) else { return };
    let mut make = Command::new("make");
    make.arg("-f").arg(next).env_remove(NEXT);
    if env::var_os(WITHOUT).is_none() {
        make.inherit_jobserver();
    }
    let by: usize = env::var(BY).unwrap().parse().unwrap();
    let status = make.engine(ENGINES[by]).status().unwrap();
    process::exit(status.code().unwrap_or(99));
}

/// The option that makes make use a pipe; `None` without GNU make.
fn make(test: &str) -> Option<Vec<&'static str>> {
    let Ok(version) = Std::new("make").arg("--version").output() else {
        util::skip(test, "no make");
        return None;
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = version.strip_prefix("GNU Make ").and_then(|rest| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String =
            rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let Some(number) = number else {
        util::skip(test, "make is not GNU make");
        return None;
    };
    // Before 4.4 it is always a pipe.
    let new = number >= (4, 4);
    Some(if new { vec!["--jobserver-style=pipe"] } else { Vec::new() })
}

/// A makefile: its targets, and what each runs.
fn makefile(path: &Path, targets: &str, recipe: &str) {
    let text = format!("all: {targets}\n{targets}:\n\t{recipe}\n");
    fs::write(path, text).unwrap();
}

/// Runs make, this program, make, this program, make: the last has targets
/// `x` and `y`. With `shared` this program passes the jobserver on. Returns
/// the standard error output.
fn three_levels(
    test: &str,
    engine: usize,
    shared: bool,
    [wide, leaf]: [&str; 2],
) -> String {
    let style = make(test).unwrap();
    let dir = scratch("jobserver-make");
    let exe = env::current_exe().unwrap();
    let run = |next: &str| {
        let next = dir.join(next);
        format!(
            "+@{NEXT}={} {} --exact {test} --nocapture >/dev/null",
            next.display(),
            exe.display()
        )
    };
    makefile(&dir.join("top"), wide, &run("middle"));
    makefile(&dir.join("middle"), wide, &run("leaf"));
    makefile(&dir.join("leaf"), "x y", leaf);
    let mut top = Std::new("make");
    for name in ["MAKEFLAGS", "CARGO_MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        top.env_remove(name);
    }
    top.args(style).arg("-j2").arg("-f").arg("top").current_dir(&dir);
    if !shared {
        top.env(WITHOUT, "");
    }
    let output = top.env(BY, engine.to_string()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("INTERNAL"), "tokens are lost: {errors}");
    errors
}

/// In the last of three makes two jobs run at once, as each waits for the
/// other; with four jobs never more than two run at once.
#[test]
fn tokens_are_shared_by_makes_three_levels_deep() {
    let name = "tokens_are_shared_by_makes_three_levels_deep";
    tool();
    let _alone = alone();
    if make(name).is_none() {
        return;
    }
    let dir = scratch("jobserver-log");
    let both = "@touch $(DIR)/$@; n=0; while ! [ -e $(DIR)/x -a -e \
                $(DIR)/y ]; do n=$$((n+1)); [ $$n -lt 1200 ] || exit 1; \
                sleep 0.05; done";
    for engine in 0..ENGINES.len() {
        let meet = dir.join(format!("meet-{engine}"));
        fs::create_dir(&meet).unwrap();
        let leaf = both.replace("$(DIR)", meet.to_str().unwrap());
        let errors = three_levels(name, engine, true, ["one", &leaf]);
        assert!(!errors.contains("jobserver"), "{errors}");
        let log = dir.join(format!("log-{engine}"));
        let log = log.display();
        let leaf = format!("@echo + >>{log}; sleep 0.02; echo - >>{log}");
        let errors = three_levels(name, engine, true, ["one two", &leaf]);
        assert!(!errors.contains("jobserver"), "{errors}");
        let (mut now, mut most, mut jobs) = (0, 0, 0);
        for line in fs::read_to_string(log.to_string()).unwrap().lines() {
            let begun = line == "+";
            now += if begun { 1 } else { -1 };
            jobs += i32::from(begun);
            most = now.max(most);
        }
        assert_eq!((now, jobs), (0, 8));
        assert!(most <= 2, "{most} at once");
    }
}

/// Without the option, make reports that the jobserver is unavailable.
#[test]
fn without_the_option_a_nested_make_runs_one_job_at_a_time() {
    let name = "without_the_option_a_nested_make_runs_one_job_at_a_time";
    tool();
    let _alone = alone();
    if make(name).is_none() {
        return;
    }
    let dir = scratch("jobserver-without");
    let log = dir.join("log");
    let shown = log.display();
    let leaf = format!("@echo + >>{shown}; sleep 0.02; echo - >>{shown}");
    let errors = three_levels(name, 0, false, ["one", &leaf]);
    assert!(errors.contains("jobserver unavailable"), "{errors}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "+\n-\n+\n-\n");
}

/// As in make's recipes: the pipe is open when the process starts.
#[test]
fn the_pipe_of_this_processs_own_environment_is_found() {
    let name = "the_pipe_of_this_processs_own_environment_is_found";
    if util::is_inside(name) {
        assert!(util::inside(name, &[]));
        for engine in ENGINES {
            let mut command = reporter_with(engine);
            assert_eq!(seen(command.inherit_jobserver()), [71, 72]);
        }
        return;
    }
    let _alone = alone();
    // The shell opens the descriptors that the variable names.
    let line = "rm -f \"$0\"; mkfifo \"$0\" && exec 71<>\"$0\" 72<>\"$0\" && \
                rm \"$0\" && exec \"$@\"";
    let path = scratch("jobserver-own").join("fifo");
    let path = path.to_str().unwrap();
    let flags = "MAKEFLAGS= --jobserver-auth=71,72";
    let wrap = ["env", "-u", "CARGO_MAKEFLAGS", flags, "bash", "-c", line];
    let wrap: Vec<&str> = wrap.into_iter().chain([path]).collect();
    assert!(!util::inside(name, &wrap));
}

/// A failed exec in place sets close-on-exec again.
#[test]
fn a_failed_exec_leaves_the_pipe_close_on_exec() {
    let name = "a_failed_exec_leaves_the_pipe_close_on_exec";
    if !util::inside(name, &[]) {
        return;
    }
    let (read, write) = pipe();
    let (r, w) = numbers(&read, &write);
    let mut command = Command::new("/no/such/program");
    command.env("MAKEFLAGS", format!("--jobserver-auth={r},{w}"));
    let error = command.inherit_jobserver().exec();
    assert_eq!(error.step(), Step::Exec);
    for end in [&read, &write] {
        let flags = rustix::io::fcntl_getfd(end).unwrap();
        assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
    }
}
