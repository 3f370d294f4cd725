//! Hooks replaced: what other programs do in functions between fork and exec,
//! as options. No memory is copied for them, and an error names its step.
//!
//! `cargo run --example hooks_replaced`

use std::fs::File;
use std::io::Read;

use offshoot::{Command, Error, SeccompFilter, SignalSet, Stdio, Step, pty};

use rustix::pipe::{PipeFlags, pipe_with};

type Run = Result<(), Box<dyn std::error::Error>>;

fn main() -> Run {
    process_wrap()?;
    portable_pty()?;
    sudo_foreground()?;
    sudo_monitor()?;
    sudo_noexec()?;
    sudo_closefrom()?;
    jobserver()?;
    daemonize()
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn text(command: &mut Command) -> Result<String, Error> {
    let output = command.output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// process-wrap: `ProcessGroup` and `ProcessSession` call setpgid or setsid in
/// a hook, `ResetSigmask` clears the mask there.
fn process_wrap() -> Run {
    const IDS: &str = "set -- $(cat /proc/self/stat); echo $5 $6";
    let mut group = sh(IDS);
    let mut child = group.process_group(0).stdout(Stdio::null()).spawn()?;
    assert_eq!(child.process_group(), Some(child.id().try_into()?));
    child.wait()?;
    let mask = text(
        Command::new("grep")
            .args(["SigBlk", "/proc/self/status"])
            .setsid(true)
            .signal_mask(SignalSet::empty()),
    )?;
    println!("process-wrap: a session of its own, {mask}");
    Ok(())
}

/// portable-pty: its hook resets six signals, calls setsid and TIOCSCTTY, and
/// closes every descriptor above 2.
fn portable_pty() -> Run {
    let (mut controller, terminal) = pty::open()?;
    controller.set_size(pty::Size::new(24, 80))?;
    let mut stty = Command::new("stty");
    stty.arg("size").terminal(terminal).reset_signals();
    let mut child = stty.spawn()?;
    drop(stty);
    let mut output = String::new();
    controller.read_to_string(&mut output)?;
    child.wait()?;
    println!("portable-pty: a terminal of {}", output.trim());
    Ok(())
}

/// sudo-rs, the command of a terminal: a hook makes a process group and calls
/// tcsetpgrp while SIGTTOU is blocked.
fn sudo_foreground() -> Run {
    let Ok(terminal) = File::open("/dev/tty") else {
        println!("sudo-rs, foreground: there is no terminal here");
        return Ok(());
    };
    let mut job = Command::new("true");
    // Where this process has no right to it, the program runs all the same.
    job.best_effort(|it| it.foreground(terminal));
    let mut child = job.spawn()?;
    for error in child.launch().refused() {
        println!("sudo-rs, foreground: without {error}");
    }
    child.wait()?;
    Ok(())
}

/// sudo-rs, the monitor: a hook calls setsid, acquires the terminal of a pty,
/// and restores signals that the monitor handles or blocks.
fn sudo_monitor() -> Run {
    let (_controller, terminal) = pty::open()?;
    let mut command = sh("exec 3</dev/tty && echo acquired");
    command.controlling_terminal(terminal).stdout(Stdio::piped());
    command.default_signal(15).signal_mask(SignalSet::empty());
    println!("sudo-rs, monitor: terminal {}", text(&mut command)?);
    Ok(())
}

/// sudo-rs, noexec: a hook installs a filter and sends its listener to the
/// monitor, which lets the first exec pass. `examples/noexec.rs` answers the
/// others with EACCES; once the listener is closed they fail with ENOSYS.
fn sudo_noexec() -> Run {
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap_or(u32::MAX);
    let filter = SeccompFilter::from([
        (0x20, 0, 0, 0), // the number of the call
        (0x15, 1, 0, number(libc::SYS_execve)),
        (0x15, 0, 1, number(libc::SYS_execveat)),
        (0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        (0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
    let mut vi = sh("/bin/true || echo no program is executed");
    vi.no_new_privs(true).seccomp_with_listener(filter);
    vi.stdout(Stdio::piped()).stderr(Stdio::null());
    match vi.spawn() {
        Ok(mut child) => {
            drop(child.take_seccomp_listener());
            let output = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            println!("sudo-rs, noexec: {}", text.trim());
        }
        // In a container that forbids to take the listener.
        Err(error) => println!("sudo-rs, noexec: {error}"),
    }
    Ok(())
}

/// sudo-rs, closefrom: a hook closes what sudo itself has open. It is what
/// every command does.
fn sudo_closefrom() -> Run {
    let _open = File::open("/dev/null")?;
    let fds = text(sh("ls /proc/self/fd | wc -l").stdin(Stdio::null()))?;
    println!("sudo-rs, closefrom: {fds} descriptors, one of them of ls");
    Ok(())
}

/// jobserver: a hook clears close-on-exec of the two ends of a pipe.
fn jobserver() -> Run {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut make = sh("test -e /proc/self/fd/8 && test -e /proc/self/fd/9");
    make.fd(8, reader).fd(9, writer);
    assert!(make.status()?.success());
    println!("jobserver: its pipe at 8 and 9");
    Ok(())
}

/// daemonize, the first half: umask, directory, session, user and group,
/// standard descriptors; in the order that works.
fn daemonize() -> Run {
    let mut daemon = sh("umask; pwd; id -u; readlink /proc/self/fd/0");
    daemon.umask(0o027).current_dir("/").setsid(true);
    daemon.stdin(Stdio::null()).user("nobody");
    match daemon.output() {
        Ok(output) => {
            let lines = String::from_utf8_lossy(&output.stdout);
            let lines: Vec<&str> = lines.lines().collect();
            println!("daemonize: {}", lines.join(", "));
        }
        Err(error) if error.step() == Step::Setgroups => {
            println!("daemonize: another user takes root: {error}");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
