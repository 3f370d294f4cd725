//! Open in child: files that the child opens, inside its root and as its user,
//! at a number of the caller's choice.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use offshoot::{ChildOpenOptions, Command, Engine, Error, Stdio, Step};
use util::clean::{assert_error, clean, command, refused, spawn};
use util::{
    PRIVATE, alone, each_engine, each_of, elf, is_root, limit, scratch,
};

fn read() -> ChildOpenOptions {
    ChildOpenOptions::new().read(true).clone()
}

fn create() -> ChildOpenOptions {
    ChildOpenOptions::new().append(true).create(true).clone()
}

/// A program that succeeds if 0, 1, 2 and 5 are open and no other is.
fn census(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("census");
    util::program(&path, &elf::census());
    path
}

fn shell(engine: Engine, line: &str) -> Command {
    let mut sh = command("/bin/sh", engine);
    sh.args(["-c", line]);
    sh
}

#[test]
fn a_child_opens_a_file_from_its_own_directory_and_proc() {
    each_engine(|engine| {
        let dir = scratch("open-relative");
        fs::write(dir.join("file"), "text\n").unwrap();
        let line = "cat <&7; read own rest <&8; test $own = $$ && echo own";
        let mut own = shell(engine, line);
        own.current_dir(&dir).open_in_child(7, "file", &read());
        own.open_in_child(8, "/proc/self/stat", &read());
        assert_eq!(own.output().unwrap().stdout, b"text\nown\n", "{engine}");
    });
}

#[test]
fn only_the_opened_number_reaches_the_program() {
    let dir = scratch("open-census");
    let census = census(&dir);
    let null = || File::open("/dev/null").unwrap();
    each_engine(|engine| {
        let mut opened = command(&census, engine);
        opened.open_in_child(5, "/dev/null", &read());
        assert!(opened.status().unwrap().success(), "{engine}");
        // With a source that is kept until exec, at that number and not.
        opened.current_dir_fd(File::open("/").unwrap());
        assert!(opened.status().unwrap().success(), "{engine}");
        // A lower number is free, so the file is moved; here none is.
        let mut full = shell(engine, "cat /proc/self/fd/5 <&3 <&4 >&3");
        full.fd(3, null()).fd(4, null());
        full.open_in_child(5, "/dev/null", &read());
        assert!(full.status().unwrap().success(), "{engine}");
    });
}

#[test]
fn a_source_at_the_number_of_the_file_is_moved() {
    let dir = scratch("open-source");
    fs::write(dir.join("file"), "text").unwrap();
    let _alone = alone();
    each_engine(|engine| {
        // A descriptor at a number that the child opens a file at.
        let file = File::open(&dir).unwrap();
        let number = file.as_raw_fd();
        let mut cat = command("/bin/cat", engine);
        cat.arg(format!("/proc/self/fd/{number}"));
        cat.current_dir_fd(file).open_in_child(number, "file", &read());
        let other = File::open("/dev/null").unwrap();
        let other_number = other.as_raw_fd();
        cat.fd(number + 40, other);
        cat.open_in_child(other_number, "file", &read());
        assert_eq!(cat.output().unwrap().stdout, b"text", "{engine}");
    });
}

#[test]
fn a_standard_descriptor_may_be_a_file_that_the_child_opens() {
    each_engine(|engine| {
        let dir = scratch("open-stdio");
        fs::write(dir.join("in"), "text").unwrap();
        let mut cat = command("/bin/cat", engine);
        cat.current_dir(&dir).open_in_child(0, "in", &read());
        cat.open_in_child(1, "out", &create());
        let output = cat.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"");
        assert_eq!(fs::read(dir.join("out")).unwrap(), b"text", "{engine}");
    });
}

