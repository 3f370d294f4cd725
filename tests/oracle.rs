//! Oracle: the same options through std and through offshoot give the same
//! report of the child. All differences are listed in docs/compare.md and
//! tested in tests/std_differences.rs.
#![allow(unsafe_code, reason = "hooks are compared too")]

mod util;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process;
use std::sync::OnceLock;

use offshoot::{Command, Engine, Stdio};
use util::{alone, is_root, scratch};

/// The same options for both builders.
struct Options {
    name: &'static str,
    std: fn(&mut process::Command),
    ours: fn(&mut Command),
}

/// The same calls on both builders.
macro_rules! options {
    ($name:literal, |$c:ident| $body:expr) => {
        Options {
            name: $name,
            std: |$c| {
                let _ = $body;
            },
            ours: |$c| {
                let _ = $body;
            },
        }
    };
}

fn me() -> (u32, u32) {
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    (uid, unsafe { libc::getegid() })
}

fn umask_by_hook() -> io::Result<()> {
    // SAFETY: one system call.
    unsafe { libc::umask(0o77) };
    Ok(())
}

fn session_by_hook() -> io::Result<()> {
    // SAFETY: one system call.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn limit_by_hook() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one rlimit.
    match unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn all_options() -> Vec<Options> {
    let mut all = vec![
        options!("nothing", |c| c),
        options!("an argument", |c| c.arg("x")),
        options!("an empty argument", |c| c.arg("").arg("y")),
        options!("arguments", |c| c.args(["a b", "*", "$X", "\n", "é"])),
        options!("a thousand arguments", |c| c
            .args((0..1000).map(|n| n.to_string()))),
        options!("a long argument", |c| c.arg("z".repeat(100_000))),
        options!("arg0", |c| c.arg0("renamed")),
        options!("an empty arg0", |c| c.arg0("")),
        options!("arg0 and arguments", |c| c.arg0("-sh").arg("-l")),
        options!("a variable", |c| c.env("A", "1")),
        options!("an empty variable", |c| c.env("A", "")),
        options!("a variable with =", |c| c.env("A", "b=c")),
        options!("a variable set twice", |c| c.env("A", "1").env("A", "2")),
        options!("variables", |c| c.envs([
            ("B", "2"),
            ("A", "1"),
            ("a", "3")
        ])),
        options!("a variable removed", |c| c.env_remove("HOME")),
        options!("one that is not there removed", |c| c.env_remove("NOPE_X")),
        options!("removed and set", |c| c.env_remove("A").env("A", "1")),
        options!("set and removed", |c| c.env("A", "1").env_remove("A")),
        options!("cleared", |c| c.env_clear()),
        options!("cleared and set", |c| c.env_clear().env("A", "1")),
        options!("set and cleared", |c| c.env("A", "1").env_clear()),
        options!("cleared and removed", |c| c.env_clear().env_remove("A")),
        options!("another PATH", |c| c.env("PATH", "/x:/y")),
        options!("no PATH", |c| c.env_remove("PATH")),
        options!("a directory", |c| c.current_dir("/")),
        options!("a directory behind a link", |c| c
            .current_dir("/proc/self/cwd")),
        options!("a directory twice", |c| c
            .current_dir("/x")
            .current_dir("/")),
        options!("a group of its own", |c| c.process_group(0)),
        options!("a group and a directory", |c| c
            .process_group(0)
            .current_dir("/")),
        Options {
            name: "stdin null",
            std: |c| {
                c.stdin(process::Stdio::null());
            },
            ours: |c| {
                c.stdin(Stdio::null());
            },
        },
        Options {
            name: "stderr null",
            std: |c| {
                c.stderr(process::Stdio::null());
            },
            ours: |c| {
                c.stderr(Stdio::null());
            },
        },
        Options {
            name: "stdin and stderr null",
            std: |c| {
                c.stdin(process::Stdio::null()).stderr(process::Stdio::null());
            },
            ours: |c| {
                c.stdin(Stdio::null()).stderr(Stdio::null());
            },
        },
        options!("stdin from a file", |c| c.stdin(file())),
        options!("stderr to a file", |c| c.stderr(file())),
        options!("stdin and stderr, one file each", |c| c
            .stdin(file())
            .stderr(file())),
        Options {
            name: "stdin inherited by name",
            std: |c| {
                c.stdin(process::Stdio::inherit());
            },
            ours: |c| {
                c.stdin(Stdio::inherit());
            },
        },
        options!("the same user", |c| c.uid(me().0)),
        Options {
            name: "umask by a hook",
            std: |c| {
                // SAFETY: one system call.
                unsafe { c.pre_exec(umask_by_hook) };
            },
            ours: |c| {
                // SAFETY: one system call.
                unsafe {
                    c.pre_exec(|context| {
                        context.umask(0o77);
                        Ok(())
                    });
                }
            },
        },
        Options {
            name: "a session by a hook, or by option",
            std: |c| {
                // SAFETY: one system call.
                unsafe { c.pre_exec(session_by_hook) };
            },
            ours: |c| {
                c.setsid(true);
            },
        },
        Options {
            name: "a limit by a hook",
            std: |c| {
                // SAFETY: one system call.
                unsafe { c.pre_exec(limit_by_hook) };
            },
            ours: |c| {
                // SAFETY: one system call.
                unsafe {
                    c.pre_exec(|context| {
                        context.setrlimit(libc::RLIMIT_CORE, 0, 0)
                    });
                }
            },
        },
        options!("everything", |c| c
            .arg("x")
            .arg0("all")
            .env("A", "1")
            .env_remove("HOME")
            .current_dir("/")
            .process_group(0)
            .stdin(file())),
    ];
    if is_root() {
        all.extend([
            options!("another user", |c| c.uid(1)),
            options!("another group", |c| c.gid(1).uid(0)),
            options!("another user and group", |c| c.uid(1).gid(2)),
        ]);
    }
    all
}

fn file() -> File {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let path = DIR.get_or_init(|| scratch("oracle-file")).join("file");
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    options.open(path).unwrap()
}

/// A copy of the reporter that every user can run.
fn reporter_copy() -> PathBuf {
    let path = scratch("oracle").join("reporter");
    fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, mode).unwrap();
    path
}

