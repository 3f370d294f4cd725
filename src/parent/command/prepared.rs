//! `Prepared`: a plan bound to memory, to be launched any number of times.
#![allow(unsafe_code, reason = "one line adopts the child's pidfd")]

use rustix::io::fcntl_dupfd_cloexec;

use super::attempt::{Attempt, Next};
use super::ends::{Ends, Extra, given, null};
use super::lowered::Lowered;
use crate::call::{Block, Table};
use crate::launch::{Ask, Made, copied, here, pipe, suspended};
use crate::op::Op;
use crate::parent::cgroup::{Cgroup, Group};
use crate::parent::error::Error;
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::plan::Plan;
use crate::parent::plan::method::Engine;
use crate::parent::plan::shape::Shape;
use crate::parent::std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::Arc,
};
use crate::parent::stdio::Source;
use crate::sys::{Errno, Pid};

/// A plan that is ready to run, any number of times and from any thread at
/// once: nothing in it changes, and a spawn allocates nothing.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Stdio};
///
/// let echo = Command::new("echo").arg("hi").stdout(Stdio::piped()).prepare()?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let output = echo.spawn()?.wait_with_output()?;
///             assert_eq!(output.stdout, b"hi\n");
///             Ok::<(), offshoot::Error>(())
///         });
///     }
/// });
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is spawned"]
pub struct Prepared {
    pub(super) plan: Plan,
    pub(super) first: Lowered,
    pub(super) fixed: [Option<Arc<OwnedFd>>; 3],
    /// A descriptor above those in `fixed`, for the proof.
    pub(super) canary: Option<OwnedFd>,
}

impl Prepared {
    pub(crate) fn new(mut plan: Plan) -> Result<Prepared, Error> {
        plan.words.bind();
        let first = Lowered::new(&plan, plan.shape)?;
        let mut fixed = [None, None, None];
        let mut cut = 3;
        for (n, (to, from)) in (0..).zip(fixed.iter_mut().zip(&plan.stdio)) {
            let fd = match from {
                Source::Null => Some(Arc::new(null(n)?)),
                Source::Given(fd) => Some(given(n, fd)?),
                _ => None,
            };
            cut = cut.max(fd.as_ref().map_or(0, |fd| fd.as_raw_fd() + 1));
            *to = fd;
        }
        // Where it cannot be made now, the first spawn says why.
        let shared = plan.shares(plan.shape);
        let source = fixed.iter().flatten().next().filter(|_| shared);
        let canary = source.and_then(|fd| fcntl_dupfd_cloexec(fd, cut).ok());
        Ok(Prepared { plan, first, fixed, canary })
    }

    /// The plan that each spawn runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Starts the program. Returns once it runs: an error means that no
    /// child is left.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`](crate::Command::spawn), but for what was
    /// checked when this was prepared.
    pub fn spawn(&self) -> Result<Child, Error> {
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let mut ends = Ends::new(&self.plan, &self.fixed)?;
        let (pid, pidfd, launch) = self.run(&ends, group.as_ref())?;
        let mut child = Child::new(pid, pidfd, launch);
        let [stdin, stdout, stderr] = &mut ends.ours;
        child.stdin = stdin.take().map(Into::into);
        child.stdout = stdout.take().map(Into::into);
        child.stderr = stderr.take().map(Into::into);
        Ok(child)
    }

    /// Launches, again where that can help: in a lesser shape, with a canary
    /// of our own, and while the program is open for writing.
    fn run(
        &self,
        ends: &Ends,
        group: Option<&Group>,
    ) -> Result<(Pid, Option<PidFd>, Launch), Error> {
        let mut attempt = Attempt::first(self, group);
        loop {
            let lowered = self.first.of(&self.plan, attempt.shape)?;
            let table = lowered.table(&self.plan)?;
            let mut extra = Extra::new(attempt.shape, group, ends)?;
            attempt.prove_if_needed(self, extra.cut);
            let ask = attempt.ask(self, group, extra.cut);
            let mut block = ends.block(&extra);
            let made =
                launch(&table, &mut block, ask, &mut extra, attempt.shape);
            // Owned from here, so that every way out closes it or keeps it.
            let pidfd = made.pidfd().map(adopt);
            if let Made::Running { pid, sure, .. } = made {
                // Rows that ran leave their mark, if memory is what it seems.
                let sure = sure && block.reached != 0;
                return Ok((pid, pidfd, attempt.told(self, sure)));
            }
            let next = attempt.after(self, lowered, made, group);
            if next == Next::GiveUp {
                return Err(self.blame(lowered, made, &block, group));
            }
        }
    }

    /// Becomes the program, in this process. Returns only the error.
    pub(crate) fn exec(&self) -> Error {
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose();
        let ends = Ends::new(&self.plan, &self.fixed);
        match (group, ends) {
            (Err(error), _) | (_, Err(error)) => error,
            (Ok(group), Ok(ends)) => {
                let shape = self.plan.shape;
                let made = self.exec_as(shape, &ends, group.as_ref());
                made.unwrap_or_else(|error| error)
            }
        }
    }

    fn exec_as(
        &self,
        shape: Shape,
        ends: &Ends,
        group: Option<&Group>,
    ) -> Result<Error, Error> {
        let lowered = self.first.of(&self.plan, shape)?;
        let extra = Extra::new(shape, group, ends)?;
        let mut block = ends.block(&extra);
        here::run(&lowered.table(&self.plan)?, &mut block);
        let (row, result) = (block.failed, block.result);
        let marks = lowered.op(&self.plan, row) == Some(Op::MarkRange);
        let missing = matches!(
            Errno::of(result),
            Some(Errno(libc::ENOSYS | libc::EPERM | libc::EINVAL))
        );
        if marks && missing && !shape.listed {
            let shape = Shape { listed: true, ..shape };
            return self.exec_as(shape, ends, group);
        }
        let denied = block.denied;
        let made = Made::Failed { row, result, denied, pidfd: None };
        Ok(self.blame(lowered, made, &block, group))
    }
}

fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: Ask<'_>,
    extra: &mut Extra,
    shape: Shape,
) -> Made {
    let (made, left) = match (shape.engine, extra.pipe.take()) {
        (Engine::Suspended, _) => {
            return suspended::launch(table, block, ask);
        }
        (Engine::Pipe, Some(ends)) => pipe::launch(table, *block, ask, ends),
        (Engine::Copied | Engine::Pipe, _) => {
            copied::launch(table, *block, ask)
        }
    };
    *block = left;
    made
}

/// Takes ownership of the descriptor that a launch made. Where 0 to 2 were
/// free it is one of them; it moves up if there is room.
fn adopt(pidfd: i32) -> PidFd {
    // SAFETY: clause 2 of `launch`: the number was written by the kernel
    // into this launch's own block, and nothing else has taken it.
    let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if pidfd > 2 {
        return PidFd(fd);
    }
    PidFd(fcntl_dupfd_cloexec(&fd, 3).unwrap_or(fd))
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Prepared>();
};
