//! Terminals: the controlling terminal of the child, and its foreground group.

use crate::call::{Call, Check, ROW, slot};
use crate::parent::command::{Command, Stdio};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, Reasons, SourceFd, row};
use crate::parent::std::{os::fd::OwnedFd, sync::Arc};
use crate::sys::abi::{TIOCNOTTY, TIOCSCTTY, TIOCSPGRP};
use crate::sys::bits;

const NOT_A_TERMINAL: &str = "the descriptor is not open on a terminal";

impl Command {
    /// Sets the controlling terminal of the child: the terminal whose ^C and
    /// ^Z send it signals, and that it opens as `/dev/tty`.
    ///
    /// The child creates a session ([`Command::setsid`] is implied), acquires
    /// the terminal (TIOCSCTTY, see [`ioctl_tty(2)`]), and its process group
    /// becomes the terminal's foreground group. The program does not inherit
    /// the descriptor; [`Command::terminal`] makes it 0, 1 and 2 too. Both
    /// descriptors of a [`pty`](crate::pty) refer to its terminal here.
    ///
    /// A terminal that is the controlling terminal of another session is not
    /// taken from it.
    ///
    /// # Errors
    ///
    /// [`Step::ControllingTerminal`], naming `process_group`, if that is set
    /// too: a session leader cannot change its process group. From the child
    /// with ENOTTY, if the descriptor is not a terminal; with EPERM, if the
    /// terminal belongs to another session, or the descriptor is not open for
    /// reading and the child lacks CAP_SYS_ADMIN; with EIO after a hang-up.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, pty};
    ///
    /// let (_controller, terminal) = pty::open()?;
    /// let mut tty = Command::new("sh");
    /// tty.args(["-c", "exec 3</dev/tty"]).controlling_terminal(terminal);
    /// assert!(tty.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`ioctl_tty(2)`]: https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html
    pub fn controlling_terminal(
        &mut self,
        terminal: impl Into<OwnedFd>,
    ) -> &mut Command {
        let terminal = Arc::new(terminal.into());
        self.options.session.controlling_terminal = Some(terminal);
        self
    }

    /// Runs the child on a terminal: sets 0, 1 and 2 and
    /// [`Command::controlling_terminal`], as `login_tty(3)` does.
    ///
    /// The command keeps the descriptor, as it may spawn again: the reader of
    /// a [`pty::Controller`] sees the end of the output only after the command
    /// is dropped.
    ///
    /// # Errors
    ///
    /// As [`Command::controlling_terminal`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, pty};
    /// use std::io::Read;
    ///
    /// let (mut controller, terminal) = pty::open()?;
    /// controller.set_size(pty::Size::new(24, 80))?;
    /// let mut stty = Command::new("stty");
    /// let mut child = stty.arg("size").terminal(terminal).spawn()?;
    /// drop(stty); // closes this process's descriptor of the terminal
    /// let mut output = String::new();
    /// controller.read_to_string(&mut output)?;
    /// assert_eq!(output, "24 80\r\n");
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`pty::Controller`]: crate::pty::Controller
    pub fn terminal(&mut self, terminal: impl Into<OwnedFd>) -> &mut Command {
        let terminal = Arc::new(terminal.into());
        for stdio in &mut self.options.stdio {
            *stdio = Some(Stdio::from_shared(&terminal));
        }
        self.options.session.controlling_terminal = Some(terminal);
        self
    }

    /// Makes the child's process group the foreground group of the terminal,
    /// which must be the controlling terminal of the child's session. Only
    /// that group may read from the terminal, and ^C and ^Z are for it.
    ///
    /// The group is a new one, unless [`Command::process_group`] names one.
    /// The child makes the call ([`tcsetpgrp(3)`]) before exec, while all
    /// signals are blocked: a caller in the background is not stopped by
    /// SIGTTOU, and neither the program nor the caller finds the terminal in
    /// another state than the one that was asked for. The caller, which is then
    /// in the background itself, takes the terminal back when the job has ended
    /// or stopped: see `examples/job_control.rs`. It sets
    /// [`Memory::Private`](crate::Memory::Private): in shared memory a ^Z right
    /// before exec stops the caller until the child gets SIGCONT.
    ///
    /// # Sessions, groups and terminals
    ///
    /// The options, and what the child has then; what is not said is inherited.
    ///
    /// | options | session | group | terminal |
    /// | --- | --- | --- | --- |
    /// | `process_group(0)` | | new | in the background |
    /// | `process_group(n)` | | n | |
    /// | `foreground` | | new | in the foreground |
    /// | `foreground`, `process_group(n)` | | n | in the foreground |
    /// | `setsid` | new | new | none |
    /// | `controlling_terminal` | new | new | the one given, in the foreground |
    /// | `controlling_terminal`, `setsid` or `foreground` or both | as above | | |
    /// | `detach_terminal` | | | none |
    /// | `detach_terminal`, `process_group` | | new, or n | none |
    /// | `detach_terminal`, `setsid` | new | new | none |
    ///
    /// Every other combination is refused: `process_group` with `setsid` or
    /// `controlling_terminal`, as a session leader cannot change its group;
    /// `foreground` with `setsid` alone or with `detach_terminal`, and
    /// `controlling_terminal` with `detach_terminal`, as there is no terminal
    /// then.
    ///
    /// # Errors
    ///
    /// [`Step::Foreground`], naming the other option, for such a combination.
    /// From the child with ENOTTY, if the descriptor is not open on the
    /// controlling terminal of the child's session; [`Step::Setpgid`] as
    /// [`Command::process_group`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    /// use std::fs::File;
    ///
    /// let mut job = Command::new("true");
    /// let error = job.foreground(File::open("/dev/null")?).spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::Foreground);
    /// assert!(error.to_string().contains("controlling terminal"), "{error}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`tcsetpgrp(3)`]: https://man7.org/linux/man-pages/man3/tcsetpgrp.3.html
    pub fn foreground(
        &mut self,
        terminal: impl Into<OwnedFd>,
    ) -> &mut Command {
        let terminal = Arc::new(terminal.into());
        self.options.session.foreground = Some(terminal);
        self
    }

    /// Sets whether the child gives up its controlling terminal, in the
    /// session of its parent: it cannot open `/dev/tty`, and ^C and ^Z do not
    /// reach it. Descriptors that are open on the terminal stay so.
    ///
    /// A child without a controlling terminal is as it should be. With
    /// [`Command::setsid`], which gives up the terminal too, there is no
    /// further step. With [`Command::exec`] a session leader takes the terminal
    /// from its whole session ([`ioctl_tty(2)`], TIOCNOTTY).
    ///
    /// # Errors
    ///
    /// [`Step::DetachTerminal`], naming the option, with
    /// [`Command::controlling_terminal`]; from the child with the error of
    /// opening `/dev/tty`, if that is not ENXIO.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "test -r /dev/tty && exec 3</dev/tty"]);
    /// sh.stderr(offshoot::Stdio::null()).detach_terminal(true);
    /// assert!(!sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`ioctl_tty(2)`]: https://man7.org/linux/man-pages/man2/TIOCNOTTY.2const.html
    pub fn detach_terminal(&mut self, detach: bool) -> &mut Command {
        self.options.session.detach_terminal = detach;
        self
    }
}

