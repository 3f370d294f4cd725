//! `Prepared`: a plan bound to memory, to be launched any number of times.
#![allow(unsafe_code, reason = "one line adopts the child's pidfd")]

use rustix::io::fcntl_dupfd_cloexec;

use super::attempt::Attempt;
use super::changes::Try;
use super::ends::{Ends, Extra};
use super::held::Held;
use super::lowered::Lowered;
use super::page::{Page, introduce};
use crate::call::{Block, Table};
use crate::launch::gate::Gate;
use crate::launch::{Ask, Environ, Made};
use crate::launch::{copied, isolated, pipe, suspended};
use crate::parent::cgroup::{Cgroup, Group};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::gate::Visit;
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::plan::Plan;
use crate::parent::plan::method::Engine;
use crate::parent::reserve::{self, Low};
use crate::parent::std::{
    boxed::Box,
    cell::Cell,
    fmt,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
    process::{ExitStatus, Output},
    sync::Mutex,
    vec::Vec,
};
use crate::parent::stdio::Source;
use crate::parent::table::thread;
use crate::sys::Pid;

/// What a launch gives the child's handle.
type Ran = (Pid, Option<PidFd>, Launch);

/// How one try of a spawn failed.
pub(super) enum Failure {
    ForGood(Error),
    /// With the right to one more, and the error if a child was made.
    Once(Try, Option<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::ForGood(error)
    }
}

/// What all tries of a spawn have.
struct Spawn<'a> {
    ends: &'a Ends,
    group: Option<&'a Group>,
    room: &'a [Cell<u64>],
    gate: Option<Gate<'a>>,
    visit: &'a Visit<'a>,
}

/// A plan that is ready to run, any number of times and from any thread at
/// once: nothing in it changes, and a spawn allocates nothing (but for the
/// environment of [`Command::listen_fds`](crate::Command::listen_fds)).
///
/// It holds descriptors (`/dev/null`, those that were given, an image) of the
/// table in which it was made. A thread that has called
/// `unshare(CLONE_FILES)` may spawn it as long as it has not closed its
/// copies of them, or given their numbers to other files: else that is EBADF
/// of the option, and nothing is passed on. The thread that has prepared it
/// is not asked. Dropped by a thread that has closed its copies, it closes
/// none of its own; a descriptor that was given by value is closed by its
/// number there, as any `OwnedFd` is.
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
#[must_use = "it does nothing until it is spawned"]
pub struct Prepared {
    pub(super) plan: Box<Plan>,
    pub(super) first: Lowered,
    pub(super) held: Box<Held>,
    /// A descriptor above those that are held, for the proof.
    pub(super) canary: Option<Low>,
    /// The thread that has made it, and whether others may use it.
    thread: u64,
    pub(super) lasts: bool,
    /// A page that no launch uses now.
    pub(super) page: Mutex<Option<Page>>,
}

