//! Hooks replaced: what other programs do in functions between fork and exec,
//! as options. No memory is copied for them, and an error names its step. What
//! is said of the hooks was read in their sources in November 2026.
//!
//! `cargo run --example hooks_replaced`

use std::io::Read;

use offshoot::{Command, Error, SeccompFilter, SignalSet, Stdio, Step, pty};

use rustix::pipe::{PipeFlags, pipe_with};

type Run = Result<(), Box<dyn std::error::Error>>;

fn main() -> Run {
    process_wrap()?;
    portable_pty()?;
    sudo_target_user()?;
    sudo_chdir()?;
    sudo_umask()?;
    sudo_noexec()?;
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

/// process-wrap: `ProcessSession` calls setsid in a hook, and `ResetSigmask`
/// unblocks all signals in another.
fn process_wrap() -> Run {
    let mut grep = Command::new("grep");
    grep.args(["SigBlk", "/proc/self/status"]);
    let mask = text(grep.setsid(true).signal_mask(SignalSet::empty()))?;
    println!("process-wrap: a session of its own, {mask}");
    Ok(())
}

/// portable-pty: its hook gives six signals their default action, unblocks all,
/// calls setsid and ioctl(0, TIOCSCTTY), closes descriptors above 2, and sets
/// the umask.
fn portable_pty() -> Run {
    let (mut controller, terminal) = pty::open()?;
    controller.set_size(pty::Size::new(24, 80))?;
    let mut stty = Command::new("stty");
    stty.arg("size").terminal(terminal).reset_signals().umask(0o022);
    let mut child = stty.spawn()?;
    drop(stty);
    let mut output = String::new();
    controller.read_to_string(&mut output)?;
    child.wait()?;
    println!("portable-pty: a terminal of {}", output.trim());
    Ok(())
}

/// sudo-rs, the target user: a hook calls setgroups, setgid and setuid.
fn sudo_target_user() -> Run {
    let mut id = Command::new("id");
    id.user("nobody").stdout(Stdio::piped());
    match id.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            println!("sudo-rs, target user: {}", text.trim());
        }
        Err(error) if error.step() == Step::Setgroups => {
            println!("sudo-rs, target user: it takes root: {error}");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// sudo-rs, directory: a hook enters the directory as the target user. One that
/// was asked for must be there; the home of a login may be missing.
fn sudo_chdir() -> Run {
    if let Err(error) = sh("pwd").current_dir("/nope").spawn() {
        println!("sudo-rs, directory: {error}");
    }
    let mut login = sh("exit 0");
    let mut child = login.best_effort(|it| it.current_dir("/nope")).spawn()?;
    for error in child.launch().refused() {
        println!("sudo-rs, home: without {error}");
    }
    child.wait()?;
    Ok(())
}

/// sudo-rs, umask: a hook adds to the inherited mask, which it has to change
/// in order to read it, or sets another one.
fn sudo_umask() -> Run {
    let added = text(sh("umask").umask_or(0o022))?;
    let set = text(sh("umask").umask(0o077))?;
    println!("sudo-rs, umask: {added} with 0022 added, or {set}");
    Ok(())
}

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// sudo-rs, noexec: a hook sets no_new_privs, installs a filter and sends its
/// listener to sudo over a socket, which lets the first exec pass.
/// `examples/noexec.rs` answers the others with EACCES; once the listener is
/// closed they fail with ENOSYS.
fn sudo_noexec() -> Run {
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap_or(u32::MAX);
    let filter = SeccompFilter::from([
        (0x20, 0, 0, 4), // the architecture: others have other numbers
        (0x15, 1, 0, ARCH),
        (0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
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

/// jobserver: a hook clears close-on-exec of the two ends of a pipe.
fn jobserver() -> Run {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut make = sh("test -e /proc/self/fd/8 && test -e /proc/self/fd/9");
    make.fd(8, reader).fd(9, writer);
    assert!(make.status()?.success());
    println!("jobserver: its pipe at 8 and 9");
    Ok(())
}

/// daemonize, the first half: after a fork it changes the directory, calls
/// setsid, sets the umask, and redirects 0 to 2; then it changes root, group and
/// user.
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
