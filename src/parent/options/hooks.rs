//! What this process does with a child before the program runs.

use crate::parent::command::Command;
use crate::parent::command::parent_hook::ParentHook;
use crate::parent::std::{io, os::fd::BorrowedFd};

impl Command {
    /// Calls `function` in this process, on the thread that spawns, once the
    /// child is there and has done all else, and has not become the program
    /// yet: to write its id maps, to note its id before it can do anything,
    /// to put it where only its parent can. It is given the child's process
    /// id and, from Linux 5.3 on, a descriptor for it ([`pidfd_open(2)`]).
    ///
    /// The child waits, with its ids, directory and descriptors as they will
    /// be, all signals blocked, and its memory its own
    /// ([`Engine::Isolated`](crate::Engine::Isolated), else copied). It runs
    /// nothing of this process, so unlike [`Command::pre_exec`] the function
    /// may take locks, allocate and spawn. It must come to an end, as the
    /// spawn waits for it: a wait for any child (`waitpid(-1)`) does not
    /// return while this one is the only one; and it must not end its
    /// thread behind Rust's back (`pthread_exit`). Should the thread end all
    /// the same, so does the child (`PR_SET_PDEATHSIG`, cleared again before
    /// the program).
    ///
    /// Functions add up, and are called in the order they were added, before
    /// any of [`Command::pre_exec`]. They are called once for each child: a
    /// spawn that begins anew, as its program was still open for writing, or
    /// in a lesser way, calls them again, with another child.
    ///
    /// # Errors
    ///
    /// The spawn gives [`Step::BeforeExec`](crate::Step::BeforeExec) with
    /// what the function gave, and the child is ended by SIGKILL and waited
    /// for, as it is if the function panics. Refused beside
    /// [`Memory::Shared`](crate::Memory::Shared) and what asks for it, as
    /// the caller sleeps there; and by [`Command::exec`], which makes no
    /// process.
    ///
    /// See [`PR_SET_PDEATHSIG(2const)`].
    ///
    /// [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [`PR_SET_PDEATHSIG(2const)`]: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs;
    /// use offshoot::Command;
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "cat /proc/self/oom_score_adj"]);
    /// sh.before_exec(|pid, _pidfd| {
    ///     fs::write(format!("/proc/{pid}/oom_score_adj"), "500")
    /// });
    /// assert_eq!(sh.output()?.stdout, b"500\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn before_exec(
        &mut self,
        function: impl Fn(u32, Option<BorrowedFd<'_>>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> &mut Command {
        self.options.before.push(ParentHook::new(function));
        self
    }
}
