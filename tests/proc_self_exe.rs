//! Itself: programs that name themselves, or are gone as soon as they run.
#![allow(unsafe_code, reason = "the tests change what their process may do")]

mod util;

use std::ffi::CString;

use offshoot::{Command, Engine, Memory, Step};
use util::{alone, each_of, elf, program, scratch};

/// In an image `/proc/self/exe` is the image.
#[test]
fn proc_self_exe_runs_this_program_and_not_the_helper() {
    let name = "proc_self_exe_runs_this_program_and_not_the_helper";
    if util::is_inside(name) {
        return println!("it is me");
    }
    for own in ["/proc/self/exe", "/proc/thread-self/exe"] {
        let mut command = Command::new(own);
        command.args(["--exact", name, "--nocapture"]);
        command.env("OFFSHOOT_INSIDE", name).memory(Memory::Private);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("it is me"), "{own}: {output:?}");
        let error = command.engine(Engine::Isolated).spawn().unwrap_err();
        assert_eq!(error.step(), Step::Memory, "{error}");
        assert_eq!(error.operand().unwrap(), "program");
    }
}

/// Reaped by the kernel, with SIGCHLD ignored, and its file is not where this
/// process would look for it.
#[test]
fn a_program_that_is_already_reaped_counts_as_started() {
    let name = "a_program_that_is_already_reaped_counts_as_started";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // SAFETY: ignores a signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let dir = scratch("elsewhere");
    program(&dir.join("seven"), &elf::seven());
    let dir = CString::new(dir.to_str().unwrap()).unwrap();
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        for _ in 0..60 {
            let mut command = Command::new("./seven");
            let dir = dir.clone();
            // SAFETY: the hook makes one system call.
            unsafe { command.pre_exec(move |context| context.chdir(&dir)) };
            let made = command.engine(engine).spawn();
            let mut child = made.unwrap_or_else(|e| panic!("{engine}: {e}"));
            let _ = child.wait();
        }
    });
}
