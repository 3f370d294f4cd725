//! Exec in place: the steps run in this process, which continues if one
//! fails.

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
use crate::parent::command::SignalSet;
use crate::parent::error::Error;
use crate::parent::plan::Plan;
use crate::parent::std::boxed::Box;
use crate::sys::Errno;
use crate::sys::call::block_signals_of_thread;

impl Prepared {
    /// Replaces this process by the program. Returns only an error, as `Ok`
    /// that of a step.
    pub(super) fn exec(mut plan: Box<Plan>) -> Result<Error, Error> {
        let source_fds = SourceFds::new(&mut plan)?;
        let prepared = Prepared::for_one_spawn(plan, source_fds)?;
        let Prepared { plan, source_fds, .. } = &prepared;
        let group = plan.open_cgroup()?;
        let pipes = StdioPipes::new(plan, source_fds)?;
        let fds = LaunchFds::new(
            plan.strategy,
            group.as_ref(),
            source_fds,
            &pipes,
            None,
        )?;
        let undo = Undo::new(&prepared, &pipes)?;
        // As in a child: a signal would meet dispositions that are not the
        // program's, and `foreground` in the background stops.
        block_signals_of_thread();
        let mask = plan.mask.map_or_else(|| undo.mask(), SignalSet::bits);
        let failure = prepared.run_in_place(pipes.block(&fds), mask);
        // Before the diagnosis, which opens files.
        drop(undo);
        let (compiled, outcome, block) = failure?;
        Ok(prepared.diagnose(compiled, outcome, &block, group.as_ref()))
    }

    /// Runs the steps up to a failure. A fallback, and a repeated exec of a
    /// program open for writing, continue at the failed step: what the steps
    /// before it did to this process is not done twice.
    fn run_in_place(
        &self,
        block: Block,
        mask: u64,
    ) -> Result<(&CompiledPlan, Outcome, Block), Error> {
        let plan = &self.plan;
        let buffer = self.environ_buffer();
        let (mut strategy, mut step) = (plan.strategy, None);
        let mut budget = Budget::default();
        let mut block = UnsafeCell::new(block);
        loop {
            let compiled = self.compiled.for_strategy(
                plan,
                strategy,
                &self.source_fds,
            )?;
            let table = compiled.table(plan)?;
            let environ = self.environ(&table, &buffer)?;
            let from = step.map_or(1, |step| compiled.first_row(step));
            exec_in_place::run(&table, from, &block, environ, mask);
            let block = *block.get_mut();
            let Block { failed: row, result, denied, .. } = block;
            let errno = Errno::of(result).map_or(0, |errno| errno.0);
            step = compiled.row(row).map(|row| row.step);
            if errno == libc::ETXTBSY && budget.wait_for_writer().is_some() {
                continue;
            }
            let Some(fallback) = fallback_for(plan, compiled, row, errno)
            else {
                let pidfd = None;
                let outcome = Outcome::Failed { row, result, denied, pidfd };
                return Ok((compiled, outcome, block));
            };
            strategy = fallback.strategy;
        }
    }
}
