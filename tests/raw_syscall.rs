//! Raw system calls: any call, with memory that the plan owns.
#![allow(unsafe_code, reason = "the tests vouch for their calls")]

mod util;

use std::fs::File;

use offshoot::{Command, Engine, Memory, RawArg, Step};
use util::clean::{assert_error, clean, command, refused};
use util::{PRIVATE, alone, each_engine, each_of, inside, is_root, scratch};

fn shell(engine: Engine, line: &str) -> Command {
    let mut sh = command("/bin/sh", engine);
    sh.args(["-c", line]);
    sh
}

fn slack(command: &mut Command, nanoseconds: u64) {
    let option = RawArg::from(libc::PR_SET_TIMERSLACK);
    let args = [option, RawArg::from(nanoseconds)];
    // SAFETY: the call takes two numbers, and a child has its own slack.
    unsafe { command.raw_syscall_shared("timerslack", libc::SYS_prctl, args) };
}

#[test]
fn a_call_is_made_with_numbers_bytes_descriptors_and_output() {
    each_engine(|engine| {
        let dir = scratch("raw");
        let mut sh =
            shell(engine, "test -d made && cat /proc/self/timerslack_ns");
        sh.current_dir(&dir);
        let args = [
            RawArg::fd(File::open(&dir).unwrap()),
            RawArg::bytes(c"made".to_bytes_with_nul()),
            RawArg::from(0o755),
        ];
        // SAFETY: the call reads the path and changes no memory.
        unsafe { sh.raw_syscall_shared("mkdirat", libc::SYS_mkdirat, args) };
        slack(&mut sh, 70_000);
        let args = [RawArg::from(3), RawArg::output(16)];
        // SAFETY: the call writes two words of 8 bytes.
        unsafe {
            sh.raw_syscall_shared("clock", libc::SYS_clock_gettime, args);
        };
        // cat is a child of the shell, or takes its place.
        assert_eq!(sh.output().unwrap().stdout, b"70000\n", "{engine}");
        // The descriptor is not inherited.
        let mut ls = shell(engine, "test ! -e /proc/self/fd/3");
        let dir = RawArg::fd(File::open(&dir).unwrap());
        // SAFETY: the call takes a number and changes no memory.
        unsafe { ls.raw_syscall_shared("fchdir", libc::SYS_fchdir, [dir]) };
        assert!(ls.status().unwrap().success(), "{engine}");
    });
}

#[test]
fn calls_are_made_in_the_order_in_which_they_were_added() {
    each_engine(|engine| {
        let mut sh = shell(engine, "cat /proc/self/timerslack_ns");
        slack(&mut sh, 60_000);
        slack(&mut sh, 80_000);
        assert_eq!(sh.output().unwrap().stdout, b"80000\n", "{engine}");
    });
}

#[test]
fn a_call_in_shared_memory_leaves_the_parent_as_it_was() {
    let _alone = alone();
    // SAFETY: returns a number and writes no memory.
    let own = || unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    let before = own();
    let mut sh = shell(Engine::Suspended, "true");
    slack(&mut sh, 90_000);
    assert!(sh.status().unwrap().success());
    assert_eq!(own(), before);
}

#[test]
fn a_call_needs_private_memory_unless_it_is_vouched_for() {
    let _alone = alone();
    let private = |command: &mut Command| {
        // SAFETY: the call takes no argument and concerns no memory.
        unsafe { command.raw_syscall("getuid", libc::SYS_getuid, []) };
    };
    each_of(&PRIVATE, |engine| {
        let mut sh = shell(engine, "true");
        private(&mut sh);
        assert!(sh.status().unwrap().success(), "{engine}");
    });
    let mut shared = Command::new("/bin/true");
    private(shared.memory(Memory::Shared));
    let error = shared.plan().unwrap_err();
    refused(&error, Step::Memory, Some("raw_syscall"), "raw_syscall_shared");
    let mut auto = Command::new("/bin/true");
    private(&mut auto);
    let mut child = auto.spawn().unwrap();
    assert_ne!(child.launch().engine(), Engine::Suspended);
    child.wait().unwrap();
}

