//! Pipes: the ends of a child's standard input, output and error, for tasks.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::unix::pipe::{Receiver, Sender};
use rustix::io::ioctl_fionbio;

use crate::parent::error::{Error, Step};
use crate::parent::std::io::{self, IoSlice};
use crate::parent::std::os::fd::{AsRawFd, OwnedFd, RawFd};
use crate::parent::std::vec::Vec;

/// An error of the runtime or of a system call that it makes.
pub(super) fn failed(step: Step) -> impl Fn(io::Error) -> Error {
    move |error| match error.raw_os_error() {
        Some(errno) => Error::os(step, errno),
        None => Error::refused(step, "the runtime has been shut down"),
    }
}

/// The parent's end only: the child's is another open file.
fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Declares a type around an end of a pipe.
macro_rules! pipe {
    ($(#[$doc:meta])* $name:ident, $end:ident, $step:ident) => {
        $(#[$doc])*
        ///
        /// It is not `AsFd`, so that it does not become the standard input of
        /// another program by mistake: the pipe is in non-blocking mode, which
        /// programs do not expect. `into_owned_fd` changes that.
        #[derive(Debug)]
        pub struct $name($end);

        impl $name {
            pub(super) fn new(
                pipe: impl Into<OwnedFd>,
            ) -> Result<$name, Error> {
                let end = nonblocking(pipe.into())
                    .and_then($end::from_owned_fd_unchecked);
                end.map($name).map_err(failed(Step::$step))
            }

            /// Converts it into a descriptor in blocking mode.
            ///
            /// # Errors
            ///
            /// Those of `fcntl`, which a filter may reject.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                self.0.into_blocking_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }
    };
}

pipe! {
    /// The parent's end of a child's standard input.
    ChildStdin, Sender, Stdin
}
pipe! {
    /// The parent's end of a child's standard output.
    ChildStdout, Receiver, Stdout
}
pipe! {
    /// The parent's end of a child's standard error.
    ChildStderr, Receiver, Stderr
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// Does nothing: the pipe is closed when it is dropped.
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

/// The size of the first read; further ones double the buffer.
const MIN_READ: usize = 4096;

/// A pipe that is read to end of file.
pub(super) struct Reader<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
    filled: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(pipe: Option<R>) -> Reader<R> {
        Reader { pipe, bytes: Vec::new(), filled: 0 }
    }

    /// Reads what is available; ready at end of file.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        while let Some(pipe) = &mut self.pipe {
            if self.bytes.len() == self.filled {
                self.bytes.resize(MIN_READ.max(2 * self.filled), 0);
            }
            let (_, room) = self.bytes.split_at_mut(self.filled);
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(pipe).poll_read(cx, &mut room))
                .map_err(failed(Step::Read))?;
            match room.filled().len() {
                0 => self.pipe = None,
                count => self.filled += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}
