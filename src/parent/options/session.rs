//! Session, process group and file mode creation mask.

use crate::call::{Call, slot};
use crate::parent::command::{Command, SessionOptions};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::{Arg, Effect, Operand, PlanBuilder, Reasons, row};
use crate::parent::std::format;

const LEADER: &str = "a session leader cannot change its process group";

impl Command {
    /// Sets the process group of the child; 0 creates a new group with the
    /// child's process id. [`Child::process_group`] returns the group.
    ///
    /// A table at [`Command::foreground`] shows how it combines with sessions
    /// and terminals.
    ///
    /// # Errors
    ///
    /// [`Step::ProcessGroup`] for a negative number; [`Step::Setpgid`] with
    /// EPERM if the session has no such group ([`setpgid(2)`]).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("true").process_group(0).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Child::process_group`]: crate::Child::process_group
    /// [`setpgid(2)`]: https://man7.org/linux/man-pages/man2/setpgid.2.html
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.options.session.process_group = Some(group);
        self
    }

    /// Sets whether the child creates a session ([`setsid(2)`]).
    ///
    /// The child becomes the leader of the session and of a new process group,
    /// without a controlling terminal; [`Command::controlling_terminal`] gives
    /// it one.
    ///
    /// # Errors
    ///
    /// [`Step::Setsid`], naming `process_group`, if that is set too: a session
    /// leader cannot change its process group.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut daemon = offshoot::Command::new("true");
    /// assert!(daemon.setsid(true).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setsid(2)`]: https://man7.org/linux/man-pages/man2/setsid.2.html
    pub fn setsid(&mut self, setsid: bool) -> &mut Command {
        self.options.session.setsid = setsid;
        self
    }

    /// Sets the file mode creation mask of the child: the permissions that
    /// files it creates do not get ([`umask(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::Umask`] for a mask above `0o777`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "umask"]).umask(0o027);
    /// assert_eq!(sh.output()?.stdout, b"0027\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`umask(2)`]: https://man7.org/linux/man-pages/man2/umask.2.html
    pub fn umask(&mut self, mask: u32) -> &mut Command {
        self.options.session.umask = Some(mask);
        self
    }

    /// Adds to the file mode creation mask that the child inherits: files do
    /// not get these permissions, whatever the caller's mask is.
    ///
    /// # Errors
    ///
    /// [`Step::Umask`] for a mask above `0o777`, and naming `umask`, if that is
    /// set too.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "umask 0002; umask"]).umask_or(0o007);
    /// assert!(sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn umask_or(&mut self, mask: u32) -> &mut Command {
        self.options.session.umask_or = Some(mask);
        self
    }
}

/// Refuses options of which one must fail if the other does not.
pub(super) fn check(session: &SessionOptions) -> Result<(), Error> {
    const NONE: &str =
        "a child without a controlling terminal cannot have one";
    const NEW: &str =
        "a new session has no terminal but that of controlling_terminal";
    let acquires = session.controlling_terminal.is_some();
    let foreground = session.foreground.is_some();
    let leaves = session.detach_terminal;
    let leads =
        if session.setsid { Step::Setsid } else { Step::ControllingTerminal };
    let joins = session.is_leader() && session.process_group.is_some();
    for (is_set, step, why, option) in [
        (joins, leads, LEADER, "process_group"),
        (
            foreground && session.setsid && !acquires,
            Step::Foreground,
            NEW,
            "setsid",
        ),
        (
            leaves && acquires,
            Step::DetachTerminal,
            NONE,
            "controlling_terminal",
        ),
        (leaves && foreground, Step::Foreground, NONE, "detach_terminal"),
    ] {
        if is_set {
            return Err(Error::refused(step, why).with(option));
        }
    }
    Ok(())
}

/// `setsid()`.
pub(crate) fn setsid(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let session = &plan.options().session;
    check(session)?;
    if !session.is_leader() {
        return Ok(());
    }
    let acquires = session.controlling_terminal.is_some();
    let note = match (acquires, session.detach_terminal) {
        (true, _) => "a session for controlling_terminal",
        (false, true) => "detach_terminal",
        (false, false) => "",
    };
    plan.step(Step::Setsid, Operand::None)
        .call(libc::SYS_setsid, &[])
        .note(note)
        .effect(Effect::Session);
    Ok(())
}

/// `setpgid(0, group)`.
pub(crate) fn setpgid(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const NO_GROUP: &str = "no process group of this session has that id";
    let session = &plan.options().session;
    // The options outside of a `best_effort` may have chosen a group.
    let placed = plan.has_step("setsid") || plan.has_step("setpgid");
    let implied = session.foreground.is_some() && !placed;
    let (group, note) = match session.process_group {
        Some(0) => (0, "a group of its own"),
        Some(group) => (group, ""),
        None if implied => (0, "a group of its own for foreground"),
        None => return Ok(()),
    };
    let Ok(id) = u32::try_from(group) else {
        let why = "a process group id is not negative";
        return plan.refuse(Step::ProcessGroup, why, group);
    };
    let reasons: Reasons = match id {
        0 => &[(libc::EPERM, LEADER)],
        _ => &[(libc::EPERM, NO_GROUP)],
    };
    plan.step(Step::Setpgid, Operand::Number(id.into()))
        .call(libc::SYS_setpgid, &[0.into(), id.into()])
        .note(note)
        .reasons(reasons)
        .effect(Effect::Group(id));
    Ok(())
}

/// `umask(mask)`.
pub(crate) fn umask(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(mask) = plan.options().session.umask else { return Ok(()) };
    if mask > 0o777 {
        let why = "a mask has nine bits, 0o777 at most";
        return plan.refuse(Step::Umask, why, format!("{mask:#o}"));
    }
    plan.step(Step::Umask, Operand::Octal(mask))
        .call(libc::SYS_umask, &[mask.into()]);
    Ok(())
}

/// `umask(0o777)`, whose result is the inherited mask, then `umask` of that
/// with the bits added.
pub(crate) fn umask_or(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let session = &plan.options().session;
    let Some(mask) = session.umask_or else { return Ok(()) };
    if mask > 0o777 {
        let why = "a mask has nine bits, 0o777 at most";
        return plan.refuse(Step::Umask, why, format!("{mask:#o}"));
    }
    if session.umask.is_some() {
        let error = Error::new(Step::Umask, Cause::Conflict("umask"));
        return Err(error.with("umask_or"));
    }
    let inherited = row(libc::SYS_umask, &[0o777.into()]);
    plan.step(Step::Umask, Operand::Octal(mask))
        .row(Call { store: slot::SCRATCH, or: mask.into(), ..inherited })
        .call(libc::SYS_umask, &[Arg::Slot(slot::SCRATCH)])
        .note("added to the inherited mask");
    Ok(())
}
