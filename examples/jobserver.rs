//! Jobserver: let a child take part in the jobserver of `make -j`.
//!
//! `Command::inherit_jobserver` passes on the pipe of tokens that MAKEFLAGS
//! names; without it a child has no such descriptors, and a make below runs
//! one job at a time. Use it in build tools that start compilers or other
//! makes. It has no effect without a jobserver.
//!
//! Run: `cargo run --example jobserver`

use std::error::Error;
use std::os::fd::AsRawFd;

use offshoot::Command;
use rustix::pipe::{PipeFlags, pipe_with};

/// What `make` does before it starts another job: it reads a byte, the token,
/// and writes it back when the job has ended.
const JOB: &str = "
    fds=${MAKEFLAGS##*--jobserver-auth=}
    token=$(head -c 1 /proc/self/fd/${fds%,*}) || exit 1
    echo \"a job with token $token\"
    printf %s \"$token\" >/proc/self/fd/${fds#*,}";

fn main() -> Result<(), Box<dyn Error>> {
    // The pipe of `make -j4`: three tokens, and its own job.
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&write, b"+++")?;
    let (r, w) = (read.as_raw_fd(), write.as_raw_fd());
    let flags = format!(" -j4 --jobserver-auth={r},{w}");

    let mut job = Command::new("sh");
    job.args(["-c", JOB]).env("MAKEFLAGS", &flags).inherit_jobserver();
    let output = job.output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"a job with token +\n");

    // Without a jobserver the option has no effect.
    let mut ls = Command::new("ls");
    ls.arg("/proc/self/fd").env_remove("MAKEFLAGS").inherit_jobserver();
    assert!(ls.output()?.status.success());

    assert_eq!(rustix::io::read(&read, &mut [0; 9])?, 3);
    Ok(())
}
