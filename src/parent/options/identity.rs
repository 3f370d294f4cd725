//! Identity: user, group and supplementary groups ([`credentials(7)`]).
//!
//! [`credentials(7)`]: https://man7.org/linux/man-pages/man7/credentials.7.html

use super::id_maps::denies_groups;
use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::command::{Command, Groups, GroupsSetting};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Effect, Operand, PlanBuilder, Reasons, StepBuilder, local_row, row,
};

impl Command {
    /// Sets the real, effective and saved user id of the child, and reads them
    /// back.
    ///
    /// Supplementary groups are dropped too, unless [`Command::groups`] is
    /// set. They are kept if all three ids are this one already, so that it
    /// takes no privilege then.
    ///
    /// The group ids stay those of the caller, as in std: set
    /// [`Command::gid`] too, or use [`Command::user`], or a program of
    /// another user keeps root's group.
    ///
    /// A change from root removes its capabilities. A caller with another user
    /// id keeps those that it has until exec, and its ambient ones in the
    /// program ([`capabilities(7)`]): see [`Command::ambient_capabilities`].
    ///
    /// The child has memory of its own: in shared memory a change of user
    /// would make the *parent* undumpable permanently.
    ///
    /// # Errors
    ///
    /// [`Step::Uid`] for 4294967295, which the kernel takes for "no change";
    /// [`Step::Setgroups`] with EPERM without CAP_SETGID, and
    /// [`Step::Setresuid`] with EPERM without CAP_SETUID; [`Step::Exec`] with
    /// EAGAIN if the user has as many processes as RLIMIT_NPROC allows
    /// ([`setresuid(2)`]).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// Command::new("server").uid(65534).gid(65534).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`capabilities(7)`]: https://man7.org/linux/man-pages/man7/capabilities.7.html
    /// [`setresuid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.options.identity.uid = Some(id);
        self
    }

    /// Sets the real, effective and saved group id of the child, and reads
    /// them back.
    ///
    /// Supplementary groups and memory are treated as by [`Command::uid`].
    ///
    /// # Errors
    ///
    /// [`Step::Gid`] for 4294967295; [`Step::Setgroups`] and
    /// [`Step::Setresgid`] with EPERM without CAP_SETGID ([`setresgid(2)`]).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// let output = Command::new("id").gid(65534).output()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setresgid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.options.identity.gid = Some(id);
        self
    }

    /// Sets the supplementary groups of the child: a list, [`Groups::clear`]
    /// or [`Groups::keep`].
    ///
    /// The child drops its groups, sets those of the list, and after each call
    /// reads back how many it has, which detects a filter that makes a call
    /// without effect. The kernel keeps duplicates, and sorts groups by their
    /// ids in the initial user namespace.
    ///
    /// # Errors
    ///
    /// [`Step::Groups`] for 4294967295 in the list or more than 65,536 groups;
    /// [`Step::Setgroups`] with EPERM without CAP_SETGID or in a user
    /// namespace that denies setgroups ([`setgroups(2)`]).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// Command::new("server").uid(1000).gid(1000).groups([27, 1000]).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setgroups(2)`]: https://man7.org/linux/man-pages/man2/getgroups.2.html
    pub fn groups(&mut self, groups: impl Into<Groups>) -> &mut Command {
        self.options.identity.groups = groups.into();
        self
    }
}

/// A change of credentials marks the memory undumpable, and shared memory is
/// the parent's.
const PRIVATE: &str = "this option must not run in the parent's memory";

const UID_CLEARS: Reasons =
    &[(libc::EPERM, "uid drops all groups, which takes CAP_SETGID")];
const GID_CLEARS: Reasons =
    &[(libc::EPERM, "gid drops all groups, which takes CAP_SETGID")];
const MAY_NOT: &str =
    "groups takes CAP_SETGID, and a user namespace that allows setgroups";
const NO_GROUPS: &str =
    "one of the groups has no mapping in this user namespace";
const NO_GID: &str = "that gid has no mapping in this user namespace";
const NO_UID: &str = "that uid has no mapping in this user namespace";
const FULL: &str = "that user has as many processes as RLIMIT_NPROC allows";

/// `NGROUPS_MAX`.
const MOST_GROUPS: usize = 65536;

/// `setgroups([])`, as ids change. The child needs the privilege to drop groups
/// only if it becomes another user: one of its three ids changes.
pub(crate) fn clear_groups(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let (uid, gid) = (plan.ids.uid, plan.ids.gid);
    let (nr, own, option, reasons) = match (uid, gid) {
        _ if plan.ids.groups.is_set() => return Ok(()),
        // The child has no privilege through them in there.
        _ if denies_groups(plan) => return Ok(()),
        (Some(uid), _) => (libc::SYS_getresuid, uid, "uid", UID_CLEARS),
        (None, Some(gid)) => (libc::SYS_getresgid, gid, "gid", GID_CLEARS),
        (None, None) => return Ok(()),
    };
    let own = plan.words(Step::Setgroups, &own.map(u64::from))?;
    let addresses = id_addresses();
    let same = [addresses[0], own.into(), own.len.into()];
    let same = local_row(local::COMPARE, &same);
    let same = Call { check: Check::Skip, skip: 3 * ROW, ..same };
    let skip = local_row(local::VALUE, &[Arg::Value(0)]);
    let skip = Call { check: Check::Skip, skip: ROW, ..skip };
    plan.step(Step::Setgroups, Operand::EmptyList)
        .call(nr, &addresses)
        .row(same)
        .row(no_groups())
        .row(count_groups(0))
        .row(skip)
        .row(Call { check: Check::May, ..no_groups() })
        .note("groups: none, as the ids change")
        .effect(Effect::NoGroups)
        .reasons(reasons)
        .needs_private(option, PRIVATE);
    Ok(())
}

