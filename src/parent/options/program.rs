//! Constructors for programs that are a descriptor, bytes, this program or
//! one of several candidates.

use crate::parent::command::{Command, ProgramSource};
use crate::parent::std::{
    env,
    ffi::{OsStr, OsString},
    format,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Arc,
    vec::Vec,
};

/// Argument 0 of a program given as bytes: the name of its sealed memfd.
const MEMORY: &str = "/memfd:offshoot";

/// Argument 0 of `self_exe` if this process has none.
const OWN: &str = "/proc/self/exe";

impl Command {
    /// Creates a command for the program that a descriptor refers to.
    ///
    /// The file that was opened (and perhaps verified) is the one that runs,
    /// even if its path refers to another file by then. The child calls
    /// [`execveat(2)`] with `AT_EMPTY_PATH`, or, if that is missing or
    /// refused, runs `/proc/self/fd/N`. `O_PATH` is enough.
    ///
    /// Argument 0 is `/dev/fd/N` unless [`Command::arg0`] is set. The program
    /// does not inherit the descriptor. A script (`#!`) needs it for its
    /// interpreter: see [`Command::script_fd`].
    ///
    /// # Errors
    ///
    /// [`Step::FromFd`](crate::Step::FromFd) if the descriptor is closed or
    /// refers to a script; [`Step::Exec`](crate::Step::Exec) with EACCES if
    /// the file is not executable or on a `noexec` mount, with ETXTBSY if it
    /// is open for writing, and with ENOENT if it needs an interpreter, as a
    /// script does, and could not be read here to detect that.
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

    /// Creates a command for a program that is given as bytes.
    ///
    /// They are copied into a sealed memfd, a file in memory that cannot be
    /// written, shrunk, grown or unsealed. [`Command::prepare`] or each spawn
    /// creates it.
    ///
    /// The file has no path: set-user-ID bits and file capabilities of the
    /// file that the bytes came from have no effect, and libraries that are
    /// looked up relative to the program (`$ORIGIN`) are not found.
    ///
    /// # Errors
    ///
    /// [`Step::FromBytes`](crate::Step::FromBytes) with EMFILE or ENOMEM, with
    /// EFBIG if the program is longer than RLIMIT_FSIZE allows, with EACCES if
    /// `vm.memfd_noexec` is 2 ([`memfd_create(2)`]); refused if it is a script
    /// and [`Command::script_fd`] is not set.
    /// [`Step::Exec`](crate::Step::Exec) with ENOEXEC if the bytes are not a
    /// program.
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

    /// Creates a command for this program itself, from a sealed copy in
    /// memory.
    ///
    /// Argument 0 is that of this process. `/proc/self/exe` cannot be replaced
    /// by another file meanwhile. A process that can write to `/proc/PID/exe`
    /// of the child, as one in a container that the child enters
    /// (CVE-2019-5736), can change neither the copy nor the original file.
    ///
    /// The copy has no path: see [`Command::from_bytes`]. With
    /// [`Command::exec`] a program restarts from such a copy, and
    /// [`self_exe_is_sealed`](crate::self_exe_is_sealed) returns whether it
    /// runs from one.
    ///
    /// # Errors
    ///
    /// [`Step::SelfExe`](crate::Step::SelfExe) with ENOENT without `/proc`;
    /// otherwise as [`Command::from_bytes`].
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

    /// Creates a command for the first of several programs that can be
    /// executed.
    ///
    /// Each is a path or a name, as for [`Command::new`]. A name is searched
    /// for in all directories of [`Command::path_search`] before the next
    /// candidate is tried. Argument 0 is the candidate that was found, unless
    /// [`Command::arg0`] is set.
    ///
    /// After any error the next file is tried. If none can be executed, the
    /// first error other than ENOENT and ENOTDIR is reported with its file as
    /// the operand, else the last error, as in CPython's `subprocess`. A file
    /// that is open for writing (ETXTBSY) is thus retried only if it is the
    /// last. With [`Command::shell_fallback`] the search ends at the first
    /// file of unknown format (ENOEXEC), which `/bin/sh` runs.
    /// [`Error::candidates`](crate::Error::candidates) lists the files that
    /// were tried.
    ///
    /// # Errors
    ///
    /// [`Step::Candidates`](crate::Step::Candidates) if there are no
    /// candidates, if one is empty or contains a NUL byte, or if there are
    /// more than 30,000 files to try.
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
        let mut command = Command::new("");
        command.options.program.name = name;
        command.options.program.source = Some(source);
        command
    }

    /// Keeps a script that is run from a descriptor open at the number
    /// `target`, 3 or above, for its interpreter.
    ///
    /// The interpreter reads the script from `/dev/fd/N`. Programs that it
    /// starts inherit the descriptor unless it closes it.
    ///
    /// # Errors
    ///
    /// [`Step::ScriptFd`](crate::Step::ScriptFd) if the program is a path, the
    /// number is below 3, or another option assigns it too.
    ///
    /// # Examples
    ///
    /// See [`Command::from_bytes`].
    pub fn script_fd(&mut self, target: RawFd) -> &mut Command {
        self.options.program.script_fd = Some(target);
        self
    }

    /// Sets whether `/bin/sh` runs an executable file of unknown format
    /// (ENOEXEC: a script without `#!`), as [`execvp(3)`] and shells do.
    ///
    /// By default such a file is an error.
    ///
    /// # Errors
    ///
    /// [`Step::ShellFallback`](crate::Step::ShellFallback) if the program is
    /// not a path.
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
