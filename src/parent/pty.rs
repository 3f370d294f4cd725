//! Pseudoterminals: a terminal for a child, and the descriptor that controls
//! it.
//!
//! [`open`] returns the two ends: the [`Controller`], with which this process
//! types, reads what is printed and sets the window size, and the
//! [`Terminal`], which a child gets by [`Command::terminal`]. See [`pty(7)`].
//!
//! # Examples
//!
//! ```
//! use offshoot::{Command, pty};
//! use std::io::{Read, Write};
//!
//! let (mut controller, terminal) = pty::open()?;
//! controller.set_size(pty::Size::new(24, 80))?;
//! let mut sh = Command::new("sh");
//! sh.args(["-c", "read name; echo hello $name"]).terminal(terminal);
//! let mut child = sh.spawn()?;
//! drop(sh); // closes this process's descriptor of the terminal
//! controller.write_all(b"world\n")?;
//! let mut output = String::new();
//! controller.read_to_string(&mut output)?;
//! // The terminal echoes what is typed, and ends lines with "\r\n".
//! assert_eq!(output, "world\r\nhello world\r\n");
//! assert!(child.wait()?.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Command::terminal`]: crate::Command::terminal
//! [`pty(7)`]: https://man7.org/linux/man-pages/man7/pty.7.html

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcgetwinsize, tcsetwinsize};

use super::error::{Error, Step};
use super::std::ffi::{OsStr, OsString};
use super::std::fs::{File, OpenOptions};
use super::std::io::{self, Read, Write};
use super::std::os::fd::{
    AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd,
};
use super::std::os::unix::ffi::OsStrExt;
use super::std::os::unix::fs::OpenOptionsExt;
use super::std::path::{Path, PathBuf};
use super::std::vec::Vec;

const MULTIPLEXER: &str = "/dev/ptmx";

/// Opens a new pseudoterminal. Both descriptors are close-on-exec, and neither
/// becomes the controlling terminal of this process.
///
/// The terminal is opened without its path (TIOCGPTPEER, Linux 4.13), so that
/// it may belong to another mount namespace; by its path on older kernels.
///
/// # Errors
///
/// [`Step::Pty`] with the path and the error of opening it: ENOENT without
/// `/dev/ptmx`, ENOSPC if there are as many pseudoterminals as
/// `/proc/sys/kernel/pty/max` allows, EMFILE.
pub fn open() -> Result<(Controller, Terminal), Error> {
    let fail =
        |path: &OsStr, errno: i32| Error::os(Step::Pty, errno).with(path);
    let fail = |errno: Errno| fail(MULTIPLEXER.as_ref(), errno.raw_os_error());
    let controller = open_terminal(Path::new(MULTIPLEXER))
        .map_err(|e| Error::io(Step::Pty, &e).with(MULTIPLEXER))?;
    let controller = Controller(controller);
    unlockpt(&controller).map_err(fail)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = match ioctl_tiocgptpeer(&controller, flags) {
        Ok(terminal) => terminal,
        // An older kernel does not know it; a filter may reject it.
        Err(Errno::INVAL | Errno::NOTTY | Errno::PERM | Errno::NOSYS) => {
            let path = controller.terminal_path();
            let path = path.map_err(|e| Error::io(Step::Pty, &e))?;
            let terminal = open_terminal(&path);
            let fail = |e| Error::io(Step::Pty, &e).with(path.as_path());
            terminal.map_err(fail)?.into()
        }
        Err(errno) => return Err(fail(errno)),
    };
    Ok((controller, Terminal(terminal)))
}

/// std adds close-on-exec.
fn open_terminal(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    options.open(path)
}

/// The size of a terminal's window. Programs on the terminal get SIGWINCH when
/// it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// The number of lines.
    pub rows: u16,
    /// The number of characters in a line.
    pub cols: u16,
    /// The width in pixels, 0 if that is not known.
    pub pixel_width: u16,
    /// The height in pixels, 0 if that is not known.
    pub pixel_height: u16,
}

impl Size {
    /// Returns a size in characters; that in pixels is not known.
    #[must_use]
    pub const fn new(rows: u16, cols: u16) -> Size {
        Size { rows, cols, pixel_width: 0, pixel_height: 0 }
    }

