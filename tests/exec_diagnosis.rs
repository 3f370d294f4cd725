//! Exec diagnosis: why an existing program was not executed, and which files
//! the parent does not open to find that out.
#![allow(unsafe_code, reason = "the tests change ids, limits and mounts")]

mod util;

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use offshoot::{Child, Command, Engine, Error, PathSearch, Stdio, Step};
use util::clean::assert_error;
use util::filter::{self, Action};
use util::fork::{exit, fork, reap};
use util::{
    alone, each_engine, each_of, is_root, limit, program, scratch, skip,
};

/// Upper limit for a spawn that must fail without blocking.
const SOON: Duration = Duration::from_secs(20);

/// Returns the error of a spawn that must not block.
#[track_caller]
fn fails_soon(mut command: Command) -> Error {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let _ = send.send(command.spawn().map(|child| child.id()));
    });
    let spawned = receive.recv_timeout(SOON).expect("spawn blocks");
    spawned.unwrap_err()
}

fn fifo(path: &Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: reads one string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o777) }, 0);
}

/// A symbolic link inside the new root may lead outside of it when the parent
/// follows it, and not when the child does.
#[test]
fn diagnosis_reads_nothing_outside_the_childs_root() {
    let name = "diagnosis_reads_nothing_outside_the_childs_root";
    if !is_root() {
        return skip(name, "chroot needs root");
    }
    let dir = scratch("outside");
    let jail = dir.join("jail");
    fs::create_dir_all(jail.join("tmp")).unwrap();
    fifo(&dir.join("fifo"));
    program(&dir.join("script"), b"#!/no/such/outside\n");
    program(&jail.join("inside"), b"#!/no/such/inside\n");
    symlink(dir.join("fifo"), jail.join("a")).unwrap();
    symlink(dir.join("script"), jail.join("b")).unwrap();
    symlink("../../../inside", jail.join("tmp/c")).unwrap();
    each_engine(|engine| {
        let run = |program: &str, cwd: &str| {
            let mut command = Command::new(program);
            command.chroot(&jail).current_dir(cwd).engine(engine);
            fails_soon(command)
        };
        assert_error(&run("/a", "/"), Step::Exec, Some("/a"), libc::ENOENT);
        assert_error(&run("/b", "/"), Step::Exec, Some("/b"), libc::ENOENT);
        for (program, cwd) in
            [("/tmp/c", "/"), ("./c", "/tmp"), ("./c", "tmp")]
        {
            let error = run(program, cwd);
            let missing = Some("/no/such/inside");
            assert_error(&error, Step::Interpreter, missing, libc::ENOENT);
        }
        let mut shell = Command::new("/plain");
        program_without_format(&jail.join("plain"));
        shell.shell_fallback(true).chroot(&jail).engine(engine);
        let error = fails_soon(shell);
        assert_error(&error, Step::Interpreter, Some("/bin/sh"), libc::ENOENT);
        let tried = error.candidates();
        assert_eq!(tried[0].raw_os_error(), Some(libc::ENOEXEC), "{tried:?}");
    });
}

fn program_without_format(path: &Path) {
    program(path, b"echo \"$0\"\n");
}

#[test]
fn diagnosis_does_not_open_a_fifo() {
    let dir = scratch("irregular");
    let path = dir.join("fifo");
    fifo(&path);
    each_engine(|engine| {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH);
        let mut command = Command::from_fd(options.open(&path).unwrap());
        command.engine(engine);
        let error = fails_soon(command);
        assert_eq!(error.step(), Step::Exec, "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
        let mut command = Command::new(&path);
        command.engine(engine);
        let error = fails_soon(command);
        let shown = path.to_str();
        assert_error(&error, Step::Exec, shown, libc::EACCES);
    });
}

/// A script that is executable and not readable: the kernel returns ENOENT,
/// as the interpreter has no path to it.
#[test]
fn an_unreadable_script_by_descriptor_names_script_fd() {
    let dir = scratch("unreadable-script");
    let path = dir.join("script");
    program(&path, b"#!/bin/sh\nexit 0\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o111)).unwrap();
    let test = || {
        if is_root() {
            // SAFETY: changes this thread's ids only.
            let done = unsafe {
                libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534)
            };
            assert_eq!(done, 0);
        }
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH);
        let script = options.open(&path).unwrap();
        let error = Command::from_fd(script).spawn().unwrap_err();
        assert_eq!(error.step(), Step::Exec, "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
        assert!(error.to_string().contains("script_fd"), "{error}");
    };
    thread::scope(|scope| scope.spawn(test).join().unwrap());
}

/// By the time the child runs, the number of a closed descriptor may belong to
/// one of the library's own: a pidfd, the error pipe.
#[test]
fn same_as_a_closed_descriptor_is_ebadf() {
    let name = "same_as_a_closed_descriptor_is_ebadf";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: no code of this process reads from 0.
    assert_eq!(unsafe { libc::close(0) }, 0);
    each_engine(|engine| {
        let mut command = Command::new("/bin/true");
        command.stdout(Stdio::same_as(0)).engine(engine);
        let error = command.spawn().unwrap_err();
        assert_error(&error, Step::Stdout, Some("0"), libc::EBADF);
        command.stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "{engine}");
    });
}

