//! `Prepared`: a plan bound to memory, to be launched any number of times.
#![allow(unsafe_code, reason = "one line adopts the child's pidfd")]

use core::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::call::{Block, Call, Table, slot};
use crate::launch::{Ask, Made, copied, suspended};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::kernel;
use crate::parent::plan::method::Engine;
use crate::parent::plan::{Plan, lower, stdio_step};
use crate::parent::std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    sync::Arc,
    thread,
    vec::Vec,
};
use crate::parent::stdio::Source;
use crate::sys::{CloneFlags, Errno, Pid};

/// How often a program that is open for writing is tried again: 50 us, then
/// twice as long each time, 5 ms at most; about 30 ms in all.
const BUSY_RETRIES: u32 = 12;
const BUSY_FIRST: Duration = Duration::from_micros(50);
const BUSY_LAST: Duration = Duration::from_millis(5);

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
    pub(super) rows: Vec<Call>,
    fixed: [Option<Arc<OwnedFd>>; 3],
    /// A descriptor above those in `fixed`, for the proof.
    canary: Option<OwnedFd>,
}

/// The descriptors of one spawn.
#[derive(Default)]
struct Ends {
    /// What the child gets, where it is made for this spawn.
    theirs: [Option<OwnedFd>; 3],
    /// Our side of the pipes.
    ours: [Option<OwnedFd>; 3],
    /// The numbers, and the first number above them.
    numbers: [i32; 3],
    cut: i32,
}

impl Prepared {
    pub(crate) fn new(mut plan: Plan) -> Result<Prepared, Error> {
        let mut rows = lower::lower(&plan);
        let (text, lists) = plan.words.bind();
        lower::bind(&mut rows, text, lists);
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
        let shared = plan.flags().contains(CloneFlags::FILES);
        let source = fixed.iter().flatten().next().filter(|_| shared);
        let canary = source.and_then(|fd| fcntl_dupfd_cloexec(fd, cut).ok());
        let prepared = Prepared { plan, rows, fixed, canary };
        prepared.table()?;
        Ok(prepared)
    }

