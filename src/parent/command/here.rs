//! Exec in place: the steps run in this process, which goes on if they fail.

use core::cell::UnsafeCell;

use super::changes::Budget;
use super::ends::{Ends, Extra};
use super::held::Held;
use super::lesser::lesser;
use super::lowered::Lowered;
use super::prepared::Prepared;
use super::undo::Undo;
use crate::call::Block;
use crate::launch::{Made, here};
use crate::parent::cgroup::{Cgroup, Group};
use crate::parent::error::Error;
use crate::parent::plan::Plan;
use crate::parent::std::boxed::Box;
use crate::sys::Errno;

/// Where the steps have stopped.
struct Stopped<'a> {
    lowered: &'a Lowered,
    made: Made,
    block: Block,
}

impl Prepared {
    /// Becomes the program, in this process. Returns only the error.
    pub(crate) fn exec(mut plan: Box<Plan>) -> Error {
        let prepared = Held::new(&mut plan);
        let prepared = prepared.and_then(|held| Prepared::bound(plan, held));
        match prepared {
            Ok(prepared) => prepared.exec_by_steps(),
            Err(error) => error,
        }
    }

    fn exec_by_steps(&self) -> Error {
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose();
        let ends = Ends::new(&self.plan, &self.held);
        match (group, ends) {
            (Err(error), _) | (_, Err(error)) => error,
            (Ok(group), Ok(ends)) => {
                let made = self.exec_here(&ends, group.as_ref());
                made.unwrap_or_else(|error| error)
            }
        }
    }

    /// What the steps did to descriptors is undone before the failure is
    /// looked into, which opens files.
    fn exec_here(
        &self,
        ends: &Ends,
        group: Option<&Group>,
    ) -> Result<Error, Error> {
        let extra = Extra::new(self.plan.shape, group, ends, None)?;
        let undo = Undo::new(self, ends)?;
        let stopped = self.steps_here(ends.block(&extra));
        drop(undo);
        let Stopped { lowered, made, block } = stopped?;
        Ok(self.blame(lowered, made, &block, group))
    }

    /// Where a step is refused that another can do, that one goes on from
    /// there, and so does exec while the program is open for writing: what is
    /// done to this process is not done twice.
    fn steps_here(&self, block: Block) -> Result<Stopped<'_>, Error> {
        let room = self.room();
        let (mut shape, mut step) = (self.plan.shape, None);
        let mut budget = Budget::default();
        let mut block = UnsafeCell::new(block);
        loop {
            let lowered = self.first.of(&self.plan, shape, &self.held)?;
            let table = lowered.table(&self.plan)?;
            let environ = self.environ(&table, &room);
            let from = step.map_or(1, |step| lowered.place(step));
            here::run(&table, from, &block, environ);
            let left = *block.get_mut();
            let (row, result) = (left.failed, left.result);
            let errno = Errno::of(result).map_or(0, |errno| errno.0);
            let at = lowered.row(row).map(|row| row.step);
            let busy = errno == libc::ETXTBSY;
            if busy && budget.wait_for_writer().is_some() {
                step = at;
                continue;
            }
            let Some(lesser) = lesser(&self.plan, lowered, row, errno) else {
                let denied = left.denied;
                let made = Made::Failed { row, result, denied, pidfd: None };
                return Ok(Stopped { lowered, made, block: left });
            };
            step = at;
            shape = lesser.shape;
        }
    }
}
