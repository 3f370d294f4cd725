//! Namespaces: which ones the child gets anew, and what it sets up in them.

use super::id_maps::has_gid_map;
use crate::parent::command::Command;
use crate::parent::command::namespaces::{
    LIMIT, NO_PRIVILEGE, NamespaceOptions, Namespaces, Propagation,
};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder};
use crate::parent::std::string::{String, ToString};
use crate::sys::CloneFlags;

impl Command {
    /// Sets the namespaces that the child gets anew ([`namespaces(7)`]). It is
    /// created in them, and all other options, hooks included, take effect
    /// there.
    ///
    /// Without [`Namespaces::USER`] they take CAP_SYS_ADMIN. With it they take
    /// no privilege, if the system permits user namespaces: the child has all
    /// capabilities in its own until exec. See [`Command::map_root_user`].
    ///
    /// - With [`Namespaces::MOUNT`] mounts of the child do not reach the parent:
    ///   [`Command::mount_propagation`].
    /// - With [`Namespaces::PID`] the child has id 1: a signal without a handler
    ///   does not end it, except SIGKILL and SIGSTOP of its parent's namespace;
    ///   it must reap orphans, and all processes end with it. `/proc` still shows
    ///   the parent's namespace. [`Child::id`](crate::Child::id) is the parent's
    ///   number.
    /// - With [`Namespaces::CGROUP`] the root is the group that the child is in
    ///   by then, that of [`Command::cgroup`] too.
    ///
    /// # Errors
    ///
    /// [`Step::Namespaces`], of the clone call: EPERM without CAP_SYS_ADMIN or
    /// where user namespaces are not permitted; ENOSPC at a limit of
    /// `/proc/sys/user`; EINVAL if the kernel lacks one. Refused for
    /// [`Command::exec`], which creates no process.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Namespaces, Step};
    ///
    /// let mut id = Command::new("id");
    /// id.arg("-u").namespaces(Namespaces::UTS | Namespaces::IPC).map_root_user();
    /// match id.output() {
    ///     Ok(output) => assert_eq!(output.stdout, b"0\n"),
    ///     // Not permitted here.
    ///     Err(error) => assert_eq!(error.step(), Step::Namespaces),
    /// }
    /// ```
    ///
    /// [`namespaces(7)`]: https://man7.org/linux/man-pages/man7/namespaces.7.html
    pub fn namespaces(&mut self, new: Namespaces) -> &mut Command {
        self.options.namespaces.new = new;
        self
    }

    /// Sets how mounts of a new mount namespace and of the parent's reach each
    /// other; [`Propagation::Private`] by default: a recursive change of `/`
    /// right after the child's creation ([`mount(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::MountPropagation`], refused without [`Namespaces::MOUNT`]; with
    /// EINVAL if the child's root is no mount point.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, Namespaces, Propagation};
    ///
    /// let mut sh = Command::new("/bin/sh");
    /// sh.namespaces(Namespaces::MOUNT).mount_propagation(Propagation::Slave);
    /// assert!(sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`mount(2)`]: https://man7.org/linux/man-pages/man2/mount.2.html
    pub fn mount_propagation(&mut self, how: Propagation) -> &mut Command {
        self.options.namespaces.propagation = Some(how);
        self
    }

    /// Sets the host name of a new UTS namespace: up to 64 bytes
    /// ([`sethostname(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::Hostname`], refused without [`Namespaces::UTS`] and for more
    /// bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Namespaces};
    ///
    /// let mut uname = Command::new("uname");
    /// uname.arg("-n").namespaces(Namespaces::UTS).map_root_user();
    /// // Not permitted everywhere.
    /// if let Ok(output) = uname.hostname("box").output() {
    ///     assert_eq!(output.stdout, b"box\n");
    /// }
    /// ```
    ///
    /// [`sethostname(2)`]: https://man7.org/linux/man-pages/man2/sethostname.2.html
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Command {
        self.options.namespaces.hostname = Some(name.into());
        self
    }

    /// Sets the NIS domain name of a new UTS namespace, as [`Command::hostname`]
    /// ([`setdomainname(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::Domainname`], as [`Command::hostname`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut uname = Command::new("uname");
    /// uname.domainname("example");
    /// assert_eq!(uname.plan().unwrap_err().step(), Step::Domainname);
    /// ```
    ///
    /// [`setdomainname(2)`]: https://man7.org/linux/man-pages/man2/getdomainname.2.html
    pub fn domainname(&mut self, name: impl Into<String>) -> &mut Command {
        self.options.namespaces.domainname = Some(name.into());
        self
    }
}

impl NamespaceOptions {
    /// All that are asked for.
    pub(crate) fn all(&self) -> Namespaces {
        match self.own_ids {
            Some(_) => self.new | Namespaces::USER,
            None => self.new,
        }
    }

    /// The flags of the clone call. The root of a cgroup namespace is the
    /// group that its creator is in: the child's, once it has entered that.
    pub(crate) fn clone_flags(&self) -> CloneFlags {
        let all = self.all() - Namespaces::CGROUP;
        CloneFlags::from_bits_retain(all.bits().into())
    }
}

