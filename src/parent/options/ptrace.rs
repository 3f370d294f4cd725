//! Tracing: the child asks to be traced by the thread that starts it.

use crate::call::{Call, Check};
use crate::parent::command::Command;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Operand, PlanBuilder, Reasons, row};
use crate::sys::bits;

impl Command {
    /// Sets whether the child asks to be traced by its parent
    /// (`PTRACE_TRACEME`, [`ptrace(2)`]), as a debugger starts its program.
    ///
    /// The program stops by SIGTRAP after exec, before its first instruction,
    /// and at each signal afterwards, until the tracer continues it. The
    /// tracer is the *thread* that spawns: no other can make ptrace calls for
    /// the child, and the child is released when this thread ends. A set-user-ID
    /// program gets no privileges.
    ///
    /// `spawn` returns without waiting for the stop: `waitpid` reports it.
    /// [`Child::wait`] and [`Child::try_wait`] do not report or consume stops;
    /// continue or detach the child first, or `wait` does not return.
    /// [`Command::status`] and [`Command::output`] therefore never return.
    ///
    /// A signal that stops the child before its exec is passed on by the
    /// spawning thread, which takes up to 20 ms; SIGSTOP, SIGTSTP, SIGTTIN and
    /// SIGTTOU are discarded there. The child has private memory, as this
    /// thread could otherwise not continue it.
    ///
    /// # Errors
    ///
    /// [`Step::PtraceTraceme`] with a [`Command::pre_exec`], which may fork, with
    /// [`Command::die_with_parent`], whose thread would be the tracer, and with
    /// [`Memory::Shared`](crate::Memory::Shared); with EPERM, if another process traces the child
    /// (a debugger that follows forks), `kernel.yama.ptrace_scope` is 3, or a
    /// filter rejects the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let mut child = Command::new("true").ptrace_traceme(true).spawn()?;
    /// let pid = i32::try_from(child.id()).unwrap();
    /// let mut status = 0;
    /// # #[cfg(not(miri))]
    /// unsafe {
    ///     assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
    ///     assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP);
    ///     libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0);
    /// }
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Child::wait`]: crate::Child::wait
    /// [`Child::try_wait`]: crate::Child::try_wait
    /// [`ptrace(2)`]: https://man7.org/linux/man-pages/man2/ptrace.2.html
    pub fn ptrace_traceme(&mut self, traced: bool) -> &mut Command {
        self.options.security.ptrace_traceme = traced;
        self
    }
}

const REASONS: Reasons = &[(
    libc::EPERM,
    "another process traces the child, kernel.yama.ptrace_scope is 3, or a \
     filter rejects ptrace",
)];

/// `ptrace(PTRACE_TRACEME)`, twice: the kernel rejects the second call, and a
/// filter that makes it without effect does not.
pub(crate) fn ptrace_traceme(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if !plan.options().security.ptrace_traceme {
        return Ok(());
    }
    if !plan.options().hooks.child.is_empty() {
        let why = "a hook may fork, and no thread would trace the fork";
        return plan.refuse(Step::PtraceTraceme, why, "pre_exec");
    }
    if plan.options().signals.die_with_parent {
        let why = "the thread that waits for the child would trace it";
        return plan.refuse(Step::PtraceTraceme, why, "die_with_parent");
    }
    let again = Call {
        check: Check::Equal,
        want: bits(-i64::from(libc::EPERM)),
        ..row(libc::SYS_ptrace, &[])
    };
    let why = "a stop before exec would suspend the tracer";
    plan.step(Step::PtraceTraceme, Operand::Label("PTRACE_TRACEME"))
        .call(libc::SYS_ptrace, &[])
        .row(again)
        .shown_as("ptrace")
        .note("by the thread that spawns")
        .reasons(REASONS)
        .needs_private("ptrace_traceme", why);
    plan.plan.traced = true;
    Ok(())
}
