//! Programs that are no path: a descriptor, bytes, this program itself.

use crate::parent::command::Command;
use crate::parent::command::program_source::ProgramSource;
use crate::parent::std::{
    env,
    ffi::{OsStr, OsString},
    format,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Arc,
    vec::Vec,
};

/// What a program of bytes is called, as its memory file is.
const MEMORY: &str = "/memfd:offshoot";

/// What this program is called where it has no name.
const OWN: &str = "/proc/self/exe";

impl Command {
    /// A command for the program that a descriptor is open on: what was
    /// opened, checked and perhaps hashed is what runs, whatever is at its
    /// path by then ([`execveat(2)`] with `AT_EMPTY_PATH`; where that is
    /// missing or refused, `/proc/self/fd/N`). `O_PATH` is enough.
    ///
    /// Its argument 0 is `/dev/fd/N` unless [`Command::arg0`] says
    /// otherwise. The program does not have the descriptor. A script (`#!`)
    /// needs it, for its interpreter: see [`Command::script_fd`].
    ///
    /// # Errors
    ///
    /// [`Step::FromFd`](crate::Step::FromFd), if the descriptor is closed or
    /// is a script's; [`Step::Exec`](crate::Step::Exec) with EACCES, if it
    /// may not be executed or is on a `noexec` mount, ETXTBSY, if it is open
    /// for writing, ENOENT, if it is a script or another file that needs an
    /// interpreter, and could not be read here to see that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use offshoot::Command;
    ///
    /// let program = File::open("/bin/echo")?;
    /// let output = Command::from_fd(program).arg("hi").output()?;
    /// assert_eq!(output.stdout, b"hi\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`execveat(2)`]: https://man7.org/linux/man-pages/man2/execveat.2.html
    #[doc(alias = "fexecve")]
    #[doc(alias = "execveat")]
    #[must_use]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> Command {
        let fd = fd.into();
        let name = format!("/dev/fd/{}", fd.as_raw_fd());
        Command::of(name.into(), ProgramSource::Fd(Arc::new(fd)))
    }

    /// A command for a program that is these bytes, in a memory file that is
    /// sealed: nobody can write, shrink or grow it, or take the seals off.
    /// It is made by [`Command::prepare`], or by each spawn.
    ///
    /// It has no place: set-user-ID bits and file capabilities of the file
    /// that the bytes came from are gone, and libraries that it looks for
    /// beside itself (`$ORIGIN`) are not found.
    ///
    /// # Errors
    ///
    /// [`Step::FromBytes`](crate::Step::FromBytes) with EMFILE or ENOMEM;
    /// EFBIG, if it is longer than RLIMIT_FSIZE allows;
    /// EACCES, if `vm.memfd_noexec` is 2 ([`memfd_create(2)`]); refused, if
    /// it is a script and [`Command::script_fd`] is not told.
    /// [`Step::Exec`](crate::Step::Exec) with ENOEXEC, if it is no program.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let mut script = Command::from_bytes("#!/bin/sh\necho from memory\n");
    /// assert_eq!(script.script_fd(3).output()?.stdout, b"from memory\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`memfd_create(2)`]: https://man7.org/linux/man-pages/man2/memfd_create.2.html
    #[must_use]
    pub fn from_bytes(program: impl Into<Vec<u8>>) -> Command {
        let bytes = Arc::from(program.into());
        Command::of(MEMORY.into(), ProgramSource::Bytes(bytes))
    }

    /// A command for this program itself, from a sealed copy in memory, with
    /// argument 0 as this process has it. `/proc/self/exe` cannot be swapped
    /// for another file meanwhile, and who can write to `/proc/PID/exe` of
    /// the child (a container that it is about to enter, CVE-2019-5736)
    /// changes nothing: neither the copy nor the file it was made from.
    ///
    /// A copy has no place: see [`Command::from_bytes`].
    ///
    /// With [`Command::exec`] a program begins anew from such a copy;
    /// [`self_exe_is_sealed`](crate::self_exe_is_sealed) tells whether it
    /// runs from one.
    ///
    /// # Errors
    ///
    /// [`Step::SelfExe`](crate::Step::SelfExe) with ENOENT, without `/proc`;
    /// else as [`Command::from_bytes`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, self_exe_is_sealed};
    ///
    /// if !self_exe_is_sealed()? {
    ///     let mut again = Command::self_exe();
    ///     return Err(again.args(std::env::args_os().skip(1)).exec().into());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn self_exe() -> Command {
        let name = env::args_os().next().filter(|name| !name.is_empty());
        Command::of(name.unwrap_or_else(|| OWN.into()), ProgramSource::SelfExe)
    }

    /// A command for the first of several programs that can be run. Each is
    /// as [`Command::new`] has it: a path, or a name that is looked for in the
    /// directories of [`Command::path_search`], all of which come before the
    /// next candidate. A program sees the name that it was found by as its
    /// own, unless [`Command::arg0`] says otherwise.
    ///
    /// After any error the next file is tried. Where none could be run, the
    /// first error that is neither ENOENT nor ENOTDIR is reported, with its
    /// file as the operand, else the last: as CPython's `subprocess` has it. So
    /// a file that is open for writing (ETXTBSY) is waited for only if it is
    /// the last. With [`Command::shell_fallback`] the first that the kernel
    /// has no format for ends it: `/bin/sh` runs that.
    /// [`Error::candidates`](crate::Error::candidates) has all that were
    /// tried.
    ///
    /// # Errors
    ///
    /// [`Step::Candidates`](crate::Step::Candidates): there is none, one is
    /// empty or has a NUL byte, or there are over 30,000 files to try.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let mut pager = Command::candidates(["/no/such/less", "no-more", "cat"]);
    /// let output = pager.arg("/dev/null").output()?;
    /// assert!(output.status.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn candidates<I>(programs: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let owned = |name: I::Item| name.as_ref().to_os_string();
        let all: Vec<OsString> = programs.into_iter().map(owned).collect();
        let mut command =
            Command::new(all.first().unwrap_or(&OsString::new()));
        command.options.program.candidates = Some(all);
        command
    }

    fn of(name: OsString, source: ProgramSource) -> Command {
        let mut command = Command::new(name);
        command.options.program.source = Some(source);
        command
    }

    /// The number, 3 or above, at which a script that is run by descriptor
    /// has that open: its interpreter reads it from `/dev/fd/N`. The
    /// interpreter's own children inherit it, unless it closes it.
    ///
    /// # Errors
    ///
    /// [`Step::ScriptFd`](crate::Step::ScriptFd), if the program is a path,
    /// the number is below 3, or another option names it too.
    ///
    /// # Examples
    ///
    /// See [`Command::from_bytes`].
    pub fn script_fd(&mut self, target: RawFd) -> &mut Command {
        self.options.program.script_fd = Some(target);
        self
    }

    /// Whether `/bin/sh` runs a file that is executable but that the kernel
    /// has no format for (ENOEXEC: a script without `#!`), as
    /// [`execvp(3)`] and shells have it. By default that is an error: what
    /// is not a program is not guessed at.
    ///
    /// # Errors
    ///
    /// [`Step::ShellFallback`](crate::Step::ShellFallback), if the program
    /// is not a path.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let error = Command::from_bytes("echo hi").shell_fallback(true).spawn();
    /// assert_eq!(error.unwrap_err().step(), Step::ShellFallback);
    /// ```
    ///
    /// [`execvp(3)`]: https://man7.org/linux/man-pages/man3/exec.3.html
    pub fn shell_fallback(&mut self, shell: bool) -> &mut Command {
        self.options.program.shell_fallback = shell;
        self
    }
}