/// Refuses what takes a namespace that the child does not get anew.
fn check_taken(options: &NamespaceOptions) -> Result<(), Error> {
    let all = options.all();
    for (is_set, needs, step, why) in [
        (
            options.propagation.is_some(),
            Namespaces::MOUNT,
            Step::MountPropagation,
            "it takes a new mount namespace",
        ),
        (
            !options.uid_map.is_empty(),
            Namespaces::USER,
            Step::UidMap,
            "it takes a new user namespace",
        ),
        (
            !options.gid_map.is_empty(),
            Namespaces::USER,
            Step::GidMap,
            "it takes a new user namespace",
        ),
        (
            options.hostname.is_some(),
            Namespaces::UTS,
            Step::Hostname,
            "it takes a new UTS namespace",
        ),
        (
            options.domainname.is_some(),
            Namespaces::UTS,
            Step::Domainname,
            "it takes a new UTS namespace",
        ),
    ] {
        if is_set && !all.contains(needs) {
            return Err(Error::refused(step, why).with("namespaces"));
        }
    }
    Ok(())
}

/// The flags of the clone call, and what the options take.
pub(crate) fn create_in(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().namespaces;
    let all = options.all();
    let known = Namespaces::all();
    if !known.contains(all) {
        let why = "an unknown namespace";
        return plan.refuse(Step::Namespaces, why, (all - known).bits());
    }
    check_taken(options)?;
    if all.is_empty() {
        return Ok(());
    }
    if plan.in_place() {
        let why = "exec creates no process";
        return Err(Error::refused(Step::Namespaces, why));
    }
    plan.needs.suspended("namespaces", "a process of its own sets them up");
    if all.contains(Namespaces::USER) {
        let why = "an exec in a new user namespace changes capabilities";
        plan.needs.copy("namespaces", why);
        if plan.ids.groups.is_set() && has_gid_map(options) {
            let why = "setgroups is denied in the new user namespace";
            return Err(Error::refused(Step::Groups, why).with("gid_map"));
        }
    }
    plan.plan.namespaces = options.clone_flags();
    Ok(())
}

/// `unshare(CLONE_NEWCGROUP)`, in the group that the child has entered.
pub(crate) fn cgroup_namespace(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    if !plan.options().namespaces.new.contains(Namespaces::CGROUP) {
        return Ok(());
    }
    let flag = Namespaces::CGROUP.bits();
    plan.step(Step::Namespaces, Operand::Name("CGROUP"))
        .call(libc::SYS_unshare, &[flag.into()])
        .shown_as("unshare")
        .note("its root is the child's group")
        .reasons(&[
            (libc::EPERM, NO_PRIVILEGE),
            (libc::ENOSPC, LIMIT),
            (libc::EINVAL, "the kernel has no cgroup namespaces (Linux 4.6)"),
        ]);
    Ok(())
}

/// `mount(NULL, "/", NULL, MS_REC | how, NULL)`.
pub(crate) fn mount_propagation(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let options = &plan.options().namespaces;
    if !options.all().contains(Namespaces::MOUNT) {
        return Ok(());
    }
    let (how, name) = match options.propagation.unwrap_or_default() {
        Propagation::Private => (libc::MS_PRIVATE, "private"),
        Propagation::Slave => (libc::MS_SLAVE, "slave"),
        Propagation::Shared => (libc::MS_SHARED, "shared"),
        Propagation::Unchanged => return Ok(()),
    };
    let step = Step::MountPropagation;
    let root = plan.text(step, "/".as_ref())?;
    let flags = Arg::Value(libc::MS_REC | how);
    let none = Arg::Value(0);
    plan.step(step, Operand::Name(name))
        .call(libc::SYS_mount, &[none, root.into(), none, flags, none])
        .shown_as("mount")
        .note("/ and all mounts below it")
        .reasons(&[
            (libc::EPERM, "a filter rejects the call"),
            (libc::EINVAL, "the root directory is no mount point"),
        ]);
    Ok(())
}

/// `sethostname(name, len)`.
pub(crate) fn hostname(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let name = plan.options().namespaces.hostname.as_deref();
    set_name(
        plan,
        Step::Hostname,
        (libc::SYS_sethostname, "sethostname"),
        name,
    )
}

/// `setdomainname(name, len)`.
pub(crate) fn domainname(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let name = plan.options().namespaces.domainname.as_deref();
    let call = (libc::SYS_setdomainname, "setdomainname");
    set_name(plan, Step::Domainname, call, name)
}

fn set_name(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    (nr, shown): (libc::c_long, &'static str),
    name: Option<&str>,
) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    if name.len() > 64 {
        let why = "a name has at most 64 bytes";
        return plan.refuse(step, why, name.to_string());
    }
    let text = plan.text(step, name.as_ref())?;
    plan.step(step, Operand::Text(text))
        .call(nr, &[text.into(), text.len.into()])
        .shown_as(shown)
        .note("in the new UTS namespace")
        .reasons(&[(libc::EPERM, "a filter rejects the call")]);
    Ok(())
}
