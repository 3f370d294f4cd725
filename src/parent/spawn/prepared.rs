//! `Prepared`: a plan bound to memory, to be launched any number of times.
#![allow(unsafe_code, reason = "one line adopts the child's pidfd")]

use rustix::io::fcntl_dupfd_cloexec;

use super::attempt::Attempt;
use super::changes::Try;
use super::compiled_plan::CompiledPlan;
use super::source_fds::SourceFds;
use super::status_page::{StatusPage, init_block};
use super::stdio_pipes::{LaunchFds, StdioPipes};
use crate::call::{Block, Table};
use crate::launch::gate::Gate;
use crate::launch::{Environ, LaunchArgs, Outcome};
use crate::launch::{copied, isolated, pipe, suspended};
use crate::parent::command::cgroup::{Cgroup, Group};
use crate::parent::command::method::Engine;
use crate::parent::command::parent_hook::ParentHooks;
use crate::parent::command::stdio::Source;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::fd_table::thread;
use crate::parent::handle::Child;
use crate::parent::handle::launch::Launch;
use crate::parent::handle::pidfd::PidFd;
use crate::parent::plan::Plan;
use crate::parent::reserve::{self, ReservedFd};
use crate::parent::std::{
    boxed::Box,
    cell::Cell,
    fmt,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
    process::{ExitStatus, Output},
    sync::Mutex,
    vec::Vec,
};
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
    pipes: &'a StdioPipes,
    group: Option<&'a Group>,
    room: &'a [Cell<u64>],
    gate: Option<Gate<'a>>,
    visit: &'a ParentHooks<'a>,
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
    pub(super) first: CompiledPlan,
    pub(super) source_fds: Box<SourceFds>,
    /// A descriptor above those that are held, for the proof.
    pub(super) probe_fd: Option<ReservedFd>,
    /// The thread that has made it, and whether others may use it.
    thread: u64,
    pub(super) lasts: bool,
    /// A page that no launch uses now.
    pub(super) page: Mutex<Option<StatusPage>>,
}

