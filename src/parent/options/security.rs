//! Security: the label of a Linux security module that the program gets, and
//! its session keyring.

use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::command::{Command, SessionKeyring};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Operand, PlanBuilder, Reasons, StepBuilder, Str, local_row, row,
};
use crate::parent::std::ffi::{OsStr, OsString};
use crate::sys::abi::JOIN_SESSION_KEYRING;

impl Command {
    /// Sets the AppArmor profile of the program: exec changes to it, as with
    /// [`aa_change_onexec(3)`]. The child writes it before it changes its root
    /// or its ids.
    ///
    /// With `no_new_privs` AppArmor permits only a profile that is stacked on
    /// the present one (`&name`) or is a subset of it, so exec may fail with
    /// EPERM or EACCES.
    ///
    /// # Errors
    ///
    /// [`Step::ApparmorProfile`] if the name is empty, has over 4,000 bytes or
    /// contains a NUL byte; with ENOENT, if there is no such profile, or no
    /// AppArmor (its file in `/proc` exists since Linux 5.8); with EACCES or
    /// EPERM, if the present profile does not permit the change; with
    /// EOPNOTSUPP, if another file system than procfs is mounted on `/proc`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use offshoot::Command;
    /// Command::new("/usr/sbin/dnsmasq").apparmor_profile("dnsmasq").spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`aa_change_onexec(3)`]: https://manpages.debian.org/aa_change_profile.2
    pub fn apparmor_profile<S: AsRef<OsStr>>(
        &mut self,
        name: S,
    ) -> &mut Command {
        let name = name.as_ref().to_os_string();
        self.options.security.apparmor_profile = Some(name);
        self
    }

    /// Sets the SELinux context of the program, as [`setexeccon(3)`] does. The
    /// child writes it before it changes its root or its ids.
    ///
    /// With `no_new_privs` the policy must permit the transition
    /// (`nnp_transition`), or exec fails with EPERM.
    ///
    /// # Errors
    ///
    /// [`Step::SelinuxContext`] if the context is empty, has over 4,000 bytes
    /// or contains a NUL byte; with EINVAL, if the policy has no such context,
    /// or SELinux is not in use; with EACCES, if the policy does not permit
    /// the change (`setexec`); with EOPNOTSUPP, if another file system than
    /// procfs is mounted on `/proc`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use offshoot::Command;
    /// let context = "system_u:system_r:httpd_t:s0";
    /// Command::new("/usr/sbin/httpd").selinux_context(context).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setexeccon(3)`]: https://man7.org/linux/man-pages/man3/setexeccon.3.html
    pub fn selinux_context<S: AsRef<OsStr>>(
        &mut self,
        context: S,
    ) -> &mut Command {
        let context = context.as_ref().to_os_string();
        self.options.security.selinux_context = Some(context);
        self
    }

    /// Sets whether the child joins a session keyring of its own, new and
    /// empty ([`session-keyring(7)`]). Without it the child shares the
    /// caller's: it can read and use the keys there, such as Kerberos
    /// tickets, whatever its user is.
    ///
    /// The keyring belongs to the program's user ([`Command::uid`]) and
    /// counts in that user's quota. It replaces [`Command::session_keyring`].
    ///
    /// # Errors
    ///
    /// [`Step::SessionKeyring`] with EDQUOT, if the user has as many keys as
    /// its quota allows; with ENOSYS, if the kernel has no keyrings; with
    /// EPERM, if a filter rejects [`keyctl(2)`], as docker's does.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use offshoot::Command;
    /// Command::new("/usr/bin/klist").new_session_keyring(true).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`session-keyring(7)`]: https://man7.org/linux/man-pages/man7/session-keyring.7.html
    /// [`keyctl(2)`]: https://man7.org/linux/man-pages/man2/keyctl.2.html
    pub fn new_session_keyring(&mut self, new: bool) -> &mut Command {
        let keyring = new.then_some(SessionKeyring::New);
        self.options.security.session_keyring = keyring;
        self
    }

    /// Sets the session keyring that the child joins, by its name. If there is
    /// none with this name in which the program's user may search, it is
    /// created. It replaces [`Command::new_session_keyring`].
    ///
    /// # Errors
    ///
    /// [`Step::SessionKeyring`] if the name is empty, begins with a dot, has
    /// over 4,000 bytes or contains a NUL byte; and as
    /// [`Command::new_session_keyring`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use offshoot::Command;
    /// Command::new("/usr/bin/kinit").session_keyring("backup").spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn session_keyring<S: AsRef<OsStr>>(
        &mut self,
        name: S,
    ) -> &mut Command {
        let name = name.as_ref().to_os_string();
        self.options.security.session_keyring =
            Some(SessionKeyring::Named(name));
        self
    }
}

/// The kernel takes at most a page, 4,096 bytes on most machines.
const MOST: usize = 4000;

const NOT_PROCFS: &str = "another file system than procfs is mounted on /proc";