    /// The plan that each spawn runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn table(&self) -> Result<Table<'_>, Error> {
        let words = &self.plan.words;
        Table::new(&self.rows, words.text(), words.lists())
            .map_err(|flaw| Error::new(Step::Plan, Cause::Flaw(flaw)))
    }

    /// Starts the program. Returns once it runs: an error means that no
    /// child is left.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`](crate::Command::spawn), but for what was
    /// checked when this was prepared.
    pub fn spawn(&self) -> Result<Child, Error> {
        let mut ends = self.ends()?;
        let (pid, pidfd, launch) = self.run(&ends)?;
        let mut child = Child::new(pid, pidfd, launch);
        let [stdin, stdout, stderr] = &mut ends.ours;
        child.stdin = stdin.take().map(Into::into);
        child.stdout = stdout.take().map(Into::into);
        child.stderr = stderr.take().map(Into::into);
        Ok(child)
    }

    /// Makes or looks up what becomes 0, 1 and 2.
    fn ends(&self) -> Result<Ends, Error> {
        let mut ends = Ends { cut: 3, ..Ends::default() };
        for n in 0..3u8 {
            let i = usize::from(n);
            let fixed = self.fixed.get(i).and_then(Option::as_ref);
            let theirs = match self.plan.stdio.get(i) {
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

    /// Launches, again where that can help: with a canary of our own, and
    /// while the program is open for writing.
    fn run(&self, ends: &Ends) -> Result<(Pid, PidFd, Launch), Error> {
        let table = self.table()?;
        let mut attempt = self.first_attempt(ends);
        loop {
            let ask = attempt.ask(self, ends);
            let mut block = Block::new();
            ends.seat(&mut block);
            let made = self.launch(&table, &mut block, ask);
            // Owned from here, so that every way out closes it or keeps it.
            let pidfd = made.pidfd().map(adopt);
            let (row, result) = match (made, pidfd) {
                (Made::Running { pid, .. }, Some(pidfd)) => {
                    return Ok((pid, pidfd, attempt.told(self)));
                }
                (Made::Failed { row, result, .. }, _) => (row, result),
                _ => return Err(self.blame(made, &block)),
            };
            let text_busy = Errno::of(result) == Some(Errno(libc::ETXTBSY));
            if self.is_proof(row, result) && attempt.may_prove(ask) {
                attempt.prove(ends);
            } else if text_busy && attempt.busy < BUSY_RETRIES {
                let pause = BUSY_FIRST * (1 << attempt.busy);
                thread::sleep(pause.min(BUSY_LAST));
                attempt.busy += 1;
            } else {
                return Err(self.blame(made, &block));
            }
        }
    }

    fn launch(&self, table: &Table<'_>, block: &mut Block, ask: Ask) -> Made {
        match self.plan.engine {
            Engine::Suspended => suspended::launch(table, block, ask),
            Engine::Copied => {
                let (made, left) = copied::launch(table, *block, ask);
                *block = left;
                made
            }
        }
    }

    /// The pidfd serves as the canary only where it is made after and above
    /// everything the child needs, in a table that is shared. A debugger
    /// that does not see vfork takes a child with exit signal 0 for a thread
    /// of ours.
    fn first_attempt(&self, ends: &Ends) -> Attempt {
        let mut flags = self.plan.flags();
        let shared = flags.contains(CloneFlags::FILES);
        if self.plan.engine == Engine::Copied && kernel::traced() {
            flags |= CloneFlags::VFORK;
        }
        let mut attempt = Attempt { flags, canary: None, busy: 0 };
        let fixed = self.fixed.iter().any(Option::is_some);
        if self.kept_canary(ends).is_none() && (fixed || !shared) {
            attempt.prove(ends);
        }
        attempt
    }

    /// The canary made beforehand, if it is above what this spawn needs.
    fn kept_canary(&self, ends: &Ends) -> Option<i32> {
        let kept = self.canary.as_ref().map(AsRawFd::as_raw_fd);
        kept.filter(|fd| *fd >= ends.cut)
    }
}

/// What changes from one try of a spawn to the next.
struct Attempt {
    flags: CloneFlags,
    canary: Option<OwnedFd>,
    busy: u32,
}

impl Attempt {
    fn ask(&self, prepared: &Prepared, ends: &Ends) -> Ask {
        let own = self.canary.as_ref().map(AsRawFd::as_raw_fd);
        let canary = prepared.kept_canary(ends).or(own);
        Ask { flags: self.flags, canary }
    }

    /// Whether the proof failed for want of a canary that is high enough.
    fn may_prove(&self, ask: Ask) -> bool {
        ask.canary.is_none() && self.flags.contains(CloneFlags::FILES)
    }

    /// Makes a canary. Where there is no number left above the cut, the
    /// child gets a copy of the table, and there is nothing to prove.
    fn prove(&mut self, ends: &Ends) {
        match canary(ends.cut) {
            Ok(made) => self.canary = Some(made),
            Err(_) => self.flags -= CloneFlags::FILES,
        }
    }

    fn told(&self, prepared: &Prepared) -> Launch {
        let own = match prepared.plan.engine {
            Engine::Suspended => CloneFlags::SUSPENDED,
            Engine::Copied => CloneFlags::COPIED,
        };
        Launch {
            engine: prepared.plan.engine,
            flags: self.flags | own,
            busy: self.busy,
            canary: self.canary.is_some(),
        }
    }
}

impl Ends {
    fn seat(&self, block: &mut Block) {
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        for (n, fd) in (slot::STDIO..).zip(self.numbers) {
            block.set(n, number(fd));
        }
        block.set(slot::CUT, number(self.cut));
        block.set(slot::LAST, number(self.cut - 1));
    }
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

/// A descriptor of its own for number `n`, above 2: where 0 to 2 are closed
/// the kernel hands those out, and the child's are made from them.
fn lift(n: u8, fd: OwnedFd) -> Result<OwnedFd, Error> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    fcntl_dupfd_cloexec(&fd, 3)
        .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))
}

fn given(n: u8, fd: &Arc<OwnedFd>) -> Result<Arc<OwnedFd>, Error> {
    if fd.as_raw_fd() > 2 {
        return Ok(Arc::clone(fd));
    }
    let lifted = fcntl_dupfd_cloexec(fd.as_fd(), 3)
        .map_err(|e| Error::os(stdio_step(n), e.raw_os_error()))?;
    Ok(Arc::new(lifted))
}

fn null(n: u8) -> Result<OwnedFd, Error> {
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

/// A descriptor that nobody needs, at `cut` or above.
fn canary(cut: i32) -> rustix::io::Result<OwnedFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
    if fd.as_raw_fd() >= cut { Ok(fd) } else { fcntl_dupfd_cloexec(fd, cut) }
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Prepared>();
};
