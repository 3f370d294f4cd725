//! The working directory and the root directory.

use crate::parent::command::Command;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Effect, Operand, PlanBuilder, SourceFd, fixed_strings,
};
use crate::parent::std::{os::fd::OwnedFd, path::Path, sync::Arc};

impl Command {
    /// Sets the working directory of the child.
    ///
    /// The child changes to it before exec, so a relative program path and a
    /// relative interpreter are resolved from there.
    ///
    /// # Errors
    ///
    /// [`Step::Chdir`] with the directory and the error of [`chdir(2)`]:
    /// ENOENT, ENOTDIR, EACCES, ELOOP. [`Step::CurrentDir`] if the path is
    /// empty or contains a NUL byte, or if [`Command::current_dir_fd`] is set
    /// too.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("pwd").current_dir("/").output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`chdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.directory.current_dir = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Sets the working directory of the child to an open directory.
    ///
    /// The child starts in the directory that was opened, even if its path
    /// refers to another one by then. `O_PATH` is enough. The program does not
    /// inherit the descriptor.
    ///
    /// # Errors
    ///
    /// [`Step::CurrentDir`] if [`Command::current_dir`] is set too;
    /// [`Step::CurrentDirFd`] with EBADF if the descriptor is closed;
    /// [`Step::Fchdir`] with ENOTDIR or EACCES ([`fchdir(2)`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// let mut pwd = offshoot::Command::new("pwd");
    /// let output = pwd.current_dir_fd(File::open("/")?).output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`fchdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    pub fn current_dir_fd(&mut self, dir: impl Into<OwnedFd>) -> &mut Command {
        self.options.directory.current_dir_fd = Some(Arc::new(dir.into()));
        self
    }

    /// Sets the root directory of the child ([`chroot(2)`]).
    ///
    /// The child then changes to a directory inside it: to
    /// [`Command::current_dir`], resolved from the new root, or to `/`. The
    /// program, its interpreter and its libraries are looked up inside too.
    ///
    /// The option completes a drop of privileges ([`Command::uid`]). Alone it
    /// does not confine a program that is root or can become root.
    ///
    /// # Errors
    ///
    /// [`Step::Chroot`] with EPERM without CAP_SYS_CHROOT, or with ENOENT,
    /// ENOTDIR or EACCES. Refused if the path is empty or contains a NUL byte,
    /// and with [`Command::current_dir_fd`], which could refer to a directory
    /// outside.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// let mut server = Command::new("/bin/server");
    /// server.chroot("/srv/jail").current_dir("/var/empty").uid(65534);
    /// server.gid(65534).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`chroot(2)`]: https://man7.org/linux/man-pages/man2/chroot.2.html
    pub fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.directory.chroot = Some(dir.as_ref().to_path_buf());
        self
    }
}

/// `chroot(dir)`, then `chdir("/")`: a process that may call chroot can leave
/// its root while its working directory is outside. If `current_dir` is
/// absolute, `chdir` follows with only changes of ids in between, and "/" is
/// left out; not in place, where the process continues if a step fails.
pub(crate) fn chroot(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().directory;
    let Some(dir) = &options.chroot else { return Ok(()) };
    not_empty(Step::Chroot, dir)?;
    if options.current_dir_fd.is_some() {
        let why = "current_dir_fd may refer to a directory outside";
        return Err(Error::refused(Step::Chroot, why).with(dir));
    }
    let root = plan.text(Step::Chroot, dir.as_os_str())?;
    let dir = options.current_dir.as_ref();
    let absolute = dir.is_some_and(|dir| dir.is_absolute());
    let in_place = plan.in_place();
    let mut step = plan
        .step(Step::Chroot, Operand::Text(root))
        .call(libc::SYS_chroot, &[root.into()]);
    if in_place || !absolute {
        step = step.call(libc::SYS_chdir, &[fixed_strings::ROOT.into()]);
    }
    step.note("then chdir \"/\"")
        .effect(Effect::Root(root))
        .reasons(&[(libc::EPERM, "chroot takes CAP_SYS_CHROOT")]);
    Ok(())
}

fn not_empty(step: Step, dir: &Path) -> Result<(), Error> {
    if dir.as_os_str().is_empty() {
        let error = Error::refused_as(step, libc::ENOENT, "the path is empty");
        return Err(error.with(dir));
    }
    Ok(())
}

/// `chdir(path)`.
pub(crate) fn chdir(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().directory;
    let Some(dir) = &options.current_dir else { return Ok(()) };
    if options.current_dir_fd.is_some() {
        let why = "current_dir_fd sets the directory too";
        return Err(Error::refused(Step::CurrentDir, why).with(dir));
    }
    not_empty(Step::CurrentDir, dir)?;
    let path = plan.text(Step::CurrentDir, dir.as_os_str())?;
    plan.step(Step::Chdir, Operand::Text(path))
        .call(libc::SYS_chdir, &[path.into()])
        .effect(Effect::Dir(path));
    Ok(())
}

/// `fchdir(fd)`.
pub(crate) fn fchdir(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(dir) = &plan.options().directory.current_dir_fd else {
        return Ok(());
    };
    let source = SourceFd::open_until_exec(Step::CurrentDirFd, dir);
    let index = plan.keep_fd(source)?;
    plan.step(Step::Fchdir, Operand::Fd(index))
        .call(libc::SYS_fchdir, &[Arg::Fd(index)])
        .note("current_dir_fd")
        .effect(Effect::DirFd(index));
    Ok(())
}