/// The child waits for the writer, and so does the spawn.
#[test]
fn a_fifo_is_opened_once_it_has_a_writer() {
    each_engine(|engine| {
        let dir = scratch("open-fifo");
        let path = dir.join("fifo");
        let mode = rustix::fs::Mode::from(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        let mut cat = command("/bin/cat", engine);
        cat.open_in_child(0, &path, &read());
        std::thread::scope(|scope| {
            // Opening it for writing waits for the reader.
            scope.spawn(|| fs::write(&path, "text").unwrap());
            assert_eq!(cat.output().unwrap().stdout, b"text", "{engine}");
        });
    });
}

/// The number is free, so that `open` returns it and there is nothing to copy.
#[test]
fn a_file_is_opened_at_a_number_that_is_closed_here() {
    let name = "a_file_is_opened_at_a_number_that_is_closed_here";
    if !util::inside(name, &[]) {
        return;
    }
    let file = File::open("/dev/null").unwrap().into_raw_fd();
    // SAFETY: the test is the only one in this process.
    unsafe { libc::dup2(file, 90) };
    // SAFETY: as above.
    unsafe { libc::close(0) };
    each_engine(|engine| {
        let mut cat = command("/bin/cat", engine);
        cat.open_in_child(0, "/proc/self/comm", &read());
        assert_eq!(cat.output().unwrap().stdout, b"cat\n", "{engine}");
    });
}

#[test]
fn the_umask_and_the_mode_decide_what_is_created() {
    each_engine(|engine| {
        let dir = scratch("open-mode");
        let mut true_ = command("/bin/true", engine);
        true_.current_dir(&dir).umask(0o027);
        true_.open_in_child(5, "new", &create());
        let mut secret = create();
        secret.mode(0o600);
        true_.open_in_child(6, "secret", &secret);
        assert!(true_.status().unwrap().success());
        let mode = |name| dir.join(name).metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("new"), mode("secret")), (0o640, 0o600), "{engine}");
        let mut again = command("/bin/true", engine);
        let mut new = ChildOpenOptions::new();
        new.write(true).create_new(true);
        again.current_dir(&dir).open_in_child(5, "new", &new);
        let error = clean(spawn(again));
        let new = Some("new");
        assert_error(&error, Step::OpenInChild, new, libc::EEXIST);
    });
}

