//! `Detached`: signals to a program that is no child, and waits for its end.

mod util;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use offshoot::{Command, Detached, Engine, Stdio, Step};
use util::{each_of, in_own_pids};

const LONG: Duration = Duration::from_secs(60);

const DETACHING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

fn sleeper(engine: Engine) -> Command {
    let mut sleep = Command::new("sleep");
    sleep.arg("60").engine(engine).stdin(Stdio::null());
    sleep
}

fn ends_by_its_signal(program: &Detached) {
    assert!(!program.wait_timeout(Duration::ZERO).unwrap());
    assert!(!program.wait_timeout(Duration::from_millis(5)).unwrap());
    assert_eq!(program.exit_status(), None);
    program.signal(libc::SIGTERM).unwrap();
    program.wait().unwrap();
    assert!(program.wait_timeout(LONG).unwrap());
    // Reaped or not by now.
    program.kill().unwrap();
    // Since Linux 6.15.
    if let Some(status) = program.exit_status() {
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }
    let error = program.signal(0).unwrap_err();
    assert_eq!(error.step(), Step::Kill, "{error}");
}

#[test]
fn a_detached_program_is_signalled_and_waited_for() {
    let name = "a_detached_program_is_signalled_and_waited_for";
    if !in_own_pids(name) {
        return;
    }
    each_of(&DETACHING, |engine| {
        ends_by_its_signal(&sleeper(engine).detach().unwrap());
        ends_by_its_signal(&sleeper(engine).spawn_sibling().unwrap());
    });
}
