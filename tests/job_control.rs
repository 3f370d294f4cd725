//! Job control: the shell of the example `job_control`, on a pseudoterminal.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[path = "../examples/job_control.rs"]
mod example;
mod util;

use std::io::{Read, Write};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use offshoot::pty::{self, Controller};
use offshoot::{Child, Command};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use util::scratch;

const SHELL: &str = "OFFSHOOT_JOB_CONTROL";
const LIMIT: Duration = Duration::from_secs(60);

/// A shell, and what it has printed that no `until` has passed.
struct Shell {
    controller: Controller,
    child: Child,
    seen: String,
}

impl Shell {
    /// Runs a test again as a shell, where this returns `None` after it has
    /// ended.
    fn start(test: &str) -> Option<Shell> {
        if env::var_os(SHELL).is_some() {
            example::main().unwrap();
            return None;
        }
        let (controller, terminal) = pty::open().unwrap();
        let mut shell = Command::new(env::current_exe().unwrap());
        shell.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        let child = shell.env(SHELL, "1").terminal(terminal).spawn().unwrap();
        let mut shell = Shell { controller, child, seen: String::new() };
        shell.until("$ ");
        Some(shell)
    }

    fn id(&self) -> Option<i32> {
        i32::try_from(self.child.id()).ok()
    }

    /// Waits for this text, and returns what was printed before it.
    #[track_caller]
    fn until(&mut self, end: &str) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some((before, rest)) = self.seen.split_once(end) {
                let (before, rest) = (before.to_string(), rest.to_string());
                self.seen = rest;
                return before;
            }
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            let mut fds = [PollFd::new(&self.controller, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&left)).unwrap();
            assert_eq!(ready, 1, "{end:?} is not in {:?}", self.seen);
            let mut buffer = [0; 256];
            let n = self.controller.read(&mut buffer).unwrap();
            assert_ne!(n, 0, "the end of {:?}", self.seen);
            self.seen += std::str::from_utf8(&buffer[..n]).unwrap();
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.controller.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line and returns what is printed up to the next prompt. The
    /// terminal is the shell's again by then.
    #[track_caller]
    fn line(&mut self, line: &str) -> String {
        self.type_in(&format!("{line}\n"));
        self.until(&format!("{line}\r\n"));
        self.prompt()
    }

    #[track_caller]
    fn prompt(&mut self) -> String {
        let output = self.until("$ ");
        let group = self.controller.foreground_group().unwrap();
        assert_eq!(group, self.id(), "{output}");
        output
    }

    /// Types a line for the job in the foreground, which prints it.
    #[track_caller]
    fn echoed(&mut self, line: &str) {
        self.type_in(&format!("{line}\n"));
        self.until(&format!("{line}\r\n{line}\r\n"));
        let group = self.controller.foreground_group().unwrap();
        assert_ne!(group, self.id());
    }

    /// Ends the shell, which has no jobs left.
    #[track_caller]
    fn exit(mut self) {
        assert_eq!(self.line_status(), "0\r\n");
        self.type_in("exit\n");
        self.until("test result: ok. 1 passed");
        assert!(self.child.wait().unwrap().success());
    }

    fn line_status(&mut self) -> String {
        assert_eq!(self.line("jobs"), "");
        self.line("echo $?")
    }
}

#[test]
fn pipelines_run_and_the_status_is_that_of_the_last() {
    let name = "pipelines_run_and_the_status_is_that_of_the_last";
    let Some(mut shell) = Shell::start(name) else { return };
    assert_eq!(shell.line("echo a b c | tr a-z A-Z | rev"), "C B A\r\n");
    assert_eq!(shell.line("echo $?"), "0\r\n");
    shell.line("true | false");
    assert_eq!(shell.line("echo $?"), "1\r\n");
    shell.line("false | true");
    assert_eq!(shell.line("echo $?"), "0\r\n");
    // The processes of a pipeline are one group, the foreground's.
    let stat = "cat /proc/self/stat";
    let fields = |stat: &str| -> Vec<String> {
        stat.split(' ').map(str::to_string).collect()
    };
    let alone = fields(&shell.line(stat));
    assert_eq!(alone[0], alone[4], "{alone:?}");
    assert_eq!(alone[0], alone[7], "{alone:?}");
    let last = fields(&shell.line("true | cat /proc/self/stat"));
    assert_ne!(last[0], last[4], "{last:?}");
    assert_eq!(last[4], last[7], "{last:?}");
    let missing = shell.line("echo lost | /nope/cat | wc -l");
    assert!(missing.contains("execve \"/nope/cat\""), "{missing}");
    assert!(missing.ends_with("0\r\n"), "{missing}");
    shell.exit();
}

