//! Ends: the descriptors of one spawn, and where they stand in its block.

use rustix::io::fcntl_getfd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdin, stdout};

use super::held::Held;
use super::page::Page;
use crate::call::{Block, slot};
use crate::parent::cgroup::Group;
use crate::parent::error::{Error, Step};
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::plan::method::Engine;
use crate::parent::plan::shape::Shape;
use crate::parent::plan::{Plan, stdio_step};
use crate::parent::reserve::{Low, lift};
use crate::parent::std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    string::ToString,
};
use crate::parent::stdio::Source;
use crate::sys::Pid;

/// What becomes 0, 1 and 2.
#[derive(Default)]
pub(super) struct Ends {
    /// What the child gets, where it is made for this spawn.
    theirs: [Option<Low>; 3],
    /// Our side of the pipes.
    pub(super) ours: [Option<OwnedFd>; 3],
    /// The numbers, and the first number above all that steps read from.
    numbers: [u32; 3],
    pub(super) cut: i32,
    /// The first number above all that stays open, and above what is lent.
    above: i32,
    lent: i32,
    /// Whether one of them has a number that is not the lowest that was
    /// free: what is made next may be below it.
    pub(super) moved: bool,
}

impl Ends {
    /// Makes or looks up each of them.
    pub(super) fn new(plan: &Plan, held: &Held) -> Result<Ends, Error> {
        let signed = |n| i32::try_from(n).unwrap_or(i32::MAX);
        let [cut, above, lent] = [held.cut, held.above, held.lent].map(signed);
        let moved = held.cut > 3;
        let mut ends = Ends { cut, above, lent, moved, ..Ends::default() };
        same_as_what_is_open(plan)?;
        for n in 0..3u8 {
            let i = usize::from(n);
            let theirs = match plan.stdio.get(i) {
                Some(Source::Piped) => {
                    let (ours, theirs) = pipe(n)?;
                    ends.ours[i] = Some(ours);
                    theirs
                }
                Some(Source::Open(path, options)) => {
                    let file = options.open(path.as_path());
                    let file = file.map_err(|e| {
                        Error::io(stdio_step(n), &e).with(path.as_path())
                    })?;
                    file.into()
                }
                _ => {
                    ends.numbers[i] = held.null(n).unwrap_or_default();
                    continue;
                }
            };
            let made = theirs.as_raw_fd().unsigned_abs();
            let theirs = held
                .settle(theirs)
                .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
            let number = theirs.number();
            ends.moved |= number != made;
            ends.theirs[i] = Some(theirs);
            ends.numbers[i] = number;
            ends.cut = ends.cut.max(signed(number.saturating_add(1)));
        }
        Ok(ends)
    }

    /// The child, with our side of its pipes.
    pub(super) fn child(
        self,
        (pid, pidfd, launch): (Pid, Option<PidFd>, Launch),
    ) -> Child {
        let mut child = Child::new(pid, pidfd, launch);
        let [stdin, stdout, stderr] = self.ours;
        child.stdin = stdin.map(Into::into);
        child.stdout = stdout.map(Into::into);
        child.stderr = stderr.map(Into::into);
        child
    }

    /// What becomes one of 0 to 2, where it is made for this spawn or held.
    pub(super) fn number(&self, n: u32) -> u32 {
        self.numbers.get(n as usize).copied().unwrap_or_default()
    }

    /// The slots of one try; `extra` is what its shape needs beside.
    pub(super) fn block(&self, extra: &Extra) -> Block {
        let mut block = Block::new();
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        for (n, fd) in (slot::STDIO..).zip(self.numbers) {
            block.set(n, fd.into());
        }
        if let Some(procs) = &extra.procs {
            block.set(slot::CGROUP, number(procs.as_raw_fd()));
        }
        if let (Some(page), Some(image)) = (&extra.page, extra.image) {
            block.set(slot::PAGE, page.number().into());
            block.set(slot::IMAGE, image.into());
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
    /// The page that an image reports through, and the image's number.
    pub(super) page: Option<Page>,
    image: Option<u32>,
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
        page: Option<(Page, u32)>,
    ) -> Result<Extra, Error> {
        let mut extra = Extra { cut: ends.cut, ..Extra::default() };
        if let (Some(group), true) = (group, shape.join) {
            let procs = group.procs()?;
            let above = procs.as_raw_fd().saturating_add(1);
            extra.cut = extra.cut.max(above);
            extra.procs = Some(procs);
        }
        if let Some((page, image)) = page {
            for number in [page.number(), image] {
                let above = number.saturating_add(1);
                let above = i32::try_from(above).unwrap_or(i32::MAX);
                extra.cut = extra.cut.max(above);
            }
            (extra.page, extra.image) = (Some(page), Some(image));
        }
        // The last range that is closed begins above all that stays open.
        let isolated = shape.engine == Engine::Isolated;
        let lent = if isolated { ends.lent } else { 3 };
        let above = ends.above.max(lent);
        extra.last = if extra.cut > above { extra.cut - 1 } else { 0 };
        if shape.engine == Engine::Pipe && !shape.here {
            let fail = |e: rustix::io::Errno| {
                Error::os(Step::Clone, e.raw_os_error()).with("pipe")
            };
            let (ours, theirs) =
                pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            // One number is left out, so that there is a range to close.
            let above = extra.cut.max(ends.above).saturating_add(1);
            let theirs = lift(theirs, above).map_err(fail)?;
            extra.last = theirs.as_raw_fd() - 1;
            extra.cut = theirs.as_raw_fd().saturating_add(1);
            extra.pipe = Some((ours, theirs));
        }
        Ok(extra)
    }
}

/// One of 0 to 2 that is the same as an inherited one: where that is closed,
/// its number is the first that the kernel gives to what we make.
fn same_as_what_is_open(plan: &Plan) -> Result<(), Error> {
    for n in 0..3u8 {
        let Some(Source::Same(from)) = plan.stdio.get(usize::from(n)) else {
            continue;
        };
        let i = usize::try_from(*from).unwrap_or(usize::MAX);
        if !matches!(plan.stdio.get(i), Some(Source::Inherit)) {
            continue;
        }
        let inherited = [stdin(), stdout(), stderr()];
        let closed = inherited.get(i).map(fcntl_getfd);
        if let Some(Err(e)) = closed {
            let why = "same_as: that descriptor is not open here";
            let error = Error::told(stdio_step(n), e.raw_os_error(), why);
            return Err(error.with(from.to_string()));
        }
    }
    Ok(())
}

/// A pipe for number `n`: our end, theirs. Ours is above 2: where 0 to 2 are
/// closed the kernel hands those out, and what is there the child inherits.
fn pipe(n: u8) -> Result<(OwnedFd, OwnedFd), Error> {
    let fail =
        |e: rustix::io::Errno| Error::os(stdio_step(n), e.raw_os_error());
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
    let (ours, theirs) = if n == 0 { (write, read) } else { (read, write) };
    if ours.as_raw_fd() > 2 {
        return Ok((ours, theirs));
    }
    Ok((lift(&ours, 3).map_err(fail)?, theirs))
}
