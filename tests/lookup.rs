//! Lookup: which file a program name means, from which directory, and the
//! error if none can be executed.
#![allow(unsafe_code, reason = "a test changes its environment")]

mod util;

use std::cell::RefCell;
use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use offshoot::{Command, Engine, Error, PathSearch, Stdio, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::search::{X, fixture, path, tried};
use util::{
    ENGINES, PRIVATE, alone, each_engine, each_of, is_root, program, scratch,
};

/// The directories, the errno of each, and the errno of the error.
type Case = (&'static [&'static str], &'static [Option<i32>], i32);

#[test]
fn the_search_skips_enoent_remembers_eacces_and_stops_at_the_rest() {
    const NOT: Option<i32> = Some(libc::ENOENT);
    const DIR: Option<i32> = Some(libc::ENOTDIR);
    const MAY: Option<i32> = Some(libc::EACCES);
    let _alone = alone();
    let dir = fixture("rank");
    let cases: [Case; 8] = [
        (&["none", "file"], &[NOT, DIR], libc::ENOTDIR),
        (&["none", "file", "plain"], &[NOT, DIR, MAY], libc::EACCES),
        (&["plain", "none", "file"], &[MAY, NOT, DIR], libc::EACCES),
        (&["dir", "lost"], &[MAY, NOT], libc::EACCES),
        (&["none", "loop", "good"], &[NOT, Some(libc::ELOOP), None], 40),
        (&["plain", "loop", "good"], &[MAY, Some(libc::ELOOP), None], 40),
        (&["plain", "format", "good"], &[MAY, Some(libc::ENOEXEC), None], 8),
        (&["format", "none"], &[Some(libc::ENOEXEC), None], libc::ENOEXEC),
    ];
    each_engine(|engine| {
        for (names, answers, errno) in cases {
            let mut search = command(X, engine);
            search.env("PATH", path(&dir, names));
            let error = clean(spawn(search));
            assert_error(&error, Step::Exec, Some(X), errno);
            assert_eq!(tried(&error), answers, "{error}");
            for (tried, name) in error.candidates().iter().zip(names) {
                assert_eq!(tried.path(), dir.join(name).join(X));
            }
        }
        let mut found = command(X, engine);
        let names = ["none", "file", "plain", "dir", "lost", "good", "loop"];
        found.env("PATH", path(&dir, &names));
        assert_eq!(found.status().unwrap().code(), Some(9), "{engine}");
    });
    fs::remove_dir_all(dir).unwrap();
}

/// Every list of three of those directories, against `execvpe(3)` of glibc,
/// which std calls where PATH was changed.
#[cfg(target_env = "gnu")]
#[test]
fn with_shell_fallback_the_search_matches_execvpe() {
    let _alone = alone();
    let dir = fixture("execvpe");
    let all =
        ["none", "file", "plain", "dir", "loop", "format", "lost", "good"];
    let mut lists = Vec::new();
    for (n, _) in (0..all.len().pow(3)).enumerate() {
        lists.push([all[n % 8], all[n / 8 % 8], all[n / 64]]);
    }
    let reference: Vec<Result<Option<i32>, i32>> = lists
        .iter()
        .map(|names| {
            let mut theirs = std::process::Command::new(X);
            match theirs.env("PATH", path(&dir, names)).status() {
                Ok(status) => Ok(status.code()),
                Err(error) => Err(error.raw_os_error().unwrap()),
            }
        })
        .collect();
    each_engine(|engine| {
        for (names, theirs) in lists.iter().zip(&reference) {
            let mut ours = command(X, engine);
            ours.env("PATH", path(&dir, names)).shell_fallback(true);
            let ours = match ours.status() {
                Ok(status) => Ok(status.code()),
                Err(error) if error.step() == Step::Interpreter => {
                    // The error names the missing interpreter instead.
                    assert!(names.contains(&"lost"), "{error}");
                    let last = if names[2] == "file" { 20 } else { 2 };
                    Err(last)
                }
                Err(error) => Err(error.raw_os_error().unwrap()),
            };
            assert_eq!(ours, *theirs, "{engine} {names:?}");
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_unsearchable_directory_is_remembered_as_eacces() {
    let name = "an_unsearchable_directory_is_remembered_as_eacces";
    let _alone = alone();
    let root = is_root();
    let as_user = |command: &mut Command| {
        if root {
            command.uid(65534).gid(65534);
        }
    };
    let mut can = Command::new("/bin/true");
    as_user(&mut can);
    if can.status().is_err() {
        return util::skip(name, "needs a user other than root");
    }
    let dir = fixture("closed");
    program(&dir.join("good/true"), b"#!/bin/sh\nexit 9\n");
    let closed = |mode| {
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(dir.join("good"), mode).unwrap();
    };
    closed(0);
    let engines = if root { &PRIVATE[..] } else { &ENGINES };
    each_of(engines, |engine| {
        let search = |name: &str, path: String| {
            let mut command = command(name, engine);
            as_user(command.env("PATH", path));
            command
        };
        let denied = search(X, path(&dir, &["good", "none"]));
        let error = clean(spawn(denied));
        assert_error(&error, Step::Exec, Some(X), libc::EACCES);
        assert_eq!(tried(&error)[0], Some(libc::EACCES));
        let mut found =
            search("true", format!("{}:/bin", path(&dir, &["good"])));
        assert_eq!(found.status().unwrap().code(), Some(0), "{engine}");
    });
    closed(0o755);
    fs::remove_dir_all(dir).unwrap();
}

/// The current directory has such a program, as has the child's.
#[test]
fn empty_and_relative_path_entries_are_not_searched() {
    let name = "empty_and_relative_path_entries_are_not_searched";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = fixture("decoy");
    program(&dir.join(X), b"#!/bin/sh\nexit 66\n");
    env::set_current_dir(&dir).unwrap();
    let good = path(&dir, &["good"]);
    each_engine(|engine| {
        let search = |path: &str| {
            let mut command = command(X, engine);
            command.env("PATH", path);
            command
        };
        for nowhere in ["", ":", "::", ".", "good:./good:.:", ":..:~"] {
            let dirs = nowhere.split(':').map(PathBuf::from).collect();
            let mut listed = command(X, engine);
            listed.path_search(PathSearch::Dirs(dirs));
            let mut in_dir = search(nowhere);
            in_dir.current_dir(&dir);
            for nowhere in [search(nowhere), in_dir, listed] {
                let error = clean(spawn(nowhere));
                assert_error(&error, Step::Exec, Some(X), libc::ENOENT);
                assert!(error.candidates().is_empty(), "{error}");
            }
        }
        let mut found = search(&format!(":.:{good}:"));
        assert_eq!(found.status().unwrap().code(), Some(9), "{engine}");
        let gone = search(":.:/nope:");
        assert_eq!(clean(spawn(gone)).candidates().len(), 1);
    });
    env::set_current_dir("/").unwrap();
    fs::remove_dir_all(dir).unwrap();
}

#[track_caller]
fn seeks_default(error: &Error) {
    assert_error(error, Step::Exec, Some(X), libc::ENOENT);
    let all = error.candidates().iter().map(|c| c.path());
    let want = ["/bin/offshoot-x", "/usr/bin/offshoot-x"];
    assert!(all.eq(want.map(Path::new)), "{error}");
}

/// Each kind of search, with each change of the child's environment.
#[test]
fn path_search_uses_the_requested_path() {
    let name = "path_search_uses_the_requested_path";
    let _alone = alone();
    let dir = scratch("whose");
    for (code, name) in ["parent", "child", "dirs", "here"].iter().enumerate()
    {
        fs::create_dir(dir.join(name)).unwrap();
        let text = format!("#!/bin/sh\nexit {code}\n");
        program(&dir.join(name).join(X), text.as_bytes());
    }
    let set = format!("PATH={}", path(&dir, &["parent"]));
    if !util::inside(name, &["/usr/bin/env", &set]) {
        return fs::remove_dir_all(dir).unwrap();
    }
    let changes: [fn(&mut Command, &Path); 5] = [
        |_, _| {},
        |c, _| {
            c.env("OTHER", "1");
        },
        |c, dir| {
            c.env("PATH", dir.join("child"));
        },
        |c, _| {
            c.env_remove("PATH");
        },
        |c, _| {
            c.env_clear();
        },
    ];
    let table = [
        (PathSearch::Child, [Some(0), Some(0), Some(1), None, None]),
        (PathSearch::Parent, [Some(0); 5]),
        (PathSearch::Dirs(vec![dir.join("dirs")]), [Some(2); 5]),
        (PathSearch::Never, [Some(3); 5]),
    ];
    each_engine(|engine| {
        for (search, codes) in &table {
            for (change, code) in changes.iter().zip(codes) {
                let mut command = command(X, engine);
                command.path_search(search.clone());
                change(command.current_dir(dir.join("here")), &dir);
                if code.is_none() {
                    seeks_default(&clean(spawn(command)));
                    continue;
                }
                let seen = command.status().unwrap().code();
                assert_eq!(seen, *code, "{engine} {search:?}");
            }
        }
        assert!(command("true", engine).env_clear().status().is_ok());
    });
    // SAFETY: no other thread of this process uses the environment.
    unsafe { env::remove_var("PATH") };
    each_engine(|engine| {
        for search in [PathSearch::Child, PathSearch::Parent] {
            let mut nowhere = command(X, engine);
            nowhere.path_search(search);
            seeks_default(&clean(spawn(nowhere)));
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

const SHOW: &str = "tr '\\0' '|' </proc/$$/cmdline\nprintf %s \"$0\"\n";

#[test]
fn a_file_without_a_format_is_run_by_a_shell_only_on_request() {
    let _alone = alone();
    let dir = fixture("shell");
    let at = dir.join("format").join(X);
    program(&at, SHOW.as_bytes());
    let at = at.to_str().unwrap();
    let searched = path(&dir, &["none", "plain", "format"]);
    let many = "/nope:".repeat(90);
    let searched = format!("{many}{searched}:/bin:/usr/bin");
    each_engine(|engine| {
        let make = |n: usize| {
            let mut command = command([at, X, "./offshoot-x"][n], engine);
            command.env("PATH", &searched);
            command.current_dir(dir.join("format")).args(["a b", "", "*"]);
            command
        };
        for n in 0..3 {
            let called = ["./offshoot-x", at][usize::from(n < 2)];
            let name = Some([at, X, called][n]);
            assert_error(
                &clean(spawn(make(n))),
                Step::Exec,
                name,
                libc::ENOEXEC,
            );
            let mut shell = make(n);
            shell.shell_fallback(true).arg0("lost").stdout(Stdio::piped());
            let shell = shell.prepare().unwrap();
            for _ in 0..2 {
                let child = shell.spawn().unwrap();
                let launch = child.launch().clone();
                let output = child.wait_with_output().unwrap();
                let want = format!("/bin/sh|{called}|a b||*|{called}");
                assert_eq!(String::from_utf8(output.stdout).unwrap(), want);
                let one = launch.fallbacks().next().unwrap();
                let fallback =
                    (one.feature(), one.raw_os_error(), one.instead());
                assert_eq!(
                    fallback,
                    ("execve", Some(libc::ENOEXEC), "/bin/sh")
                );
                assert_eq!(launch.fallbacks().count(), 1);
            }
        }
        // A file with a format, and one that is not executable, are unchanged.
        let mut good = command(dir.join("good").join(X), engine);
        let mut child = good.shell_fallback(true).spawn().unwrap();
        assert_eq!(child.launch().fallbacks().count(), 0);
        assert_eq!(child.wait().unwrap().code(), Some(9));
        let plain = dir.join("plain").join(X);
        let mut denied = command(&plain, engine);
        denied.shell_fallback(true);
        let error = clean(spawn(denied));
        assert_error(&error, Step::Exec, plain.to_str(), libc::EACCES);
        let mut by_fd = Command::from_fd(File::open(at).unwrap());
        by_fd.engine(engine).shell_fallback(true);
        let error = clean(|| by_fd.spawn().map(drop));
        assert_eq!(error.step(), Step::ShellFallback);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
    fs::remove_dir_all(dir).unwrap();
}

/// Each option that sets the directory, for a program relative to it.
fn from(dir: &Path, name: &str, engine: Engine) -> [Command; 4] {
    let make = |name: &str| command(name, engine);
    let opened = |flags: i32| {
        let mut options = File::options();
        options.read(true).custom_flags(flags).open(dir).unwrap()
    };
    let slash = format!("./{name}");
    let mut all = [make(&slash), make(&slash), make(&slash), make(name)];
    all[0].current_dir(dir);
    all[1].current_dir_fd(opened(0));
    all[2].current_dir_fd(opened(libc::O_PATH));
    all[3].current_dir(dir).path_search(PathSearch::Never);
    all
}

#[test]
fn a_relative_program_is_resolved_in_the_childs_directory() {
    let _alone = alone();
    let dir = fixture("relative");
    each_engine(|engine| {
        for mut command in from(&dir, "good/offshoot-x", engine) {
            assert_eq!(command.status().unwrap().code(), Some(9), "{engine}");
        }
        for mut command in from(&dir.join("good"), X, engine) {
            assert_eq!(command.status().unwrap().code(), Some(9), "{engine}");
        }
        for mut command in from(&dir, X, engine) {
            let error = clean(|| command.spawn().map(drop));
            assert_eq!(error.step(), Step::Exec, "{error}");
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        }
        // A bare name is not resolved there.
        for mut command in from(&dir.join("good"), X, engine) {
            command.path_search(PathSearch::Child);
            command.env("PATH", path(&dir, &["format"]));
            if command.get_program() == X {
                let error = clean(|| command.spawn().map(drop));
                assert_error(&error, Step::Exec, Some(X), libc::ENOEXEC);
            } else {
                assert_eq!(command.status().unwrap().code(), Some(9));
            }
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

/// Interpreters are resolved in the child's directory too, not in the
/// caller's and not beside the script.
#[test]
fn the_missing_interpreter_of_a_relative_program_is_named() {
    let name = "the_missing_interpreter_of_a_relative_program_is_named";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let dir = fixture("lacks");
    let (at, other) = (dir.join("dir"), dir.join("good"));
    for (name, text) in [
        ("absolute", "#!/nope/sh -e\n"),
        ("relative", "#!./nope\n"),
        ("through", "#!./absolute\n"),
        ("callers", "#!./here\n"),
    ] {
        program(&at.join(name), text.as_bytes());
    }
    program(&at.join("offshoot-x/beside"), b"#!./its-own\n");
    program(&at.join("offshoot-x/its-own"), b"#!/bin/sh\n");
    let mut elf = fs::read(env::current_exe().unwrap()).unwrap();
    let loader = memchr::memmem::find(&elf, b"/ld-linux").unwrap();
    elf[loader + 1] = b'X';
    program(&at.join("elf"), &elf);
    // The caller's directory has the interpreter, which must not matter.
    program(&other.join("here"), b"#!/bin/sh\n");
    env::set_current_dir(other).unwrap();
    let wrong = RefCell::new(Vec::new());
    each_engine(|engine| {
        for (name, lacks) in [
            ("absolute", "/nope/sh"),
            ("relative", "./nope"),
            ("elf", "/Xd-linux"),
            ("offshoot-x/beside", "./its-own"),
            ("through", "/nope/sh"),
            ("callers", "./here"),
        ] {
            for (n, mut command) in (0..).zip(from(&at, name, engine)) {
                let error = clean(|| command.spawn().map(drop));
                assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
                assert_eq!(error.candidates().len(), 1);
                let operand = error.operand().unwrap().to_str().unwrap();
                let named = operand.contains(lacks);
                if error.step() != Step::Interpreter || !named {
                    wrong.borrow_mut().push(format!("{name} {n}: {error}"));
                }
            }
        }
    });
    assert!(wrong.borrow().is_empty(), "{:#?}", wrong.borrow());
    env::set_current_dir("/").unwrap();
    fs::remove_dir_all(dir).unwrap();
}
