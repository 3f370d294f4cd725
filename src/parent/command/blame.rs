//! Blame: what the child left in its block becomes an error with a step.

use super::prepared::Prepared;
use crate::call::{Block, Call, Check, slot};
use crate::launch::Made;
use crate::op::{Op, Role};
use crate::parent::error::{Candidate, Cause, Error, Step};
use crate::parent::program::missing_interpreter;
use crate::parent::std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    vec::Vec,
};
use crate::sys::{Errno, number};

impl Prepared {
    /// The error for a launch that did not end in a running program.
    pub(super) fn blame(&self, made: Made, block: &Block) -> Error {
        match made {
            Made::Refused(errno) => Error::os(Step::Clone, errno.0),
            Made::Died { row, ended, .. } => match self.op(row) {
                Some(op) => self.operand(op, Error::ended(step(op), ended)),
                None => Error::ended(Step::Clone, ended),
            },
            Made::Failed { row, result, denied, .. } => match self.op(row) {
                Some(Op::Exec(_)) => self.exec(row, result, denied, block),
                Some(op) => {
                    let cause = cause(result);
                    self.operand(op, Error::new(step(op), cause))
                }
                None => Error::new(Step::Plan, Cause::Untrue(result)),
            },
            Made::Running { .. } => Error::new(Step::Plan, Cause::Untrue(0)),
        }
    }

    fn row(&self, place: u32) -> Option<&Call> {
        self.rows.get((place as usize).checked_sub(1)?)
    }

    /// The step that a row belongs to.
    fn op(&self, row: u32) -> Option<Op> {
        let row = self.row(row)?;
        self.plan.ops.get(usize::from(row.step)).copied()
    }

    /// Whether a row is the proof that the descriptor table is the child's
    /// own, and what it says is that this is not so.
    pub(super) fn is_proof(&self, row: u32, result: i64) -> bool {
        let op = self.op(row);
        let proof = self.row(row).is_some_and(|row| row.check == Check::Equal);
        matches!(op, Some(Op::CloseRange { .. })) && proof && result >= 0
    }

    fn operand(&self, op: Op, error: Error) -> Error {
        let words = &self.plan.words;
        match op {
            Op::Chdir(path) | Op::Dup { role: Role::Path(path), .. } => {
                error.with(words.get(path))
            }
            Op::Dup { to, .. } => {
                let name = ["stdin", "stdout", "stderr"];
                error.with(name.get(usize::from(to)).unwrap_or(&""))
            }
            Op::Exec(_) => error.with(words.get(self.plan.program)),
            _ => error,
        }
    }

    /// No candidate could be run. EACCES wins over ENOENT: it says that
    /// there was a file.
    fn exec(
        &self,
        row: u32,
        result: i64,
        denied: u32,
        block: &Block,
    ) -> Error {
        let gone = matches!(
            Errno::of(result),
            Some(Errno(libc::ENOENT | libc::ENOTDIR))
        );
        let tried = self.tried(row, block);
        let program = self.plan.words.get(self.plan.program);
        if gone && denied != 0 {
            let error = Error::os(Step::Exec, libc::EACCES);
            return error.with(program).tried(tried);
        }
        if gone {
            let missing = tried.iter().find_map(|candidate| {
                missing_interpreter(self.seen_from_its_dir(candidate.path()))
            });
            if let Some(missing) = missing {
                let error = Error::os(Step::Interpreter, libc::ENOENT);
                return error.with(missing).tried(tried);
            }
        }
        let error = Error::new(Step::Exec, cause(result));
        error.with(program).tried(tried)
    }

    /// Every candidate with the errno that its row left, if it was run.
    fn tried(&self, failed: u32, block: &Block) -> Vec<Candidate> {
        let first = self.rows.iter().position(|row| {
            matches!(self.op(u32::from(row.row)), Some(Op::Exec(_)))
        });
        let rows = self.rows.iter().skip(first.unwrap_or(self.rows.len()));
        let errno = |row: &Call| {
            let kept = row.store != slot::SINK;
            let run = kept && u32::from(row.row) <= failed;
            let result = number(block.slot(row.store));
            Errno::of(result).filter(|_| run).map(|errno| errno.0)
        };
        let path = |path: &OsStr| PathBuf::from(path);
        let paths = self.plan.candidates().map(path);
        let both = paths.zip(rows.map(errno));
        both.map(|(path, errno)| Candidate::new(path, errno)).collect()
    }

    /// A candidate as seen from here: the child looked from its directory.
    fn seen_from_its_dir(&self, path: &Path) -> PathBuf {
        let dir = self.plan.ops.iter().find_map(|op| match op {
            Op::Chdir(dir) => Some(Path::new(self.plan.words.get(*dir))),
            _ => None,
        });
        dir.map_or_else(|| path.to_path_buf(), |dir| dir.join(path))
    }
}

fn cause(result: i64) -> Cause {
    match Errno::of(result) {
        Some(errno) => Cause::Os(errno.0),
        None => Cause::Untrue(result),
    }
}

fn step(op: Op) -> Step {
    match op {
        Op::Watch => Step::RobustList,
        Op::CloseRange { .. } | Op::CloseGaps => Step::CloseRange,
        Op::Dup { .. } => Step::Dup,
        Op::Chdir(_) => Step::Chdir,
        Op::DefaultSignal(_) => Step::SignalAction,
        Op::SignalMask => Step::SignalMask,
        Op::Exec(_) => Step::Exec,
    }
}
