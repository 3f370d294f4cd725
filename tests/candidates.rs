//! Candidates: several programs tried in turn, and `env_exact`.
#![allow(unsafe_code, reason = "a fork calls exec")]

mod util;

use std::fs::File;
use std::io;
use std::path::Path;

use offshoot::{Command, Engine, PathSearch, Stdio, Step};
use util::clean::{assert_error, clean, refused, spawn};
use util::filter::{self, Action};
use util::fork::forked;
use util::search::{X, fixture, tried};
use util::{alone, each_engine};

/// The file of that name in each directory.
fn files(dir: &Path, names: &[&str]) -> Vec<String> {
    let one = |name: &&str| dir.join(name).join(X).display().to_string();
    names.iter().map(one).collect()
}

fn of(files: &[String], engine: Engine) -> Command {
    let mut command = Command::candidates(files);
    command.engine(engine);
    command
}

#[test]
fn the_first_candidate_that_can_be_executed_is_run() {
    let _alone = alone();
    let dir = fixture("several");
    let all = ["none", "file", "plain", "dir", "loop", "format", "lost"];
    each_engine(|engine| {
        let mut found = files(&dir, &all);
        found.push(format!("/{}", "y".repeat(5000)));
        found.extend(files(&dir, &["good", "loop"]));
        assert_eq!(of(&found, engine).status().unwrap().code(), Some(9));
        // More candidates than the status block has room for errnos.
        let mut many = vec![String::from("/no/such"); 300];
        many.extend(files(&dir, &["good"]));
        assert_eq!(of(&many, engine).status().unwrap().code(), Some(9));
        let mut shell = of(&files(&dir, &all), engine);
        let code = shell.shell_fallback(true).status().unwrap().code();
        assert_eq!(code, Some(77), "{engine}: the shell runs the sixth");
        let mut shell = of(&files(&dir, &["none", "good"]), engine);
        let code = shell.shell_fallback(true).status().unwrap().code();
        assert_eq!(code, Some(9));
    });
}

/// Every list of two and some of three, with the errno that CPython's
/// `subprocess` gives, which tries the files of PATH in this way.
#[test]
fn when_no_candidate_runs_the_first_existing_one_is_reported() {
    const ERRNOS: [(&str, i32); 7] = [
        ("none", libc::ENOENT),
        ("file", libc::ENOTDIR),
        ("plain", libc::EACCES),
        ("dir", libc::EACCES),
        ("loop", libc::ELOOP),
        ("format", libc::ENOEXEC),
        ("lost", libc::ENOENT),
    ];
    let _alone = alone();
    let dir = fixture("first");
    let mut lists: Vec<Vec<(&str, i32)>> = Vec::new();
    for one in ERRNOS {
        lists.push(vec![one]);
        for two in ERRNOS {
            lists.push(vec![one, two]);
            lists.push(vec![("none", libc::ENOENT), one, two]);
        }
    }
    let gone = |n: &i32| [libc::ENOENT, libc::ENOTDIR].contains(n);
    each_engine(|engine| {
        for list in &lists {
            let names: Vec<&str> = list.iter().map(|one| one.0).collect();
            let errnos: Vec<i32> = list.iter().map(|one| one.1).collect();
            let files = files(&dir, &names);
            let error = clean(spawn(of(&files, engine)));
            let seen: Vec<i32> =
                tried(&error).into_iter().map(Option::unwrap).collect();
            assert_eq!(seen, errnos, "{engine} {names:?}");
            let first = errnos.iter().find(|n| !gone(n));
            if first.is_none() && names.contains(&"lost") {
                assert_eq!(error.step(), Step::Interpreter, "{error}");
                continue;
            }
            let want = first.or(errnos.last()).unwrap();
            let at = errnos.iter().position(|n| Some(n) == first).unwrap_or(0);
            assert_error(&error, Step::Exec, Some(&files[at]), *want);
            let none = error.to_string().contains("none of the candidates");
            assert_eq!(none, first.is_none() && names.len() > 1, "{error}");
        }
    });
}