/// `sh -c ..` would run the argument as a script.
#[test]
fn a_script_name_that_starts_with_a_dash_is_no_shell_option() {
    let dir = scratch("option");
    program_without_format(&dir.join("-c"));
    fs::create_dir(dir.join("-d")).unwrap();
    program_without_format(&dir.join("-d/script"));
    each_engine(|engine| {
        let mut command = Command::new("-c");
        command.arg("echo injected").path_search(PathSearch::Never);
        command.shell_fallback(true).current_dir(&dir).engine(engine);
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"./-c\n", "{engine}: {output:?}");
        let mut command = Command::new("-d/script");
        command.shell_fallback(true).current_dir(&dir).engine(engine);
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"./-d/script\n", "{engine}: {output:?}");
    });
}

#[test]
fn a_lowered_fd_limit_is_named_in_the_error() {
    let name = "a_lowered_fd_limit_is_named_in_the_error";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // The pipe engine moves its pipe above all targets, which fails here.
    each_of(&[Engine::Suspended, Engine::Copied], |engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine).fd(500, File::open("/dev/null").unwrap());
        let prepared = command.prepare().unwrap();
        let limit_to = |count| limit(libc::RLIMIT_NOFILE, count, 1024);
        limit_to(400);
        let error = prepared.spawn().unwrap_err();
        limit_to(1024);
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
        assert!(prepared.spawn().unwrap().wait().unwrap().success());
    });
}

/// A write above RLIMIT_FSIZE would kill this process by SIGXFSZ.
#[test]
fn a_file_size_limit_is_efbig_and_not_sigxfsz() {
    let name = "a_file_size_limit_is_efbig_and_not_sigxfsz";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let bytes = fs::read("/bin/true").unwrap();
    let prepared = || {
        let mut command = Command::new("/bin/true");
        command.memory(offshoot::Memory::Private).prepare().unwrap()
    };
    let with_helper = prepared();
    limit(libc::RLIMIT_FSIZE, 3000, 3000);
    let engine = |child: Child| child.launch().engine();
    assert_eq!(engine(with_helper.spawn().unwrap()), Engine::Copied);
    let error = Command::from_bytes(bytes).spawn().unwrap_err();
    assert_eq!(error.step(), Step::FromBytes, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{error}");
    let error = Command::self_exe().spawn().unwrap_err();
    assert_eq!(error.step(), Step::SelfExe, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{error}");
}

/// `exec` retries while the program is open for writing, as `spawn` does.
#[test]
fn exec_in_place_retries_etxtbsy() {
    let name = "exec_in_place_retries_etxtbsy";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let path = scratch("busy-exec").join("program");
    program(&path, b"#!/bin/sh\nexit 0\n");
    let exec = || {
        let writer = File::options().append(true).open(&path).unwrap();
        let pid = fork();
        if pid == 0 {
            drop(writer);
            let error = Command::new(&path).exec();
            let busy = error.raw_os_error() == Some(libc::ETXTBSY);
            exit(if busy { 2 } else { 1 });
        }
        thread::sleep(Duration::from_millis(4));
        drop(writer);
        reap(pid)
    };
    // On a busy machine the file may stay open for longer than the retries.
    let seen: Vec<i32> = (0..20).map(|_| exec()).collect();
    assert!(seen.contains(&0), "{seen:?}");
    assert!(
        seen.iter().all(|status| [0, 2 << 8].contains(status)),
        "{seen:?}"
    );
}

#[test]
fn a_search_of_no_directory_or_too_many_says_so() {
    let dirs = |dirs: Vec<std::path::PathBuf>| {
        let mut command = Command::new("prog");
        command.path_search(PathSearch::Dirs(dirs));
        command.spawn().unwrap_err()
    };
    let error = dirs(vec!["relative".into()]);
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let text = error.to_string();
    assert!(text.contains("no directory to search for it"), "{text}");
    let many = |count: usize| {
        dirs((0..count).map(|n| format!("/no/{n}").into()).collect())
    };
    let error = many(70_000);
    assert_eq!(error.step(), Step::Program, "{error}");
    let error = many(20_000);
    assert_error(&error, Step::Exec, Some("prog"), libc::ENOENT);
    assert_eq!(error.candidates().len(), 20_000);
    let first = error.candidates().first().unwrap();
    assert_eq!(first.raw_os_error(), Some(libc::ENOENT));
}

/// A filter or a tracer can make a call return success without effect. Then
/// nothing was executed, and the child must not go on behind its last row.
#[test]
fn an_exec_that_returns_success_is_an_error() {
    let _alone = alone();
    for nr in [libc::SYS_execve, libc::SYS_execveat] {
        each_engine(|engine| {
            let spawn = |mut command: Command| {
                let faked = Action::Errno(0);
                filter::with(nr, faked, || command.engine(engine).spawn())
            };
            let mut named = Command::new("true");
            named.env("PATH", "/nope:/bin");
            let program = File::open("/bin/true").unwrap();
            let mut by_fd = Command::from_fd(program);
            by_fd.arg0("true");
            let all = [Command::new("/bin/true"), named, by_fd];
            for (n, command) in all.into_iter().enumerate() {
                let is_fd = n == 2;
                match spawn(command) {
                    Err(error) => {
                        let steps = [Step::Exec, Step::Image];
                        assert!(steps.contains(&error.step()), "{error}");
                    }
                    // It makes the other call only.
                    Ok(mut child) => {
                        assert_ne!(
                            is_fd,
                            nr == libc::SYS_execveat,
                            "{engine}"
                        );
                        assert!(child.wait().unwrap().success());
                    }
                }
            }
        });
    }
}
