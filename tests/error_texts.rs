//! Error texts: `Display` and `Debug` of errors, and `errno_or_einval`.

#![allow(unsafe_code, reason = "a hook that kills its process")]

mod util;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};

use offshoot::{Command, Engine, Error, Groups, HookContext, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::filter::{self, Action};
use util::search::X;
use util::{PRIVATE, alone, each_engine, each_of, is_root, program, scratch};

#[track_caller]
fn mentions(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_program_found_nowhere_is_reported_in_one_phrase() {
    let _alone = alone();
    let path = (0..300).map(|n| format!("/no/such/{n}:")).collect::<String>();
    each_engine(|engine| {
        let mut nowhere = command(X, engine);
        nowhere.env("PATH", &path);
        let error = clean(spawn(nowhere));
        assert_error(&error, Step::Exec, Some(X), libc::ENOENT);
        assert_eq!(
            error.to_string(),
            "execve \"offshoot-x\": No such file or directory (os error 2): \
             no directory that was searched has it"
        );
        assert_eq!(error.candidates().len(), 300);
        let debug = format!("{error:?}");
        assert!(debug.len() < 1000, "{debug}");
        assert!(debug.contains("ENOENT"), "{debug}");
        // A file that is not executable is named.
        let mut plain = command("passwd", engine);
        plain.env("PATH", "/no/such:/etc:/nope");
        let error = clean(spawn(plain));
        assert_error(&error, Step::Exec, Some("passwd"), libc::EACCES);
        mentions(&error, &["; tried", "\"/etc/passwd\""]);
        // A path is not searched.
        let error = clean(spawn(command("/no/such", engine)));
        let text =
            "execve \"/no/such\": No such file or directory (os error 2)";
        assert_eq!(error.to_string(), text);
    });
}

#[test]
fn a_missing_capability_is_named_with_the_option_that_needs_it() {
    type Set = fn(&mut Command) -> &mut Command;
    let _alone = alone();
    let cases: [(i64, Step, Set, [&str; 2]); 7] = [
        (libc::SYS_setgroups, Step::Setgroups, |c| c.uid(77), UID),
        (libc::SYS_setgroups, Step::Setgroups, |c| c.gid(77), GID),
        (libc::SYS_setgroups, Step::Setgroups, |c| c.groups([7]), LIST),
        (
            libc::SYS_setresgid,
            Step::Setresgid,
            |c| keep_groups(c).gid(77),
            GID,
        ),
        (
            libc::SYS_setresuid,
            Step::Setresuid,
            |c| keep_groups(c).uid(77),
            USER,
        ),
        (libc::SYS_chroot, Step::Chroot, |c| c.chroot("/"), ROOT),
        (libc::SYS_setpgid, Step::Setpgid, |c| c.process_group(0), GROUP),
    ];
    const UID: [&str; 2] = ["uid", "CAP_SETGID"];
    const GID: [&str; 2] = ["gid", "CAP_SETGID"];
    const LIST: [&str; 2] = ["groups", "CAP_SETGID"];
    const USER: [&str; 2] = ["uid", "CAP_SETUID"];
    const ROOT: [&str; 2] = ["chroot", "CAP_SYS_CHROOT"];
    const GROUP: [&str; 2] = ["process group", "session"];
    fn keep_groups(command: &mut Command) -> &mut Command {
        command.groups(Groups::keep())
    }
    let may_not = Action::errno(libc::EPERM);
    let unmapped = Action::errno(libc::EINVAL);
    each_of(&PRIVATE, |engine| {
        for (nr, step, set, words) in cases {
            let mut refused = command("/bin/true", engine);
            set(&mut refused);
            let error = clean(|| filter::with(nr, may_not, spawn(refused)));
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            // Behind the text of the errno.
            let text = error.to_string();
            let (_, why) = text.split_once("(os error 1): ").unwrap();
            assert!(words.iter().all(|word| why.contains(word)), "{text}");
        }
        // Without CAP_SETGID the child would fail at an earlier call.
        for (nr, _, set, _) in &cases[3..5] {
            let mut foreign = command("/bin/true", engine);
            set(&mut foreign);
            let nr = *nr;
            let error = clean(|| filter::with(nr, unmapped, spawn(foreign)));
            mentions(
                &error,
                &["(os error 22): ", "mapping", "user namespace"],
            );
        }
    });
}

#[test]
fn enoexec_suggests_shell_fallback() {
    let _alone = alone();
    let dir = scratch("format-text");
    let at = dir.join(X);
    program(&at, b"exit 3\n");
    each_engine(|engine| {
        let error = clean(spawn(command(&at, engine)));
        assert_error(&error, Step::Exec, at.to_str(), libc::ENOEXEC);
        mentions(&error, &["shell_fallback", "/bin/sh"]);
        let mut bytes = Command::from_bytes("exit 3\n");
        bytes.engine(engine);
        let error = clean(spawn(bytes));
        assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC));
        // shell_fallback is refused for bytes.
        assert!(!error.to_string().contains("shell_fallback"), "{error}");
    });
}

