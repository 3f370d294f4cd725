//! Refused: the options of `best_effort` that the kernel rejected.

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use super::reason::reason;
use crate::call::{Block, Call, Check, slot};
use crate::parent::error::Error;
use crate::parent::plan::optional_rows::accepted_error;
use crate::parent::plan::{Effect, StepRecord};
use crate::parent::std::sync::Arc;
use crate::sys::{Errno, Pid, number};

impl Prepared {
    /// Returns the error of each optional step that failed, by the results
    /// that its rows have left in the block. `None` if there is none.
    pub(super) fn refused(
        &self,
        compiled: &CompiledPlan,
        block: &Block,
    ) -> Option<Arc<[Error]>> {
        let optional = |record: &&StepRecord| record.optional;
        self.plan.steps.iter().find(optional)?;
        let errors =
            self.plan.steps(compiled.strategy).filter_map(|(n, record)| {
                let errno = rejected(compiled, n, record, block)?;
                let result = -i64::from(errno.0);
                let error = Error::new(record.step, reason(record, result));
                Some(self.operand(record, error))
            });
        let errors: Arc<[Error]> = errors.collect();
        (!errors.is_empty()).then_some(errors)
    }

    /// What the steps have changed: as planned, but for optional steps that
    /// failed.
    pub(super) fn effects<'a>(
        &'a self,
        compiled: &'a CompiledPlan,
        block: &'a Block,
    ) -> impl Iterator<Item = Effect> + 'a {
        let all = self.plan.steps.iter().enumerate();
        all.map(|(n, record)| match rejected(compiled, n, record, block) {
            Some(_) => Effect::None,
            None => record.effect,
        })
    }
}

impl Prepared {
    /// Returns the process group that a child was put in by its steps, those
    /// that the kernel accepted.
    pub(super) fn process_group(
        &self,
        compiled: &CompiledPlan,
        block: &Block,
        child: Pid,
    ) -> Option<i32> {
        let own = i32::try_from(child.get()).ok();
        let group = |effect| match effect {
            Effect::Session | Effect::Group(0) => own,
            Effect::Group(group) => i32::try_from(group).ok(),
            _ => None,
        };
        self.effects(compiled, block).filter_map(group).last()
    }
}

/// The errno of an optional step that failed.
fn rejected(
    compiled: &CompiledPlan,
    step: usize,
    record: &StepRecord,
    block: &Block,
) -> Option<Errno> {
    if !record.optional {
        return None;
    }
    let own =
        |row: &&Call| usize::from(row.step) == step && row.check == Check::May;
    let rows = || compiled.rows.iter().filter(own);
    let row = rows().find(|row| row.store >= slot::FREE)?;
    let errno = Errno::of(number(block.slot(row.store)))?;
    let accepted = rows().any(|row| accepted_error(row) == Some(errno));
    (!accepted).then_some(errno)
}
