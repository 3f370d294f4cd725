//! Ends: the descriptors of one spawn, and where they stand in its block.

use rustix::io::fcntl_getfd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdin, stdout};

use super::source_fds::SourceFds;
use super::status_page::StatusPage;
use crate::call::{Block, slot};
use crate::parent::command::cgroup::Group;
use crate::parent::command::method::Engine;
use crate::parent::command::stdio::StdioSource;
use crate::parent::error::{Error, Step};
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::plan::Plan;
use crate::parent::plan::source_fd::stdio_step;
use crate::parent::plan::strategy::Strategy;
use crate::parent::reserve::{ReservedFd, dup_above};
use crate::parent::std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    string::ToString,
};
use crate::sys::Pid;

/// What becomes 0, 1 and 2.
#[derive(Default)]
pub(super) struct StdioPipes {
    /// What the child gets, where it is made for this spawn.
    theirs: [Option<ReservedFd>; 3],
    /// Our side of the pipes.
    pub(super) ours: [Option<OwnedFd>; 3],
    /// The numbers, and the first number above all that steps read from.
    numbers: [u32; 3],
    pub(super) source_end: i32,
    /// The first number above all that stays open, and above what is lent.
    kept_end: i32,
    helper_end: i32,
    /// Whether one of them has a number that is not the lowest that was
    /// free: what is made next may be below it.
    pub(super) moved: bool,
}

impl StdioPipes {
    /// Makes or looks up each of them.
    pub(super) fn new(
        plan: &Plan,
        source_fds: &SourceFds,
    ) -> Result<StdioPipes, Error> {
        let signed = |n| i32::try_from(n).unwrap_or(i32::MAX);
        let [source_end, kept_end, helper_end] = [
            source_fds.source_end,
            source_fds.kept_end,
            source_fds.helper_end,
        ]
        .map(signed);
        let moved = source_fds.source_end > 3;
        let mut pipes = StdioPipes {
            source_end,
            kept_end,
            helper_end,
            moved,
            ..StdioPipes::default()
        };
        same_as_what_is_open(plan)?;
        for n in 0..3u8 {
            let i = usize::from(n);
            let theirs = match plan.stdio.get(i) {
                Some(StdioSource::Piped) => {
                    let (ours, theirs) = pipe(n)?;
                    pipes.ours[i] = Some(ours);
                    theirs
                }
                Some(StdioSource::Open(path, options)) => {
                    let file = options.open(path.as_path());
                    let file = file.map_err(|e| {
                        Error::io(stdio_step(n), &e).with(path.as_path())
                    })?;
                    file.into()
                }
                _ => {
                    pipes.numbers[i] = source_fds.null(n).unwrap_or_default();
                    continue;
                }
            };
            let made = theirs.as_raw_fd().unsigned_abs();
            let theirs = source_fds
                .move_off_targets(theirs)
                .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
            let number = theirs.number();
            pipes.moved |= number != made;
            pipes.theirs[i] = Some(theirs);
            pipes.numbers[i] = number;
            pipes.source_end =
                pipes.source_end.max(signed(number.saturating_add(1)));
        }
        Ok(pipes)
    }

    /// The child, with our side of its pipes.
    pub(super) fn into_child(
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
    pub(super) fn block(&self, launch_fds: &LaunchFds) -> Block {
        let mut block = Block::new();
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        for (n, fd) in (slot::STDIO..).zip(self.numbers) {
            block.set(n, fd.into());
        }
        if let Some(procs) = &launch_fds.procs {
            block.set(slot::CGROUP_PROCS, number(procs.as_raw_fd()));
        }
        if let (Some(page), Some(image)) = (&launch_fds.page, launch_fds.image)
        {
            block.set(slot::STATUS_PAGE, page.number().into());
            block.set(slot::HELPER, image.into());
        }
        block.set(slot::SOURCE_END, number(launch_fds.source_end));
        block.set(slot::LAST_SOURCE, number(launch_fds.last));
        block
    }
}

/// What one shape needs beside 0 to 2.
#[derive(Default)]
pub(super) struct LaunchFds {
    /// The file by which the child joins its control group.
    pub(super) procs: Option<File>,
    /// The pipe whose end tells of exec: ours, theirs. Theirs is above
    /// everything else, so that one range below it can be closed.
    pub(super) pipe: Option<(OwnedFd, OwnedFd)>,
    /// The page that an image reports through, and the image's number.
    pub(super) page: Option<StatusPage>,
    image: Option<u32>,
    /// The first descriptor that no step needs, and the last that is closed
    /// below it.
    pub(super) source_end: i32,
    last: i32,
}

impl LaunchFds {
    pub(super) fn new(
        strategy: Strategy,
        group: Option<&Group>,
        pipes: &StdioPipes,
        page: Option<(StatusPage, u32)>,
    ) -> Result<LaunchFds, Error> {
        let mut launch_fds =
            LaunchFds { source_end: pipes.source_end, ..LaunchFds::default() };
        if let (Some(group), true) = (group, strategy.joins_cgroup) {
            let procs = group.procs()?;
            let above = procs.as_raw_fd().saturating_add(1);
            launch_fds.source_end = launch_fds.source_end.max(above);
            launch_fds.procs = Some(procs);
        }
        if let Some((page, image)) = page {
            for number in [page.number(), image] {
                let above = number.saturating_add(1);
                let above = i32::try_from(above).unwrap_or(i32::MAX);
                launch_fds.source_end = launch_fds.source_end.max(above);
            }
            (launch_fds.page, launch_fds.image) = (Some(page), Some(image));
        }
        // The last range that is closed begins above all that stays open.
        let isolated = strategy.engine == Engine::Isolated;
        let lent = if isolated { pipes.helper_end } else { 3 };
        let above = pipes.kept_end.max(lent);
        launch_fds.last = if launch_fds.source_end > above {
            launch_fds.source_end - 1
        } else {
            0
        };
        if strategy.engine == Engine::Pipe && !strategy.in_place {
            let fail = |e: rustix::io::Errno| {
                Error::os(Step::Clone, e.raw_os_error()).with("pipe")
            };
            let (ours, theirs) =
                pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            // One number is left out, so that there is a range to close.
            let above =
                launch_fds.source_end.max(pipes.kept_end).saturating_add(1);
            let theirs = dup_above(theirs, above).map_err(fail)?;
            launch_fds.last = theirs.as_raw_fd() - 1;
            launch_fds.source_end = theirs.as_raw_fd().saturating_add(1);
            launch_fds.pipe = Some((ours, theirs));
        }
        Ok(launch_fds)
    }
}

/// One of 0 to 2 that is the same as an inherited one: where that is closed,
/// its number is the first that the kernel gives to what we make.
fn same_as_what_is_open(plan: &Plan) -> Result<(), Error> {
    for n in 0..3u8 {
        let Some(StdioSource::SameAs(from)) = plan.stdio.get(usize::from(n))
        else {
            continue;
        };
        let i = usize::try_from(*from).unwrap_or(usize::MAX);
        if !matches!(plan.stdio.get(i), Some(StdioSource::Inherit)) {
            continue;
        }
        let inherited = [stdin(), stdout(), stderr()];
        let closed = inherited.get(i).map(fcntl_getfd);
        if let Some(Err(e)) = closed {
            let why = "same_as: that descriptor is not open here";
            let error = Error::explained(stdio_step(n), e.raw_os_error(), why);
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
    Ok((dup_above(&ours, 3).map_err(fail)?, theirs))
}
