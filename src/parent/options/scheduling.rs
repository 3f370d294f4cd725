//! Scheduling: how much CPU time the child gets.

use crate::parent::command::Command;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Operand, PlanBuilder};

impl Command {
    /// Sets the nice value of the child, from -20 (the most CPU time) to 19
    /// (the least). The value is absolute, as in [`setpriority(2)`]; it does
    /// not add to the one of this process, as [`nice(2)`] does. Without this
    /// option the child inherits the value of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Step::Nice`] for a value outside this range; with EACCES, if the
    /// value is below the inherited one, the caller lacks CAP_SYS_NICE, and
    /// RLIMIT_NICE does not allow it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut nice = offshoot::Command::new("nice");
    /// assert_eq!(nice.nice(19).output()?.stdout, b"19\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::Nice`]: crate::Step::Nice
    /// [`nice(2)`]: https://man7.org/linux/man-pages/man2/nice.2.html
    /// [`setpriority(2)`]: https://man7.org/linux/man-pages/man2/getpriority.2.html
    pub fn nice(&mut self, value: i32) -> &mut Command {
        self.options.scheduling.nice = Some(value);
        self
    }
}

/// `setpriority(PRIO_PROCESS, 0, value)`.
pub(crate) fn nice(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const LOWER: &str = "a value below the inherited one takes CAP_SYS_NICE \
                         or RLIMIT_NICE";
    let Some(value) = plan.options().scheduling.nice else { return Ok(()) };
    if !(-20..=19).contains(&value) {
        let why = "a nice value is from -20 to 19";
        return plan.refuse(Step::Nice, why, value);
    }
    let which = libc::PRIO_PROCESS.into();
    plan.step(Step::Nice, Operand::Number(value.into()))
        .call(libc::SYS_setpriority, &[which, 0.into(), value.into()])
        .shown_as("setpriority")
        .note("nice value")
        .reasons(&[(libc::EACCES, LOWER)]);
    Ok(())
}