/// With a filter chroot has no effect, and the paths do not exist either way.
#[test]
fn an_error_after_chroot_names_the_root() {
    let _alone = alone();
    each_engine(|engine| {
        let below = |set: fn(&mut Command) -> &mut Command| {
            let mut command = command("/no/such", engine);
            set(command.chroot("/srv/jail"));
            let nr = libc::SYS_chroot;
            clean(|| filter::with(nr, Action::Errno(0), spawn(command)))
        };
        let error = below(|c| c);
        assert_error(&error, Step::Exec, Some("/no/such"), libc::ENOENT);
        let root = Some(std::path::Path::new("/srv/jail"));
        assert_eq!(error.root(), root);
        let want =
            "execve \"/no/such\" in the root \"/srv/jail\": No such file";
        assert!(error.to_string().starts_with(want), "{error}");
        let error = below(|c| c.current_dir("/no/dir"));
        assert_error(&error, Step::Chdir, Some("/no/dir"), libc::ENOENT);
        assert_eq!(error.root(), root);
        mentions(&error, &["chdir \"/no/dir\" in the root \"/srv/jail\": "]);
        let mut ours = command("/no/such", engine);
        ours.current_dir("/");
        assert_eq!(clean(spawn(ours)).root(), None);
    });
}

#[test]
fn an_interpreter_that_may_not_be_executed_is_named() {
    let _alone = alone();
    let dir = scratch("shut");
    let at = |name: &str| dir.join(name).to_str().unwrap().to_string();
    let script = |name: &str, by: &str| {
        let text = format!("#!{} -x\n", at(by));
        program(dir.join(name).as_path(), text.as_bytes());
        at(name)
    };
    fs::write(at("plain"), "text").unwrap();
    fs::create_dir(at("directory")).unwrap();
    let shut = script("shut", "plain");
    let over = script("over", "shut");
    let into = script("into", "directory");
    let own = script("own", "plain");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    each_engine(|engine| {
        for (file, interpreter) in
            [(&shut, "plain"), (&over, "plain"), (&into, "directory")]
        {
            let error = clean(spawn(command(file, engine)));
            let by = at(interpreter);
            assert_error(&error, Step::Interpreter, Some(&by), libc::EACCES);
            let mut found = command(file.rsplit('/').next().unwrap(), engine);
            found.env("PATH", format!("/nope:{}:/no", dir.display()));
            let error = clean(spawn(found));
            assert_error(&error, Step::Interpreter, Some(&by), libc::EACCES);
            assert_eq!(error.candidates().len(), 3);
            mentions(&error, &["Permission denied", &by, file]);
        }
        // A script that is not executable itself is the program's error.
        let error = clean(spawn(command(&own, engine)));
        assert_error(&error, Step::Exec, Some(&own), libc::EACCES);
        let error = clean(|| {
            let mut open = Command::from_fd(File::open(&shut).unwrap());
            open.script_fd(7).engine(engine).spawn().map(drop)
        });
        assert_error(
            &error,
            Step::Interpreter,
            Some(&at("plain")),
            libc::EACCES,
        );
    });
}

