//! Debuggers: parents under gdb, strace and valgrind, and the helper image as
//! readelf and the kernel see it.
#![allow(unsafe_code, reason = "a hook that does nothing")]

mod util;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process;

use offshoot::{Command, Engine, Launch, Memory, Method, Stdio, Step};
use util::clean::assert_error;
use util::reporter::descriptors;
use util::{ENGINES, alone, fallbacks, outside, scratch, skip};

fn echo() -> Command {
    let mut echo = Command::new("/bin/echo");
    echo.arg("hi").stdout(Stdio::piped());
    echo
}

/// Runs the command, makes it fail with a bad directory, and returns how it
/// was launched.
fn launched(mut command: Command) -> Launch {
    let child = command.spawn().unwrap();
    let launch = child.launch().clone();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"hi\n", "{launch}");
    let mut lost = command.current_dir("/nope").clone();
    let error = lost.spawn().unwrap_err();
    assert_error(&error, Step::Chdir, Some("/nope"), libc::ENOENT);
    launch
}

fn engines() -> Vec<Command> {
    let named = |engine| {
        let mut command = echo();
        command.engine(engine);
        command
    };
    ENGINES.into_iter().map(named).collect()
}

/// The same as without a tracer, but for a copied child with a hook.
fn under_a_tracer() {
    assert_eq!(launched(echo()).engine(), Engine::Suspended);
    let mut private = echo();
    private.memory(Memory::Private);
    assert_eq!(launched(private.clone()).engine(), Engine::Isolated);
    private.before_exec(|_, _| Ok(()));
    assert_eq!(launched(private.clone()).engine(), Engine::Isolated);
    for (command, engine) in engines().into_iter().zip(ENGINES) {
        assert_eq!(launched(command).engine(), engine);
    }
    // The caller must not sleep until exec here, and gdb requires CLONE_VFORK.
    // SAFETY: the hook does nothing.
    unsafe { private.pre_exec(|_| Ok(())) };
    let launch = launched(private);
    assert_eq!(launch.engine(), Engine::Pipe);
    let fallbacks: Vec<_> = launch.fallbacks().map(|f| f.feature()).collect();
    assert_eq!(fallbacks, ["copied"]);
}

fn there(tool: &str, args: &[&str], expected: &str) -> bool {
    let output = process::Command::new(tool).args(args).output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains(expected)
    })
}

const GDB: [&str; 6] =
    ["-q", "-batch", "-ex", "set confirm off", "-ex", "run"];

#[test]
fn under_gdb_children_run_and_the_session_is_not_broken() {
    let name = "under_gdb_children_run_and_the_session_is_not_broken";
    let _alone = alone();
    let probe = [&GDB[..], &["--args", "/bin/true"]].concat();
    let inside = util::is_inside(name);
    if !inside && !there("gdb", &probe, "exited normally") {
        return skip(name, "no gdb, or it may not trace");
    }
    let wrap = [&["gdb"], &GDB[..], &["--args"]].concat();
    let Some(text) = outside(name, &wrap) else {
        return under_a_tracer();
    };
    assert!(text.contains("exited normally"), "{text}");
    assert!(text.contains("Detaching after vfork"), "{text}");
    assert!(!text.contains("New LWP") && !text.contains("SIGTRAP"), "{text}");
}

#[test]
fn under_strace_children_run_and_are_followed() {
    let name = "under_strace_children_run_and_are_followed";
    let _alone = alone();
    let inside = util::is_inside(name);
    if !inside && !there("strace", &["-V"], "strace") {
        return skip(name, "no strace");
    }
    let log = scratch("strace").join("log");
    let file = log.to_str().unwrap();
    let wrap = ["strace", "-f", "-q", "-s0", "-e", "execveat", "-o", file];
    if outside(name, &wrap).is_none() {
        return under_a_tracer();
    }
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("execveat(") && log.contains(") = 0"), "{log}");
}

/// valgrind supports libc's fork and aborts on any other clone; so an engine
/// that is named is refused without a try.
#[test]
fn under_valgrind_the_pipe_engine_runs_and_others_are_refused() {
    let name = "under_valgrind_the_pipe_engine_runs_and_others_are_refused";
    let _alone = alone();
    let inside = util::is_inside(name);
    if !inside && !there("valgrind", &["--version"], "valgrind") {
        return skip(name, "no valgrind");
    }
    for follow in ["--trace-children=no", "--trace-children=yes"] {
        let wrap = ["valgrind", "-q", "--tool=none", follow];
        if outside(name, &wrap).is_some() {
            continue;
        }
        assert_eq!(launched(echo()).engine(), Engine::Pipe);
        let mut private = echo();
        private.memory(Memory::Private).before_exec(|_, _| Ok(()));
        assert_eq!(launched(private).engine(), Engine::Pipe);
        let mut refused: Vec<Command> = engines();
        let plain = refused.pop().unwrap();
        assert_eq!(launched(plain).engine(), Engine::Pipe);
        for method in [Method::Vfork, Method::Fork, Method::Clone3] {
            let mut command = echo();
            command.method(method);
            refused.push(command);
        }
        for mut command in refused {
            let error = command.spawn().unwrap_err();
            assert_error(&error, Step::Clone, None, libc::ENOSYS);
        }
        return;
    }
}

