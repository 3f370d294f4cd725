//! `StdioPipes`: 0, 1 and 2 of one spawn. `LaunchFds`: the other descriptors
//! of one attempt.

use rustix::io::{Errno, fcntl_getfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdin, stdout};

use super::source_fds::SourceFds;
use super::status_page::StatusPage;
use crate::call::{Block, slot};
use crate::parent::command::{Engine, OpenCgroup, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::handle::{Child, Launch, PidFd, Waitable};
use crate::parent::plan::{Plan, Strategy, stdio_step};
use crate::parent::reserve::{ReservedFd, dup_above};
use crate::parent::std::{
    boxed::Box,
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    string::ToString,
};
use crate::sys::{CloneFlags, Pid};

/// What `output` has by default.
pub(super) fn piped(n: usize) -> StdioSource {
    if n == 0 { StdioSource::Null } else { StdioSource::Piped }
}

/// What becomes 0, 1 and 2.
#[derive(Default)]
pub(super) struct StdioPipes {
    /// The child's, if made for this spawn.
    theirs: [Option<ReservedFd>; 3],
    /// The parent's ends of the pipes.
    ours: [Option<OwnedFd>; 3],
    /// The numbers that steps read from; and the first number above those and
    /// all other source descriptors.
    numbers: [u32; 3],
    source_end: i32,
    /// Whether a descriptor has a number other than the lowest that was free,
    /// so that the next one may be below it.
    pub(super) moved: bool,
}

impl StdioPipes {
    /// Makes the pipes and opens the files.
    pub(super) fn new(
        plan: &Plan,
        source_fds: &SourceFds,
    ) -> Result<StdioPipes, Error> {
        let mut pipes = StdioPipes {
            source_end: signed(source_fds.source_end),
            moved: source_fds.source_end > 3,
            ..StdioPipes::default()
        };
        check_same_as(plan)?;
        for (n, source) in (0u8..).zip(&plan.stdio) {
            let i = usize::from(n);
            let theirs = match source {
                StdioSource::Piped => {
                    let (ours, theirs) = pipe(n)?;
                    pipes.ours[i] = Some(ours);
                    theirs
                }
                StdioSource::Open(path, options) => {
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
            let lowest = theirs.as_raw_fd().unsigned_abs();
            let theirs = source_fds
                .move_off_targets(theirs)
                .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
            let number = theirs.number();
            pipes.moved |= number != lowest;
            pipes.theirs[i] = Some(theirs);
            pipes.numbers[i] = number;
            let end = signed(number.saturating_add(1));
            pipes.source_end = pipes.source_end.max(end);
        }
        Ok(pipes)
    }

    /// Makes the `Child`, which gets the parent's ends.
    pub(super) fn into_child(
        self,
        (pid, pidfd, launch, listener): (
            Pid,
            Option<PidFd>,
            Launch,
            Option<OwnedFd>,
        ),
        group: Option<OpenCgroup>,
    ) -> Child {
        let group = group.filter(OpenCgroup::is_made).map(Box::new);
        let autoreaped = launch.flags().contains(CloneFlags::AUTOREAP);
        let waitable = Waitable::new(pid, pidfd, group).autoreaped(autoreaped);
        Child::new(waitable, launch, listener, self.ours)
    }

    /// Returns the number that steps read one of 0 to 2 from.
    pub(super) fn number(&self, n: u32) -> u32 {
        self.numbers.get(n as usize).copied().unwrap_or_default()
    }

    /// Returns a block whose slots have the descriptors of one attempt.
    pub(super) fn block(&self, fds: &LaunchFds) -> Block {
        let mut block = Block::new();
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        for (n, fd) in (slot::STDIO..).zip(self.numbers) {
            block.set(n, fd.into());
        }
        if let Some(procs) = &fds.procs {
            block.set(slot::CGROUP_PROCS, number(procs.as_raw_fd()));
        }
        if let (Some(page), Some(image)) = (&fds.page, fds.image) {
            block.set(slot::STATUS_PAGE, page.number().into());
            block.set(slot::HELPER, image.into());
        }
        block.set(slot::SOURCE_END, number(fds.source_end));
        block.set(slot::LAST_SOURCE, number(fds.last_source));
        block
    }
}

/// The descriptors that a strategy needs beside 0 to 2.
#[derive(Default)]
pub(super) struct LaunchFds {
    /// `cgroup.procs`, which the child writes to.
    procs: Option<File>,
    /// The pipe that exec closes: the parent's end and the child's, which is
    /// above all others, so that the range below it can be closed.
    pub(super) pipe: Option<(OwnedFd, OwnedFd)>,
    /// The helper's status page, and the number of its image.
    pub(super) page: Option<StatusPage>,
    image: Option<u32>,
    /// The first number above all that steps read from; and the last that a
    /// step closes before exec, or 0 for none.
    pub(super) source_end: i32,
    last_source: i32,
}

impl LaunchFds {
    pub(super) fn new(
        strategy: Strategy,
        group: Option<&OpenCgroup>,
        source_fds: &SourceFds,
        pipes: &StdioPipes,
        page: Option<(StatusPage, u32)>,
    ) -> Result<LaunchFds, Error> {
        let mut fds =
            LaunchFds { source_end: pipes.source_end, ..LaunchFds::default() };
        if let (Some(group), true) = (group, strategy.joins_cgroup) {
            let procs = group.procs()?;
            let end = procs.as_raw_fd().saturating_add(1);
            fds.source_end = fds.source_end.max(end);
            fds.procs = Some(procs);
        }
        if let Some((page, image)) = page {
            let end = signed(page.number().max(image).saturating_add(1));
            fds.source_end = fds.source_end.max(end);
            (fds.page, fds.image) = (Some(page), Some(image));
        }
        // The last range that is closed begins above all that stays open.
        let kept_end = signed(source_fds.kept_end);
        let helper_end = match strategy.has_helper() {
            true => signed(source_fds.helper_end),
            false => 3,
        };
        if fds.source_end > kept_end.max(helper_end) {
            fds.last_source = fds.source_end - 1;
        }
        if strategy.engine == Engine::Pipe && !strategy.in_place {
            let fail = |e: Errno| {
                Error::os(Step::Clone, e.raw_os_error()).with("pipe")
            };
            let (ours, theirs) =
                pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            // One number is left out, so that there is a range to close.
            let end = fds.source_end.max(kept_end).saturating_add(1);
            let theirs = dup_above(theirs, end).map_err(fail)?;
            fds.last_source = theirs.as_raw_fd() - 1;
            fds.source_end = theirs.as_raw_fd().saturating_add(1);
            fds.pipe = Some((ours, theirs));
        }
        Ok(fds)
    }
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Checks that a descriptor is open which another of 0 to 2 is the same as.
/// Otherwise a file opened for this spawn could get its number.
fn check_same_as(plan: &Plan) -> Result<(), Error> {
    for (n, source) in (0..).zip(&plan.stdio) {
        let StdioSource::SameAs(from) = *source else { continue };
        let i = usize::try_from(from).unwrap_or(usize::MAX);
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

/// Makes a pipe for number `n`: the parent's end, the child's. The parent's
/// is moved above 2: while one of 0 to 2 is closed the kernel uses its
/// number, and the child would inherit it.
fn pipe(n: u8) -> Result<(OwnedFd, OwnedFd), Error> {
    let fail = |e: Errno| Error::os(stdio_step(n), e.raw_os_error());
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
    let (ours, theirs) = if n == 0 { (write, read) } else { (read, write) };
    if ours.as_raw_fd() > 2 {
        return Ok((ours, theirs));
    }
    Ok((dup_above(&ours, 3).map_err(fail)?, theirs))
}
