//! Exec in place: the steps run in this process, which goes on if they fail.

use core::cell::UnsafeCell;

use super::changes::Budget;
use super::compiled_plan::CompiledPlan;
use super::fallback::fallback_for;
use super::prepared::Prepared;
use super::source_fds::SourceFds;
use super::stdio_pipes::{LaunchFds, StdioPipes};
use super::undo::Undo;
use crate::call::Block;
use crate::launch::{Outcome, exec_in_place};
use crate::parent::command::cgroup::{Cgroup, Group};
use crate::parent::error::Error;
use crate::parent::plan::Plan;
use crate::parent::std::boxed::Box;
use crate::sys::Errno;

/// Where the steps have stopped.
struct Stopped<'a> {
    compiled: &'a CompiledPlan,
    made: Outcome,
    block: Block,
}

impl Prepared {
    /// Becomes the program, in this process. Returns only the error.
    pub(crate) fn exec(mut plan: Box<Plan>) -> Error {
        let prepared = SourceFds::new(&mut plan);
        let prepared = prepared
            .and_then(|source_fds| Prepared::for_one_spawn(plan, source_fds));
        match prepared {
            Ok(prepared) => prepared.exec_by_steps(),
            Err(error) => error,
        }
    }

    fn exec_by_steps(&self) -> Error {
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose();
        let pipes = StdioPipes::new(&self.plan, &self.source_fds);
        match (group, pipes) {
            (Err(error), _) | (_, Err(error)) => error,
            (Ok(group), Ok(pipes)) => {
                let made = self.exec_here(&pipes, group.as_ref());
                made.unwrap_or_else(|error| error)
            }
        }
    }

    /// What the steps did to descriptors is undone before the failure is
    /// looked into, which opens files.
    fn exec_here(
        &self,
        pipes: &StdioPipes,
        group: Option<&Group>,
    ) -> Result<Error, Error> {
        let launch_fds =
            LaunchFds::new(self.plan.strategy, group, pipes, None)?;
        let undo = Undo::new(self, pipes)?;
        let stopped = self.steps_here(pipes.block(&launch_fds));
        drop(undo);
        let Stopped { compiled, made, block } = stopped?;
        Ok(self.diagnose(compiled, made, &block, group))
    }

    /// Where a step is refused that another can do, that one goes on from
    /// there, and so does exec while the program is open for writing: what is
    /// done to this process is not done twice.
    fn steps_here(&self, block: Block) -> Result<Stopped<'_>, Error> {
        let room = self.environ_buffer();
        let (mut strategy, mut step) = (self.plan.strategy, None);
        let mut budget = Budget::default();
        let mut block = UnsafeCell::new(block);
        loop {
            let compiled = self.compiled.for_strategy(
                &self.plan,
                strategy,
                &self.source_fds,
            )?;
            let table = compiled.table(&self.plan)?;
            let environ = self.environ(&table, &room);
            let from = step.map_or(1, |step| compiled.first_row(step));
            exec_in_place::run(&table, from, &block, environ);
            let left = *block.get_mut();
            let (row, result) = (left.failed, left.result);
            let errno = Errno::of(result).map_or(0, |errno| errno.0);
            let at = compiled.row(row).map(|row| row.step);
            let busy = errno == libc::ETXTBSY;
            if busy && budget.wait_for_writer().is_some() {
                step = at;
                continue;
            }
            let Some(downgrade) =
                fallback_for(&self.plan, compiled, row, errno)
            else {
                let denied = left.denied;
                let made =
                    Outcome::Failed { row, result, denied, pidfd: None };
                return Ok(Stopped { compiled, made, block: left });
            };
            step = at;
            strategy = downgrade.strategy;
        }
    }
}