/// `vm.memfd_noexec` belongs to the PID namespace.
#[test]
fn when_memfds_may_not_be_executed_private_memory_is_copied() {
    let name = "when_memfds_may_not_be_executed_private_memory_is_copied";
    const SYSCTL: &str = "/proc/sys/vm/memfd_noexec";
    let _alone = alone();
    let wrap = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let set = ["sh", "-c", "echo 1 >/proc/sys/vm/memfd_noexec; echo done"];
    let probe = [&wrap[1..], &set].concat();
    let inside = util::is_inside(name);
    if !inside && !there(wrap[0], &probe, "done") {
        return skip(name, "vm.memfd_noexec needs root and Linux 6.3");
    }
    if outside(name, &wrap).is_some() {
        return;
    }
    let mut private = echo();
    private.memory(Memory::Private);
    let mut earlier = Vec::new();
    for value in ["0", "1"] {
        fs::write(SYSCTL, value).unwrap();
        let launch = launched(private.clone());
        assert_eq!(launch.engine(), Engine::Isolated, "{value}");
        assert_eq!(launch.fallbacks().count(), 0, "{value}");
        earlier.push(private.prepare().unwrap());
    }
    fs::write(SYSCTL, "2").unwrap();
    let launch = launched(private);
    assert_eq!(launch.engine(), Engine::Copied);
    assert_eq!(fallbacks(&launch), [("memfd_create", Some(libc::EACCES))]);
    let mut named = echo();
    let error = named.engine(Engine::Isolated).spawn().unwrap_err();
    assert_error(&error, Step::Image, None, libc::EACCES);
    // An existing helper image is used again.
    for prepared in earlier {
        let child = prepared.spawn().unwrap();
        assert_eq!(child.launch().engine(), Engine::Isolated);
        assert_eq!(child.wait_with_output().unwrap().stdout, b"hi\n");
    }
}

/// The helper image that a prepared plan creates, copied to a file.
fn helper_image() -> (PathBuf, Vec<u8>) {
    let before = descriptors();
    let mut private = echo();
    let prepared = private.memory(Memory::Private).prepare().unwrap();
    let new = descriptors().into_iter().filter(|fd| !before.contains(fd));
    let of = |fd: &(String, String)| fd.1.starts_with("/memfd:offshoot");
    let (number, _) = new.into_iter().find(of).expect("the helper's file");
    let bytes = fs::read(format!("/proc/self/fd/{number}")).unwrap();
    drop(prepared);
    let path = scratch("helper-image").join("image");
    fs::write(&path, &bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    (path, bytes)
}

#[test]
fn readelf_finds_one_executable_segment_in_the_helper_image() {
    let name = "readelf_finds_one_executable_segment_in_the_helper_image";
    let _alone = alone();
    if !there("readelf", &["--version"], "readelf") {
        return skip(name, "no readelf");
    }
    let (path, bytes) = helper_image();
    let output = process::Command::new("readelf")
        .args(["-W", "-h", "-l", "-S"])
        .arg(&path)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |word: &str| text.lines().find(|line| line.contains(word));
    let field = |word| {
        let value = line(word).and_then(|line| line.split_once(':'));
        value.unwrap_or_else(|| panic!("{word}: {text}")).1.trim()
    };
    assert_eq!(field("Type:"), "EXEC (Executable file)");
    let machine = match cfg!(target_arch = "x86_64") {
        true => "Advanced Micro Devices X86-64",
        false => "AArch64",
    };
    assert_eq!(field("Machine:"), machine);
    let entry = field("Entry point address:").trim_start_matches("0x");
    let entry = u64::from_str_radix(entry, 16).unwrap();
    let end = 0x41_0000 + bytes.len() as u64;
    assert!((0x41_0000..end).contains(&entry), "{entry:#x}");
    assert_eq!(field("Number of program headers:"), "2");
    assert!(text.contains("There are no sections in this file."), "{text}");
    let load = format!("{0:#08x} {0:#08x} R E 0x10000", bytes.len());
    assert!(line("LOAD ").is_some_and(|l| l.contains(&load)), "{text}");
    assert!(line("GNU_STACK").is_some_and(|l| l.contains(" RW ")), "{text}");
}

/// Without its status page the helper does nothing.
#[test]
fn the_helper_image_exits_at_once_without_its_status_page() {
    let _alone = alone();
    let (path, _) = helper_image();
    let output = process::Command::new(path).output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert_eq!((output.stdout, output.stderr), (vec![], vec![]));
}
