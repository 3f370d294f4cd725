//! Listen: sockets passed from descriptor 3 up, and LISTEN_FDS, LISTEN_PID and
//! LISTEN_FDNAMES, in children and with `exec`.
#![allow(unsafe_code, reason = "the tests duplicate descriptors by number")]

mod util;

use std::env;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;

use offshoot::{Command, Error, Stdio, Step};
use util::clean::clean;
use util::filter::{self, Action};
use util::reporter::{ASK, Report};
use util::{alone, each_engine, program, reporter_with, scratch};

/// Sockets, and their lines in a report, from 3 up.
fn sockets<const N: usize>() -> ([UnixDatagram; N], Vec<String>) {
    let all = [(); N].map(|()| UnixDatagram::unbound().unwrap());
    let shown = all.iter().enumerate().map(|(n, socket)| {
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let link = fs::read_link(link).unwrap();
        assert!(link.to_str().unwrap().starts_with("socket:["));
        format!("{} {}", n + 3, link.display())
    });
    let shown = shown.collect();
    (all, shown)
}

/// The descriptors from 3 up, in ascending order.
fn above_2(report: &Report) -> Vec<String> {
    let number = |line: &str| -> u32 {
        line.split(' ').next().unwrap().parse().unwrap()
    };
    let mut all: Vec<String> =
        report.all("fd").iter().map(|line| line.to_string()).collect();
    all.sort_by_key(|line| number(line));
    all.retain(|line| number(line) > 2);
    all
}

/// The LISTEN_ variables, sorted.
fn variables(report: &Report) -> Vec<&str> {
    let mut all = report.all("env");
    all.retain(|word| word.starts_with("LISTEN_"));
    all.sort_unstable();
    all
}

/// Runs a command; returns its pid and its report.
fn run(command: &mut Command) -> (u32, Report) {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (pid, Report::parse(&output.stdout))
}

#[track_caller]
fn has(report: &Report, pid: u32, want: &[&str]) {
    let mut all = vec![format!("LISTEN_PID={pid}")];
    all.extend(want.iter().map(|word| (*word).to_string()));
    all.sort();
    assert_eq!(variables(report), all);
}

/// In a process that has LISTEN_ variables itself.
#[test]
fn sockets_are_passed_with_the_variables_that_name_them() {
    let name = "sockets_are_passed_with_the_variables_that_name_them";
    let _alone = alone();
    let own = [
        "/usr/bin/env",
        "LISTEN_PID=1",
        "LISTEN_FDS=9",
        "LISTEN_FDNAMES=stale",
        "LISTEN_PIDFDID=5",
    ];
    if !util::inside(name, &own) {
        return;
    }
    each_engine(|engine| {
        let (two, shown) = sockets::<2>();
        let (pid, report) = run(reporter_with(engine).listen_fds(two));
        has(&report, pid, &["LISTEN_FDS=2"]);
        assert_eq!(above_2(&report), shown, "{engine}");

        // With a name or none, in the order of the calls, together with
        // other descriptors, and independent of the original numbers.
        let ([a, b, c, d], shown) = sockets::<4>();
        let null = File::open("/dev/null").unwrap();
        let mut command = reporter_with(engine);
        command.listen_fds_named([("web server", a)]).fd(9, null);
        command.listen_fds([b, c]).listen_fds_named([("", d)]);
        command.env("A", "1").env_remove("B");
        for _ in 0..2 {
            let (pid, report) = run(&mut command);
            let names = "LISTEN_FDNAMES=web server:unknown:unknown:";
            has(&report, pid, &["LISTEN_FDS=4", names]);
            let seen = above_2(&report);
            assert_eq!(seen[..4], shown, "{engine}");
            assert_eq!(seen[4..], ["9 /dev/null"], "{engine}");
            assert!(report.all("env").contains(&"A=1"));
        }

        // The only variables of the environment.
        let ([a], shown) = sockets::<1>();
        let mut command = reporter_with(engine);
        command.env("A", "1").env_clear().listen_fds([a]);
        let (pid, report) = run(&mut command);
        has(&report, pid, &["LISTEN_FDS=1"]);
        assert_eq!(report.all("env").len(), 2);
        assert_eq!(above_2(&report), shown, "{engine}");

        let none: [UnixDatagram; 0] = [];
        let (pid, report) = run(reporter_with(engine).listen_fds(none));
        has(&report, pid, &["LISTEN_FDS=0"]);
        assert_eq!(report.fds(), [0, 1, 2], "{engine}");

        // Without the option the variables are inherited like all others.
        let (_, report) = run(&mut reporter_with(engine));
        assert_eq!(variables(&report).len(), 4);
    });
}

