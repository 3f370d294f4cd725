//! `wait_with_output`: both pipes are read at once, so neither can fill.

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};

use super::Child;
use crate::parent::error::{Error, Step};
use crate::parent::std::{
    os::fd::{AsFd, OwnedFd},
    process::Output,
    vec::Vec,
};

/// The room for a first read, and the least for any: most programs write
/// less. What is read doubles it, so that few reads take a full pipe (64 KiB
/// by default) in.
const ROOM: usize = 4096;

/// A pipe that is read to its end.
struct Reader {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Reader {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Reader {
        Reader { pipe: pipe.map(Into::into), bytes: Vec::new() }
    }

    /// Takes what is there; at the end closes the pipe. The kernel writes
    /// into memory that nothing was written to before: a debug build needs
    /// 10 ns for each byte of a buffer that is set to zero.
    fn take(&mut self) -> Result<(), Error> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        self.bytes.reserve(ROOM.max(self.bytes.len()));
        match read(pipe, spare_capacity(&mut self.bytes)) {
            Ok(0) => {
                self.pipe = None;
                self.bytes.shrink_to_fit();
            }
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(Error::os(Step::Read, e.raw_os_error())),
        }
        Ok(())
    }
}

impl Child {
    /// Closes our end of the child's standard input, reads its output and
    /// error to their ends, both at once, and waits for it.
    ///
    /// The ends come when every process that holds the other side has closed
    /// it, so a program that the child leaves in the background keeps this
    /// call waiting.
    ///
    /// # Errors
    ///
    /// [`Step::Read`] with EIO, for a given terminal or file; and as
    /// [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let child = Command::new("echo")
    ///     .arg("hello")
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// assert_eq!(child.wait_with_output()?.stdout, b"hello\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let mut out = Reader::new(self.stdout.take());
        let mut err = Reader::new(self.stderr.take());
        read_both(&mut out, &mut err)?;
        let status = self.wait()?;
        Ok(Output { status, stdout: out.bytes, stderr: err.bytes })
    }
}

fn read_both(a: &mut Reader, b: &mut Reader) -> Result<(), Error> {
    while a.pipe.is_some() || b.pipe.is_some() {
        // With one pipe left there is nothing to choose: read blocks.
        let (mut first, mut second) = (a.pipe.is_some(), b.pipe.is_some());
        if let (Some(one), Some(two)) = (&a.pipe, &b.pipe) {
            let fds = [one.as_fd(), two.as_fd()];
            let mut fds =
                fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Error::os(Step::Read, e.raw_os_error())),
            }
            let [one, two] = fds.map(|fd| !fd.revents().is_empty());
            (first, second) = (one, two);
        }
        if first {
            a.take()?;
        }
        if second {
            b.take()?;
        }
    }
    Ok(())
}
