//! Launch loop: attempts are made until one succeeds or no fallback is left.
#![allow(unsafe_code, reason = "one line takes ownership of the pidfd")]

use rustix::io::fcntl_dupfd_cloexec;

use super::attempt::{Attempt, Failure};
use super::changes::Try;
use super::compiled_plan::CompiledPlan;
use super::own_filters::listener_error;
use super::prepared::Prepared;
use super::source_fds::SourceFds;
use super::start::Watched;
use super::stdio_pipes::{LaunchFds, StdioPipes};
use super::waiting_thread;
use crate::call::{Block, Table};
use crate::launch::gate::Gate;
use crate::launch::listener::Listener;
use crate::launch::{
    LaunchArgs, Outcome, concurrent, copied, detached, isolated, pipe,
    suspended,
};
use crate::parent::command::{Engine, OpenCgroup, ParentDeath, ParentHooks};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::handle::{Child, Detached, Launch, PidFd, reap_dropped};
use crate::parent::plan::{Parentage, Plan};
use crate::parent::std::{
    boxed::Box,
    cell::{Cell, RefCell},
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
};
use crate::sys::call::set_signal_mask;
use crate::sys::{Errno, Pid};

/// A child that runs its program.
pub(super) type Started = (Pid, Option<PidFd>, Launch, Option<OwnedFd>);

/// No descriptor is free.
const FD_LIMIT: [i32; 2] = [libc::EMFILE, libc::ENFILE];

/// What an attempt launches a child with.
pub(super) struct Ready<'a> {
    compiled: &'a CompiledPlan,
    pub(super) table: Table<'a>,
    fds: LaunchFds,
    pub(super) args: LaunchArgs<'a>,
}

impl Ready<'_> {
    /// A block for the launch.
    pub(super) fn block(
        &self,
        attempt: &Attempt,
        inputs: &Inputs<'_>,
    ) -> Block {
        let mut block = inputs.pipes.block(&self.fds);
        if self.fds.page.is_some() {
            attempt.init_block(&mut block);
        }
        block
    }
}

/// What all attempts of a spawn use.
pub(super) struct Inputs<'a> {
    pipes: &'a StdioPipes,
    group: Option<&'a OpenCgroup>,
    environ_buffer: &'a [Cell<u64>],
    gate: Option<Gate<'a>>,
    parent_hooks: &'a ParentHooks<'a>,
    listener: Option<Listener<'a>>,
    watched: Option<Watched<'a>>,
}

impl<'a> Inputs<'a> {
    /// Those of a plan without a control group, hooks and a listener.
    pub(super) fn plain(
        pipes: &'a StdioPipes,
        parent_hooks: &'a ParentHooks<'a>,
    ) -> Inputs<'a> {
        Inputs {
            pipes,
            group: None,
            environ_buffer: &[],
            gate: None,
            parent_hooks,
            listener: None,
            watched: None,
        }
    }
}

impl Prepared {
    /// Spawns a plan once. The descriptors for the child are made first:
    /// where no number is left for a helper image, there is none.
    pub(super) fn spawn_once(
        mut plan: Box<Plan>,
        watched: Option<Watched<'_>>,
    ) -> Result<Child, Error> {
        let source_fds = SourceFds::new(&mut plan)?;
        let group = plan.open_cgroup()?;
        let pipes = StdioPipes::new(&plan, &source_fds)?;
        let mut prepared = Prepared::for_one_spawn(plan, source_fds)?;
        // At the limit a pidfd is preferred to a helper image.
        let image = prepared.compiled.image.is_some();
        let optional = image && prepared.plan.any_engine;
        let group_ref = group.as_ref();
        let mut started = prepared.run(&pipes, group_ref, !optional, watched);
        if let Err(error) = &started {
            if optional && error.is_clone_error(&FD_LIMIT) {
                let errno = error.raw_os_error().unwrap_or_default();
                prepared.without_helper(errno);
                started = prepared.run(&pipes, group_ref, true, watched);
            }
        }
        prepared.compiled.recycle();
        Ok(pipes.into_child(started?, group))
    }

    /// Has a stack frame of its own.
    #[inline(never)]
    pub(super) fn run_with(
        &self,
        pipes: StdioPipes,
        group: Option<OpenCgroup>,
        watched: Option<Watched<'_>>,
    ) -> Result<Child, Error> {
        let started = self.run(&pipes, group.as_ref(), true, watched)?;
        Ok(pipes.into_child(started, group))
    }

    /// Has a stack frame of its own.
    #[inline(never)]
    pub(super) fn run_elsewhere(
        &self,
        pipes: &StdioPipes,
        group: Option<&OpenCgroup>,
        parentage: Parentage,
    ) -> Result<Detached, Error> {
        let started = self.run_here(pipes, group, false, parentage, None)?;
        let (pid, pidfd, launch, _) = started;
        Ok(Detached { pid, pidfd, launch })
    }

