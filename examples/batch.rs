//! Batch: start many short programs, at most N at a time, as `make -j N`.
//!
//! All of them share one `Environment`, which is laid out for execve once:
//! without it each spawn reads and copies the variables of this process again.
//! A `WaitSet` returns the jobs in the order in which they end, at the same
//! cost for each however many run, so there is no handler of SIGCHLD and no
//! thread for each job. Use it in build tools and test runners.
//!
//! Run: `cargo run --example batch`, or with N: `cargo run --example batch -- 8`

use std::collections::VecDeque;
use std::env::args;
use std::time::Instant;

use offshoot::{Command, Environment, Error, WaitSet};

/// What to run: the job's name and its shell command.
type Job = (String, String);

/// Runs the jobs, at most `most` at a time. Returns the names of those that
/// failed, and the most that ran at once.
fn run(
    mut jobs: VecDeque<Job>,
    most: usize,
    env: &Environment,
) -> Result<(Vec<String>, usize), Error> {
    let running = WaitSet::new()?;
    let (mut failed, mut peak) = (Vec::new(), 0);
    loop {
        while running.len() < most {
            let Some((name, line)) = jobs.pop_front() else { break };
            let mut sh = Command::new("/bin/sh");
            let mut child = sh.args(["-c", &line]).environment(env).spawn()?;
            // The set has the job from now on: nothing more is wanted of the
            // `Child`, and its drop does nothing.
            running.insert(name, &child.process());
        }
        peak = peak.max(running.len());
        // `None`: no job is left.
        let Some((name, status)) = running.wait() else {
            return Ok((failed, peak));
        };
        let status = status?;
        if !status.success() {
            println!("{name}: {status}");
            failed.push(name);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