/// Its plan, of whose environment the names are shown, never a value.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("plan", &self.plan)
            .field("held", &self.source_fds)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    pub(crate) fn new(mut plan: Box<Plan>) -> Result<Prepared, Error> {
        let source_fds = SourceFds::new(&mut plan)?;
        let mut prepared = Prepared::bound(plan, source_fds)?;
        let Prepared { plan, first, source_fds, .. } = &prepared;
        let above = |fd| {
            u32::try_from(fd).is_ok_and(|n: u32| n >= source_fds.source_end)
        };
        let proved =
            source_fds.source_end == 3 || reserve::above().is_some_and(above);
        // Where it cannot be made now, the first spawn says why. Where there
        // are pages, they have their own.
        if plan.shares(plan.strategy) && !proved && first.image.is_none() {
            prepared.probe_fd = source_fds
                .probe_fd(plan, source_fds.source_end)
                .map(ReservedFd::from);
        }
        prepared.lasts = true;
        prepared.source_fds.note(&prepared.plan);
        prepared.probe_fd.iter().for_each(ReservedFd::note);
        prepared.first.image.iter().for_each(|image| image.note());
        Ok(prepared)
    }

    /// One launch, whose own pidfd most often is the proof. What the child is
    /// given is made first: where that leaves nothing for an image, it has
    /// none.
    pub(crate) fn once(mut plan: Box<Plan>) -> Result<Child, Error> {
        let source_fds = SourceFds::new(&mut plan)?;
        let group = plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let pipes = StdioPipes::new(&plan, &source_fds)?;
        let mut prepared = Prepared::bound(plan, source_fds)?;
        // Rather a pidfd than an image, which takes a descriptor too.
        let image = prepared.first.image.is_some();
        let spare = image && prepared.plan.any_engine;
        let mut made = prepared.run(&pipes, group.as_ref(), !spare);
        if let Err(error) = &made {
            if spare && error.is_full() {
                prepared.first.image = None;
                let errno = error.raw_os_error().unwrap_or_default();
                prepared.source_fds.no_helper = Some(("isolated", errno));
                prepared.plan.strategy.engine = Engine::Copied;
                made = prepared.run(&pipes, group.as_ref(), true);
            }
        }
        prepared.first.give_back();
        Ok(pipes.child(made?))
    }

    pub(super) fn bound(
        mut plan: Box<Plan>,
        mut source_fds: Box<SourceFds>,
    ) -> Result<Prepared, Error> {
        plan.strings.relocate();
        let first = match CompiledPlan::new(&plan, plan.strategy, &source_fds)
        {
            Err(error) if plan.any_engine && error.step() == Step::Image => {
                let errno = error.raw_os_error().unwrap_or_default();
                source_fds.no_helper = Some(("memfd_create", errno));
                plan.strategy.engine = Engine::Copied;
                CompiledPlan::new(&plan, plan.strategy, &source_fds)?
            }
            other => other?,
        };
        let (probe_fd, page) = (None, Mutex::new(None));
        let (thread, lasts) = (thread(), false);
        Ok(Prepared { plan, first, source_fds, probe_fd, thread, lasts, page })
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
            self.source_fds.is_here(&self.plan)?;
        }
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let pipes = StdioPipes::new(&self.plan, &self.source_fds)?;
        self.start(pipes, group.as_ref())
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
        pipes: StdioPipes,
        group: Option<&Group>,
    ) -> Result<Child, Error> {
        let made = self.run(&pipes, group, true)?;
        Ok(pipes.child(made))
    }

    /// Launches, again where that can help: in a lesser shape, and while the
    /// program is open for writing. `may_lack_pidfd`: where no number is free
    /// for one.
    fn run(
        &self,
        pipes: &StdioPipes,
        group: Option<&Group>,
        may_lack_pidfd: bool,
    ) -> Result<Ran, Error> {
        let mut attempt = Attempt::first(self, group);
        attempt.may_lack_pidfd = may_lack_pidfd;
        let room = self.room();
        let visit = ParentHooks::new(&self.plan.parent_hooks);
        let run = |pid, pidfd: Option<BorrowedFd<'_>>| visit.run(pid, pidfd);
        let gate = (!self.plan.parent_hooks.is_empty()).then_some(Gate(&run));
        let given = Spawn { pipes, group, room: &room, gate, visit: &visit };
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
        let Spawn { pipes, group, .. } = *given;
        let strategy = attempt.strategy;
        let compiled =
            match self.first.of(&self.plan, strategy, &self.source_fds) {
                Err(error) => {
                    return Err(attempt.fall_back_to_copied(self, error));
                }
                Ok(compiled) => compiled,
            };
        let table = compiled.table(&self.plan)?;
        let page = match self.page(compiled) {
            Err(error) => return Err(attempt.fall_back_to_copied(self, error)),
            Ok(page) => page,
        };
        let mut launch_fds = LaunchFds::new(strategy, group, pipes, page)?;
        attempt.prove_if_needed(self, &launch_fds, pipes.moved);
        let environ = self.environ(&table, given.room);
        let ask = attempt.ask(self, group, environ, given.gate);
        let mut block = pipes.block(&launch_fds);
        if launch_fds.page.is_some() {
            init_block(&mut block, attempt.rights, attempt.apart);
        }
        let made = launch(&table, &mut block, ask, &mut launch_fds, compiled);
        let made = self.verify_exec(compiled, made, &block);
        self.give_back(launch_fds.page, launch_fds.source_end, made);
        // Owned from here, so that every way out closes it or keeps it.
        let pidfd = made.pidfd().map(adopt);
        if let Outcome::Running { pid, confirmed, .. } = made {
            // Rows that ran leave their mark, if memory is what it seems.
            let confirmed = confirmed && block.reached != 0;
            attempt.prove_shape(&self.plan);
            return Ok((pid, pidfd, attempt.launch(self, confirmed)));
        }
        if let Some(error) = given.visit.refused() {
            return Err(error.into());
        }
        let next = attempt.after(self, compiled, made, &block, group);
        let diagnose = || self.diagnose(compiled, made, &block, group);
        Err(match (next, made) {
            (None, _) => Failure::ForGood(diagnose()),
            // The kernel has made the process id before it finds no number for
            // the pidfd, which counts as a child where it is an init.
            (Some(right), Outcome::Refused(errno)) => {
                let full = [libc::EMFILE, libc::ENFILE].contains(&errno.0);
                Failure::Once(right, full.then(diagnose))
            }
            (Some(right), _) => Failure::Once(right, Some(diagnose())),
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
            if self.plan.listens { self.plan.strings.envc() + 1 } else { 0 };
        Vec::from_iter((0..len).map(|_| Cell::new(0)))
    }

    pub(super) fn environ<'a>(
        &self,
        table: &Table<'a>,
        room: &'a [Cell<u64>],
    ) -> Option<Environ<'a>> {
        let listens = self.plan.listens;
        let from = self.plan.strings.envp();
        listens.then(|| Environ::new(table, from, room)).flatten()
    }
}

fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: LaunchArgs<'_>,
    launch_fds: &mut LaunchFds,
    compiled: &CompiledPlan,
) -> Outcome {
    match (compiled.strategy.engine, &mut launch_fds.page) {
        (Engine::Isolated, Some(page)) => {
            let (page, within) = (&mut page.shared, compiled.within());
            isolated::launch(table, block, ask, page, within)
        }
        (Engine::Suspended | Engine::Isolated, _) => {
            suspended::launch(table, block, ask)
        }
        (Engine::Copied | Engine::Pipe, _) => match launch_fds.pipe.take() {
            Some(pipes) => pipe::launch(table, block, ask, pipes),
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