/// The same lists against CPython, where it is installed.
#[cfg(target_env = "gnu")]
#[test]
fn candidates_give_the_errno_that_cpython_gives() {
    const ASK: &str = "import subprocess, sys
for path in sys.argv[2:]:
    try:
        print(subprocess.call([sys.argv[1]], env={'PATH': path}))
    except OSError as e:
        print(-e.errno)";
    let _alone = alone();
    let dir = fixture("cpython");
    let all = ["none", "file", "plain", "dir", "loop", "format", "good"];
    let mut lists = Vec::new();
    for n in 0..all.len().pow(3) {
        lists.push([all[n % 7], all[n / 7 % 7], all[n / 49]]);
    }
    let path = |names: &[&str; 3]| util::search::path(&dir, names);
    let paths: Vec<String> = lists.iter().map(path).collect();
    let mut ask = std::process::Command::new("python3");
    let Ok(output) = ask.args(["-c", ASK, X]).args(&paths).output() else {
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), lists.len());
    for (names, theirs) in lists.iter().zip(text.lines()) {
        let ours = match of(&files(&dir, names), Engine::Suspended).status() {
            Ok(status) => status.code().unwrap(),
            Err(error) => -error.raw_os_error().unwrap(),
        };
        assert_eq!(ours.to_string(), theirs, "{names:?}");
    }
}

#[test]
fn a_candidate_has_the_name_it_was_found_by_as_arg0() {
    let _alone = alone();
    let dir = fixture("names");
    let good = dir.join("good").display().to_string();
    each_engine(|engine| {
        let zero = |command: &mut Command| {
            command.engine(engine).stdout(Stdio::piped());
            let output = command.arg("/proc/self/cmdline").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split('\0').next().unwrap().to_string()
        };
        let cat = || Command::candidates(["/no/such", "cat", "/bin/cat"]);
        assert_eq!(zero(&mut cat()), "cat", "{engine}");
        let never = &mut cat();
        never.path_search(PathSearch::Never);
        assert_eq!(zero(never), "/bin/cat", "{engine}");
        let here = &mut Command::candidates(["/bin/cat", "/no/such"]);
        assert_eq!(zero(here), "/bin/cat");
        assert_eq!(zero(cat().arg0("mine")), "mine");
        // Each name is searched in every directory before the next.
        let mut searched = Command::candidates(["no-such-x", X]);
        searched.engine(engine);
        let dirs = PathSearch::Dirs(vec!["/nope".into(), good.clone().into()]);
        let status = searched.path_search(dirs).status().unwrap();
        assert_eq!(status.code(), Some(9), "{engine}");
        searched.path_search(PathSearch::Dirs(vec!["/nope".into()]));
        let error = clean(spawn(searched));
        assert_error(&error, Step::Exec, Some("no-such-x"), libc::ENOENT);
        let all = error.candidates().iter().map(|file| file.path());
        assert!(
            all.eq(["/nope/no-such-x", "/nope/offshoot-x"].map(Path::new))
        );
    });
}

#[test]
fn candidates_work_with_chroot_and_exec_in_place() {
    let _alone = alone();
    each_engine(|engine| {
        let mut below = Command::candidates(["/no/such", "/no/other"]);
        below.engine(engine).chroot("/srv/jail");
        let nr = libc::SYS_chroot;
        let error = clean(|| filter::with(nr, Action::Errno(0), spawn(below)));
        assert_error(&error, Step::Exec, Some("/no/such"), libc::ENOENT);
        assert_eq!(error.root(), Some(Path::new("/srv/jail")));
        let text = "execve \"/no/such\" in the root \"/srv/jail\": No such \
                    file or directory (os error 2): none of the candidates \
                    is there";
        assert_eq!(error.to_string(), text);
    });
    let status = forked(|| {
        let mut command =
            Command::candidates(["/no/such", "/etc/passwd", "/bin/sh"]);
        drop(command.args(["-c", "exit 5"]).exec());
        1
    });
    assert_eq!(libc::WEXITSTATUS(status), 5);
}

