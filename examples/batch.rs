//! Batch: start many short programs, at most N at a time, as `make -j N`.
//!
//! All of them share one `Environment`, which is laid out for execve once:
//! without it each spawn reads and copies the variables of this process again.
//! Pidfds tell which job has ended, so there is no handler of SIGCHLD and no
//! thread for each job. Use it in build tools and test runners.
//!
//! Run: `cargo run --example batch`, or with N: `cargo run --example batch -- 8`

use std::collections::VecDeque;
use std::env::args;
use std::error::Error;
use std::time::{Duration, Instant};

use offshoot::{Child, Command, Environment};
use rustix::event::{PollFd, PollFlags, poll};

/// What to run: the job's name and its shell command.
type Job = (String, String);

/// Runs the jobs, at most `most` at a time. Returns the names of those that
/// failed, and the most that ran at once.
fn run(
    mut jobs: VecDeque<Job>,
    most: usize,
    env: &Environment,
) -> Result<(Vec<String>, usize), Box<dyn Error>> {
    let mut running: Vec<(String, Child)> = Vec::new();
    let (mut failed, mut peak) = (Vec::new(), 0);
    loop {
        while running.len() < most {
            let Some((name, line)) = jobs.pop_front() else { break };
            let mut sh = Command::new("/bin/sh");
            let child = sh.args(["-c", &line]).environment(env).spawn()?;
            running.push((name, child));
        }
        if running.is_empty() {
            return Ok((failed, peak));
        }
        peak = peak.max(running.len());
        wait_for_one(&running)?;
        let mut at = 0;
        while let Some((_, child)) = running.get_mut(at) {
            match child.try_wait()? {
                None => at += 1,
                Some(status) => {
                    let (name, _) = running.swap_remove(at);
                    if !status.success() {
                        println!("{name}: {status}");
                        failed.push(name);
                    }
                }
            }
        }
    }
}

/// Returns once a job may have ended: its pidfd is readable.
fn wait_for_one(running: &[(String, Child)]) -> Result<(), Box<dyn Error>> {
    let pidfds = running.iter().map(|(_, child)| child.pidfd());
    let Some(pidfds) = pidfds.collect::<Option<Vec<_>>>() else {
        // A kernel before 5.3 has no pidfds.
        std::thread::sleep(Duration::from_millis(1));
        return Ok(());
    };
    let mut all: Vec<PollFd<'_>> =
        pidfds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    match poll(&mut all, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let most = args().nth(1).map_or(Ok(4), |n| n.parse::<usize>())?.max(1);
    let mut env = Environment::inherit();
    env.set("MODE", "batch").remove("MAKEFLAGS");
    let job = |n| (format!("job {n}"), "[ $MODE$MAKEFLAGS = batch ]".into());
    let mut jobs: VecDeque<Job> = (0..200).map(job).collect();
    jobs.push_back(("a job that fails".into(), "exit 3".into()));

    let begun = Instant::now();
    let (failed, peak) = run(jobs, most, &env)?;
    println!("201 jobs, at most {peak} at a time: {:?}", begun.elapsed());
    assert_eq!(failed, ["a job that fails"]);
    assert!(peak <= most);
    Ok(())
}
