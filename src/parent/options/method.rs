//! Launch: how the child is created, where its program is searched for.

use core::time::Duration;

use crate::parent::command::{Command, Memory, Method, PathSearch};
use crate::parent::std::vec::Vec;

impl Command {
    /// Sets the system call that creates the child.
    ///
    /// A named method is used or the spawn fails. [`Method::Auto`] falls back,
    /// and [`Launch`](crate::Launch) reports it.
    ///
    /// # Errors
    ///
    /// [`Step::Method`](crate::Step::Method), naming the option that the
    /// method does not support; [`Step::Clone`](crate::Step::Clone) with the
    /// kernel's errno (ENOSYS: no clone3).
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Method, Step};
    ///
    /// let mut whoami = Command::new("whoami");
    /// let error = whoami.uid(1).method(Method::Vfork).spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::Method);
    /// assert_eq!(error.operand().unwrap(), "uid");
    /// ```
    pub fn method(&mut self, method: Method) -> &mut Command {
        self.options.launch.method = method;
        self
    }

    /// Sets whether the child may run in this process's memory until exec.
    ///
    /// # Errors
    ///
    /// [`Step::Memory`](crate::Step::Memory), naming the option or method that
    /// needs the other kind of memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Memory};
    ///
    /// let mut true_ = Command::new("true");
    /// assert!(true_.memory(Memory::Private).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn memory(&mut self, memory: Memory) -> &mut Command {
        self.options.launch.memory = memory;
        self
    }

    /// Sets where a program whose name contains no slash is searched for.
    ///
    /// # Errors
    ///
    /// [`Step::PathSearch`](crate::Step::PathSearch) for a directory that
    /// contains a colon or a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, PathSearch};
    ///
    /// let mut env = Command::new("env");
    /// env.env_clear().path_search(PathSearch::Parent);
    /// assert_eq!(env.output()?.stdout, b"");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn path_search(&mut self, search: PathSearch) -> &mut Command {
        self.options.program.path_search = search;
        self
    }

    /// Sets whether the parent looks for a program whose name contains no
    /// slash, when the plan is compiled. The child then executes one file,
    /// where it would try every directory of PATH: that saves the system calls
    /// of a long PATH, above all where a command is prepared once.
    ///
    /// The first regular file that this process may execute is taken
    /// ([`faccessat(2)`]). A file that the child cannot execute is then an
    /// error, without a further search: it may have another user, or the file
    /// was removed meanwhile. If no directory has such a file, the child
    /// searches as usual, and its error has the files that were tried.
    ///
    /// # Errors
    ///
    /// [`Step::PathSearch`](crate::Step::PathSearch), naming `chroot`, if that
    /// is set too: the child has other files.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("true");
    /// ls.env("PATH", "/nope:/usr/bin:/bin").resolve_program(true);
    /// assert!(!ls.plan()?.to_string().contains("/nope"));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`faccessat(2)`]: https://man7.org/linux/man-pages/man2/access.2.html
    pub fn resolve_program(&mut self, resolve: bool) -> &mut Command {
        self.options.program.resolve = resolve;
        self
    }

    /// Sets the process id of the child in each PID namespace that it is in,
    /// the innermost first (Linux 5.5).
    ///
    /// # Errors
    ///
    /// [`Step::SetTid`](crate::Step::SetTid): refused for an id that is not
    /// above 0, for more than 32 ids, and for a method without clone3; EEXIST
    /// if a process has that id; EPERM without CAP_CHECKPOINT_RESTORE; EINVAL
    /// for more ids than PID namespaces ([`clone(2)`]).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let child = offshoot::Command::new("restored").set_tid([4711]).spawn()?;
    /// assert_eq!(child.id(), 4711);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    pub fn set_tid(&mut self, ids: impl Into<Vec<i32>>) -> &mut Command {
        self.options.launch.set_tid = ids.into();
        self
    }

    /// Sets for how long a clone that fails with EAGAIN is retried; by default
    /// not at all.
    ///
    /// The error means that there is no process id at the moment: the user has
    /// as many processes as RLIMIT_NPROC allows, a control group as many as
    /// its pids.max, or the system as many as threads-max or pid_max. In a
    /// burst of short processes one ends soon.
    ///
    /// The calling thread sleeps between the attempts: about 100 us at first,
    /// then twice as long each time, at most about 50 ms. Each pause is
    /// shortened by a random part of up to a half, so that callers that were
    /// rejected together do not try again together. The duration begins with
    /// the first EAGAIN, and [`Launch::again_retries`] returns the number of
    /// retries. An EAGAIN of exec, after a change of user, is not retried.
    ///
    /// # Errors
    ///
    /// [`Step::Clone`](crate::Step::Clone) with EAGAIN when the duration has
    /// passed; [`Step::Cgroup`](crate::Step::Cgroup) if the control group of
    /// the command is full ([`clone(2)`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut job = offshoot::Command::new("true");
    /// let mut child = job.retry_again(Duration::from_secs(5)).spawn()?;
    /// println!("after {} retries", child.launch().again_retries());
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Launch::again_retries`]: crate::Launch::again_retries
    /// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    pub fn retry_again(&mut self, duration: Duration) -> &mut Command {
        self.options.launch.retry_again = duration;
        self
    }
}
