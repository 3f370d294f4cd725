//! The working directory and the root directory.

use crate::parent::command::Command;
use crate::parent::error::{Error, Step};
use crate::parent::plan::builder::{Arg, PlanBuilder};
use crate::parent::plan::fixed_strings;
use crate::parent::plan::source_fd::SourceFd;
use crate::parent::plan::step::{Effect, Operand};
use crate::parent::std::{
    os::fd::OwnedFd, os::unix::ffi::OsStrExt, path::Path, sync::Arc,
};

impl Command {
    /// The directory that the child starts in. It goes there before exec, so
    /// a relative program and a relative interpreter are looked up from
    /// there.
    ///
    /// # Errors
    ///
    /// Spawning fails at [`Step::Chdir`] with the reason that [`chdir(2)`]
    /// gives (ENOENT, ENOTDIR, EACCES, ELOOP), naming the directory.
    ///
    /// [`Step::Chdir`]: crate::Step::Chdir
    /// [`chdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("pwd").current_dir("/").output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.directory.current_dir = Some(dir.as_ref().to_path_buf());
        self
    }

    /// The directory that the child starts in, as a descriptor: the one that
    /// was opened, whatever its path leads to by now. `O_PATH` is enough.
    /// The program does not have the descriptor.
    ///
    /// # Errors
    ///
    /// [`Step::CurrentDir`], if [`Command::current_dir`] is told as well;
    /// [`Step::CurrentDirFd`] with EBADF; [`Step::Fchdir`] with ENOTDIR or
    /// EACCES ([`fchdir(2)`]).
    ///
    /// [`Step::CurrentDir`]: crate::Step::CurrentDir
    /// [`Step::CurrentDirFd`]: crate::Step::CurrentDirFd
    /// [`Step::Fchdir`]: crate::Step::Fchdir
    /// [`fchdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
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
    pub fn current_dir_fd(&mut self, dir: impl Into<OwnedFd>) -> &mut Command {
        self.options.directory.current_dir_fd = Some(Arc::new(dir.into()));
        self
    }

    /// The directory that becomes the child's root ([`chroot(2)`]), always
    /// followed by a directory inside it: [`Command::current_dir`], seen
    /// from there, else `/`. The program, its interpreter and its libraries
    /// are looked up inside.
    ///
    /// It completes a drop of privileges ([`Command::uid`]); by itself it
    /// holds nobody who is or becomes root.
    ///
    /// # Errors
    ///
    /// [`Step::Chroot`] with EPERM, without CAP_SYS_CHROOT; ENOENT, ENOTDIR,
    /// EACCES; refused with [`Command::current_dir_fd`], which could lead
    /// outside, and for an empty name or a NUL byte.
    ///
    /// [`Step::Chroot`]: crate::Step::Chroot
    /// [`chroot(2)`]: https://man7.org/linux/man-pages/man2/chroot.2.html
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
    pub fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.directory.chroot = Some(dir.as_ref().to_path_buf());
        self
    }
}

/// `chroot(dir)`, then `chdir("/")`: a process that may call chroot can leave
/// a root whose outside is still its directory. An absolute directory of the
/// child's is entered next, with only changes of ids in between; in place
/// the process may go on after a step that fails, so "/" is entered first.
pub(crate) fn chroot(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = plan.options();
    let Some(dir) = &options.directory.chroot else { return Ok(()) };
    not_empty(Step::Chroot, dir)?;
    if options.directory.current_dir_fd.is_some() {
        let why = "current_dir_fd may lead out of it";
        return Err(Error::refused(Step::Chroot, why).with(dir));
    }
    let root = plan.text(Step::Chroot, dir.as_os_str())?;
    let enters = options
        .directory
        .current_dir
        .as_ref()
        .is_some_and(|dir| dir.as_os_str().as_bytes().starts_with(b"/"));
    let in_place = plan.in_place();
    let mut step = plan
        .step(Step::Chroot, Operand::Text(root))
        .call(libc::SYS_chroot, &[root.into()]);
    if in_place || !enters {
        step = step.call(libc::SYS_chdir, &[fixed_strings::ROOT.into()]);
    }
    step.note("then chdir \"/\"")
        .effect(Effect::Root(root))
        .reasons(&[(libc::EPERM, "chroot takes CAP_SYS_CHROOT")]);
    Ok(())
}

fn not_empty(step: Step, dir: &Path) -> Result<(), Error> {
    if dir.as_os_str().is_empty() {
        let error = Error::refused_as(step, libc::ENOENT, "it is empty");
        return Err(error.with(dir));
    }
    Ok(())
}

/// `chdir(path)`.
pub(crate) fn chdir(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = plan.options();
    let Some(dir) = &options.directory.current_dir else { return Ok(()) };
    if options.directory.current_dir_fd.is_some() {
        let why = "current_dir_fd gives the directory too";
        return Err(Error::refused(Step::CurrentDir, why).with(dir));
    }
    not_empty(Step::CurrentDir, dir)?;
    let path = plan.text(Step::CurrentDir, dir.as_os_str())?;
    plan.step(Step::Chdir, Operand::Text(path))
        .call(libc::SYS_chdir, &[path.into()])
        .effect(Effect::Dir(path));
    Ok(())
}

/// `fchdir` to a source descriptor.
pub(crate) fn fchdir(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(dir) = &plan.options().directory.current_dir_fd else {
        return Ok(());
    };
    let place = plan.keep_fd(SourceFd::held(Step::CurrentDirFd, dir))?;
    plan.step(Step::Fchdir, Operand::Fd(place))
        .call(libc::SYS_fchdir, &[Arg::Fd(place)])
        .note("current_dir_fd")
        .effect(Effect::DirFd(place));
    Ok(())
}