/// `ioctl(fd, TIOCSCTTY, 0)`.
pub(crate) fn controlling_terminal(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (libc::ENOTTY, NOT_A_TERMINAL),
        (
            libc::EPERM,
            "the terminal belongs to another session, or the descriptor is \
             not open for reading, which takes CAP_SYS_ADMIN",
        ),
        (libc::EIO, "the terminal was hung up"),
    ];
    let session = &plan.options().session;
    let Some(terminal) = &session.controlling_terminal else {
        return Ok(());
    };
    let step = Step::ControllingTerminal;
    let index = plan.keep_fd(SourceFd::open_until_exec(step, terminal))?;
    let args = [Arg::Fd(index), Arg::Value(TIOCSCTTY), 0.into()];
    plan.step(step, Operand::Fd(index))
        .call(libc::SYS_ioctl, &args)
        .shown_as("ioctl")
        .note("TIOCSCTTY: the controlling terminal")
        .reasons(REASONS);
    Ok(())
}

/// `getpgid(0)` and `ioctl(fd, TIOCSPGRP, &group)`. The group is asked for:
/// a step that may fail can have changed it.
pub(crate) fn foreground(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (
            libc::ENOTTY,
            "the descriptor is not open on the controlling terminal of the \
             child's session",
        ),
        (libc::EIO, "the terminal was hung up"),
    ];
    let session = &plan.options().session;
    let Some(terminal) = &session.foreground else { return Ok(()) };
    let step = Step::Foreground;
    let index = plan.keep_fd(SourceFd::open_until_exec(step, terminal))?;
    let group = Call { store: slot::SCRATCH, ..row(libc::SYS_getpgid, &[]) };
    let args =
        [Arg::Fd(index), Arg::Value(TIOCSPGRP), Arg::Slot(slot::SCRATCH_ADDR)];
    plan.step(step, Operand::Fd(index))
        .row(group)
        .call(libc::SYS_ioctl, &args)
        .shown_as("ioctl")
        .note("TIOCSPGRP: the group of the child is in the foreground")
        .reasons(REASONS);
    Ok(())
}

/// `open("/dev/tty")`, `ioctl(fd, TIOCNOTTY)` and `close(fd)`.
pub(crate) fn detach_terminal(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    const FLAGS: i32 = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let session = &plan.options().session;
    if !session.detach_terminal {
        return Ok(());
    }
    let step = Step::DetachTerminal;
    if session.setsid {
        return Ok(());
    }
    let path = plan.text(step, "/dev/tty".as_ref())?;
    let fd = Arg::Slot(slot::SCRATCH);
    let open = [libc::AT_FDCWD.into(), path.into(), FLAGS.into()];
    let leave = row(libc::SYS_ioctl, &[fd, Arg::Value(TIOCNOTTY)]);
    plan.step(step, Operand::Text(path))
        .row(Call {
            check: Check::Skip,
            want: bits(-i64::from(libc::ENXIO)),
            skip: 3 * ROW,
            store: slot::SCRATCH,
            ..row(libc::SYS_openat, &open)
        })
        .on_opened(slot::SCRATCH, &[leave])
        .shown_as("ioctl")
        .note("TIOCNOTTY: no controlling terminal");
    Ok(())
}