/// The mode of the file is checked for the user that the child becomes, and
/// for its groups.
#[test]
fn an_interpreter_that_only_root_may_execute_is_named() {
    let name = "an_interpreter_that_only_root_may_execute_is_named";
    let _alone = alone();
    if !is_root() {
        return util::skip(name, "only root has another user to become");
    }
    if !util::inside(name, &[]) {
        return;
    }
    let dir = scratch("roots");
    let at = dir.join("sh");
    fs::copy("/bin/sh", &at).unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();
    let script = dir.join(X);
    program(&script, format!("#!{}\n", at.display()).as_bytes());
    each_of(&PRIVATE, |engine| {
        let mut theirs = command(&script, engine);
        theirs.uid(65534).gid(65534);
        let error = clean(spawn(theirs));
        assert_error(&error, Step::Interpreter, at.to_str(), libc::EACCES);
        let mut roots = command(&script, engine);
        assert!(roots.status().unwrap().success());
    });
    // SAFETY: changes the groups of this process.
    assert_eq!(unsafe { libc::setgroups(1, [4711].as_ptr()) }, 0);
    fs::set_permissions(&at, fs::Permissions::from_mode(0o710)).unwrap();
    type Set = fn(&mut Command) -> &mut Command;
    let cases: [(u32, Set, Set); 3] = [
        (0, |c| c.gid(4712), |c| c),
        (4711, |c| c, |c| c.groups(Groups::keep())),
        (4711, |c| c.groups([4712]), |c| c.groups([4711])),
    ];
    for (group, denied, permitted) in cases {
        chown(&at, None, Some(group)).unwrap();
        each_of(&PRIVATE, |engine| {
            let mut theirs = command(&script, engine);
            denied(theirs.uid(65534));
            let error = clean(spawn(theirs));
            assert_error(&error, Step::Interpreter, at.to_str(), libc::EACCES);
            let mut theirs = command(&script, engine);
            let status = permitted(theirs.uid(65534)).status();
            assert!(status.unwrap().success());
        });
    }
}

#[test]
fn the_debug_text_of_an_error_names_its_errno() {
    let _alone = alone();
    let name =
        |command: &mut Command| format!("{:?}", command.spawn().unwrap_err());
    let mut dir = Command::new("/bin/true");
    let text = name(dir.current_dir("/no/such"));
    assert_eq!(
        text,
        "Error { step: Chdir, operand: \"/no/such\", cause: Os(ENOENT, \
         \"No such file or directory (os error 2)\") }"
    );
    let text = name(&mut Command::new("/etc/passwd"));
    assert!(text.contains("Os(EACCES, "), "{text}");
    assert!(text.contains("errno: Some(EACCES) }"), "{text}");
    let text = name(Command::new("/bin/true").arg("a\0"));
    assert!(text.contains("Refused(\"it contains a NUL byte\")"), "{text}");
}

#[test]
fn errno_or_einval_gives_every_error_a_number() {
    let _alone = alone();
    let number = |command: &mut Command| {
        command.spawn().map(drop).unwrap_err().errno_or_einval()
    };
    let null = || File::open("/dev/null").unwrap();
    let new = || Command::new("/bin/true");
    assert_eq!(number(new().arg("a\0")), libc::EINVAL);
    assert_eq!(number(new().umask(0o1000)), libc::EINVAL);
    assert_eq!(number(&mut Command::new("")), libc::ENOENT);
    assert_eq!(number(new().current_dir("")), libc::ENOENT);
    assert_eq!(number(new().chroot("")), libc::ENOENT);
    assert_eq!(number(new().fd(-1, null())), libc::EBADF);
    assert_eq!(number(new().fd(i32::MAX, null())), libc::EBADF);
    assert_eq!(number(new().arg("x".repeat(200_000))), libc::E2BIG);
    assert_eq!(number(&mut Command::new("/no/such")), libc::ENOENT);
    assert_eq!(number(&mut Command::from_bytes("#!/bin/sh")), libc::ENOENT);
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let mut killed = command("/bin/true", engine);
        // SAFETY: kills the child, and writes no memory.
        let end = |_: &mut HookContext<'_>| unsafe {
            libc::raise(libc::SIGKILL);
            Ok(())
        };
        // SAFETY: as above.
        unsafe { killed.pre_exec(end) };
        let error = killed.spawn().map(drop).unwrap_err();
        assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
        assert_eq!(error.raw_os_error(), None, "{error}");
        assert_eq!(error.errno_or_einval(), libc::ECHILD, "{error}");
    });
}