    /// Returns the size of any terminal, such as this process's own, to be
    /// passed on to a [`Controller`].
    ///
    /// # Errors
    ///
    /// ENOTTY, if the descriptor is not a terminal.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::pty;
    ///
    /// let (controller, _terminal) = pty::open()?;
    /// if let Ok(size) = pty::Size::of(std::io::stdin()) {
    ///     controller.set_size(size)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(terminal: impl AsFd) -> io::Result<Size> {
        let size = tcgetwinsize(terminal)?;
        Ok(Size {
            rows: size.ws_row,
            cols: size.ws_col,
            pixel_width: size.ws_xpixel,
            pixel_height: size.ws_ypixel,
        })
    }
}

/// The end of a pseudoterminal that controls it: what is written here is
/// typed there, what is printed there is read here. When the last `Controller`
/// of a terminal is closed the terminal is hung up, and its session gets
/// SIGHUP.
///
/// Reading returns 0, as at the end of a file, while no process has the
/// terminal open and all output was read. (The kernel's error is EIO.) As this
/// process has the terminal open too, as the [`Terminal`] or in a
/// [`Command`](crate::Command) that it was passed to, drop those first.
///
/// Writing may block, as the terminal's buffer has 4 KiB and its echo is to be
/// read: read in another thread ([`Controller::try_clone`]), or make the
/// descriptor non-blocking and poll it.
#[derive(Debug)]
pub struct Controller(File);

impl Controller {
    /// Returns the size of the window.
    ///
    /// # Errors
    ///
    /// EIO, if the terminal was hung up.
    pub fn size(&self) -> io::Result<Size> {
        Size::of(self)
    }

    /// Sets the size of the window. If it changes, the foreground group gets
    /// SIGWINCH.
    ///
    /// # Errors
    ///
    /// EIO, if the terminal was hung up.
    pub fn set_size(&self, size: Size) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: size.pixel_width,
            ws_ypixel: size.pixel_height,
        };
        Ok(tcsetwinsize(self, size)?)
    }

    /// Returns the path of the terminal, such as `/dev/pts/3`, in the mount
    /// namespace that `/dev/ptmx` belongs to.
    ///
    /// # Errors
    ///
    /// ENOTTY, if a filter rejects the call.
    pub fn terminal_path(&self) -> io::Result<PathBuf> {
        let path = ptsname(self, Vec::new())?;
        let path = OsStr::from_bytes(path.to_bytes());
        Ok(PathBuf::from(OsString::from(path)))
    }

    /// Returns the process group in the foreground of the terminal: the one
    /// that ^C reaches. `None` if no session has the terminal.
    ///
    /// # Errors
    ///
    /// EIO, if the terminal was hung up.
    pub fn foreground_group(&self) -> io::Result<Option<i32>> {
        match tcgetpgrp(self).map(Pid::as_raw_pid) {
            Ok(group) => Ok(Some(group)),
            // rustix's error for the group 0.
            Err(Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Creates another handle of the same controller, for a second thread.
    ///
    /// # Errors
    ///
    /// EMFILE, if no descriptor is free.
    pub fn try_clone(&self) -> io::Result<Controller> {
        self.0.try_clone().map(Controller)
    }
}

impl Read for Controller {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }
}

impl Read for &Controller {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match Read::read(&mut &self.0, buffer) {
            Err(e) if e.raw_os_error() == Some(libc::EIO) => Ok(0),
            read => read,
        }
    }
}

impl Write for Controller {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &Controller {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Write::write(&mut &self.0, buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a pseudoterminal that is a terminal, for a child: see
/// [`Command::terminal`], or [`Stdio`] and [`Command::controlling_terminal`]
/// for the parts of it.
///
/// [`Command::terminal`]: crate::Command::terminal
/// [`Command::controlling_terminal`]: crate::Command::controlling_terminal
/// [`Stdio`]: crate::Stdio
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Creates another handle of the same terminal, for another option or
    /// child.
    ///
    /// # Errors
    ///
    /// EMFILE, if no descriptor is free.
    pub fn try_clone(&self) -> io::Result<Terminal> {
        self.0.try_clone().map(Terminal)
    }
}

/// The conversions of std's handles.
macro_rules! handle {
    ($handle:ident) => {
        impl AsFd for $handle {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $handle {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }

        impl IntoRawFd for $handle {
            fn into_raw_fd(self) -> RawFd {
                self.0.into_raw_fd()
            }
        }

        impl From<$handle> for OwnedFd {
            fn from(handle: $handle) -> OwnedFd {
                handle.0.into()
            }
        }

        impl From<OwnedFd> for $handle {
            fn from(fd: OwnedFd) -> $handle {
                $handle(fd.into())
            }
        }
    };
}

handle!(Controller);
handle!(Terminal);
