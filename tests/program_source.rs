//! Program sources: a descriptor, bytes, or this program itself.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, process};

use offshoot::self_exe_is_sealed;
use offshoot::{Child, Command, Engine, Error, Launch, Stdio, Step};
use util::clean::{assert_error, clean, refused, spawn};
use util::filter::{self, Action};
use util::reporter::{ASK, Report};
use util::{
    WITHOUT_HELPER, alone, each_engine, each_of, fallbacks, inheritable,
    program, run, scratch,
};

/// The first argument that makes this binary read its input to the end.
const WAIT: &str = "offshoot-wait";

#[used]
#[unsafe(link_section = ".init_array")]
static WAITER: extern "C" fn() = waiter;

extern "C" fn waiter() {
    let line = fs::read("/proc/self/cmdline").unwrap_or_default();
    if line.split(|byte| *byte == 0).nth(1) != Some(WAIT.as_bytes()) {
        return;
    }
    println!("ready");
    let read = io::copy(&mut io::stdin(), &mut io::sink());
    process::exit(i32::from(read.is_err()));
}

fn exe() -> PathBuf {
    env::current_exe().unwrap()
}

fn open_path(path: &Path) -> File {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH).open(path).unwrap()
}

/// Runs this program as the reporter; returns the report and the launch.
#[track_caller]
fn reported(command: &mut Command, engine: Engine) -> (Report, Launch) {
    run(command.args([ASK, "-"]).engine(engine))
}

/// Returns the error of a spawn that must fail, while the command is alive.
fn fail(mut command: Command) -> Error {
    clean(|| command.spawn().map(drop))
}

