//! `Exchange`: feeds a child and reads its outputs, in one poll loop, so that
//! no pipe fills while another is waited for.

use core::array;
use core::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read, write};

use super::output_limits::Limits;
use super::sigpipe::SigpipeBlock;
use super::waitable::{PAUSES, Waitable, deadline_after, timespec};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::os::fd::{AsFd, OwnedFd};
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;

/// The room of the first read; most programs write less. It is doubled as long
/// as it is filled, up to a full pipe at a time.
const MIN_READ: usize = 4096;

/// The capacity of a pipe by default.
const PIPE: usize = 65_536;

/// The most that is written at once: else a child that reads as fast as this
/// process writes would keep it from looking at the time.
const MAX_WRITE: usize = 4 * PIPE;

/// An output of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is called after each read, with all bytes that it has left there, and
/// whether they end.
pub(super) type Each<'a> =
    &'a mut dyn FnMut(OutputStream, &mut Vec<u8>, bool) -> Result<(), Error>;

/// What is fed to the child.
struct Input<'a> {
    pipe: OwnedFd,
    rest: &'a [u8],
    sigpipe: SigpipeBlock,
}

impl Input<'_> {
    /// Writes what fits; returns whether there is more. That nobody reads it
    /// is no error: the program may need no more.
    fn write(&mut self) -> Result<bool, Error> {
        let part = self.rest.get(..MAX_WRITE).unwrap_or(self.rest);
        match write(&self.pipe, part) {
            Ok(n) => self.rest = self.rest.get(n..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::PIPE) => {
                self.sigpipe.sent();
                return Ok(false);
            }
            Err(e) => return Err(Error::os(Step::Write, e.raw_os_error())),
        }
        Ok(!self.rest.is_empty())
    }
}

/// A pipe that is read, and what was read.
pub(super) struct Reader {
    pipe: Option<OwnedFd>,
    /// How much the next read has room for.
    room: usize,
    bytes: Vec<u8>,
    /// A read was made that would have blocked.
    nonblocking: bool,
}

impl Reader {
    pub(super) fn new(pipe: Option<impl Into<OwnedFd>>) -> Reader {
        let (room, bytes) = (MIN_READ, Vec::new());
        let pipe = pipe.map(Into::into);
        Reader { pipe, room, bytes, nonblocking: false }
    }
}

/// How the end of the child is noticed.
enum End {
    /// Its pidfd is polled.
    Polled,
    /// It is looked for in pauses; there were so many.
    Looked(usize),
    /// It was noticed.
    Seen,
}

/// What is ready.
#[derive(Clone, Copy)]
struct Ready {
    input: bool,
    outputs: [bool; 2],
    end: bool,
}