#[test]
fn invalid_candidates_are_refused_by_name() {
    let _alone = alone();
    let none: [&str; 0] = [];
    let cases = [
        (Command::candidates(none), ""),
        (Command::candidates([""]), ""),
        (Command::candidates(["/bin/true", ""]), ""),
        (Command::candidates(["a\0"]), "a\0"),
        (Command::candidates(["/bin/true", "a\0b"]), "a\0b"),
        (Command::candidates(vec!["/bin/true"; 30_001]), "/bin/true"),
    ];
    for (mut command, operand) in cases {
        // A clone would kill this process by SIGSYS.
        let error = clean(|| {
            let spawn = || command.spawn().map(drop);
            filter::with(libc::SYS_clone3, Action::Kill, spawn)
        });
        assert_eq!(error.step(), Step::Candidates, "{error}");
        assert_eq!(error.operand().unwrap(), operand, "{error}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(command.plan().unwrap_err().step(), Step::Candidates);
    }
    let mut script = Command::candidates(["/bin/true"]);
    let error = script.script_fd(5).spawn().unwrap_err();
    assert_eq!(error.step(), Step::ScriptFd, "candidates are paths: {error}");
}

#[test]
fn candidates_and_env_exact_are_printed() {
    let mut all = Command::candidates(["/a b", "c", "-d"]);
    all.arg("x").env_exact(["K=secret", "odd", "=", "K=2", "L=1"]);
    assert_eq!(all.get_program(), "/a b");
    assert!(all.get_candidates().eq(["/a b", "c", "-d"]));
    let line = "env -i K=\"$K\" L=\"$L\" '/a b' x # or: c -d";
    assert_eq!(format!("{all:?}"), line);
    let text = format!("{all:#?}");
    for word in ["candidates: ", "\"-d\"", "env_exact: ", "\"odd\"", "\"L\""] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let plan = all.plan().map(|plan| format!("{plan:?}")).unwrap();
    let prepared = all.prepare().map(|it| format!("{it:?}")).unwrap();
    for text in [text, plan, prepared] {
        assert!(!text.contains("secret"), "{text}");
    }
    let line = "env -i K=secret L=1 '/a b' x # or: c -d";
    assert_eq!(all.to_shell_line(), line);
    assert_eq!(Command::new("x").get_candidates().count(), 0);
}

#[test]
fn env_exact_is_passed_unchanged() {
    let entries = ["B=2", "A=1", "", "odd", "B=3", "=x", "A==", "PATH=/nope"];
    each_engine(|engine| {
        let environ = |set: &dyn Fn(&mut Command)| {
            let mut cat = Command::new("/bin/cat");
            cat.arg("/proc/self/environ").engine(engine);
            set(&mut cat);
            String::from_utf8(cat.output().unwrap().stdout).unwrap()
        };
        let want = entries.map(|entry| format!("{entry}\0")).concat();
        let seen = environ(&|c| {
            c.env_exact(entries);
        });
        assert_eq!(seen, want, "{engine}");
        let seen = environ(&|c| {
            c.env_clear().env_exact(entries);
        });
        assert_eq!(seen, want, "{engine}");
        let seen = environ(&|c| {
            c.env_exact(["C=3"]).env_exact(["D=4"]);
        });
        assert_eq!(seen, "D=4\0", "the last call wins");
        let none: [&str; 0] = [];
        let emptied = |c: &mut Command| {
            c.env_exact(none);
        };
        assert_eq!(environ(&emptied), "");
        let cleared = |c: &mut Command| {
            c.env_exact(entries).env_clear().env("E", "5");
        };
        assert_eq!(environ(&cleared), "E=5\0");
        // Of two PATH entries the first is searched.
        let mut search = Command::new("true");
        search.engine(engine);
        search.env_exact(["XPATH=/", "PATH=/bin", "PATH=/nope"]);
        assert!(search.status().unwrap().success());
        search.env_exact(["PATH=/nope", "PATH=/bin"]);
        let error = search.status().unwrap_err();
        assert_eq!(error.candidates().len(), 1, "{error}");
        search.env_exact(["PATH"]);
        assert!(search.status().unwrap().success(), "the default PATH");
    });
}

#[test]
fn env_exact_cannot_be_combined_with_variables() {
    let _alone = alone();
    let sockets = || File::open("/dev/null").unwrap();
    type Set = fn(&mut Command) -> &mut Command;
    let cases: [(Set, &str, Option<&str>); 4] = [
        (|c| c.env("A", "secret"), "env sets", Some("A")),
        (|c| c.env_remove("A"), "env_remove removes", Some("A")),
        (|c| c.env_exact(["A=secret\0", "B"]), "NUL", Some("A")),
        (|c| c.env_exact(["A\0=1"]), "NUL", Some("A\0")),
    ];
    for (set, why, operand) in cases {
        let mut command = Command::new("/bin/true");
        set(command.env_exact(["B=1"]));
        let error = clean(|| command.spawn().map(drop));
        refused(&error, Step::EnvExact, operand, why);
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    let mut command = Command::new("/bin/true");
    command.listen_fds([sockets()]).env_exact(["B=1"]);
    let error = command.spawn().unwrap_err();
    assert_eq!(error.step(), Step::EnvExact, "{error}");
    assert!(error.to_string().contains("listen_fds"), "{error}");
}