/// `setgroups(list)`, verified by the number of groups. They cannot be
/// compared: in a user namespace the kernel returns them in the order of ids
/// that the namespace does not show. A filter can make the call without
/// effect and leave as many groups as before, so all groups are dropped
/// first; not in place, where the process keeps them if the call fails.
pub(crate) fn setgroups(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let GroupsSetting::List(list) = &plan.ids.groups.0 else {
        return Ok(());
    };
    let mut list = list.clone();
    // The order in which the kernel keeps them, duplicates included.
    list.sort_unstable();
    if list.last() == Some(&u32::MAX) {
        let why = "the kernel takes 4294967295 (-1) for \"no change\"";
        return plan.refuse(Step::Groups, why, u32::MAX);
    }
    if list.len() > MOST_GROUPS {
        let why = "a process has at most 65,536 groups";
        return Err(Error::refused(Step::Groups, why));
    }
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = plan.plan.strings.numbers(&list);
    let list = list.map_err(|why| why.of(Step::Groups, ""))?;
    let in_place = plan.in_place();
    let mut step = plan.step(Step::Setgroups, Operand::Ids(list));
    if count > 0 && !in_place {
        step = step.row(no_groups()).row(count_groups(0));
    }
    step.call(libc::SYS_setgroups, &[count.into(), list.into()])
        .row(count_groups(count))
        .note("groups, counted")
        .effect(Effect::Groups(list))
        .reasons(&[(libc::EPERM, MAY_NOT), (libc::EINVAL, NO_GROUPS)])
        .needs_private("groups", PRIVATE);
    Ok(())
}

fn no_groups() -> Call {
    row(libc::SYS_setgroups, &[])
}

fn count_groups(count: u32) -> Call {
    let row = row(libc::SYS_getgroups, &[]);
    Call { check: Check::Equal, want: count.into(), ..row }
}

/// `setresgid`, read back.
pub(crate) fn setgid(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if let Some(ids) = plan.ids.gid {
        let operand = operand(plan, Step::Setresgid, ids)?;
        let step = plan
            .step(Step::Setresgid, operand)
            .call(libc::SYS_setresgid, &ids.map(Arg::from));
        read_back(step, libc::SYS_getresgid, ids)
            .note("gid, read back")
            .effect(Effect::Gid(ids[1]))
            .reasons(&[
                (libc::EPERM, "gid takes CAP_SETGID"),
                (libc::EINVAL, NO_GID),
            ])
            .needs_private("gid", PRIVATE);
    }
    Ok(())
}

/// `setresuid`, read back.
pub(crate) fn setuid(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if let Some(ids) = plan.ids.uid {
        let operand = operand(plan, Step::Setresuid, ids)?;
        let step = plan
            .step(Step::Setresuid, operand)
            .call(libc::SYS_setresuid, &ids.map(Arg::from));
        read_back(step, libc::SYS_getresuid, ids)
            .note("uid, read back")
            .effect(Effect::Uid(ids[1]))
            .reasons(&[
                (libc::EPERM, "uid takes CAP_SETUID"),
                (libc::EINVAL, NO_UID),
                (libc::EAGAIN, FULL),
            ])
            .needs_private("uid", PRIVATE);
    }
    Ok(())
}

/// Where `getresuid` and `getresgid` store the three ids, a word each.
fn id_addresses() -> [Arg; 3] {
    [0, 1, 2].map(|n| Arg::Slot(slot::IDS_ADDR + n))
}

/// One number if the three ids are the same.
fn operand(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    ids: [u32; 3],
) -> Result<Operand, Error> {
    if ids == [ids[0]; 3] {
        return Ok(Operand::Number(ids[0].into()));
    }
    let list = plan.plan.strings.numbers(&ids);
    Ok(Operand::Ids(list.map_err(|why| why.of(step, ""))?))
}

/// Verifies the real, effective and saved id: a filter can make the change
/// without effect.
fn read_back(
    step: StepBuilder<'_>,
    nr: libc::c_long,
    ids: [u32; 3],
) -> StepBuilder<'_> {
    let step = step.call(nr, &id_addresses());
    (0..).zip(ids).fold(step, |step, (n, id)| {
        let row = local_row(local::VALUE, &[Arg::Slot(slot::IDS + n)]);
        step.row(Call { check: Check::Equal, want: id.into(), ..row })
    })
}