/// Its plan, of whose environment the names are shown, never a value.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("plan", &self.plan)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    pub(crate) fn new(mut plan: Box<Plan>) -> Result<Prepared, Error> {
        let held = Held::new(&mut plan)?;
        let mut prepared = Prepared::bound(plan, held)?;
        let Prepared { plan, first, held, .. } = &prepared;
        let above = |fd| u32::try_from(fd).is_ok_and(|n: u32| n >= held.cut);
        let proved = held.cut == 3 || reserve::above().is_some_and(above);
        // Where it cannot be made now, the first spawn says why. Where there
        // are pages, they have their own.
        if plan.shares(plan.shape) && !proved && first.image.is_none() {
            prepared.canary = held.canary(plan, held.cut).map(Low::from);
        }
        prepared.lasts = true;
        prepared.held.note(&prepared.plan);
        prepared.canary.iter().for_each(Low::note);
        prepared.first.image.iter().for_each(|image| image.note());
        Ok(prepared)
    }

    /// One launch, whose own pidfd most often is the proof. What the child is
    /// given is made first: where that leaves nothing for an image, it has
    /// none.
    pub(crate) fn once(mut plan: Box<Plan>) -> Result<Child, Error> {
        let held = Held::new(&mut plan)?;
        let group = plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let ends = Ends::new(&plan, &held)?;
        let mut prepared = Prepared::bound(plan, held)?;
        // Rather a pidfd than an image, which takes a descriptor too.
        let image = prepared.first.image.is_some();
        let spare = image && prepared.plan.any_engine;
        let mut made = prepared.run(&ends, group.as_ref(), !spare);
        if let Err(error) = &made {
            if spare && error.is_full() {
                prepared.first.image = None;
                let errno = error.raw_os_error().unwrap_or_default();
                prepared.held.unimaged = Some(("isolated", errno));
                prepared.plan.shape.engine = Engine::Copied;
                made = prepared.run(&ends, group.as_ref(), true);
            }
        }
        prepared.first.give_back();
        Ok(ends.child(made?))
    }

    pub(super) fn bound(
        mut plan: Box<Plan>,
        mut held: Box<Held>,
    ) -> Result<Prepared, Error> {
        plan.words.bind();
        let first = match Lowered::new(&plan, plan.shape, &held) {
            Err(error) if plan.any_engine && error.step() == Step::Image => {
                let errno = error.raw_os_error().unwrap_or_default();
                held.unimaged = Some(("memfd_create", errno));
                plan.shape.engine = Engine::Copied;
                Lowered::new(&plan, plan.shape, &held)?
            }
            other => other?,
        };
        let (canary, page) = (None, Mutex::new(None));
        let (thread, lasts) = (thread(), false);
        Ok(Prepared { plan, first, held, canary, thread, lasts, page })
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
    /// checked when this was prepared. EBADF of the option that gave a
    /// descriptor, if this thread has a table of descriptors of its own,
    /// without that one ([`unshare(2)`]).
    ///
    /// [`unshare(2)`]: https://man7.org/linux/man-pages/man2/unshare.2.html
    pub fn spawn(&self) -> Result<Child, Error> {
        if self.is_foreign() {
            self.held.is_here(&self.plan)?;
        }
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let ends = Ends::new(&self.plan, &self.held)?;
        self.start(ends, group.as_ref())
    }

    /// Starts the program and waits for it.
    ///
    /// # Errors
    ///
    /// As [`Prepared::spawn`] and [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// let prepared = offshoot::Command::new("/bin/true").prepare()?;
    /// assert!(prepared.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn status(&self) -> Result<ExitStatus, Error> {
        self.spawn()?.wait()
    }

    /// Starts the program, waits for it and collects what it writes to what
    /// was prepared as a pipe. Unlike
    /// [`Command::output`](crate::Command::output) it changes no default:
    /// what was said of descriptors 0 to 2 was taken when this was prepared.
    ///
    /// # Errors
    ///
    /// [`Step::Stdout`], before anything is made, if neither output nor
    /// error is piped, as there would be nothing to collect. Else as
    /// [`Prepared::spawn`] and [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut echo = Command::new("echo");
    /// let echo = echo.arg("hi").stdout(Stdio::piped()).prepare()?;
    /// assert_eq!(echo.output()?.stdout, b"hi\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn output(&self) -> Result<Output, Error> {
        let [_, out, err] = &self.plan.stdio;
        let piped = |source: &Source| matches!(source, Source::Piped);
        if !piped(out) && !piped(err) {
            let why = "neither output nor error is prepared as a pipe";
            return Err(Error::refused(Step::Stdout, why));
        }
        self.spawn()?.wait_with_output()
    }

    /// In a frame of its own: `once` needs it for a second try only.
    #[inline(never)]
    fn start(
        &self,
        ends: Ends,
        group: Option<&Group>,
    ) -> Result<Child, Error> {
        let made = self.run(&ends, group, true)?;
        Ok(ends.child(made))
    }

    /// Launches, again where that can help: in a lesser shape, and while the
    /// program is open for writing. `may_lack_pidfd`: where no number is free
    /// for one.
    fn run(
        &self,
        ends: &Ends,
        group: Option<&Group>,
        may_lack_pidfd: bool,
    ) -> Result<Ran, Error> {
        let mut attempt = Attempt::first(self, group);
        attempt.may_lack_pidfd = may_lack_pidfd;
        let room = self.room();
        let visit = Visit::new(&self.plan.before);
        let pay = |pid, pidfd: Option<BorrowedFd<'_>>| visit.pay(pid, pidfd);
        let gate = (!self.plan.before.is_empty()).then_some(Gate(&pay));
        let given = Spawn { ends, group, room: &room, gate, visit: &visit };
        // Why a child was made in vain.
        let mut earlier = None;
        let mut next = attempt.budget.first();
        while let Some(right) = next {
            match self.attempt(right, &mut attempt, &given) {
                Ok(ran) => return Ok(ran),
                // The first child was the init of a PID namespace, and there
                // is no second.
                Err(Failure::ForGood(error)) if error.is_no_memory() => {
                    return Err(earlier.unwrap_or(error));
                }
                Err(Failure::ForGood(error)) => return Err(error),
                Err(Failure::Once(right, error)) => {
                    earlier = earlier.or(error);
                    next = Some(right);
                }
            }
        }
        Err(Error::new(Step::Plan, Cause::Untrue(0)))
    }

    /// One try.
    fn attempt(
        &self,
        _right: Try,
        attempt: &mut Attempt,
        given: &Spawn<'_>,
    ) -> Result<Ran, Failure> {
        if let Some(error) = attempt.forbidden() {
            return Err(error.into());
        }
        let Spawn { ends, group, .. } = *given;
        let shape = attempt.shape;
        let lowered = match self.first.of(&self.plan, shape, &self.held) {
            Err(error) => return Err(attempt.does_without(self, error)),
            Ok(lowered) => lowered,
        };
        let table = lowered.table(&self.plan)?;
        let page = match self.page(lowered) {
            Err(error) => return Err(attempt.does_without(self, error)),
            Ok(page) => page,
        };
        let mut extra = Extra::new(shape, group, ends, page)?;
        attempt.prove_if_needed(self, &extra, ends.moved);
        let environ = self.environ(&table, given.room);
        let ask = attempt.ask(self, group, environ, given.gate);
        let mut block = ends.block(&extra);
        if extra.page.is_some() {
            introduce(&mut block, attempt.rights, attempt.apart);
        }
        let made = launch(&table, &mut block, ask, &mut extra, lowered);
        let made = self.doubt(lowered, made, &block);
        self.give_back(extra.page, extra.cut, made);
        // Owned from here, so that every way out closes it or keeps it.
        let pidfd = made.pidfd().map(adopt);
        if let Made::Running { pid, sure, .. } = made {
            // Rows that ran leave their mark, if memory is what it seems.
            let sure = sure && block.reached != 0;
            attempt.prove_shape(&self.plan);
            return Ok((pid, pidfd, attempt.told(self, sure)));
        }
        if let Some(error) = given.visit.refused() {
            return Err(error.into());
        }
        let next = attempt.after(self, lowered, made, &block, group);
        let blame = || self.blame(lowered, made, &block, group);
        Err(match (next, made) {
            (None, _) => Failure::ForGood(blame()),
            // The kernel has made the process id before it finds no number for
            // the pidfd, which counts as a child where it is an init.
            (Some(right), Made::Refused(errno)) => {
                let full = [libc::EMFILE, libc::ENFILE].contains(&errno.0);
                Failure::Once(right, full.then(blame))
            }
            (Some(right), _) => Failure::Once(right, Some(blame())),
        })
    }
}