    /// As `run_here`; a child that is to end with this process is created by
    /// a thread of its own.
    fn run(
        &self,
        pipes: &StdioPipes,
        group: Option<&OpenCgroup>,
        pidfd_optional: bool,
        watched: Option<Watched<'_>>,
    ) -> Result<Started, Error> {
        reap_dropped();
        let child = Parentage::Child;
        let run =
            || self.run_here(pipes, group, pidfd_optional, child, watched);
        if self.plan.parent_death != Some(ParentDeath::Process) {
            return run();
        }
        let pid = |started: &Result<Started, Error>| {
            started.as_ref().ok().map(|(pid, ..)| *pid)
        };
        waiting_thread::run(run, pid)?
    }

    /// Makes attempts. `pidfd_optional` permits a child without a pidfd
    /// where no number is free for one.
    fn run_here(
        &self,
        pipes: &StdioPipes,
        group: Option<&OpenCgroup>,
        pidfd_optional: bool,
        parentage: Parentage,
        watched: Option<Watched<'_>>,
    ) -> Result<Started, Error> {
        // Who watches it kills it by its pidfd, and the status of one that the
        // kernel reaps is had by it only.
        let pidfd_optional =
            pidfd_optional && watched.is_none() && !self.plan.is_autoreaped();
        let mut attempt =
            Attempt::first(self, group, pidfd_optional, parentage);
        let environ_buffer = &self.environ_buffer();
        let parent_hooks = &ParentHooks::new(&self.plan.parent_hooks);
        let run = |pid, pidfd: Option<BorrowedFd<'_>>| {
            // A start blocks signals, which a program started here would have.
            let own = watched.map(|watched| set_signal_mask(watched.mask));
            let ran = parent_hooks.run(pid, pidfd);
            own.map(set_signal_mask);
            ran
        };
        let gate = (!self.plan.parent_hooks.is_empty()).then_some(Gate(&run));
        let taken = RefCell::new(None);
        let listener = self.plan.listener.then_some(Listener(&taken));
        let inputs = Inputs {
            pipes,
            group,
            environ_buffer,
            gate,
            parent_hooks,
            listener,
            watched,
        };
        let mut first_error = None;
        let mut next = attempt.budget.first();
        while let Some(right) = next {
            if watched.is_some() {
                attempt.keep_killable(&self.plan)?;
            }
            match self.attempt(right, &mut attempt, &inputs) {
                Ok(started) => return Ok(started),
                // ENOMEM: the first child was the init of a PID namespace,
                // and there can be no second.
                Err(Failure::Final(error)) => {
                    let ended = error.is_clone_error(&[libc::ENOMEM]);
                    let first_error = first_error.filter(|_| ended);
                    return Err(first_error.unwrap_or(error));
                }
                Err(Failure::Retry(right, error)) => {
                    first_error = first_error.or(error);
                    next = Some(right);
                }
            }
        }
        Err(Error::new(Step::Plan, Cause::Unexpected(0)))
    }

    fn attempt(
        &self,
        _right: Try,
        attempt: &mut Attempt,
        inputs: &Inputs<'_>,
    ) -> Result<Started, Failure> {
        let mut ready = self.begin(attempt, inputs)?;
        let mut block = ready.block(attempt, inputs);
        let launch = launch_as(attempt.parentage);
        let Ready { compiled, table, fds, args } = &mut ready;
        let outcome = launch(table, &mut block, *args, fds, compiled);
        self.finish(attempt, inputs, ready, &block, outcome)
    }

    /// Makes what an attempt launches a child with.
    #[inline]
    pub(super) fn begin<'a>(
        &'a self,
        attempt: &mut Attempt,
        inputs: &Inputs<'a>,
    ) -> Result<Ready<'a>, Failure> {
        attempt.check_valgrind()?;
        let Inputs { pipes, group, .. } = *inputs;
        let (plan, sources) = (&self.plan, &self.source_fds);
        let strategy = attempt.strategy;
        let compiled = self.compiled.for_strategy(plan, strategy, sources);
        let compiled =
            compiled.map_err(|e| attempt.fall_back_to_copied(plan, e))?;
        let table = compiled.table(plan)?;
        let page = self.status_page(compiled);
        let page = page.map_err(|e| attempt.fall_back_to_copied(plan, e))?;
        let fds = LaunchFds::new(strategy, group, sources, pipes, page)?;
        attempt.select_probe_fd(self, &fds, pipes.moved);
        let environ = self.environ(&table, inputs.environ_buffer)?;
        let watch = inputs.watched.map(|it| it.begin(self, compiled));
        let watch = watch.transpose()?;
        let args = attempt.launch_args(
            plan,
            group,
            environ,
            inputs.gate,
            inputs.listener,
            watch,
        );
        Ok(Ready { compiled, table, fds, args })
    }

    /// The child of an attempt, or how it failed.
    #[inline]
    pub(super) fn finish(
        &self,
        attempt: &mut Attempt,
        inputs: &Inputs<'_>,
        ready: Ready<'_>,
        block: &Block,
        outcome: Outcome,
    ) -> Result<Started, Failure> {
        let Ready { compiled, fds, .. } = ready;
        let (plan, group) = (&self.plan, inputs.group);
        let outcome = self.verify_exec(compiled, outcome, block);
        let outcome = self.verify_filters(compiled, outcome, block);
        self.recycle_page(fds.page, fds.source_end, outcome);
        // From here on every return closes it or passes it on.
        let pidfd = outcome.pidfd().map(adopt);
        if let Outcome::Running { pid, confirmed, .. } = outcome {
            // A row that ran has set `reached`, if memory is shared.
            let confirmed = confirmed && block.reached != 0;
            attempt.record_working(plan);
            let refused = self.refused(compiled, block);
            let launch = Launch {
                process_group: self.process_group(compiled, block, pid),
                ..attempt.launch(plan, confirmed, refused)
            };
            let listener = inputs.listener.and_then(|it| it.0.take());
            return Ok((pid, pidfd, launch, listener.and_then(Result::ok)));
        }
        if let Some(error) = inputs.parent_hooks.failure() {
            return Err(error.into());
        }
        if let Some(Err(errno)) = inputs.listener.and_then(|it| it.0.take()) {
            return Err(listener_error(errno).into());
        }
        let next = attempt.after(self, compiled, outcome, block, group);
        let diagnose = || self.diagnose(compiled, outcome, block, group);
        Err(failure(next, outcome, diagnose))
    }
}

