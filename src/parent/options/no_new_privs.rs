//! No new privileges: the program cannot gain any by executing another.

use crate::call::{Call, Check};
use crate::parent::command::Command;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, row};

impl Command {
    /// Sets whether the program, and what it starts, is kept from gaining
    /// privileges by execve ([`prctl(2)`] with PR_SET_NO_NEW_PRIVS): set-user-ID
    /// and set-group-ID bits and file capabilities have no effect. It cannot
    /// be undone.
    ///
    /// The child sets it after its ids and capabilities, and reads it back.
    /// An unprivileged process needs it for a seccomp filter and for Landlock.
    /// `false` leaves what is inherited.
    ///
    /// # Errors
    ///
    /// [`Step::NoNewPrivs`], if a filter makes the call fail or have no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut grep = offshoot::Command::new("grep");
    /// grep.args(["NoNewPrivs", "/proc/self/status"]).no_new_privs(true);
    /// assert_eq!(grep.output()?.stdout, b"NoNewPrivs:\t1\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html
    pub fn no_new_privs(&mut self, no_new_privs: bool) -> &mut Command {
        self.options.identity.no_new_privs = no_new_privs;
        self
    }
}

/// `prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`, read back. The flag is the
/// task's and not the memory's.
pub(crate) fn no_new_privs(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if !plan.options().identity.no_new_privs {
        return Ok(());
    }
    let option = |option: i32| Arg::Value(option.unsigned_abs().into());
    let get = row(libc::SYS_prctl, &[option(libc::PR_GET_NO_NEW_PRIVS)]);
    plan.step(Step::NoNewPrivs, Operand::None)
        .call(libc::SYS_prctl, &[option(libc::PR_SET_NO_NEW_PRIVS), 1.into()])
        .row(Call { check: Check::Equal, want: 1, ..get })
        .shown_as("prctl")
        .note("PR_SET_NO_NEW_PRIVS, read back");
    Ok(())
}