impl Prepared {
    /// Whether another thread has made it: the calling one may have a table
    /// of descriptors of its own.
    pub(super) fn is_foreign(&self) -> bool {
        self.thread != thread()
    }

    /// Memory for an environment of the launch's own, where one is needed:
    /// the one thing that a spawn allocates, for `listen_fds` only.
    pub(super) fn room(&self) -> Vec<Cell<u64>> {
        let len =
            if self.plan.listens { self.plan.words.envc() + 1 } else { 0 };
        Vec::from_iter((0..len).map(|_| Cell::new(0)))
    }

    pub(super) fn environ<'a>(
        &self,
        table: &Table<'a>,
        room: &'a [Cell<u64>],
    ) -> Option<Environ<'a>> {
        let listens = self.plan.listens;
        let from = self.plan.words.envp();
        listens.then(|| Environ::new(table, from, room)).flatten()
    }
}

fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: Ask<'_>,
    extra: &mut Extra,
    lowered: &Lowered,
) -> Made {
    match (lowered.shape.engine, &mut extra.page) {
        (Engine::Isolated, Some(page)) => {
            let (page, within) = (&mut page.shared, lowered.within());
            isolated::launch(table, block, ask, page, within)
        }
        (Engine::Suspended | Engine::Isolated, _) => {
            suspended::launch(table, block, ask)
        }
        (Engine::Copied | Engine::Pipe, _) => match extra.pipe.take() {
            Some(ends) => pipe::launch(table, block, ask, ends),
            None => copied::launch(table, block, ask),
        },
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

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Prepared>();
};
