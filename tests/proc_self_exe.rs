//! `/proc/self/exe` as the program, and programs that end at once.
#![allow(unsafe_code, reason = "the tests change what their process may do")]

mod util;

use std::ffi::CString;

use offshoot::{Command, Engine, Memory, Step};
use util::{alone, each_of, elf, program, scratch};

/// In the helper, `/proc/self/exe` would be the helper.
#[test]
fn proc_self_exe_runs_this_program_and_not_the_helper() {
    let name = "proc_self_exe_runs_this_program_and_not_the_helper";
    if util::is_inside(name) {
        return println!("this program ran");
    }
    for own in ["/proc/self/exe", "/proc/thread-self/exe"] {
        let mut command = Command::new(own);
        command.args(["--exact", name, "--nocapture"]);
        command.env("OFFSHOOT_INSIDE", name).memory(Memory::Private);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("this program ran"), "{own}: {output:?}");
        let error = command.engine(Engine::Isolated).spawn().unwrap_err();
        assert_eq!(error.step(), Step::Memory, "{error}");
        assert_eq!(error.operand().unwrap(), "program");
    }
}

/// With SIGCHLD ignored the kernel reaps the child, and a hook changes the
/// directory, so that the program's file is not where the parent would look.
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
            let spawned = command.engine(engine).spawn();
            let mut child =
                spawned.unwrap_or_else(|e| panic!("{engine}: {e}"));
            let _ = child.wait();
        }
    });
}
