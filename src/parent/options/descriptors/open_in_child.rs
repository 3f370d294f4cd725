//! Open in child: files that the child opens, inside its root and as its user.

use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::command::open_options::{ChildOpenOptions, OpenRequest};
use crate::parent::command::{Command, StdioSource};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::{
    Arg, Detail, Operand, PlanBuilder, Reasons, local_row, row, stdio_step,
};
use crate::parent::std::{os::fd::RawFd, path::PathBuf};

impl Command {
    /// Lets the child open a file, and gives it to the program at the number
    /// `target`.
    ///
    /// The child opens it after it has entered its root ([`Command::chroot`])
    /// and directory, and with the ids and the file mode creation mask of the
    /// program: the file is one that the program could open itself, except
    /// that a caller that is not root and has capabilities keeps them until
    /// exec ([`Command::permitted_capabilities`] reduces them before). A
    /// relative path is resolved from the child's directory. To open a file
    /// here, with the rights of this process, use
    /// [`Stdio::open`](crate::Stdio::open) or [`Command::fd`].
    ///
    /// Targets 0 to 2 are allowed if `stdin`, `stdout` or `stderr` does not
    /// set them. Files are opened in the order of the calls. For a log file at
    /// 1 and 2, open it twice with [`ChildOpenOptions::append`]:
    /// [`Stdio::same_as`](crate::Stdio::same_as) makes its copy before.
    ///
    /// The open may wait: at a FIFO until another process opens the other end,
    /// on a network file system. The spawn waits with it. Where the child
    /// shares memory ([`Engine::Suspended`](crate::Engine::Suspended)) no
    /// signal handler runs on the calling thread meanwhile, which only SIGKILL
    /// ends, and a change of ids in another thread waits for it too; with
    /// [`Memory::Private`](crate::Memory::Private) they do.
    /// `O_NONBLOCK` ([`ChildOpenOptions::custom_flags`]) does not wait.
    ///
    /// # Errors
    ///
    /// [`Step::OpenInChild`] with the path and the error of [`open(2)`]:
    /// ENOENT, EACCES, EEXIST, ENXIO, ETXTBSY (after a few retries). Refused if
    /// the target is negative, is assigned twice or is not below the child's
    /// RLIMIT_NOFILE ([`Command::rlimit`], else that of this process), if a [`Stdio::same_as`](crate::Stdio::same_as) copies it,
    /// if the path is empty or contains a NUL byte, and for options that std
    /// rejects too.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{ChildOpenOptions, Command};
    ///
    /// let mut cat = Command::new("cat");
    /// let mut read = ChildOpenOptions::new();
    /// cat.arg("/proc/self/fd/7").current_dir("/proc/self");
    /// // As `comm` is that of the child, the parent could not open it.
    /// cat.open_in_child(7, "comm", read.read(true));
    /// assert!(!cat.output()?.stdout.is_empty());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`open(2)`]: https://man7.org/linux/man-pages/man2/open.2.html
    pub fn open_in_child(
        &mut self,
        target: RawFd,
        path: impl Into<PathBuf>,
        options: &ChildOpenOptions,
    ) -> &mut Command {
        let (path, options) = (path.into(), options.clone());
        let request = OpenRequest { target, path, options };
        self.options.descriptors.opened.push(request);
        self
    }
}

/// `openat`, and `dup3` to the number unless the file is there already.
pub(crate) fn open_in_child(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const OPENED: Arg = Arg::Slot(slot::SCRATCH);
    const REASONS: Reasons = &[
        (libc::ENXIO, "a FIFO without a reader, or a device without a driver"),
        (libc::ETXTBSY, "it is a program that is running"),
    ];
    let step = Step::OpenInChild;
    for request in &plan.options().descriptors.opened {
        let OpenRequest { target, path, options } = request;
        copied(plan, request)?;
        if path.as_os_str().is_empty() {
            let why = "the path is empty";
            return Err(Error::refused_as(step, libc::ENOENT, why).with(path));
        }
        let (flags, mode) = options.flags().map_err(|why| {
            // As std's error.
            Error::refused_as(step, libc::EINVAL, why).with(path)
        })?;
        let path = plan.text(step, path.as_os_str())?;
        let number = plan.plan.strings.numbers(&[target.unsigned_abs(), 0]);
        let number = number.map_err(|why| why.of(step, ""))?;
        let open =
            [libc::AT_FDCWD.into(), path.into(), flags.into(), mode.into()];
        let same = [Arg::Slot(slot::SCRATCH_ADDR), number.into(), 8.into()];
        let setfd = [(*target).into(), libc::F_SETFD.into(), 0.into()];
        let to = [OPENED, (*target).into(), 0.into()];
        let dup = row(libc::SYS_dup3, &to);
        plan.step(step, Operand::Text(path))
            .row(Call { store: slot::SCRATCH, ..row(libc::SYS_openat, &open) })
            .row(Call {
                check: Check::Skip,
                skip: 3 * ROW,
                ..local_row(local::COMPARE, &same)
            })
            .on_opened(slot::SCRATCH, &[dup])
            .call(libc::SYS_fcntl, &setfd)
            .detail(Detail::Target(*target))
            .shown_as("openat")
            .note("opened by the child")
            .reasons(REASONS);
    }
    Ok(())
}

/// A copy of 0 to 2 is made before the child opens the file.
fn copied(plan: &PlanBuilder<'_>, request: &OpenRequest) -> Result<(), Error> {
    let all = (0u8..).zip(&plan.plan.stdio);
    for (n, source) in all {
        match source {
            StdioSource::SameAs(from) if *from == request.target => {
                let why = "same_as: that descriptor is opened by the child, \
                           later";
                return plan.refuse(stdio_step(n), why, from);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Validates the numbers, which no other option may assign. `by` returns the
/// other option.
pub(super) fn check(
    opened: &[OpenRequest],
    by: impl Fn(RawFd) -> Option<Step>,
) -> Result<(), Error> {
    let step = Step::OpenInChild;
    for (n, request) in opened.iter().enumerate() {
        let OpenRequest { target: number, path, .. } = request;
        if *number < 0 {
            let why = "a descriptor's number is 0 or above";
            return Err(Error::refused_as(step, libc::EBADF, why).with(path));
        }
        let mut before = opened.iter().take(n);
        let other = by(*number);
        if other.is_some() || before.any(|one| one.target == *number) {
            let cause = Cause::AssignedTwice { number: *number, by: other };
            return Err(Error::new(step, cause).with(path));
        }
    }
    Ok(())
}