#[test]
fn an_interrupt_ends_the_job_and_not_the_shell() {
    let name = "an_interrupt_ends_the_job_and_not_the_shell";
    let Some(mut shell) = Shell::start(name) else { return };
    for line in ["cat", "cat | cat | cat"] {
        shell.type_in(&format!("{line}\n"));
        shell.until(&format!("{line}\r\n"));
        shell.echoed("typed");
        shell.type_in("\x03");
        shell.prompt();
        assert_eq!(shell.line("echo $?"), "130\r\n");
    }
    // ^C and ^Z at the prompt are for nobody.
    shell.type_in("\x03\x1a");
    assert_eq!(shell.line("true"), "");
    shell.exit();
}

#[test]
fn a_stopped_pipeline_continues_in_the_foreground() {
    let name = "a_stopped_pipeline_continues_in_the_foreground";
    let Some(mut shell) = Shell::start(name) else { return };
    let job = "cat | cat";
    shell.type_in(&format!("{job}\n"));
    shell.until(&format!("{job}\r\n"));
    for line in ["one", "two", "three"] {
        shell.echoed(line);
        shell.type_in("\x1a");
        let stopped = format!("[1] Stopped  {job}\r\n");
        assert!(shell.prompt().ends_with(&stopped));
        assert_eq!(shell.line("echo $?"), "148\r\n");
        assert_eq!(shell.line("jobs"), stopped);
        shell.type_in("fg %1\n");
        shell.until(&format!("fg %1\r\n{job}\r\n"));
    }
    shell.echoed("four");
    // The end of the input.
    shell.type_in("\x04");
    assert_eq!(shell.prompt(), "");
    assert_eq!(shell.line("fg"), "no such job\r\n");
    shell.line("true");
    shell.exit();
}

#[test]
fn a_stopped_job_continues_in_the_background() {
    let name = "a_stopped_job_continues_in_the_background";
    let Some(mut shell) = Shell::start(name) else { return };
    let fifo = scratch("job-control").join("fifo");
    let made = shell.line(&format!("mkfifo {}", fifo.display()));
    assert_eq!(made, "");
    let job = format!("cat {}", fifo.display());
    shell.type_in(&format!("{job}\n"));
    // Open once the program has opened it.
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    shell.type_in("\x1a");
    shell.until(&format!("[1] Stopped  {job}\r\n$ "));
    writer.write_all(b"through the fifo\n").unwrap();
    shell.type_in("bg\n");
    shell.until(&format!("bg\r\n[1] {job} &\r\n"));
    // It prints while the shell has the terminal.
    shell.until("through the fifo\r\n");
    assert_eq!(shell.controller.foreground_group().unwrap(), shell.id());
    assert_eq!(shell.line("jobs"), format!("[1] Running  {job}\r\n"));
    drop(writer);
    until_reported(&mut shell, &format!("[1] Done  {job}"));
    shell.exit();
}

#[test]
fn a_job_that_is_started_in_the_background_may_not_read() {
    let name = "a_job_that_is_started_in_the_background_may_not_read";
    let Some(mut shell) = Shell::start(name) else { return };
    let started = shell.line("cat &");
    assert!(started.starts_with("[1] "), "{started}");
    // The terminal sends it SIGTTIN.
    let stopped = "[1] Stopped  cat &\r\n";
    if !started.ends_with(stopped) {
        until_reported(&mut shell, stopped);
    }
    shell.type_in("fg\n");
    shell.until("fg\r\ncat &\r\n");
    shell.echoed("now");
    shell.type_in("\x04");
    shell.prompt();
    shell.exit();
}

/// Empty lines, until the shell tells of a job in the background.
#[track_caller]
fn until_reported(shell: &mut Shell, report: &str) {
    let until = Instant::now() + LIMIT;
    loop {
        let seen = shell.line("");
        if seen.contains(report) {
            return;
        }
        assert!(Instant::now() < until, "{report:?} is not in {seen:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
