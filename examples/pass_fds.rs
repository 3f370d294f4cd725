//! Pass descriptors: give a child open files at chosen numbers.
//!
//! `Command::fd` passes a descriptor at a number, `Command::inherit_fd` at its
//! own number. All others are closed in the child, also those that a library
//! has opened without close-on-exec. Use it for programs that expect a file, a
//! pipe or a socket at a certain number.
//!
//! Run: `cargo run --example pass_fds`

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use offshoot::Command;
use rustix::pipe::{PipeFlags, pipe_with};

/// Lists its open descriptors, and uses each of them.
const CHILD: &str = "
    for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done
    echo into the pipe >&3
    read line <&5 && echo \"back: $line\" >&5
    cat <&7
    cat /proc/self/fd/$1";

fn main() -> Result<(), Box<dyn Error>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (mut here, there) = UnixStream::pair()?;
    here.write_all(b"by socket\n")?;
    let file = File::open("/proc/sys/kernel/ostype")?;
    // This one keeps its number, which must not be 3, 5 or 7.
    let own = File::open("/proc/sys/kernel/ostype")?;
    let own = rustix::io::fcntl_dupfd_cloexec(&own, 100)?;
    let number = own.as_raw_fd().to_string();
    // Not close-on-exec, as some libraries leave it: not passed on either.
    let _leaked = rustix::io::dup(&own)?;

    let mut sh = Command::new("sh");
    sh.args(["-c", CHILD, "sh", &number]);
    sh.fd(3, write).fd(5, there).fd(7, file).inherit_fd(own);
    let output = sh.output()?;
    // The command owns the pipe's writing end until it is dropped.
    drop(sh);
    let mut text = String::from_utf8(output.stdout)?;
    File::from(read).read_to_string(&mut text)?;
    here.read_to_string(&mut text)?;
    let lines: Vec<_> = text.lines().collect();
    println!("{lines:?}");
    let (open, output) = lines.split_at(7);
    assert_eq!(open, ["0", "1", &number, "2", "3", "5", "7"]);
    let want = ["Linux", "Linux", "into the pipe", "back: by socket"];
    assert_eq!(output, want);
    Ok(())
}