#[test]
fn a_program_is_run_from_its_descriptor() {
    let _alone = alone();
    let dir = scratch("from-fd");
    each_engine(|engine| {
        for file in
            [File::open("/bin/echo"), Ok(open_path("/bin/echo".as_ref()))]
        {
            let mut echo = Command::from_fd(file.unwrap());
            echo.arg0("echo").args(["a", "b"]).engine(engine);
            assert_eq!(echo.output().unwrap().stdout, b"a b\n");
        }
        let own = File::open(exe()).unwrap();
        let sources: [OwnedFd; 4] = [
            inheritable(&own, 3),
            inheritable(&own, 300),
            open_path(&exe()).into(),
            own.into(),
        ];
        for source in sources {
            let name = format!("/dev/fd/{}", source.as_raw_fd());
            let mut command = Command::from_fd(source);
            let (report, launch) = reported(&mut command, engine);
            assert_eq!(report.fds(), [0, 1, 2], "{engine} {name}");
            assert_eq!(report.all("arg"), [&name, ASK, "-"]);
            assert_eq!(launch.fallbacks().count(), 0);
            // Again, with a descriptor at every low number.
            let null = File::open("/dev/null").unwrap();
            for n in 3..9 {
                command.fd(n, null.try_clone().unwrap());
            }
            let (report, _) = reported(&mut command, engine);
            assert_eq!(report.fds(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        // Another file is at its path by now.
        let path = dir.join("program");
        fs::copy(exe(), &path).unwrap();
        let opened = [File::open(&path).unwrap(), open_path(&path)];
        fs::copy("/bin/false", dir.join("other")).unwrap();
        fs::rename(dir.join("other"), &path).unwrap();
        for file in opened {
            let (report, _) = reported(&mut Command::from_fd(file), engine);
            assert_eq!(report.fds(), [0, 1, 2], "{engine}");
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

/// This program, with the name of a dynamic loader that does not exist.
fn without_loader() -> Vec<u8> {
    let mut elf = fs::read(exe()).unwrap();
    let at = memchr::memmem::find(&elf, b"/ld-linux").unwrap();
    elf[at + 1] = b'X';
    elf
}

#[track_caller]
fn has_no_loader(error: &Error) {
    assert_eq!(error.step(), Step::Interpreter, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let loader = error.operand().unwrap().to_str().unwrap();
    assert!(loader.contains("/Xd-linux"), "{loader}");
}

#[test]
fn a_program_by_descriptor_that_cannot_run_says_why() {
    let _alone = alone();
    let dir = scratch("from-fd-fails");
    program(&dir.join("garbage"), b"neither #! nor ELF\n");
    program(&dir.join("empty"), b"");
    fs::write(dir.join("data"), b"\x7F").unwrap();
    program(&dir.join("elf"), &without_loader());
    program(&dir.join("script"), b"#! /nope/sh -e\ntrue\n");
    fs::copy("/bin/true", dir.join("busy")).unwrap();
    let cases = [
        (".", libc::EACCES),
        ("data", libc::EACCES),
        ("garbage", libc::ENOEXEC),
        ("empty", libc::ENOEXEC),
        ("busy", libc::ETXTBSY),
    ];
    each_engine(|engine| {
        let from = |file: File| {
            let mut command = Command::from_fd(file);
            command.engine(engine);
            command
        };
        let writer = File::options().append(true).open(dir.join("busy"));
        let opens = [|path: &Path| File::open(path).unwrap(), open_path];
        for (name, errno) in cases {
            for open in opens {
                let file = open(&dir.join(name));
                let shown = format!("/dev/fd/{}", file.as_raw_fd());
                let error = fail(from(file));
                assert_error(&error, Step::Exec, Some(&shown), errno);
                assert!(error.candidates().is_empty());
            }
        }
        drop(writer);
        for open in opens {
            has_no_loader(&fail(from(open(&dir.join("elf")))));
            let mut script = from(open(&dir.join("script")));
            script.script_fd(7);
            let error = fail(script);
            assert_error(
                &error,
                Step::Interpreter,
                Some("/nope/sh"),
                libc::ENOENT,
            );
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_script_by_descriptor_needs_script_fd() {
    let _alone = alone();
    let dir = scratch("script-fd");
    let text = "#!/bin/sh\n[ -e /proc/$$/fd/5 ] || exit 4\n\
                [ -e /proc/$$/fd/90 ] && exit 5\necho \"$0\" \"$@\"\n";
    program(&dir.join("script"), text.as_bytes());
    let make = |n: usize, engine: Engine| {
        let path = dir.join("script");
        let mut command = match n {
            0 => Command::from_fd(inheritable(&File::open(path).unwrap(), 90)),
            1 => Command::from_fd(open_path(&path)),
            _ => Command::from_bytes(text),
        };
        command.engine(engine);
        command
    };
    each_engine(|engine| {
        for n in 0..3 {
            let step = if n < 2 { Step::FromFd } else { Step::FromBytes };
            let error = fail(make(n, engine));
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.operand().is_some(), n < 2);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("script_fd"), "{error}");

            let mut script = make(n, engine);
            script.script_fd(5).args(["a b", ""]);
            let output = script.output().unwrap();
            assert_eq!(output.stdout, b"/dev/fd/5 a b \n", "{output:?}");
            let prepared = script.stdout(Stdio::piped()).prepare().unwrap();
            for _ in 0..2 {
                let child = prepared.spawn().unwrap();
                let output = child.wait_with_output().unwrap();
                assert_eq!(output.stdout, b"/dev/fd/5 a b \n", "{n}");
            }

            let why = "3 or above";
            for low in [2, -1] {
                let mut script = make(n, engine);
                let error = fail(script.script_fd(low).clone());
                let low = low.to_string();
                refused(&error, Step::ScriptFd, Some(&low), why);
            }
            let mut script = make(n, engine);
            script.script_fd(5).fd(5, File::open("/dev/null").unwrap());
            let error = fail(script);
            refused(&error, Step::ScriptFd, Some("5"), "another option");
        }
        let mut path = Command::new("/bin/true");
        path.script_fd(5).engine(engine);
        refused(&fail(path), Step::ScriptFd, Some("5"), "a path");
    });
    fs::remove_dir_all(dir).unwrap();
}

/// Runs this program until its input ends; the child and `/proc/PID/exe`.
fn waiting(mut command: Command, engine: Engine) -> (Child, PathBuf) {
    command.arg(WAIT).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.engine(engine).spawn().unwrap();
    // After its first output /proc/PID/exe is the new program.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    (child, exe.into())
}

/// Asserts that the child's program is sealed, while it runs and after.
fn cannot_be_written(mut child: Child, path: &Path) {
    let name = fs::read_link(path).unwrap();
    assert!(name.to_str().unwrap().starts_with("/memfd:offshoot"), "{name:?}");
    let file = File::open(path).unwrap();
    // SAFETY: returns a number and writes no memory.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    let want = libc::F_SEAL_SEAL
        | libc::F_SEAL_SHRINK
        | libc::F_SEAL_GROW
        | libc::F_SEAL_WRITE;
    assert_eq!(seals, want);
    let error = File::options().write(true).open(path).map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    // It no longer runs, so its file can be opened for writing.
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut file = File::options().write(true).open(again).unwrap();
    let len = file.metadata().unwrap().len();
    for done in [file.write(b"#!/evil").map(drop), file.set_len(0)] {
        let error = done.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    assert_eq!(file.metadata().unwrap().len(), len);
}

#[test]
fn a_program_from_bytes_is_sealed() {
    let _alone = alone();
    let bytes = fs::read(exe()).unwrap();
    let broken = without_loader();
    each_engine(|engine| {
        let command = Command::from_bytes(bytes.clone());
        let (report, _) = reported(&mut command.clone(), engine);
        assert_eq!(report.fds(), [0, 1, 2], "{engine}");
        assert_eq!(report.all("arg"), ["/memfd:offshoot", ASK, "-"]);
        let (child, path) = waiting(command, engine);
        cannot_be_written(child, &path);
        for garbage in ["", "#", "\x7FELF", "neither"] {
            let mut command = Command::from_bytes(garbage);
            let error = fail(command.engine(engine).clone());
            let name = Some("/memfd:offshoot");
            assert_error(&error, Step::Exec, name, libc::ENOEXEC);
        }
        let mut command = Command::from_bytes(broken.clone());
        command.engine(engine);
        has_no_loader(&fail(command));
    });
}

/// CVE-2019-5736: a container that can open `/proc/PID/exe` of a process that
/// enters it could overwrite the host's program.
#[test]
fn self_exe_runs_this_program_whatever_file_is_at_its_path() {
    let _alone = alone();
    let name = "self_exe_runs_this_program_whatever_file_is_at_its_path";
    const COPY: &str = "OFFSHOOT_COPY";
    let Some(copy) = env::var_os(COPY).map(PathBuf::from) else {
        let dir = scratch("self-exe");
        let copy = dir.join("program");
        fs::copy(exe(), &copy).unwrap();
        let run = ["--exact", name, "--nocapture", "--test-threads=1"];
        let output = Command::new(&copy).args(run).env(COPY, &copy).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let ran = output.status.success() && text.contains("1 passed");
        assert!(ran, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        return fs::remove_dir_all(dir).unwrap();
    };
    assert!(!self_exe_is_sealed().unwrap());
    let before = fs::read(&copy).unwrap();
    let file = File::open(&copy).unwrap();
    each_engine(|engine| {
        let (child, path) = waiting(Command::self_exe(), engine);
        cannot_be_written(child, &path);
        assert!(fs::read(&copy).unwrap() == before, "{engine}");
    });
    fs::copy("/bin/false", copy.with_extension("new")).unwrap();
    fs::rename(copy.with_extension("new"), &copy).unwrap();
    each_engine(|engine| {
        let (report, _) = reported(&mut Command::self_exe(), engine);
        assert_eq!(report.fds(), [0, 1, 2], "{engine}");
        let own = env::args_os().next().unwrap();
        assert_eq!(report.all("arg")[0], own.to_str().unwrap());
        let (child, path) = waiting(Command::self_exe(), engine);
        cannot_be_written(child, &path);
    });
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert!(fs::read(path).unwrap() == before);
}

#[test]
fn a_program_execs_a_sealed_copy_of_itself() {
    let _alone = alone();
    let name = "a_program_execs_a_sealed_copy_of_itself";
    if !util::inside(name, &[]) {
        return;
    }
    const AGAIN: &str = "OFFSHOOT_AGAIN";
    let pid = process::id().to_string();
    let Ok(before) = env::var(AGAIN) else {
        assert!(!self_exe_is_sealed().unwrap());
        let mut again = Command::self_exe();
        again.args(env::args_os().skip(1)).env(AGAIN, pid);
        panic!("{}", again.exec());
    };
    assert_eq!(before, pid);
    assert!(self_exe_is_sealed().unwrap());
    // A sealed program is not copied again.
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    each_engine(|engine| {
        let (child, path) = waiting(Command::self_exe(), engine);
        assert_eq!(inode(path.clone()), inode("/proc/self/exe".into()));
        drop(child.wait_with_output().unwrap());
        let (report, _) = reported(&mut Command::self_exe(), engine);
        assert_eq!(report.fds(), [0, 1, 2], "{engine}");
    });
}

#[test]
fn without_execveat_the_path_in_proc_is_used() {
    let _alone = alone();
    let makes: [fn() -> Command; 3] = [
        || Command::from_fd(inheritable(&File::open(exe()).unwrap(), 3)),
        || Command::from_fd(open_path(&exe())),
        Command::self_exe,
    ];
    each_of(&WITHOUT_HELPER, |engine| {
        for errno in [libc::ENOSYS, libc::EPERM] {
            let action = Action::errno(errno);
            let nr = libc::SYS_execveat;
            filter::with(nr, action, || {
                for make in makes {
                    let (report, launch) = reported(&mut make(), engine);
                    assert_eq!(report.fds(), [0, 1, 2], "{engine}");
                    assert_eq!(
                        fallbacks(&launch),
                        [("execveat", Some(errno))]
                    );
                }
                let mut script = Command::from_bytes("#!/bin/sh\nexit 9\n");
                script.script_fd(8).engine(engine);
                let mut child = script.spawn().unwrap();
                assert_eq!(child.launch().fallbacks().count(), 1);
                assert_eq!(child.wait().unwrap().code(), Some(9));
            });
            let mut garbage = Command::from_bytes("neither");
            garbage.engine(engine);
            let error = clean(|| filter::with(nr, action, spawn(garbage)));
            assert_error(
                &error,
                Step::Exec,
                Some("/memfd:offshoot"),
                libc::ENOEXEC,
            );
        }
    });
}

/// `vm.memfd_noexec` belongs to the PID namespace; the machine's is unchanged.
#[test]
fn a_memfd_that_may_not_be_executed_is_an_error_of_its_option() {
    let _alone = alone();
    let name = "a_memfd_that_may_not_be_executed_is_an_error_of_its_option";
    const SYSCTL: &str = "/proc/sys/vm/memfd_noexec";
    let wrap = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let set = ["sh", "-c", "echo 1 >/proc/sys/vm/memfd_noexec"];
    let can = process::Command::new(wrap[0])
        .args(wrap[1..].iter().chain(&set))
        .stderr(process::Stdio::null())
        .status();
    if !can.unwrap().success() {
        return util::skip(name, "needs root, and Linux 6.3");
    }
    if !util::inside(name, &wrap) {
        return;
    }
    each_engine(|engine| {
        for value in ["0", "1"] {
            fs::write(SYSCTL, value).unwrap();
            reported(&mut Command::self_exe(), engine);
            let mut script = Command::from_bytes("#!/bin/sh\nexit 9\n");
            script.script_fd(8).engine(engine);
            assert_eq!(script.status().unwrap().code(), Some(9));
        }
        fs::write(SYSCTL, "2").unwrap();
        let cases = [
            (Command::from_bytes("x"), Step::FromBytes),
            (Command::self_exe(), Step::SelfExe),
        ];
        for (mut command, step) in cases {
            let error = fail(command.engine(engine).clone());
            assert_error(&error, step, None, libc::EACCES);
        }
    });
}
