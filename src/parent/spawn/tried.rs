//! Tried: why none of the files that were tried could be run.

use super::compiled_plan::CompiledPlan;
use super::interpreter::{View, missing_interpreter};
use super::prepared::Prepared;
use super::reason::{cause, exec_reason};
use super::user::{User, shut_interpreter};
use crate::call::{Block, slot};
use crate::launch::Outcome;
use crate::parent::error::{Candidate, Cause, Error, Step};
use crate::parent::plan::fixed_strings;
use crate::parent::plan::op::Op;
use crate::parent::plan::source_fd::SourceFd;
use crate::parent::plan::step::Effect;
use crate::parent::std::{
    format,
    fs::File,
    path::{Path, PathBuf},
    vec::Vec,
};
use crate::sys::call::reaped_status;
use crate::sys::wait::{Ended, Kind, Target, peek};
use crate::sys::{Errno, number};

/// What is said of a name that no directory has.
const NOWHERE: &str = "no directory that was searched has it";

/// What is said of several files.
const NONE: &str = "none of the candidates is there";

/// ENOENT of a file that is open.
const CLOSED: &str = "it has an interpreter, which has to find it open: say \
                      at which number, by script_fd";

impl Prepared {
    /// No candidate could be run. EACCES wins over ENOENT, as it says that
    /// there was a file; a path that is too long says less than any other.
    pub(super) fn exec_error(
        &self,
        compiled: &CompiledPlan,
        (row, result): (u32, i64),
        denied: u32,
        block: &Block,
    ) -> Error {
        let tried = self.tried(compiled, row, block);
        let step = compiled.row(row).map_or(0, |row| row.step);
        let below = |error: Error| error.below(self.root_at(step));
        if compiled.strategy.shell.is_some() {
            let error = Error::new(Step::Interpreter, cause(result));
            let shell = self.plan.strings.get(fixed_strings::SHELL);
            return below(error.with(shell).tried(tried));
        }
        let result = match self.plan.tries_all {
            true => first(result, &tried),
            false => shortest(result, &tried),
        };
        let passed = Errno::of(result).is_some_and(Errno::tries_next);
        let refused = if passed && denied != 0 {
            Some(Errno(libc::EACCES))
        } else {
            Errno::of(result)
        };
        let Some(Errno(errno)) = refused else {
            let program = self.plan.strings.get(self.plan.program);
            let error = Error::new(Step::Exec, cause(result)).with(program);
            return below(error.tried(tried));
        };
        let error = match self.interpreter(&tried, errno) {
            Some((path, errno)) => {
                Error::os(Step::Interpreter, errno).with(path)
            }
            None => {
                let why = self.why(compiled, &tried, errno);
                let program = self.plan.strings.get(self.plan.program);
                let program = Path::new(program);
                // Of several the one that it is said of.
                let said = |file: &&Candidate| {
                    self.plan.tries_all && !is_gone(errno) && file.said(errno)
                };
                let said = tried.iter().find(said).map(Candidate::path);
                Error::new(Step::Exec, why).with(said.unwrap_or(program))
            }
        };
        below(error.tried(tried))
    }

    /// What an error number of exec means, where no interpreter is the
    /// reason.
    fn why(
        &self,
        compiled: &CompiledPlan,
        tried: &[Candidate],
        errno: i32,
    ) -> Cause {
        let passed = Errno(errno).tries_next();
        let given = self.program();
        let shut = given.is_some_and(|given| given.target.is_none());
        if passed && shut && !compiled.strategy.no_execveat {
            return Cause::Explained(libc::ENOENT, CLOSED);
        }
        let program = Path::new(self.plan.strings.get(self.plan.program));
        if self.plan.tries_all && is_gone(errno) && tried.len() > 1 {
            return Cause::Explained(errno, NONE);
        }
        let searched = tried.iter().any(|file| file.path() != program);
        if passed && searched && !self.plan.tries_all {
            return Cause::Explained(errno, NOWHERE);
        }
        exec_reason(errno, given.is_none())
    }

