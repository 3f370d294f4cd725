//! Run: commands whose program is the reporter, and their reports.

use std::env;

use offshoot::{Command, Launch, Stdio};

use super::reporter::{ASK, Report};

/// A command that runs the reporter, with the default engine.
pub fn reporter() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(ASK).arg("-");
    command
}

/// Runs a command by `output` and returns the report.
#[track_caller]
pub fn report(command: &mut Command) -> Report {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Report::parse(&output.stdout)
}

/// Runs a command by `spawn`, so that standard input and error stay as they
/// were set; returns the report and how it was launched.
#[track_caller]
pub fn run(command: &mut Command) -> (Report, Launch) {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let launch = child.launch().clone();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (Report::parse(&output.stdout), launch)
}

/// The features that were replaced, each with its errno.
pub fn fallbacks(launch: &Launch) -> Vec<(&'static str, Option<i32>)> {
    launch.fallbacks().map(|f| (f.feature(), f.raw_os_error())).collect()
}