#[test]
fn the_file_is_opened_in_the_new_root_and_by_the_new_user() {
    let name = "the_file_is_opened_in_the_new_root_and_by_the_new_user";
    if !is_root() {
        return util::skip(name, "chroot needs CAP_SYS_CHROOT");
    }
    let jail = scratch("open-jail");
    fs::set_permissions(&jail, fs::Permissions::from_mode(0o755)).unwrap();
    census(&jail);
    fs::create_dir(jail.join("own")).unwrap();
    chown(jail.join("own"), Some(65534), Some(65534)).unwrap();
    each_of(&PRIVATE, |engine| {
        let _ = fs::remove_file(jail.join("own/log"));
        let mut server = command("/census", engine);
        server.chroot(&jail).uid(65534).gid(65534);
        server.open_in_child(5, "/own/log", &create());
        assert!(server.status().unwrap().success(), "{engine}");
        let log = jail.join("own/log").metadata().unwrap();
        assert_eq!((log.uid(), log.gid()), (65534, 65534), "{engine}");
        server.open_in_child(6, "/root-only", &create());
        let error = clean(|| server.spawn().map(drop));
        let path = Some("/root-only");
        assert_error(&error, Step::OpenInChild, path, libc::EACCES);
        let text = error.to_string();
        assert!(text.contains(jail.to_str().unwrap()), "the root: {text}");
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    each_engine(|engine| {
        let mut lost = command("/bin/true", engine);
        lost.open_in_child(5, "/nope/file", &read());
        let path = Some("/nope/file");
        let error = clean(spawn(lost));
        assert_error(&error, Step::OpenInChild, path, libc::ENOENT);
    });
}

#[test]
fn a_number_that_is_assigned_twice_names_both_options() {
    let null = || File::open("/dev/null").unwrap();
    let twice = |other: &str, set: &dyn Fn(&mut Command)| {
        let mut twice = Command::new("/bin/true");
        for n in [0, 5] {
            twice.open_in_child(n, "/a", &read());
        }
        set(&mut twice);
        let error = twice.spawn().map(drop).unwrap_err();
        assert_eq!(error.step(), Step::OpenInChild, "{error}");
        let text = error.to_string();
        assert!(text.contains("is assigned twice"), "{text}");
        assert!(text.contains(other), "{text}");
    };
    twice("stdin", &|c| {
        c.stdin(Stdio::null());
    });
    twice("fd", &|c| {
        c.fd(0, null());
    });
    twice("fd", &|c| {
        c.fd(5, null());
    });
    twice("listen_fds", &|c| {
        c.listen_fds([null(), null(), null()]);
    });
    twice("", &|c| {
        c.open_in_child(5, "/b", &read());
    });
    let mut script = Command::from_bytes(elf::seven());
    script.script_fd(5).open_in_child(5, "/a", &read());
    let error = script.spawn().map(drop).unwrap_err();
    assert_eq!(error.step(), Step::ScriptFd, "{error}");
}

/// A refusal before a clone.
#[track_caller]
fn denied(error: &Error, operand: &str, why: &str) {
    assert_eq!(error.step(), Step::OpenInChild, "{error}");
    assert_eq!(error.operand().unwrap(), operand, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    assert_eq!(error.raw_os_error(), None, "{error}");
}

#[test]
fn what_is_not_valid_is_refused_before_a_clone() {
    let step = Step::OpenInChild;
    let error = |n, path: &str, options: &ChildOpenOptions| {
        let mut command = Command::new("/bin/true");
        command.open_in_child(n, path, options).plan().unwrap_err()
    };
    denied(&error(-1, "/a", &read()), "/a", "0 or above");
    denied(&error(5, "", &read()), "", "is empty");
    let none = ChildOpenOptions::new();
    denied(&error(5, "/a", &none), "/a", "read, write");
    let nul = error(5, "/a\0b", &read());
    refused(&nul, step, Some("/a\0b"), "NUL");
    let mut copy = Command::new("/bin/true");
    copy.stderr(Stdio::same_as(1)).open_in_child(1, "/a", &create());
    let error = copy.plan().unwrap_err();
    refused(&error, Step::Stderr, Some("1"), "opened by the child");
}

#[test]
fn a_number_above_the_limit_is_refused() {
    let name = "a_number_above_the_limit_is_refused";
    if !util::inside(name, &[]) {
        return;
    }
    limit(libc::RLIMIT_NOFILE, 200, 400);
    each_engine(|engine| {
        let mut high = command("/bin/true", engine);
        high.open_in_child(120, "/dev/null", &read());
        assert!(high.status().unwrap().success(), "{engine}");
        high.open_in_child(200, "/dev/null", &read());
        let error = clean(|| high.spawn().map(drop));
        denied(&error, "200", "RLIMIT_NOFILE");
    });
    // It is the child's limit that counts. The other engines would have to
    // keep descriptors of their own above the number.
    each_of(&[Engine::Suspended, Engine::Copied], |engine| {
        let mut high = command("/bin/true", engine);
        high.open_in_child(200, "/dev/null", &read());
        high.rlimit(offshoot::Resource::NoFile, 201);
        assert!(high.status().unwrap().success(), "{engine}");
    });
}

/// Descriptors of this process: number, flag and file.
fn all() -> Vec<(i32, i32, u64)> {
    let one = |n| {
        // SAFETY: asks about a descriptor and writes no memory.
        let flag = unsafe { libc::fcntl(n, libc::F_GETFD) };
        let path = format!("/proc/self/fd/{n}");
        (flag >= 0).then(|| (n, flag, fs::metadata(path).unwrap().ino()))
    };
    (0..200).filter_map(one).collect()
}

#[test]
fn a_failed_exec_in_place_closes_what_it_has_opened() {
    let name = "a_failed_exec_in_place_closes_what_it_has_opened";
    if !util::inside(name, &[]) {
        return;
    }
    let file = File::open("/dev/zero").unwrap();
    let taken = file.as_raw_fd();
    for lowest in [taken + 1, 150] {
        let before = all();
        let mut lost = Command::new("/no/such/program");
        lost.open_in_child(lowest, "/dev/null", &read());
        lost.open_in_child(taken, "/dev/null", &read());
        lost.open_in_child(0, "/dev/zero", &read());
        let error = lost.exec();
        assert_error(&error, Step::Exec, error_path(), libc::ENOENT);
        assert_eq!(all(), before);
        lost.open_in_child(151, "/nope", &read());
        let error = lost.exec();
        assert_eq!(error.step(), Step::OpenInChild, "{error}");
        assert_eq!(all(), before);
    }
}

fn error_path() -> Option<&'static str> {
    Some("/no/such/program")
}
