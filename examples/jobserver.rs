//! A job of `make -j` that starts jobs of its own: they take their tokens from
//! the pipe that MAKEFLAGS names, which no child has unless it is told to.
//!
//! `cargo run --example jobserver`

use std::error::Error;
use std::os::fd::AsRawFd;

use offshoot::Command;
use rustix::pipe::{PipeFlags, pipe_with};

/// As `make` does before it starts one job more: a byte is a token, and goes
/// back whatever becomes of the job.
const JOB: &str = "
    fds=${MAKEFLAGS##*--jobserver-auth=}
    token=$(head -c 1 /proc/self/fd/${fds%,*}) || exit 1
    echo \"a job with token $token\"
    printf %s \"$token\" >/proc/self/fd/${fds#*,}";

fn main() -> Result<(), Box<dyn Error>> {
    // What `make -j4` would have made: three tokens, beside its own job.
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&write, b"+++")?;
    let (r, w) = (read.as_raw_fd(), write.as_raw_fd());
    let flags = format!(" -j4 --jobserver-auth={r},{w}");

    let mut job = Command::new("sh");
    job.args(["-c", JOB]).env("MAKEFLAGS", &flags).inherit_jobserver();
    let output = job.output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"a job with token +\n");

    // Where no jobserver is, nothing is passed on, and nothing is wrong.
    let mut ls = Command::new("ls");
    ls.arg("/proc/self/fd").env_remove("MAKEFLAGS").inherit_jobserver();
    assert!(ls.output()?.status.success());

    assert_eq!(rustix::io::read(&read, &mut [0; 9])?, 3);
    Ok(())
}
