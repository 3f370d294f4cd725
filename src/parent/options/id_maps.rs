//! Id maps: which ids of a new user namespace are which outside
//! ([`user_namespaces(7)`]).
//!
//! [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html

use rustix::process::{getegid, geteuid};

use crate::call::{Call, slot};
use crate::parent::command::Command;
use crate::parent::command::namespaces::{
    IdMap, NamespaceOptions, Namespaces, OwnIds,
};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, Reasons, row};
use crate::parent::std::{format, vec::Vec};

impl Command {
    /// Sets the map of user ids of a new user namespace ([`user_namespaces(7)`]).
    /// At present it is one line that maps one id, the effective one of the
    /// process that makes the plan: that takes no privilege, and the child
    /// writes it.
    ///
    /// # Errors
    ///
    /// [`Step::UidMap`], refused for another map and without
    /// [`Namespaces::USER`]; with EPERM, if the id is not the caller's by the
    /// time of the spawn.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, IdMap, Namespaces, Step};
    ///
    /// let mut id = Command::new("id");
    /// id.namespaces(Namespaces::USER).uid_map([IdMap::new(0, 5, 2)]);
    /// assert_eq!(id.plan().unwrap_err().step(), Step::UidMap);
    /// ```
    ///
    /// [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
    pub fn uid_map(
        &mut self,
        map: impl IntoIterator<Item = IdMap>,
    ) -> &mut Command {
        self.options.namespaces.uid_map = map.into_iter().collect();
        self
    }

    /// Sets the map of group ids, as [`Command::uid_map`]. The kernel takes it
    /// only after `setgroups` is denied in the namespace (Linux 3.19), which the
    /// child does first: supplementary groups stay, and cannot be changed.
    ///
    /// # Errors
    ///
    /// [`Step::GidMap`], as [`Command::uid_map`]; [`Step::Groups`], refused if
    /// [`Command::groups`] is set too.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, IdMap, Namespaces, Step};
    ///
    /// let mut id = Command::new("id");
    /// id.namespaces(Namespaces::USER).gid_map([]).gid_map([IdMap::new(0, 5, 0)]);
    /// assert_eq!(id.plan().unwrap_err().step(), Step::GidMap);
    /// ```
    pub fn gid_map(
        &mut self,
        map: impl IntoIterator<Item = IdMap>,
    ) -> &mut Command {
        self.options.namespaces.gid_map = map.into_iter().collect();
        self
    }

    /// Adds [`Namespaces::USER`], in which the caller's effective ids are 0, as
    /// `unshare --map-root-user`: the program has all capabilities in the
    /// namespace.
    ///
    /// # Errors
    ///
    /// As [`Command::namespaces`] and [`Command::uid_map`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("/bin/sh");
    /// sh.args(["-c", "cat /proc/self/uid_map"]).map_root_user();
    /// // Not permitted everywhere.
    /// if let Ok(output) = sh.output() {
    ///     assert!(output.stdout.starts_with(b"         0 "));
    /// }
    /// ```
    pub fn map_root_user(&mut self) -> &mut Command {
        self.options.namespaces.own_ids = Some(OwnIds::Root);
        self
    }

    /// Adds [`Namespaces::USER`], in which the caller's effective ids are the
    /// same, as `unshare --map-current-user`: the program has no capability,
    /// unless the ids are 0.
    ///
    /// # Errors
    ///
    /// As [`Command::namespaces`] and [`Command::uid_map`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut own = offshoot::Command::new("true");
    /// // Not permitted everywhere.
    /// if let Ok(mut child) = own.map_current_user().spawn() {
    ///     assert!(child.wait()?.success());
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn map_current_user(&mut self) -> &mut Command {
        self.options.namespaces.own_ids = Some(OwnIds::Same);
        self
    }
}

pub(super) fn has_gid_map(options: &NamespaceOptions) -> bool {
    !options.gid_map.is_empty() || options.own_ids.is_some()
}

/// Whether `setgroups` is denied in the child.
pub(super) fn denies_groups(plan: &PlanBuilder<'_>) -> bool {
    let options = &plan.options().namespaces;
    options.all().contains(Namespaces::USER) && has_gid_map(options)
}

/// A file of the child's in /proc, opened, written by one call and closed.
fn write_map(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    path: &'static str,
    text: &str,
    reasons: Reasons,
) -> Result<(), Error> {
    const FLAGS: i32 = libc::O_WRONLY | libc::O_CLOEXEC;
    let at = plan.text(step, path.as_ref())?;
    let text = plan.text(step, text.as_ref())?;
    let fd = Arg::Slot(slot::SCRATCH_FD);
    let open = [libc::AT_FDCWD.into(), at.into(), FLAGS.into()];
    let write = row(libc::SYS_write, &[fd, text.into(), text.len.into()]);
    plan.step(step, Operand::Text(text))
        .row(Call { store: slot::SCRATCH_FD, ..row(libc::SYS_openat, &open) })
        .on_procfs(slot::SCRATCH_FD, write)
        .shown_as("write")
        .note(path)
        .reasons(reasons);
    Ok(())
}

const NO_PROC: &str = "/proc is not mounted";

/// `deny` in `/proc/self/setgroups`: without it the kernel takes no map of
/// groups from a process that has no privilege outside (CVE-2014-8989).
pub(crate) fn deny_setgroups(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if !denies_groups(plan) {
        return Ok(());
    }
    let path = "/proc/self/setgroups";
    // Before Linux 3.19 there is no such file, and no such rule.
    const REASONS: Reasons =
        &[(libc::ENOENT, "/proc is not mounted, or before Linux 3.19")];
    write_map(plan, Step::GidMap, path, "deny", REASONS)
}

/// The line of `/proc/self/uid_map`.
pub(crate) fn uid_map(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().namespaces;
    let map = (&options.uid_map, geteuid().as_raw());
    id_map(plan, Step::UidMap, "/proc/self/uid_map", map)
}

/// The line of `/proc/self/gid_map`.
pub(crate) fn gid_map(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().namespaces;
    let map = (&options.gid_map, getegid().as_raw());
    id_map(plan, Step::GidMap, "/proc/self/gid_map", map)
}

fn id_map(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    path: &'static str,
    (map, own): (&Vec<IdMap>, u32),
) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (libc::ENOENT, NO_PROC),
        (libc::EPERM, "the map is not that of the caller's effective id"),
    ];
    let own_ids = plan.options().namespaces.own_ids;
    let line = match (own_ids, map.as_slice()) {
        (None, []) => return Ok(()),
        (Some(OwnIds::Root), []) => IdMap::new(0, own, 1),
        (Some(OwnIds::Same), []) => IdMap::new(own, own, 1),
        (Some(_), [..]) => {
            let why = "map_root_user and map_current_user make the maps";
            return plan.refuse(step, why, format!("{map:?}"));
        }
        (None, [line]) => *line,
        (None, [_, ..]) => {
            let why = "only a map of one id is supported";
            return plan.refuse(step, why, format!("{map:?}"));
        }
    };
    let why = match line {
        _ if line.count() == 0 => "the count is 0",
        _ if line.count() != 1 => "only a map of one id is supported",
        _ if line.inside() == u32::MAX => "4294967295 (-1) is no id",
        _ if line.outside() != own => {
            "only the caller's effective id can be mapped"
        }
        _ => {
            return write_map(
                plan,
                step,
                path,
                &format!("{line:?}\n"),
                REASONS,
            );
        }
    };
    plan.refuse(step, why, format!("{line:?}"))
}
