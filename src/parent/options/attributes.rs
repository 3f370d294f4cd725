//! Attributes: how likely the kernel kills the child, and how it lays out its
//! memory.

use crate::call::{Call, slot};
use crate::parent::command::{Command, Personality};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Detail, Operand, PlanBuilder, Reasons, row};
use crate::parent::std::string::ToString;

impl Command {
    /// Sets how likely the kernel kills the child when memory runs out, from
    /// -1000 (never) to 1000 (first): `oom_score_adj` of [`proc(5)`]. Without
    /// this option the child inherits the value of this process, which is not
    /// changed.
    ///
    /// # Errors
    ///
    /// [`Step::OomScoreAdj`] for a value outside this range; with EACCES, if
    /// the value is below the lowest that a privileged process has set
    /// before, and the caller lacks CAP_SYS_RESOURCE; with ENOENT, if `/proc`
    /// is not mounted.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut cat = offshoot::Command::new("cat");
    /// let output = cat.arg("/proc/self/oom_score_adj").oom_score_adj(1000).output()?;
    /// assert_eq!(output.stdout, b"1000\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`proc(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html
    pub fn oom_score_adj(&mut self, value: i32) -> &mut Command {
        self.options.attributes.oom_score_adj = Some(value);
        self
    }

    /// Sets the execution domain of the child ([`personality(2)`]), such as
    /// [`Personality::ADDR_NO_RANDOMIZE`] for a program that is debugged. It
    /// replaces the inherited flags.
    ///
    /// # Errors
    ///
    /// [`Step::Personality`] with EPERM, where a container's filter rejects
    /// the value.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, Personality};
    ///
    /// let mut gdbserver = Command::new("gdbserver");
    /// gdbserver.personality(Personality::ADDR_NO_RANDOMIZE).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`personality(2)`]: https://man7.org/linux/man-pages/man2/personality.2.html
    pub fn personality(&mut self, personality: Personality) -> &mut Command {
        self.options.attributes.personality = Some(personality);
        self
    }
}

/// `open("/proc/self/oom_score_adj")`, `write` and `close`.
pub(crate) fn oom_score_adj(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const FLAGS: i32 = libc::O_WRONLY | libc::O_CLOEXEC;
    const REASONS: Reasons = &[
        (libc::EACCES, "a lower value takes CAP_SYS_RESOURCE"),
        (libc::ENOENT, "/proc is not mounted"),
        (libc::EOPNOTSUPP, "/proc is another file system"),
    ];
    let step = Step::OomScoreAdj;
    let Some(value) = plan.options().attributes.oom_score_adj else {
        return Ok(());
    };
    if !(-1000..=1000).contains(&value) {
        let why = "the value is from -1000 to 1000";
        return plan.refuse(step, why, value);
    }
    let path = plan.text(step, "/proc/self/oom_score_adj".as_ref())?;
    let text = plan.text(step, value.to_string().as_ref())?;
    let fd = Arg::Slot(slot::SCRATCH_FD);
    let open = [libc::AT_FDCWD.into(), path.into(), FLAGS.into()];
    let write = row(libc::SYS_write, &[fd, text.into(), text.len.into()]);
    plan.step(step, Operand::Number(value.into()))
        .row(Call { store: slot::SCRATCH_FD, ..row(libc::SYS_openat, &open) })
        .on_procfs(slot::SCRATCH_FD, write)
        .shown_as("write")
        .note("/proc/self/oom_score_adj")
        .needs_suspended(
            "oom_score_adj",
            "the kernel sets it for all processes that share the memory, but \
             for a child whose caller is suspended",
        )
        .reasons(REASONS);
    Ok(())
}

/// `personality(flags)`.
pub(crate) fn personality(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(personality) = plan.options().attributes.personality else {
        return Ok(());
    };
    let bits = personality.bits();
    if bits == u32::MAX {
        let why = "4294967295 (-1) asks the kernel which is set";
        return plan.refuse(Step::Personality, why, bits);
    }
    plan.step(Step::Personality, Operand::Number(bits.into()))
        .call(libc::SYS_personality, &[bits.into()])
        .detail(Detail::Personality(personality))
        .note("execution domain")
        .reasons(&[(libc::EPERM, "a filter rejects this value")]);
    Ok(())
}