/// Removes differences between any two children: the inode of the pipe, and
/// the order of the environment.
fn normal(report: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(report).into_owned();
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(" pipe:[") {
            Some(("fd 1", _)) => "fd 1 pipe".to_string(),
            _ => signals(line).unwrap_or_else(|| line.to_string()),
        })
        .collect();
    let first = lines.iter().position(|line| line.starts_with("env "));
    if let Some(first) = first {
        lines[first..].sort();
    }
    lines
}

/// Removes libc's two internal signals, which posix_spawn ignores.
fn signals(line: &str) -> Option<String> {
    let mask = line.strip_prefix("SigIgn ")?;
    let mask = u64::from_str_radix(mask, 16).ok()? & !(0b11 << 31);
    Some(format!("SigIgn {mask:016x}"))
}

#[test]
fn forty_options_give_the_same_report_as_with_std() {
    let _alone = alone();
    let program = reporter_copy();
    let all_options = all_options();
    let count = all_options.len();
    assert!(count >= 40, "{count}");
    println!("{count} sets of options");
    for options in &all_options {
        let mut std = process::Command::new(&program);
        std.arg(util::reporter::ASK).arg("-").stdin(process::Stdio::inherit());
        (options.std)(&mut std);
        std.stdout(process::Stdio::piped());
        let theirs = std.spawn().unwrap().wait_with_output().unwrap();
        let mut command = Command::new(&program);
        command.arg(util::reporter::ASK).arg("-");
        (options.ours)(&mut command);
        command.stdout(Stdio::piped());
        let ours = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(theirs.status.success() && ours.status.success());
        assert!(ours.stdout.len() > 500, "{}", options.name);
        // A descriptor that this test inherited itself is a difference that
        // docs/compare.md lists.
        let listed = |line: &String| match line.strip_prefix("fd ") {
            Some(fd) => {
                fd.split(' ').next().is_some_and(|n| n.len() == 1)
                    && fd.as_bytes()[0] < b'3'
            }
            // The size of the descriptor table has no effect on a program.
            None => !line.starts_with("FDSize "),
        };
        let mut mine = normal(&ours.stdout);
        mine.retain(listed);
        let mut theirs = normal(&theirs.stdout);
        theirs.retain(listed);
        assert_eq!(theirs, mine, "{}", options.name);
    }
}

