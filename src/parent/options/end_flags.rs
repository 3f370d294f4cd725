//! End: whether the kernel reaps the program, and kills it.

use crate::parent::command::Command;

impl Command {
    /// Sets whether the kernel reaps the program as soon as it ends
    /// (`CLONE_AUTOREAP`, Linux 7.1; see [`clone(2)`]): it leaves no zombie,
    /// also if it is never waited for, its end raises no SIGCHLD, and no
    /// `waitpid(-1)` of other code takes its status.
    ///
    /// The status is kept as long as there is a pidfd, so every wait of
    /// [`Child`], [`Process`] and [`WaitSet`] works as usual, from any number
    /// of processes that have it. [`PidFd::info`] has it too. What does not:
    ///
    /// - [`waitid(2)`] and its like, which give ECHILD from the end on;
    /// - [`Child::wait_usage`], as the usage is lost;
    /// - [`Child::kill_tree`] without [`Command::own_cgroup`], as another
    ///   process can get the process id while descendants are searched for.
    ///
    /// [`Child::id`] is the child's only until it has ended, not until it was
    /// waited for; signals of this crate are sent by the pidfd. A program that
    /// stops or continues still raises SIGCHLD.
    ///
    /// A child that was killed near its exec can look like a program that was
    /// killed: [`Launch::confirmed`] is false then.
    ///
    /// # Errors
    ///
    /// [`Step::Autoreap`] with EINVAL, if the kernel does not have the flag;
    /// with the errno of clone3, if the kernel or a filter does not have that:
    /// the option is not left out. It names an option that it cannot be
    /// combined with: `method` (all but [`Method::Clone3`] and
    /// [`Method::Auto`]), `engine` ([`Engine::Pipe`]), `ptrace_traceme`.
    /// [`Step::Clone`] with EMFILE, if no descriptor is free for the pidfd, and
    /// of [`Command::detach`] and [`Command::spawn_sibling`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut command = Command::new("true");
    /// match command.autoreap(true).spawn() {
    ///     Ok(mut child) => assert!(child.wait()?.success()),
    ///     // Before Linux 7.1.
    ///     Err(error) => assert_eq!(error.step(), Step::Autoreap),
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Child`]: crate::Child
    /// [`Process`]: crate::Process
    /// [`WaitSet`]: crate::WaitSet
    /// [`PidFd::info`]: crate::PidFd::info
    /// [`Child::wait_usage`]: crate::Child::wait_usage
    /// [`Child::kill_tree`]: crate::Child::kill_tree
    /// [`Child::id`]: crate::Child::id
    /// [`Launch::confirmed`]: crate::Launch::confirmed
    /// [`Step::Autoreap`]: crate::Step::Autoreap
    /// [`Step::Clone`]: crate::Step::Clone
    /// [`Method::Clone3`]: crate::Method::Clone3
    /// [`Method::Auto`]: crate::Method::Auto
    /// [`Engine::Pipe`]: crate::Engine::Pipe
    /// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    pub fn autoreap(&mut self, autoreap: bool) -> &mut Command {
        self.options.launch.autoreap = autoreap;
        self
    }

    /// Sets whether the kernel kills the program (SIGKILL) when the last copy
    /// of its pidfd is closed (`CLONE_PIDFD_AUTOKILL`, Linux 7.1; see
    /// [`clone(2)`]): at the drop of the [`Child`], and at the end of this
    /// process, however it ends, by SIGKILL too, and not at that of one of its
    /// threads. It implies [`Command::autoreap`].
    ///
    /// Copies of the pidfd postpone that: a [`Process`], [`Child::into_pidfd`],
    /// [`PidFd::try_clone`], a copy sent to another process, and the
    /// descriptor table of a process that this one has forked, until that
    /// executes a program or ends. A descriptor of [`PidFd::open`] is no copy.
    /// When this process executes another program, that closes the pidfd and
    /// ends the child.
    ///
    /// | | the drop of `Child` | the end of this process | set-user-ID programs | what the program starts |
    /// | --- | --- | --- | --- | --- |
    /// | `autokill` | kills | kills | kills | goes on |
    /// | [`Command::die_with_parent`] | goes on | kills, needs a thread for each child | goes on | goes on |
    /// | [`Child::kill_on_drop`] | kills | goes on, if no drop runs | goes on | goes on |
    ///
    /// The program cannot undo it. The kernel takes `no_new_privs` of the
    /// child for that, or CAP_SYS_ADMIN in this process's user namespace: so
    /// set [`Command::no_new_privs`] too, unless this process is privileged.
    /// With both, the child has the flag from its creation on (`CLONE_NNP`).
    ///
    /// # Errors
    ///
    /// [`Step::Autokill`] with EPERM, if neither is the case. As
    /// [`Command::autoreap`], with [`Step::Autokill`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut command = Command::new("sleep");
    /// let sleep = command.arg("60").no_new_privs(true).autokill(true).spawn();
    /// match sleep {
    ///     // The kernel kills it.
    ///     Ok(child) => drop(child),
    ///     // Before Linux 7.1.
    ///     Err(error) => assert_eq!(error.step(), Step::Autokill),
    /// }
    /// ```
    ///
    /// [`Child`]: crate::Child
    /// [`Process`]: crate::Process
    /// [`Child::into_pidfd`]: crate::Child::into_pidfd
    /// [`Child::kill_on_drop`]: crate::Child::kill_on_drop
    /// [`PidFd::try_clone`]: crate::PidFd::try_clone
    /// [`PidFd::open`]: crate::PidFd::open
    /// [`Step::Autokill`]: crate::Step::Autokill
    /// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    pub fn autokill(&mut self, autokill: bool) -> &mut Command {
        self.options.launch.autokill = autokill;
        self
    }
}