    /// A child that somebody else has reaped in the middle of an exec, of a
    /// file that is not there: it died before it ran anything.
    #[inline(never)]
    pub(super) fn verify_exec(
        &self,
        compiled: &CompiledPlan,
        made: Outcome,
        block: &Block,
    ) -> Outcome {
        let Outcome::Running { pid, pidfd, confirmed: false } = made else {
            return made;
        };
        let target = Target { pid, pidfd };
        if peek(target, Kind::Any) != Err(Errno(libc::ECHILD)) {
            return made;
        }
        let row = block.reached;
        let Some(Op::Exec(path)) = compiled.op(&self.plan, row) else {
            return made;
        };
        let path = PathBuf::from(self.plan.strings.get(path));
        let there = match self.view().file(&path) {
            Ok(_) => true,
            Err(e) => !Errno(e.raw_os_error()).tries_next(),
        };
        if there {
            return made;
        }
        // An image that exits says why: one that just exited was the program,
        // which may have removed its own file.
        match pidfd.and_then(reaped_status).map(Ended::from_wait_status) {
            Some(ended) if ended.signal().is_some() => {
                Outcome::Died { row, ended: Some(ended), pidfd }
            }
            _ => made,
        }
    }

    /// Every candidate with the errno that its row left, if it was run.
    fn tried(
        &self,
        compiled: &CompiledPlan,
        failed: u32,
        block: &Block,
    ) -> Vec<Candidate> {
        let shell = compiled.strategy.shell.map(usize::from);
        let mut rows = compiled.rows.iter().peekable();
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
        for (n, step) in self.plan.steps.iter().enumerate() {
            if let Some(Op::Exec(path)) = step.op() {
                let path = PathBuf::from(self.plan.strings.get(path));
                tried.push(Candidate::new(path, errno(n)));
            }
        }
        tried
    }

    /// The descriptor that is the program.
    fn program(&self) -> Option<&SourceFd> {
        self.plan.source_fds.get(usize::from(self.plan.program_fd?))
    }

    /// The interpreter that is missing or may not be executed, of whichever
    /// file is there, and what the kernel says of it.
    fn interpreter(
        &self,
        tried: &[Candidate],
        errno: i32,
    ) -> Option<(PathBuf, i32)> {
        let denied = errno == libc::EACCES;
        if !denied && !Errno(errno).tries_next() {
            return None;
        }
        let view = self.view();
        let own = self.program().and_then(|given| self.source_fds.file(given));
        let own = own.and_then(|fd| fd.try_clone_to_owned().ok());
        let own = own.map(File::from);
        let said = |file: &&Candidate| {
            !denied || file.raw_os_error() == Some(libc::EACCES)
        };
        let paths = tried.iter().filter(said);
        let paths = paths.filter_map(|at| view.file(at.path()).ok());
        let mut all = own.into_iter().chain(paths);
        if !denied {
            return all.find_map(|file| missing_interpreter(file, &view));
        }
        let user = self.user();
        let found = all.find_map(|at| shut_interpreter(at, &view, &user));
        found.map(|path| (path, libc::EACCES))
    }

    /// Who the child was when it came to exec.
    fn user(&self) -> User {
        let mut user = User::own();
        for effect in self.plan.effects() {
            match effect {
                Effect::NoGroups => user.groups.clear(),
                Effect::Groups(list) => {
                    user.groups = self.plan.strings.listed(list);
                }
                Effect::Gid(gid) => user.gid = gid,
                Effect::Uid(uid) => user.uid = uid,
                _ => {}
            }
        }
        user
    }

    /// Where the child looked from; a process that runs the steps itself is
    /// there by now.
    fn view(&self) -> View {
        let mut view = View::default();
        if self.plan.strategy.in_place {
            return view;
        }
        let word = |at| PathBuf::from(self.plan.strings.get(at));
        for effect in self.plan.effects() {
            match effect {
                Effect::Root(dir) => {
                    view = View { root: Some(word(dir)), dir: "/".into() };
                }
                Effect::Dir(dir) => view.dir = view.dir.join(word(dir)),
                Effect::DirFd(place) => {
                    let number = self.plan.number(place);
                    view.dir = format!("/proc/thread-self/fd/{number}").into();
                }
                _ => {}
            }
        }
        view
    }
}

fn is_gone(errno: i32) -> bool {
    [libc::ENOENT, libc::ENOTDIR].contains(&errno)
}

/// What the first file said that was there, else the last, as CPython's
/// subprocess has it.
fn first(result: i64, tried: &[Candidate]) -> i64 {
    let mut all = tried.iter().filter_map(Candidate::raw_os_error);
    let first = all.find(|errno| !is_gone(*errno));
    first.map_or(result, |errno| -i64::from(errno))
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