/// The report contains nothing that depends on other processes of this user,
/// so that reports can be compared.
#[test]
fn a_report_does_not_change_with_the_signals_of_other_processes() {
    let _alone = alone();
    let report =
        || util::reporter_with(Engine::Suspended).output().unwrap().stdout;
    let same = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let same = |line: &&str| !line.contains("pipe:[");
        text.lines().filter(same).map(String::from).collect::<Vec<_>>()
    };
    let before = same(&report());
    let mut other = process::Command::new("/bin/sh");
    let mut other = other.args(["-c", "kill -STOP $$"]).spawn().unwrap();
    let pid = i32::try_from(other.id()).unwrap();
    let status = format!("/proc/{pid}/stat");
    while !fs::read_to_string(&status).unwrap().contains(") T ") {
        std::thread::yield_now();
    }
    // The signal stays pending and counts in SigQ of the user.
    // SAFETY: signals a child of this test that is not reaped yet.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGUSR1) }, 0);
    let after = same(&report());
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(before, after);
}

/// `get_envs` of both builders lists the same changes.
#[test]
fn get_envs_lists_changes_as_std_does() {
    macro_rules! listed {
        (|$c:ident| $body:expr) => {{
            let mut $c = process::Command::new("x");
            let _ = $body;
            let std =
                $c.get_envs().map(|(k, v)| (k.into(), v.map(Into::into)));
            let std: Vec<(OsString, Option<OsString>)> = std.collect();
            let mut $c = Command::new("x");
            let _ = $body;
            let ours =
                $c.get_envs().map(|(k, v)| (k.into(), v.map(Into::into)));
            assert_eq!(std, ours.collect::<Vec<_>>(), stringify!($body));
        }};
    }
    listed!(|c| c.env("A", "1").env("B", "2").env("A", "3"));
    listed!(|c| c.env("A", "1").env_remove("A"));
    listed!(|c| c.env_remove("A").env("A", "1"));
    listed!(|c| c.env("A", "1").env_clear());
    listed!(|c| c.env_remove("A").env_clear());
    listed!(|c| c.env_clear().env("A", "1"));
    listed!(|c| c.env_clear().env_remove("A"));
    listed!(|c| c.env_clear().env("A", "1").env_remove("A"));
    listed!(|c| c.env_remove("A").env_clear().env_remove("B"));
}

/// A directory that only root may enter, and a child of another user: both
/// call chdir with the new ids.
#[test]
fn the_directory_is_entered_with_the_new_ids_as_std_does() {
    let _alone = alone();
    if !is_root() {
        let name = "the_directory_is_entered_with_the_new_ids_as_std_does";
        return util::skip(name, "only root has other ids to change to");
    }
    let dir = scratch("roots-own");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let mut std = process::Command::new("/bin/true");
    let std = std.uid(65534).current_dir(&dir).spawn().map(drop);
    assert_eq!(std.unwrap_err().raw_os_error(), Some(libc::EACCES));
    let mut ours = Command::new("/bin/true");
    let ours = ours.uid(65534).current_dir(&dir).spawn().map(drop);
    let ours = ours.unwrap_err();
    assert_eq!(ours.step(), offshoot::Step::Chdir);
    assert_eq!(ours.raw_os_error(), Some(libc::EACCES));
}

/// Each row of docs/compare.md names a test.
#[test]
fn every_difference_from_std_is_listed_with_a_test() {
    let root = util::source::root();
    let text = fs::read_to_string(root.join("docs/compare.md")).unwrap();
    // The table of features has a test of its own, in tests/house.
    let text = text.split("\n## Features").next().unwrap();
    let mut tests = String::new();
    for dir in ["tests", "src/parent/options"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "rs") {
                tests += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let heads = ["| what |", "| errno |", "| --- |"];
    let head = |row: &&str| heads.iter().any(|head| row.starts_with(head));
    let rows: Vec<&str> = rows.filter(|row| !head(row)).collect();
    assert!(rows.len() >= 10, "{}", rows.len());
    for row in rows {
        let test = row.trim_end_matches(" |").rsplit('`').nth(1).unwrap();
        assert!(tests.contains(&format!("fn {test}()")), "{row}");
    }
}
