//! Job control: a small shell with pipelines, `&`, `fg`, `bg`, `jobs` and ^Z.
//!
//! Each pipeline is a job: one process group. A job in the foreground has the
//! terminal, so ^C and ^Z are for it; when it has ended or stopped the shell
//! takes the terminal back. The jobs do that by `foreground`, before their
//! program runs, and `spawn` returns after it: nothing here has to wait for
//! the other side.
//!
//! A line is words and `|`, without quotes; `$?` is the last exit status.
//! Without a terminal on standard input, this program types on one.
//!
//! Run: `cargo run --example job_control`
#![allow(unsafe_code, reason = "std has no signal handlers")]

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::{env, fmt};

use offshoot::{Child, Command, Memory, Stdio, pty};
use rustix::io::dup;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgrp, kill_process_group,
    setpgid, waitpid,
};
use rustix::termios::{
    OptionalActions, Termios, tcgetattr, tcsetattr, tcsetpgrp,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the terminal sends to the foreground, where the shell has to survive
/// it. A job does not inherit handlers: it has the default actions. (Signals
/// that the shell ignored, a job would ignore too.)
const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP];

extern "C" fn nothing(_: libc::c_int) {}

pub(crate) fn main() -> Result<()> {
    match io::stdin().is_terminal() {
        true => Shell::new()?.run(),
        false => demonstrate(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Running,
    Stopped,
    Ended(i32),
}

struct Process {
    pid: Pid,
    state: State,
}

/// The processes of a pipeline.
struct Job {
    number: usize,
    group: Pid,
    line: String,
    processes: Vec<Process>,
}

impl Job {
    /// Running if any process is, and stopped if any is; the status is that
    /// of the last.
    fn state(&self) -> State {
        let all = || self.processes.iter().map(|process| process.state);
        [State::Running, State::Stopped]
            .into_iter()
            .find(|state| all().any(|own| own == *state))
            .or(all().next_back())
            .unwrap_or(State::Ended(127))
    }

    /// Learns what became of the processes. Without `NOHANG` it waits until
    /// each has ended or stopped.
    fn wait(&mut self, options: WaitOptions) -> Result<()> {
        let options = options | WaitOptions::UNTRACED;
        for process in &mut self.processes {
            if matches!(process.state, State::Ended(_)) {
                continue;
            }
            while let Some((_, status)) = waitpid(Some(process.pid), options)?
            {
                process.state = state(status);
                if process.state != State::Running {
                    break;
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if process.state == State::Stopped {
                process.state = State::Running;
            }
        }
        Ok(kill_process_group(self.group, Signal::CONT)?)
    }
}

/// As a shell counts: 128 and the signal.
fn state(status: WaitStatus) -> State {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => State::Ended(code),
        (_, Some(signal)) => State::Ended(128 + signal),
        _ if status.stopped() => State::Stopped,
        _ => State::Running,
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.number)?;
        match self.state() {
            State::Running => write!(f, "Running")?,
            State::Stopped => write!(f, "Stopped")?,
            State::Ended(0) => write!(f, "Done")?,
            State::Ended(code) => write!(f, "Done({code})")?,
        }
        write!(f, "  {}", self.line)
    }
}

struct Shell {
    terminal: File,
    modes: Termios,
    jobs: Vec<Job>,
    status: i32,
}

impl Shell {
    /// Takes the terminal on standard input.
    fn new() -> Result<Shell> {
        let handler = nothing as extern "C" fn(libc::c_int);
        for signal in SIGNALS {
            // SAFETY: the handler does nothing.
            unsafe { libc::signal(signal, handler as usize) };
        }
        // EPERM: the leader of a session leads its group already.
        let _ = setpgid(None, None);
        let terminal = File::from(dup(io::stdin())?);
        let modes = tcgetattr(&terminal)?;
        let jobs = Vec::new();
        let shell = Shell { terminal, modes, jobs, status: 0 };
        shell.take_terminal()?;
        Ok(shell)
    }

    /// Puts the shell in the foreground, with its modes of the terminal. In
    /// the background SIGTTOU stops a process that does so, if it is not ignored.
    fn take_terminal(&self) -> Result<()> {
        // SAFETY: no handler is installed.
        let before = unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
        let taken = tcsetpgrp(&self.terminal, getpgrp());
        let now = OptionalActions::Drain;
        let set = tcsetattr(&self.terminal, now, &self.modes);
        // SAFETY: as above; it is what was there.
        unsafe { libc::signal(libc::SIGTTOU, before) };
        Ok(taken.and(set)?)
    }

    fn run(&mut self) -> Result<()> {
        let mut line = String::new();
        loop {
            self.report()?;
            print!("$ ");
            io::stdout().flush()?;
            line.clear();
            let read = io::stdin().lock().read_line(&mut line)?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let done = match words[..] {
                _ if read == 0 => return Ok(()),
                [] => continue,
                ["exit", ..] => return Ok(()),
                ["jobs"] => {
                    self.jobs.iter().for_each(|job| println!("{job}"));
                    Ok(0)
                }
                ["fg", ..] => self.resume(words.get(1), true),
                ["bg", ..] => self.resume(words.get(1), false),
                _ => self.start(line.trim()),
            };
            self.status = done.unwrap_or_else(|error| {
                println!("{error}");
                127
            });
        }
    }

    /// Tells of jobs in the background that have ended or stopped.
    fn report(&mut self) -> Result<()> {
        for job in &mut self.jobs {
            let before = job.state();
            job.wait(WaitOptions::NOHANG | WaitOptions::CONTINUED)?;
            if job.state() != before {
                println!("{job}");
            }
        }
        self.jobs.retain(|job| !matches!(job.state(), State::Ended(_)));
        Ok(())
    }

    /// Starts a pipeline.
    fn start(&mut self, line: &str) -> Result<i32> {
        let pipeline = line.strip_suffix('&');
        let foreground = pipeline.is_none();
        let commands: Vec<&str> =
            pipeline.unwrap_or(line).split('|').collect();
        let mut job: Option<Job> = None;
        let mut input = None;
        for (n, command) in commands.iter().enumerate() {
            let is_last = n + 1 == commands.len();
            let mut command = self.command(command)?;
            if n > 0 {
                command.stdin(input.take().unwrap_or_else(Stdio::null));
            }
            if !is_last {
                command.stdout(Stdio::piped());
            }
            command.process_group(match &job {
                Some(job) => job.group.as_raw_pid(),
                None => 0,
            });
            if foreground {
                command.foreground(self.terminal.try_clone()?);
            }
            // What a shell does where a program is missing: the others run.
            match command.spawn() {
                Ok(mut child) => {
                    input = child.stdout.take().map(Stdio::from);
                    self.add(&mut job, &child, line);
                }
                Err(error) => println!("{error}"),
            }
        }
        match job {
            None => Ok(127),
            Some(job) if foreground => self.wait(job),
            Some(job) => {
                println!("[{}] {}", job.number, job.group);
                self.jobs.push(job);
                Ok(0)
            }
        }
    }

    fn command(&self, words: &str) -> Result<Command> {
        let mut words = words.split_whitespace();
        let program = words.next().ok_or("a command is missing")?;
        let mut command = Command::new(program);
        for word in words {
            match word {
                "$?" => command.arg(self.status.to_string()),
                word => command.arg(word),
            };
        }
        // In memory that it shares with the shell, a job that ^Z stops right
        // before its exec would hold the shell.
        command.memory(Memory::Private);
        Ok(command)
    }

    /// Adds a child to the job, which its first child makes. The child is
    /// waited for by its id, as it may stop.
    fn add(&self, job: &mut Option<Job>, child: &Child, line: &str) {
        let group = child.process_group().and_then(Pid::from_raw);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (Some(group), Some(pid)) = (group, pid) else { return };
        let last = self.jobs.iter().map(|job| job.number).max();
        let job = job.get_or_insert_with(|| Job {
            number: last.unwrap_or(0) + 1,
            group,
            line: line.into(),
            processes: Vec::new(),
        });
        job.processes.push(Process { pid, state: State::Running });
    }

    /// Waits for a job in the foreground, and takes the terminal back.
    fn wait(&mut self, mut job: Job) -> Result<i32> {
        let waited = job.wait(WaitOptions::empty());
        self.take_terminal()?;
        waited?;
        match job.state() {
            State::Ended(code) => {
                if code > 128 {
                    println!();
                }
                Ok(code)
            }
            _ => {
                println!("\n{job}");
                self.jobs.push(job);
                Ok(128 + libc::SIGTSTP)
            }
        }
    }

    /// `fg` and `bg`, of the last job or of `%n`.
    fn resume(&mut self, number: Option<&&str>, fg: bool) -> Result<i32> {
        let wanted = match number {
            None => None,
            Some(word) => Some(word.trim_start_matches('%').parse()?),
        };
        let is_it = |job: &Job| wanted.is_none_or(|n: usize| n == job.number);
        let at = self.jobs.iter().rposition(is_it).ok_or("no such job")?;
        if !fg {
            let job = &mut self.jobs[at];
            println!("[{}] {} &", job.number, job.line);
            job.resume()?;
            return Ok(0);
        }
        let mut job = self.jobs.remove(at);
        println!("{}", job.line);
        // Before it continues: it may read from the terminal at once.
        tcsetpgrp(&self.terminal, job.group)?;
        job.resume()?;
        self.wait(job)
    }
}

/// Runs this program on a pseudoterminal and types, as a person would.
fn demonstrate() -> Result<()> {
    let (mut controller, terminal) = pty::open()?;
    let mut shell = Command::new(env::current_exe()?);
    let mut child = shell.terminal(terminal).spawn()?;
    drop(shell);
    // What to wait for, and what to type then.
    let script = [
        ("$ ", "echo a pipeline in the foreground | tr a-z A-Z\n"),
        ("$ ", "false\n"),
        ("$ ", "echo $?\n"),
        ("$ ", "cat\n"),
        ("cat\r\n", "typed\n"),
        ("typed\r\ntyped\r\n", "\x1a"), // ^Z
        ("$ ", "jobs\n"),
        // It reads from the terminal, so it stops again.
        ("$ ", "bg\n"),
        ("$ ", "fg\n"),
        ("cat\r\n", "again\n"),
        ("again\r\nagain\r\n", "\x03"), // ^C
        ("$ ", "exit\n"),
    ];
    for (seen, typed) in script {
        until(&mut controller, seen)?;
        controller.write_all(typed.as_bytes())?;
    }
    io::copy(&mut controller, &mut io::stdout())?;
    println!("{}", child.wait()?);
    Ok(())
}

/// Copies the output up to this text, or to its end.
fn until(controller: &mut pty::Controller, end: &str) -> Result<()> {
    let (mut seen, mut byte) = (String::new(), [0]);
    while !seen.ends_with(end) && controller.read(&mut byte)? == 1 {
        seen.push(char::from(byte[0]));
        io::stdout().write_all(&byte)?;
    }
    Ok(io::stdout().flush()?)
}