pub(super) struct Exchange<'a> {
    input: Option<Input<'a>>,
    outputs: [Reader; 2],
    limits: Limits,
    /// Bytes that may still be read.
    left: u64,
    end: End,
    /// Until when is read after the end.
    grace_end: Option<Instant>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(outputs: [Reader; 2], limits: Limits) -> Exchange<'a> {
        let left = limits.bytes.unwrap_or(u64::MAX);
        let (input, end, grace_end) = (None, End::Polled, None);
        Exchange { input, outputs, limits, left, end, grace_end }
    }

    /// Feeds the child. The pipe becomes non-blocking, which affects this end
    /// only: a write of more than a page can block after poll too.
    pub(super) fn feed(
        &mut self,
        pipe: OwnedFd,
        rest: &'a [u8],
    ) -> Result<(), Error> {
        if let Err(e) = ioctl_fionbio(&pipe, true) {
            return Err(Error::os(Step::Write, e.raw_os_error()));
        }
        self.input = Some(Input { pipe, rest, sigpipe: SigpipeBlock::new() });
        Ok(())
    }

    /// Closes the child's input.
    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// Reads what a child that was killed has left.
    pub(super) fn read_rest(&mut self) {
        // An error is not the first one.
        let _ = self.drain(&mut |_, _, _| Ok(()));
    }

    /// Closes the outputs and returns what was read from them.
    pub(super) fn into_outputs(self) -> [Vec<u8>; 2] {
        self.outputs.map(|reader| {
            let mut bytes = reader.bytes;
            bytes.shrink_to_fit();
            bytes
        })
    }

    /// Writes and reads until there is nothing more to do: both outputs are at
    /// their end and the input is written, or not read any more; or the time
    /// after the end of the child has passed.
    pub(super) fn run(
        &mut self,
        process: &Waitable,
        each: Each<'_>,
    ) -> Result<(), Error> {
        if process.pidfd.is_none() {
            self.end = End::Looked(0);
        }
        loop {
            let open = self.outputs.iter().any(|one| one.pipe.is_some());
            let ended = matches!(self.end, End::Seen);
            if !open && (self.input.is_none() || ended) {
                return Ok(());
            }
            let until = match (self.limits.deadline, self.grace_end) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            if until.is_some_and(|until| until <= Instant::now()) {
                if until == self.grace_end {
                    return self.drain(each);
                }
                return Err(Error::new(Step::Read, Cause::TimedOut));
            }
            // Reading to the end of the outputs, the end of the child does not
            // matter.
            let watch = !ended && (self.limits.grace.is_some() || !open);
            let ready = self.poll(process, watch, until)?;
            if ready.input {
                self.write()?;
            }
            for n in 0..2 {
                if ready.outputs[n] {
                    self.read(n, each)?;
                }
            }
            if watch && ready.end {
                self.look_for_end(process);
            }
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        let more = self.input.as_mut().map_or(Ok(false), Input::write)?;
        if !more {
            self.input = None;
        }
        Ok(())
    }

    /// Reads once from an output; returns how many bytes. At end of file
    /// closes it.
    fn read(&mut self, n: usize, each: Each<'_>) -> Result<usize, Error> {
        let stream = [OutputStream::Stdout, OutputStream::Stderr][n];
        let reader = &mut self.outputs[n];
        let Some(pipe) = &reader.pipe else { return Ok(0) };
        let bytes = &mut reader.bytes;
        let before = bytes.len();
        // One byte more than is left, to tell a limit from the end. The
        // buffer is not set to zero first, which costs 10 ns a byte in a debug
        // build.
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        bytes.reserve(reader.room.min(most.saturating_add(1)));
        let got = match read(pipe, spare_capacity(bytes)) {
            Ok(got) => got,
            Err(Errno::INTR) => return Ok(0),
            Err(Errno::AGAIN) => {
                reader.nonblocking = true;
                return Ok(0);
            }
            Err(e) => return Err(Error::os(Step::Read, e.raw_os_error())),
        };
        let kept = got.min(most);
        bytes.truncate(before + kept);
        self.left -= kept as u64;
        if got == 0 {
            reader.pipe = None;
        } else if got >= reader.room {
            reader.room = PIPE.min(reader.room * 2);
        }
        each(stream, bytes, got == 0)?;
        if kept < got {
            let limit = self.limits.bytes.unwrap_or_default();
            return Err(Error::new(Step::Read, Cause::TooMuchOutput(limit)));
        }
        Ok(got)
    }

    /// Reads what the pipes hold now, and no more: another process may write
    /// to them without end.
    fn drain(&mut self, each: Each<'_>) -> Result<(), Error> {
        for n in 0..2 {
            let pipe = self.outputs[n].pipe.as_ref();
            let held = pipe.and_then(|pipe| ioctl_fionread(pipe).ok());
            let mut held = usize::try_from(held.unwrap_or(0)).unwrap_or(0);
            while held > 0 {
                match self.read(n, each)? {
                    0 => break,
                    got => held = held.saturating_sub(got),
                }
            }
        }
        Ok(())
    }

    /// Reaps the child, if it has ended.
    fn look_for_end(&mut self, process: &Waitable) {
        match (process.try_wait(), &self.end) {
            // An error: other code has reaped it. The wait says that.
            (Ok(Some(_)) | Err(_), _) => {
                self.end = End::Seen;
                let grace = self.limits.grace;
                self.grace_end = grace.map(deadline_after);
            }
            // A pidfd that cannot be polled is always readable.
            (Ok(None), End::Looked(n)) => self.end = End::Looked(n + 1),
            (Ok(None), _) => self.end = End::Looked(0),
        }
    }

    /// Waits until something is ready, for a time, or for a signal.
    fn poll(
        &self,
        process: &Waitable,
        watch: bool,
        until: Option<Instant>,
    ) -> Result<Ready, Error> {
        let pipes = [&self.outputs[0].pipe, &self.outputs[1].pipe];
        let pipes = pipes.map(Option::as_ref);
        let open = pipes.map(|pipe| pipe.is_some());
        let input = self.input.as_ref().map(|input| &input.pipe);
        let blocks = open != [true; 2]
            && !self.outputs.iter().any(|one| one.nonblocking);
        if input.is_none() && !watch && until.is_none() && blocks {
            // A blocking read suffices.
            return Ok(Ready { input: false, outputs: open, end: false });
        }
        let (pidfd, pause) = match self.end {
            End::Polled if watch => (process.pidfd.as_ref(), None),
            End::Looked(n) if watch => {
                let pause = PAUSES.get(n).or(PAUSES.last()).copied();
                (None, pause.map(Duration::from_millis))
            }
            _ => (None, None),
        };
        let fds = [
            (input.map(AsFd::as_fd), PollFlags::OUT),
            (pipes[0].map(AsFd::as_fd), PollFlags::IN),
            (pipes[1].map(AsFd::as_fd), PollFlags::IN),
            (pidfd.map(AsFd::as_fd), PollFlags::IN),
        ];
        let Some(any) = fds.iter().find_map(|(fd, _)| *fd) else {
            return Ok(Ready { input: false, outputs: open, end: true });
        };
        let mut list: [PollFd<'_>; 4] =
            array::from_fn(|_| PollFd::from_borrowed_fd(any, PollFlags::IN));
        let mut count = 0;
        for (fd, flags) in fds {
            if let Some(fd) = fd {
                list[count] = PollFd::from_borrowed_fd(fd, flags);
                count += 1;
            }
        }
        let left =
            until.map(|until| until.saturating_duration_since(Instant::now()));
        let time = match (left, pause) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        match poll(&mut list[..count], time.map(timespec).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => count = 0,
            Err(e) => return Err(Error::os(Step::Read, e.raw_os_error())),
        }
        let mut polled = list[..count].iter();
        let [input, out, err, end] = fds.map(|(fd, _)| {
            let polled = fd.and_then(|_| polled.next());
            polled.is_some_and(|polled| !polled.revents().is_empty())
        });
        let end = end || pause.is_some();
        Ok(Ready { input, outputs: [out, err], end })
    }
}