/// Writes `exec NAME` to AppArmor's file.
pub(crate) fn apparmor_profile(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let Some(name) = &plan.options().security.apparmor_profile else {
        return Ok(());
    };
    let mut command = OsString::from("exec ");
    command.push(name);
    let file = "/proc/thread-self/attr/apparmor/exec";
    let texts = label(plan, Step::ApparmorProfile, name, (file, &command))?;
    write_label(plan, Step::ApparmorProfile, texts).reasons(&[
        (libc::ENOENT, "there is no such profile, or no AppArmor"),
        (libc::EACCES, "the present profile does not permit the change"),
        (libc::EPERM, "the present profile does not permit the change"),
        (libc::EOPNOTSUPP, NOT_PROCFS),
    ]);
    Ok(())
}

/// Writes the context to the file of attributes at exec.
pub(crate) fn selinux_context(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let Some(context) = &plan.options().security.selinux_context else {
        return Ok(());
    };
    let file = "/proc/thread-self/attr/exec";
    let texts = label(plan, Step::SelinuxContext, context, (file, context))?;
    write_label(plan, Step::SelinuxContext, texts).reasons(&[
        (libc::EINVAL, "SELinux is not in use, or has no such context"),
        (libc::EACCES, "the policy does not permit the change"),
        (libc::ENOENT, "this kernel has no SELinux"),
        (libc::EOPNOTSUPP, NOT_PROCFS),
    ]);
    Ok(())
}

/// The label, the file it is written to, and the bytes that are written.
type Label = (Str, Str, Str);

/// Validates a label.
fn label(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    label: &OsStr,
    (file, bytes): (&str, &OsStr),
) -> Result<Label, Error> {
    valid(step, label, "the label is empty")?;
    let label = plan.text(step, label)?;
    let file = plan.text(step, OsStr::new(file))?;
    Ok((label, file, plan.text(step, bytes)?))
}

/// Validates the length of a label or a name.
fn valid(step: Step, text: &OsStr, empty: &'static str) -> Result<(), Error> {
    match text.len() {
        0 => Err(Error::refused(step, empty).with(text)),
        1..=MOST => Ok(()),
        _ => Err(Error::refused(step, "it has over 4,000 bytes")),
    }
}

/// Opens the file, verifies that it is one of procfs, and writes to it. What
/// is written has an effect at the next exec of this thread only.
fn write_label<'p>(
    plan: &'p mut PlanBuilder<'_>,
    step: Step,
    (label, file, bytes): Label,
) -> StepBuilder<'p> {
    let here = Arg::from(libc::AT_FDCWD);
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let fd = Arg::Slot(slot::SCRATCH_FD);
    let open = row(libc::SYS_openat, &[here, file.into(), flags.into()]);
    let write = row(libc::SYS_write, &[fd, bytes.into(), bytes.len.into()]);
    let write = Call { check: Check::Equal, want: bytes.len.into(), ..write };
    plan.step(step, Operand::Text(label))
        .row(Call { store: slot::SCRATCH_FD, ..open })
        .on_procfs(slot::SCRATCH_FD, write)
        .shown_as("write")
        .note("the label of the program")
}

const KEYRING: Reasons = &[
    (libc::EDQUOT, "the user has as many keys as its quota allows"),
    (libc::EPERM, "a filter rejects keyctl"),
    (libc::ENOSYS, "the kernel has no keyrings (CONFIG_KEYS)"),
    (libc::EACCES, "the user may not search in the keyring of that name"),
];

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`. A filter can make the call
/// without effect: then it returns 0, which is no keyring.
pub(crate) fn session_keyring(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let step = Step::SessionKeyring;
    let (operand, name) = match &plan.options().security.session_keyring {
        None => return Ok(()),
        Some(SessionKeyring::New) => (Operand::Label("new"), Arg::Value(0)),
        Some(SessionKeyring::Named(name)) => {
            valid(step, name, "the name is empty")?;
            if name.as_encoded_bytes().starts_with(b".") {
                let why = "the kernel reserves names that begin with a dot";
                return Err(Error::refused(step, why).with(name));
            }
            let name = plan.text(step, name)?;
            (Operand::Text(name), name.into())
        }
    };
    let join = [JOIN_SESSION_KEYRING.into(), name];
    let join = row(libc::SYS_keyctl, &join);
    let none = local_row(local::VALUE, &[Arg::Slot(slot::SCRATCH)]);
    let done = local_row(local::VALUE, &[Arg::Value(0)]);
    plan.step(step, operand)
        .row(Call { store: slot::SCRATCH, ..join })
        .row(Call { check: Check::Skip, skip: ROW, ..none })
        .row(Call { check: Check::Skip, skip: ROW, ..done })
        .row(Call { check: Check::Equal, want: 1, ..done })
        .shown_as("keyctl")
        .note("session keyring")
        .reasons(KEYRING);
    Ok(())
}
