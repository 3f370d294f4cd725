//! Row limit: how many calls a child can make, and which option made most.

use super::op::{FdSource, Op};
use super::{Plan, lower};
use crate::parent::error::{Error, Step};
use crate::parent::std::{string::ToString, vec::Vec};

/// Rows are counted from 1 in 16 bits, and one number says "none".
pub(crate) const MOST: usize = u16::MAX as usize - 1;

/// No step that there can be many of takes more than two rows, and no plan
/// has as many rows of other steps.
const SAFE: usize = MOST / 4;

const WHY: &str = "the child would make over 65,534 calls, most of them for \
                   that option";

impl Plan {
    /// Refuses a plan of more rows than can be counted.
    pub(super) fn has_room(&self) -> Result<(), Error> {
        let rows = || lower::lower(self, self.strategy, Vec::new()).len();
        if self.steps.len() > SAFE && rows() > MOST {
            return Err(self.too_many_rows());
        }
        Ok(())
    }

    /// The error for too many rows: the option that has most of the steps.
    pub(crate) fn too_many_rows(&self) -> Error {
        let mut all: Vec<(Step, usize)> = Vec::new();
        for step in self.ops().filter_map(|op| self.option(op)) {
            match all.iter_mut().find(|(of, _)| *of == step) {
                Some((_, count)) => *count += 1,
                None => all.push((step, 1)),
            }
        }
        let most = all.into_iter().max_by_key(|(_, count)| *count);
        let (step, count) = most.unwrap_or((Step::Plan, 0));
        let error = Error::refused_as(step, libc::E2BIG, WHY);
        error.with(count.to_string())
    }

    /// The option of a step, of those that can be many.
    fn option(&self, op: Op) -> Option<Step> {
        match op {
            Op::Hook(_) => Some(Step::PreExec),
            Op::Exec(_) if self.tries_all => Some(Step::Candidates),
            Op::Exec(_) => Some(Step::Program),
            Op::Dup { source: FdSource::Fd(index), .. } => {
                self.source_fds.get(usize::from(index)).map(|fd| fd.by)
            }
            _ => None,
        }
    }
}
