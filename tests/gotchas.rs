//! Gotchas: entries of docs/gotchas.md that no other file tests.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::process;
use std::time::{Duration, Instant};

use offshoot::{CloneFlags, Command, Engine, Stdio};
use util::reporter::Report;
use util::{each_engine, reporter_with, scratch};

#[test]
fn a_close_on_exec_standard_descriptor_is_not_inherited() {
    let name = "a_close_on_exec_standard_descriptor_is_not_inherited";
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: sets a flag of a descriptor of this process.
    unsafe { libc::fcntl(0, libc::F_SETFD, libc::FD_CLOEXEC) };
    each_engine(|engine| {
        let path = scratch("cloexec").join("report");
        let run = |stdin: Option<Stdio>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(util::reporter::ASK).arg(&path).engine(engine);
            stdin.map(|stdin| command.stdin(stdin));
            assert!(command.status().unwrap().success());
            Report::parse(&fs::read(&path).unwrap()).fds()
        };
        assert_eq!(run(None), [1, 2]);
        let given = OpenOptions::new().read(true).open("/dev/null").unwrap();
        assert_eq!(run(Some(given.into())), [0, 1, 2]);
    });
}

#[test]
fn a_given_descriptor_is_open_until_the_command_is_dropped() {
    each_engine(|engine| {
        let (mut read, write) = std::io::pipe().unwrap();
        let write = std::os::fd::OwnedFd::from(write);
        let mut command = Command::new("/bin/true");
        command.stdout(write).engine(engine);
        assert!(command.status().unwrap().success());
        let waited = rustix::event::poll(
            &mut [rustix::event::PollFd::new(
                &read,
                rustix::event::PollFlags::IN,
            )],
            Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 }),
        );
        assert_eq!(waited, Ok(0), "no end yet");
        assert!(command.status().unwrap().success(), "it can spawn again");
        drop(command);
        assert_eq!(read.read(&mut [0]).unwrap(), 0, "the end");
    });
}

#[test]
fn output_waits_until_every_writer_closes_the_pipe() {
    each_engine(|engine| {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        let script = "(sleep 0.2; echo late) & echo early";
        let output = command.args(["-c", script]).engine(engine).output();
        assert_eq!(output.unwrap().stdout, b"early\nlate\n");
        assert!(begun.elapsed() >= Duration::from_millis(190));
    });
}

#[test]
fn an_entry_without_an_equals_sign_is_not_passed_on() {
    let name = "an_entry_without_an_equals_sign_is_not_passed_on";
    if !util::inside(name, &[]) {
        return;
    }
    unsafe extern "C" {
        static mut environ: *const *const libc::c_char;
    }
    let entries = [c"NAMELESS".as_ptr(), c"A=1".as_ptr(), std::ptr::null()];
    let entries = Box::leak(Box::new(entries));
    // SAFETY: no other thread of this process uses the environment, and the
    // array is never freed.
    unsafe { environ = entries.as_ptr() };
    each_engine(|engine| {
        let output = reporter_with(engine).output().unwrap();
        assert_eq!(Report::parse(&output.stdout).all("env"), ["A=1"]);
    });
}

#[test]
fn a_traced_parent_makes_its_copied_child_with_vfork() {
    let name = "a_traced_parent_makes_its_copied_child_with_vfork";
    let there = process::Command::new("strace").arg("-V").output();
    if !there.is_ok_and(|output| output.status.success()) {
        util::skip(name, "no strace");
        return;
    }
    let vfork = || {
        let mut command = Command::new("/bin/true");
        let mut child = command.engine(Engine::Copied).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.launch().flags().contains(CloneFlags::VFORK)
    };
    if util::inside(name, &["strace", "-f", "-q", "-o", "/dev/null"]) {
        assert!(vfork());
    } else {
        assert!(!vfork());
    }
}

#[test]
fn assembly_symbols_carry_the_crate_version() {
    let mut parts = env!("CARGO_PKG_VERSION").split('.');
    let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
    let own = format!("offshoot_{major}_{minor}_");
    let child = util::source::root().join("src/child");
    for file in ["x86_64.s", "aarch64.s", "mod.rs"] {
        let text = fs::read_to_string(child.join(file)).unwrap();
        let (all, with) = (text.matches("offshoot_"), text.matches(&own));
        let count = all.count();
        assert!(count > 0 && count == with.count(), "{file}");
    }
}

#[test]
fn the_aarch64_assembly_keeps_bti() {
    let child = util::source::root().join("src/child");
    let text = fs::read_to_string(child.join("aarch64.s")).unwrap();
    let note = text.split(".note.gnu.property").nth(1).unwrap();
    assert!(note.contains("0xc0000000, 4, 1"), "the BTI bit");
    let entry = text.split("offshoot_0_1_enter:").nth(1).unwrap();
    let first = entry.lines().find(|line| line.contains("hint"));
    assert!(first.unwrap().contains("hint #34"), "a BTI landing pad");
}

#[test]
fn clone_flags_have_the_kernels_values() {
    let kernel = [
        (CloneFlags::VM, 0x0000_0100),
        (CloneFlags::FILES, 0x0000_0400),
        (CloneFlags::PIDFD, 0x0000_1000),
        (CloneFlags::VFORK, 0x0000_4000),
        (CloneFlags::PARENT, 0x0000_8000),
        (CloneFlags::CHILD_CLEARTID, 0x0020_0000),
        (CloneFlags::NEWNS, 0x0002_0000),
        (CloneFlags::NEWCGROUP, 0x0200_0000),
        (CloneFlags::NEWUTS, 0x0400_0000),
        (CloneFlags::NEWIPC, 0x0800_0000),
        (CloneFlags::NEWUSER, 0x1000_0000),
        (CloneFlags::NEWPID, 0x2000_0000),
        (CloneFlags::NEWNET, 0x4000_0000),
        (CloneFlags::CLEAR_SIGHAND, 0x1_0000_0000),
        (CloneFlags::INTO_CGROUP, 0x2_0000_0000),
        (CloneFlags::AUTOREAP, 1 << 34),
        (CloneFlags::NNP, 1 << 35),
        (CloneFlags::PIDFD_AUTOKILL, 1 << 36),
    ];
    for (flag, bits) in kernel {
        assert_eq!(flag.bits(), bits);
    }
    let all = kernel.iter().map(|(flag, _)| *flag);
    assert_eq!(all.collect::<CloneFlags>(), CloneFlags::all());
}