/// As `launch`, in a process in between.
fn launch_detached(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
    fds: &mut LaunchFds,
    compiled: &CompiledPlan,
) -> Outcome {
    // It would close the pipe in the shared descriptor table.
    if compiled.strategy.engine == Engine::Pipe {
        return Outcome::Rejected(Errno(libc::ENOSYS));
    }
    detached::launch(block, args, |shared, args| {
        match compiled.strategy.engine {
            Engine::Copied => {
                let mut last = shared.read();
                copied::launch_in(table, &mut last, args, shared)
            }
            _ => launch(table, shared.block(), args, fds, compiled),
        }
    })
}

type LaunchFn = fn(
    &Table<'_>,
    &mut Block,
    LaunchArgs<'_>,
    &mut LaunchFds,
    &CompiledPlan,
) -> Outcome;

/// Returns the function that makes such a child.
fn launch_as(parentage: Parentage) -> LaunchFn {
    match parentage {
        Parentage::Child | Parentage::Sibling => launch,
        Parentage::Detached => launch_detached,
    }
}

/// The failure of an attempt, after which `next` may permit another.
fn failure(
    next: Option<Try>,
    outcome: Outcome,
    diagnose: impl FnOnce() -> Error,
) -> Failure {
    match (next, outcome) {
        (None, _) => Failure::Final(diagnose()),
        // The kernel allocates a process id before it finds no number for the
        // pidfd, or that a control group is full, which uses up the init of a
        // PID namespace.
        (Some(right), Outcome::Rejected(errno)) => {
            let again = errno.0 == libc::EAGAIN;
            let ends = again || FD_LIMIT.contains(&errno.0);
            Failure::Retry(right, ends.then(diagnose))
        }
        (Some(right), _) => Failure::Retry(right, Some(diagnose())),
    }
}

fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
    fds: &mut LaunchFds,
    compiled: &CompiledPlan,
) -> Outcome {
    match (compiled.strategy.engine, &mut fds.page) {
        (Engine::Isolated, Some(page)) => {
            let (page, rows) = (&mut page.shared, compiled.helper_rows());
            isolated::launch(table, block, args, page, rows)
        }
        (Engine::Suspended | Engine::Isolated, _) => {
            suspended::launch(table, block, args)
        }
        (Engine::Concurrent, _) => concurrent::launch(table, block, args),
        (Engine::Copied | Engine::Pipe, _) => match fds.pipe.take() {
            Some(pipes) => pipe::launch(table, block, args, pipes),
            None => copied::launch(table, block, args),
        },
    }
}

/// Takes ownership of the pidfd of a launch. If its number is 0 to 2, as one
/// of those was free, it is moved up.
fn adopt(pidfd: i32) -> PidFd {
    // SAFETY: clause 2 of `launch`: the number was written by the kernel
    // into this launch's own block, and nothing else has taken it.
    let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if pidfd > 2 {
        return PidFd(fd);
    }
    PidFd(fcntl_dupfd_cloexec(&fd, 3).unwrap_or(fd))
}
