//! Nonblocking: whether reads and writes of a descriptor wait.

use crate::parent::command::{Command, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, Reasons};
use crate::parent::std::os::fd::RawFd;

impl Command {
    /// Sets whether a descriptor that the child is given is non-blocking
    /// (`O_NONBLOCK`): 0, 1, 2, or the target of another option.
    ///
    /// Most programs expect that reads and writes wait, and fail with EAGAIN
    /// where another program has left the terminal or pipe that they inherit
    /// non-blocking: `nonblocking(0, false)` makes it as they expect.
    ///
    /// The flag belongs to the open file, not to the descriptor. It changes
    /// for every process that has this file open, this one included, and
    /// stays so after the program has ended. A file that the child shares
    /// with nobody, such as the end of a pipe ([`Stdio::piped`]) or a file
    /// that is opened for it, is not concerned. The end of a pipe that this
    /// process keeps is another open file.
    ///
    /// # Errors
    ///
    /// [`Step::Nonblocking`] with the number: refused if the child is not
    /// given that descriptor; EBADF if it inherits one of 0 to 2 that is
    /// closed here, or a descriptor that was opened with `O_PATH`.
    ///
    /// See [`ioctl(2)`] (FIONBIO) and [`fcntl(2)`] (`O_NONBLOCK`).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (_here, there) = UnixStream::pair()?;
    /// there.set_nonblocking(true)?;
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "grep flags: /proc/self/fdinfo/0"]).stdin(there);
    /// let output = sh.nonblocking(0, false).output()?;
    /// assert_eq!(output.stdout, b"flags:\t02\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`Stdio::piped`]: crate::Stdio::piped
    /// [`ioctl(2)`]: https://man7.org/linux/man-pages/man2/ioctl.2.html
    /// [`fcntl(2)`]: https://man7.org/linux/man-pages/man2/fcntl.2.html
    pub fn nonblocking(
        &mut self,
        fd: RawFd,
        nonblocking: bool,
    ) -> &mut Command {
        self.options.descriptors.nonblocking.insert(fd, nonblocking);
        self
    }
}

/// `ioctl(fd, FIONBIO, &nonblocking)`: unlike `F_SETFL` it changes one flag.
pub(crate) fn nonblocking(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const REASONS: Reasons = &[(
        libc::EBADF,
        "that descriptor is closed in the child, or opened with O_PATH",
    )];
    for (fd, on) in &plan.options().descriptors.nonblocking {
        if !is_given(plan, *fd) {
            let why = "the child is not given that descriptor";
            return plan.refuse(Step::Nonblocking, why, fd);
        }
        let value = plan.plan.strings.numbers(&[u32::from(*on)]);
        let value = value.map_err(|why| why.of(Step::Nonblocking, ""))?;
        let args = [(*fd).into(), Arg::Value(libc::FIONBIO), Arg::Text(value)];
        let note = match on {
            true => "FIONBIO: O_NONBLOCK is set",
            false => "FIONBIO: O_NONBLOCK is cleared",
        };
        plan.step(Step::Nonblocking, Operand::Number((*fd).into()))
            .call(libc::SYS_ioctl, &args)
            .shown_as("ioctl")
            .note(note)
            .reasons(REASONS);
    }
    Ok(())
}

/// Whether the program has this descriptor, by the options.
fn is_given(plan: &PlanBuilder<'_>, fd: RawFd) -> bool {
    let Ok(number) = u32::try_from(fd) else { return false };
    match plan.plan.stdio.get(number as usize) {
        Some(StdioSource::Closed) => false,
        Some(_) => true,
        None if plan.options().descriptors.unlisted => true,
        None => plan.plan.targets().contains(&number),
    }
}