#[test]
fn a_call_that_fails_is_named() {
    let _alone = alone();
    each_engine(|engine| {
        let mut lost = command("/bin/true", engine);
        let path = RawArg::bytes(c"/nope".to_bytes_with_nul());
        // SAFETY: the call reads the path and changes no memory.
        unsafe {
            lost.raw_syscall_shared("to /nope", libc::SYS_chdir, [path])
        };
        let error = clean(|| lost.spawn().map(drop));
        let name = Some("to /nope");
        assert_error(&error, Step::RawSyscall, name, libc::ENOENT);
    });
}

/// The call may set the flag that a filter and Landlock take.
#[test]
fn a_call_may_set_no_new_privs_for_what_needs_it() {
    let name = "a_call_may_set_no_new_privs_for_what_needs_it";
    if !inside(name, &[]) {
        return;
    }
    if is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    let filter = [(0x06u16, 0u8, 0u8, libc::SECCOMP_RET_ALLOW)];
    let mut without = Command::new("/bin/true");
    let error = without.seccomp(filter).plan().unwrap_err();
    refused(&error, Step::Seccomp, Some("no_new_privs"), "CAP_SYS_ADMIN");
    each_engine(|engine| {
        let mut grep = command("grep", engine);
        grep.args(["-c", "Seccomp:.2", "/proc/self/status"]).seccomp(filter);
        let option = RawArg::from(libc::PR_SET_NO_NEW_PRIVS);
        let args = [option, 1.into(), 0.into(), 0.into(), 0.into()];
        // SAFETY: the call takes numbers, and a child has a flag of its own.
        unsafe { grep.raw_syscall_shared("nnp", libc::SYS_prctl, args) };
        assert_eq!(grep.output().unwrap().stdout, b"1\n", "{engine}");
    });
}

/// A thread does not pass on its parent death signal. Once another thread has
/// reaped a child, helpers call exec in a second thread where they can.
#[test]
fn an_attribute_of_the_calls_thread_is_the_programs() {
    let name = "an_attribute_of_the_calls_thread_is_the_programs";
    if !inside(name, &[]) {
        return;
    }
    let mut reaped = command("/bin/true", Engine::Isolated).spawn().unwrap();
    let reap = || {
        let mut status = 0;
        // SAFETY: writes one int.
        unsafe { libc::waitpid(-1, &raw mut status, 0) }
    };
    std::thread::spawn(reap).join().unwrap();
    let _ = reaped.wait();
    each_engine(|engine| {
        let mut reporter = util::reporter_with(engine);
        let option = RawArg::from(libc::PR_SET_PDEATHSIG);
        let args = [option, RawArg::from(libc::SIGURG)];
        // SAFETY: the call takes numbers, and a child has its own signal.
        unsafe { reporter.raw_syscall_shared("it", libc::SYS_prctl, args) };
        let seen = util::report(&mut reporter);
        let want = libc::SIGURG.to_string();
        assert_eq!(seen.one("deathsig"), want, "{engine}");
    });
}

#[test]
fn what_no_call_can_be_is_refused() {
    let error = |nr: i64, args: Vec<RawArg>| {
        let mut command = Command::new("/bin/true");
        // SAFETY: the command is not spawned.
        unsafe { command.raw_syscall("it", nr, args) };
        command.plan().unwrap_err()
    };
    let zero = || RawArg::from(0);
    let step = Step::RawSyscall;
    for nr in [-1, 1 << 20, 0x8000_0003, i64::MIN, i64::MAX] {
        refused(&error(nr, vec![]), step, Some("it"), "number");
    }
    let nr = libc::SYS_getuid;
    let seven = (0..7).map(|_| zero()).collect();
    refused(&error(nr, seven), step, Some("it"), "six");
    let large = vec![RawArg::output(129)];
    refused(&error(nr, large), step, Some("it"), "128");
    let late = vec![zero(), zero(), zero(), zero(), RawArg::output(8)];
    refused(&error(nr, late), step, Some("it"), "first four");
}
