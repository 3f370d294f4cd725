//! Run: commands whose program is the reporter, and what they report.

use std::env;

use offshoot::{Command, Launch, Stdio};

use super::mirror::{ASK, Report};

/// This test's own program, which reports what it sees, by an engine of the
/// library's choice.
pub fn reporter() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(ASK).arg("-");
    command
}

/// The report of a command that is run by `output`.
#[track_caller]
pub fn report(command: &mut Command) -> Report {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Report::parse(&output.stdout)
}

/// The report of a command that is run by `spawn`, so that standard input
/// and error stay as they were set, and how it was launched.
#[track_caller]
pub fn run(command: &mut Command) -> (Report, Launch) {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let launch = *child.launch();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (Report::parse(&output.stdout), launch)
}

/// The features that were replaced, each with the errno that it met.
pub fn fallbacks(launch: &Launch) -> Vec<(&'static str, Option<i32>)> {
    launch.fallbacks().map(|f| (f.feature(), f.raw_os_error())).collect()
}