/// Many sockets, whose targets are each other's numbers.
#[test]
fn many_sockets_keep_their_order_whatever_their_numbers() {
    let _alone = alone();
    each_engine(|engine| {
        let (mut all, mut shown) = sockets::<40>();
        all.reverse();
        shown.reverse();
        let link = |line: &String| line.split_once(' ').unwrap().1.to_string();
        let want: Vec<String> = (3..)
            .zip(&shown)
            .map(|(n, line)| format!("{n} {}", link(line)))
            .collect();
        let mut command = reporter_with(engine);
        let names = (0..40).map(|n| format!("n{n}"));
        let listed = names.clone().collect::<Vec<_>>().join(":");
        command.listen_fds_named(names.zip(all));
        let (pid, report) = run(&mut command);
        let listed = format!("LISTEN_FDNAMES={listed}");
        has(&report, pid, &["LISTEN_FDS=40", &listed]);
        assert_eq!(above_2(&report), want, "{engine}");
    });
}

#[test]
fn each_child_of_one_plan_gets_its_own_listen_pid() {
    let _alone = alone();
    each_engine(|engine| {
        let ([a, b], shown) = sockets::<2>();
        let mut command = reporter_with(engine);
        command.listen_fds_named([("a", a)]).listen_fds([b]);
        command.stdout(Stdio::piped());
        let prepared = command.prepare().unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let child = prepared.spawn().unwrap();
                        let pid = child.id();
                        let output = child.wait_with_output().unwrap();
                        let report = Report::parse(&output.stdout);
                        let names = "LISTEN_FDNAMES=a:unknown";
                        has(&report, pid, &["LISTEN_FDS=2", names]);
                        assert_eq!(above_2(&report), shown, "{engine}");
                    }
                });
            }
        });
    });
}

#[test]
fn exec_in_place_passes_sockets() {
    let _alone = alone();
    let name = "exec_in_place_passes_sockets";
    const OUT: &str = "OFFSHOOT_LISTEN_OUT";
    if let Some(out) = env::var_os(OUT) {
        let ([a, b], shown) = sockets::<2>();
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(ASK).arg(out).arg(shown.join(","));
        command.listen_fds([a]).listen_fds_named([("b", b)]);
        panic!("{}", command.exec());
    }
    let out = scratch("listen-exec").join("report");
    let mut before = Command::new(env::current_exe().unwrap());
    before.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    before.env(OUT, &out).env("LISTEN_FDS", "9").env("LISTEN_PIDFDID", "5");
    let mut child = before.stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let report = Report::parse(&fs::read(&out).unwrap());
    has(&report, pid, &["LISTEN_FDS=2", "LISTEN_FDNAMES=unknown:b"]);
    let shown = report.all("arg")[3];
    assert_eq!(above_2(&report).join(","), shown);
    fs::remove_dir_all(out.parent().unwrap()).unwrap();
}

/// Asserts a refusal before the clone.
#[track_caller]
fn refused(command: &mut Command, step: Step, operand: &str, why: &str) {
    let error: Error = clean(|| command.spawn().map(drop));
    util::clean::refused(&error, step, Some(operand), why);
    assert_eq!(command.plan().unwrap_err().step(), step);
}

