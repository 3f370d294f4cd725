//! Tried: why none of the files that were tried could be run.

use super::blame::cause;
use super::lowered::Lowered;
use super::prepared::Prepared;
use crate::call::{Block, slot};
use crate::launch::Made;
use crate::op::Op;
use crate::parent::error::{Candidate, Error, Step};
use crate::parent::plan::given::Given;
use crate::parent::plan::words::Words;
use crate::parent::program::{View, missing_interpreter};
use crate::parent::std::{format, fs::File, path::PathBuf, vec::Vec};
use crate::sys::call::reaped_status;
use crate::sys::wait::{Ended, Kind, Target, peek};
use crate::sys::{Errno, number};

impl Prepared {
    /// No candidate could be run. EACCES wins over ENOENT, as it says that
    /// there was a file; a path that is too long says less than any other.
    pub(super) fn exec_error(
        &self,
        lowered: &Lowered,
        (row, result): (u32, i64),
        denied: u32,
        block: &Block,
    ) -> Error {
        let tried = self.tried(lowered, row, block);
        let result = shortest(result, &tried);
        let gone = Errno::of(result).is_some_and(Errno::is_passed);
        if lowered.shape.shell.is_some() {
            let error = Error::new(Step::Interpreter, cause(result));
            return error.with(self.plan.words.get(Words::SHELL)).tried(tried);
        }
        let program = self.plan.words.get(self.plan.program);
        if gone && denied != 0 {
            let error = Error::os(Step::Exec, libc::EACCES);
            return error.with(program).tried(tried);
        }
        if gone {
            if let Some((missing, errno)) = self.missing(&tried) {
                let error = Error::os(Step::Interpreter, errno);
                return error.with(missing).tried(tried);
            }
            let given = self.program();
            let shut = given.is_some_and(|given| given.target.is_none());
            if shut && !lowered.shape.by_path {
                let why = "it has an interpreter, which has to find it \
                           open: say at which number, by script_fd";
                let error = Error::told(Step::Exec, libc::ENOENT, why);
                return error.with(program).tried(tried);
            }
        }
        let error = Error::new(Step::Exec, cause(result));
        error.with(program).tried(tried)
    }

    /// A child that somebody else has reaped in the middle of an exec, of a
    /// file that is not there: it died before it ran anything.
    pub(super) fn doubt(
        &self,
        lowered: &Lowered,
        made: Made,
        block: &Block,
    ) -> Made {
        let Made::Running { pid, pidfd, sure: false } = made else {
            return made;
        };
        let target = Target { pid, pidfd };
        if peek(target, Kind::Any) != Err(Errno(libc::ECHILD)) {
            return made;
        }
        let row = block.reached;
        let Some(Op::Exec(path)) = lowered.op(&self.plan, row) else {
            return made;
        };
        let path = PathBuf::from(self.plan.words.get(path));
        let there = match self.view().file(&path) {
            Ok(_) => true,
            Err(e) => !Errno(e.raw_os_error()).is_passed(),
        };
        if there {
            return made;
        }
        let status = pidfd.and_then(reaped_status);
        Made::Died { row, ended: status.map(Ended::of), pidfd }
    }

    /// Every candidate with the errno that its row left, if it was run.
    fn tried(
        &self,
        lowered: &Lowered,
        failed: u32,
        block: &Block,
    ) -> Vec<Candidate> {
        let shell = lowered.shape.shell.map(usize::from);
        let mut rows = lowered.rows.iter().peekable();
        let mut errno = |step: usize| {
            // The file itself had no format: a shell was to run it.
            if shell == Some(step) {
                return Some(libc::ENOEXEC);
            }
            // Rows are in the order of their steps.
            while rows.next_if(|row| usize::from(row.step) < step).is_some() {}
            let row = rows.peek().filter(|r| usize::from(r.step) == step)?;
            let kept = row.store != slot::SINK;
            let run = kept && u32::from(row.row) <= failed;
            let result = number(block.slot(row.store));
            Errno::of(result).filter(|_| run).map(|errno| errno.0)
        };
        let mut tried = Vec::new();
        for (n, op) in self.plan.ops.iter().enumerate() {
            if let Op::Exec(path) = *op {
                let path = PathBuf::from(self.plan.words.get(path));
                tried.push(Candidate::new(path, errno(n)));
            }
        }
        tried
    }

    /// The descriptor that is the program.
    fn program(&self) -> Option<&Given> {
        self.plan.given.get(usize::from(self.plan.program_fd?))
    }

    /// The interpreter that is missing, of whichever candidate is there.
    fn missing(&self, tried: &[Candidate]) -> Option<(PathBuf, i32)> {
        let view = self.view();
        let own = self.program().and_then(|given| self.held.file(given));
        let own = own.and_then(|fd| fd.try_clone_to_owned().ok());
        let own = own.map(File::from);
        let paths = tried.iter().filter_map(|at| view.file(at.path()).ok());
        let mut all = own.into_iter().chain(paths);
        all.find_map(|file| missing_interpreter(file, &view))
    }

    /// Where the child looked from; a process that runs the steps itself is
    /// there by now.
    fn view(&self) -> View {
        let mut view = View::default();
        if self.plan.shape.here {
            return view;
        }
        for op in &self.plan.ops {
            let word = |at| PathBuf::from(self.plan.words.get(at));
            match *op {
                Op::Chroot(dir) => {
                    view = View { root: Some(word(dir)), dir: "/".into() };
                }
                Op::Chdir(dir) => view.dir = view.dir.join(word(dir)),
                Op::Fchdir(place) => {
                    let number = self.plan.number(place);
                    view.dir = format!("/proc/thread-self/fd/{number}").into();
                }
                _ => {}
            }
        }
        view
    }
}

/// What the last file said, or the last before it whose path was not too
/// long.
fn shortest(result: i64, tried: &[Candidate]) -> i64 {
    const LONG: i32 = libc::ENAMETOOLONG;
    if Errno::of(result) != Some(Errno(LONG)) {
        return result;
    }
    let mut all = tried.iter().filter_map(Candidate::raw_os_error);
    let last = all.rfind(|n| *n != LONG && *n != libc::EACCES);
    -i64::from(last.unwrap_or(LONG))
}
