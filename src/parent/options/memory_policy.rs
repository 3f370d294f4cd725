//! Memory policy: huge pages, merged pages and NUMA nodes of the child.

use super::number_sets::{list, mask, too_high};
use crate::parent::command::{Command, NumaPolicy};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, Reasons};
use crate::parent::std::format;

impl Command {
    /// Sets whether the kernel may use transparent huge pages for the child
    /// (PR_SET_THP_DISABLE of [`prctl(2)`], Linux 3.15). The setting passes to
    /// what the child forks and executes. `true` only removes a restriction
    /// that is inherited; the system's setting still applies.
    ///
    /// The child has memory of its own: the setting belongs to the memory, and
    /// shared memory is the parent's.
    ///
    /// # Errors
    ///
    /// [`Step::TransparentHugePages`], if a filter rejects the call; refused
    /// with [`Memory::Shared`](crate::Memory::Shared).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut grep = offshoot::Command::new("grep");
    /// grep.args(["THP_enabled", "/proc/self/status"]);
    /// let output = grep.transparent_huge_pages(false).output()?;
    /// assert_eq!(output.stdout, b"THP_enabled:\t0\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/PR_SET_THP_DISABLE.2const.html
    pub fn transparent_huge_pages(&mut self, allowed: bool) -> &mut Command {
        self.options.memory_policy.huge_pages = Some(allowed);
        self
    }

    /// Sets whether the kernel may merge equal pages of the child's memory
    /// with those of other processes (KSM: PR_SET_MEMORY_MERGE of
    /// [`prctl(2)`], Linux 6.4; it passes to a program that is executed since
    /// Linux 6.7). Merged pages let other processes find out by timing what
    /// the memory contains.
    ///
    /// The child has memory of its own, as the setting belongs to the memory.
    ///
    /// # Errors
    ///
    /// [`Step::MemoryMerge`] with EPERM, if a kernel wants CAP_SYS_RESOURCE for
    /// it (Linux 6.4 to 6.6 and later ones may not); with EINVAL, if the kernel
    /// has no KSM or is older than Linux 6.4; refused with
    /// [`Memory::Shared`](crate::Memory::Shared).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// offshoot::Command::new("guest").memory_merge(true).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/PR_SET_MEMORY_MERGE.2const.html
    pub fn memory_merge(&mut self, merge: bool) -> &mut Command {
        self.options.memory_policy.merge = Some(merge);
        self
    }

    /// Sets the NUMA nodes that the child's memory comes from
    /// ([`set_mempolicy(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::NumaPolicy`] for an empty list and for a node above 65,535;
    /// with EINVAL, if none of the nodes has memory that the child may use, or
    /// the machine has no such node; with ENOSYS without CONFIG_NUMA; with
    /// EPERM where a container's filter rejects the call.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, NumaPolicy};
    ///
    /// let mut database = Command::new("database");
    /// database.cpu_affinity(0..8).numa_policy(NumaPolicy::Bind(vec![0]));
    /// database.spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`set_mempolicy(2)`]: https://man7.org/linux/man-pages/man2/set_mempolicy.2.html
    pub fn numa_policy(&mut self, policy: NumaPolicy) -> &mut Command {
        self.options.memory_policy.numa = Some(policy);
        self
    }
}

/// The setting is one of the memory, and shared memory is the parent's.
const PRIVATE: &str = "it would apply to the parent's memory";

/// `prctl(PR_SET_THP_DISABLE, disable, 0, 0, 0)`.
pub(crate) fn transparent_huge_pages(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let Some(allowed) = plan.options().memory_policy.huge_pages else {
        return Ok(());
    };
    let name = if allowed { "allowed" } else { "not allowed" };
    let option = libc::PR_SET_THP_DISABLE.into();
    plan.step(Step::TransparentHugePages, Operand::Name(name))
        .call(libc::SYS_prctl, &[option, u32::from(!allowed).into()])
        .shown_as("prctl")
        .note("PR_SET_THP_DISABLE")
        .needs_private("transparent_huge_pages", PRIVATE);
    Ok(())
}

/// `prctl(PR_SET_MEMORY_MERGE, merge, 0, 0, 0)`.
pub(crate) fn memory_merge(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const PR_SET_MEMORY_MERGE: u32 = 67;
    const REASONS: Reasons = &[
        (libc::EPERM, "this kernel wants CAP_SYS_RESOURCE for it"),
        (libc::EINVAL, "the kernel has no KSM, or is older than Linux 6.4"),
    ];
    let Some(merge) = plan.options().memory_policy.merge else {
        return Ok(());
    };
    let name = if merge { "on" } else { "off" };
    let args = [PR_SET_MEMORY_MERGE.into(), u32::from(merge).into()];
    plan.step(Step::MemoryMerge, Operand::Name(name))
        .call(libc::SYS_prctl, &args)
        .shown_as("prctl")
        .note("PR_SET_MEMORY_MERGE")
        .reasons(REASONS)
        .needs_private("memory_merge", PRIVATE);
    Ok(())
}

/// `set_mempolicy(mode, &nodes, bits)`.
pub(crate) fn numa_policy(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (libc::EINVAL, "the child may not use memory of such a node"),
        (libc::ENOSYS, "the kernel has no NUMA (CONFIG_NUMA)"),
        (libc::EPERM, "a filter rejects the call"),
    ];
    let step = Step::NumaPolicy;
    let Some(policy) = &plan.options().memory_policy.numa else {
        return Ok(());
    };
    let one;
    let (mode, name, nodes) = match policy {
        NumaPolicy::Default => (0u32, "default", None),
        NumaPolicy::Preferred(node) => {
            one = [*node];
            (1, "preferred", Some(&one[..]))
        }
        NumaPolicy::Bind(nodes) => (2, "bind", Some(nodes.as_slice())),
        NumaPolicy::Interleave(nodes) => {
            (3, "interleave", Some(nodes.as_slice()))
        }
        NumaPolicy::Local => (4, "local", None),
    };
    let mut args = [mode.into(), 0.into(), 0.into()];
    if let Some(nodes) = nodes {
        let Some(mask) = mask(nodes) else {
            let why = "it takes one node at least, and numbers up to 65,535";
            return plan.refuse(step, why, too_high(nodes));
        };
        // The kernel reads one bit less than this number.
        let bits = 64 * mask.len() as u64 + 1;
        // Rounded up to words, that is one word more.
        let mask = [mask.as_slice(), &[0]].concat();
        let mask = plan.words(step, &mask)?;
        args = [mode.into(), mask.into(), Arg::Value(bits)];
    }
    let operand = match nodes {
        Some(nodes) => {
            let shown = format!("{name} {}", list(nodes));
            Operand::Text(plan.text(step, shown.as_ref())?)
        }
        None => Operand::Name(name),
    };
    plan.step(step, operand)
        .call(libc::SYS_set_mempolicy, &args)
        .shown_as("set_mempolicy")
        .reasons(REASONS);
    Ok(())
}