#[test]
fn invalid_listen_fds_are_refused_by_name() {
    let _alone = alone();
    each_engine(|engine| {
        let socket = || UnixDatagram::unbound().unwrap();
        let two = || [socket(), socket()];
        for key in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            let mut set = reporter_with(engine);
            set.listen_fds(two()).env(key, "3");
            refused(&mut set, Step::ListenFds, key, "env sets");
            // Removing an inherited variable is not an error.
            let mut removed = reporter_with(engine);
            removed.env_remove(key).listen_fds(two());
            assert_eq!(run(&mut removed).1.fds(), [0, 1, 2, 3, 4]);
        }
        let long = "n".repeat(256);
        let plain = "printable ASCII without a colon";
        for (name, why) in [
            ("a:b", plain),
            ("naïve", plain),
            ("a\nb", plain),
            ("a\0b", plain),
            ("\x7F", plain),
            (long.as_str(), "at most 255 bytes"),
        ] {
            let mut named = reporter_with(engine);
            named.listen_fds(two()).listen_fds_named([(name, socket())]);
            refused(&mut named, Step::ListenFds, name, why);
        }
        let mut longest = reporter_with(engine);
        longest.listen_fds_named([(&long[..255], socket())]);
        let (_, report) = run(&mut longest);
        let want = format!("LISTEN_FDNAMES={}", &long[..255]);
        assert_eq!(variables(&report)[0], want);

        let other = socket();
        let pair = format!("{} -> 4", other.as_raw_fd());
        let mut after = reporter_with(engine);
        after.listen_fds(two()).fd(4, other);
        refused(&mut after, Step::Fd, &pair, "by `listen_fds`");
        let mut before = reporter_with(engine);
        let all = two();
        let pair = format!("{} -> 4", all[1].as_raw_fd());
        before.fd(4, socket()).listen_fds(all);
        refused(&mut before, Step::ListenFds, &pair, "by `fd`");
        let mut beside = reporter_with(engine);
        beside.listen_fds(two()).fd(5, socket());
        assert_eq!(run(&mut beside).1.fds(), [0, 1, 2, 3, 4, 5]);
    });
}

/// In place, a retry starts with the state that the first try has left.
#[test]
fn a_retried_exec_in_place_repeats_no_step() {
    let _alone = alone();
    let name = "a_retried_exec_in_place_repeats_no_step";
    const CASE: &str = "OFFSHOOT_CASE";
    let Ok(case) = env::var(CASE) else {
        let dir = scratch("again");
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("a"), "a").unwrap();
        fs::write(dir.join("b"), "b").unwrap();
        let text = b"cut -d' ' -f6 /proc/$$/stat | grep -qx $$ && echo ok\n";
        program(&dir.join("session"), text);
        program(&dir.join("where"), b"pwd | grep -q sub$ && echo ok\n");
        program(
            &dir.join("files"),
            b"cat /proc/$$/fd/31 /proc/$$/fd/32 && echo ok\n",
        );
        let run = ["--exact", name, "--nocapture", "--test-threads=1"];
        let mut wrong = Vec::new();
        for (case, want) in [
            ("by fd", "by fd"),
            ("session", "ok"),
            ("where", "ok"),
            ("files", "abok"),
        ] {
            let mut again = Command::new(env::current_exe().unwrap());
            again.args(run).env(CASE, case).current_dir(&dir);
            let output = again.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            if !text.ends_with(&format!("{want}\n")) {
                let errors = String::from_utf8(output.stderr).unwrap();
                wrong.push(format!("{case}: {text}{errors}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        return fs::remove_dir_all(dir).unwrap();
    };
    if case == "by fd" {
        let mut echo = Command::from_fd(File::open("/bin/echo").unwrap());
        let action = Action::errno(libc::EPERM);
        filter::with(libc::SYS_execveat, action, || {
            panic!("{}", echo.arg0("echo").arg(&case).exec());
        });
    }
    let program = env::current_dir().unwrap().join(&case);
    let mut command = Command::new(program);
    command.shell_fallback(true);
    match case.as_str() {
        "session" => command.setsid(true),
        "where" => command.current_dir("sub"),
        _ => {
            let at = |name: &str, n: i32| {
                let file = File::open(name).unwrap();
                // SAFETY: duplicates an open file to a free number.
                unsafe { libc::dup3(file.as_raw_fd(), n, libc::O_CLOEXEC) };
                // SAFETY: the descriptor is new and has no other owner.
                unsafe { OwnedFd::from_raw_fd(n) }
            };
            command.fd(31, at("a", 30)).fd(32, at("b", 31))
        }
    };
    panic!("{}", command.exec());
}
