//! Ends: the descriptors of one spawn, and where they stand in its block.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::call::{Block, slot};
use crate::parent::cgroup::Group;
use crate::parent::error::{Error, Step};
use crate::parent::plan::method::Engine;
use crate::parent::plan::shape::Shape;
use crate::parent::plan::{Plan, stdio_step};
use crate::parent::std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
};
use crate::parent::stdio::Source;

/// What becomes 0, 1 and 2.
#[derive(Default)]
pub(super) struct Ends {
    /// What the child gets, where it is made for this spawn.
    theirs: [Option<OwnedFd>; 3],
    /// Our side of the pipes.
    pub(super) ours: [Option<OwnedFd>; 3],
    /// The numbers, and the first number above them.
    numbers: [i32; 3],
    pub(super) cut: i32,
}

impl Ends {
    /// Makes or looks up each of them.
    pub(super) fn new(
        plan: &Plan,
        fixed: &[Option<Arc<OwnedFd>>; 3],
    ) -> Result<Ends, Error> {
        let mut ends = Ends { cut: 3, ..Ends::default() };
        for n in 0..3u8 {
            let i = usize::from(n);
            let fixed = fixed.get(i).and_then(Option::as_ref);
            let theirs = match plan.stdio.get(i) {
                Some(Source::Piped) => {
                    let (ours, theirs) = pipe(n)?;
                    ends.ours[i] = Some(ours);
                    Some(theirs)
                }
                Some(Source::Open(path, options)) => {
                    let file = options.open(path.as_path());
                    let file = file.map_err(|e| {
                        Error::io(stdio_step(n), &e).with(path.as_path())
                    })?;
                    Some(lift(n, file.into())?)
                }
                _ => None,
            };
            let number = match (&theirs, fixed) {
                (Some(fd), _) => fd.as_raw_fd(),
                (None, Some(fd)) => fd.as_raw_fd(),
                (None, None) => continue,
            };
            ends.theirs[i] = theirs;
            ends.numbers[i] = number;
            ends.cut = ends.cut.max(number + 1);
        }
        Ok(ends)
    }

    /// The slots of one try; `extra` is what its shape needs beside.
    pub(super) fn block(&self, extra: &Extra) -> Block {
        let mut block = Block::new();
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        for (n, fd) in (slot::STDIO..).zip(self.numbers) {
            block.set(n, number(fd));
        }
        if let Some(procs) = &extra.procs {
            block.set(slot::CGROUP, number(procs.as_raw_fd()));
        }
        block.set(slot::CUT, number(extra.cut));
        block.set(slot::LAST, number(extra.last));
        block
    }
}

/// What one shape needs beside 0 to 2.
#[derive(Default)]
pub(super) struct Extra {
    /// The file by which the child joins its control group.
    pub(super) procs: Option<File>,
    /// The pipe whose end tells of exec: ours, theirs. Theirs is above
    /// everything else, so that one range below it can be closed.
    pub(super) pipe: Option<(OwnedFd, OwnedFd)>,
    /// The first descriptor that no step needs, and the last that is closed
    /// below it.
    pub(super) cut: i32,
    last: i32,
}

impl Extra {
    pub(super) fn new(
        shape: Shape,
        group: Option<&Group>,
        ends: &Ends,
    ) -> Result<Extra, Error> {
        let mut extra = Extra { cut: ends.cut, ..Extra::default() };
        if let (Some(group), true) = (group, shape.join) {
            let procs = group.procs()?;
            extra.cut = extra.cut.max(procs.as_raw_fd() + 1);
            extra.procs = Some(procs);
        }
        extra.last = extra.cut - 1;
        if shape.engine == Engine::Pipe && !shape.here {
            let fail = |e: rustix::io::Errno| {
                Error::os(Step::Clone, e.raw_os_error()).with("pipe")
            };
            let (ours, theirs) =
                pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            // One number is left out, so that there is a range to close.
            // EINVAL: none is left above the others.
            let theirs = fcntl_dupfd_cloexec(theirs, extra.cut + 1)
                .map_err(|_| fail(rustix::io::Errno::MFILE))?;
            extra.last = theirs.as_raw_fd() - 1;
            extra.cut = theirs.as_raw_fd() + 1;
            extra.pipe = Some((ours, theirs));
        }
        Ok(extra)
    }
}

/// A descriptor of its own for number `n`, above 2: where 0 to 2 are closed
/// the kernel hands those out, and the child's are made from them.
fn lift(n: u8, fd: OwnedFd) -> Result<OwnedFd, Error> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    fcntl_dupfd_cloexec(&fd, 3)
        .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))
}

pub(super) fn given(n: u8, fd: &Arc<OwnedFd>) -> Result<Arc<OwnedFd>, Error> {
    if fd.as_raw_fd() > 2 {
        return Ok(Arc::clone(fd));
    }
    let lifted = fcntl_dupfd_cloexec(fd.as_fd(), 3)
        .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
    Ok(Arc::new(lifted))
}

pub(super) fn null(n: u8) -> Result<OwnedFd, Error> {
    let mut options = OpenOptions::new();
    options.read(n == 0).write(n != 0);
    let file: io::Result<File> = options.open("/dev/null");
    let file =
        file.map_err(|e| Error::io(stdio_step(n), &e).with("/dev/null"))?;
    lift(n, file.into())
}

/// A pipe for number `n`: our end, theirs.
fn pipe(n: u8) -> Result<(OwnedFd, OwnedFd), Error> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)
        .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
    let (read, write) = (lift(n, read)?, lift(n, write)?);
    Ok(if n == 0 { (write, read) } else { (read, write) })
}
