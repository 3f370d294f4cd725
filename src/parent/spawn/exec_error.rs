//! Exec error: why none of the files that were tried could be executed.

use super::compiled_plan::CompiledPlan;
use super::interpreter::{
    User, View, denied_interpreter, missing_interpreter,
};
use super::prepared::Prepared;
use super::reason::{cause, exec_reason};
use crate::call::{Block, slot};
use crate::launch::Outcome;
use crate::parent::error::{Candidate, Cause, Error, Step};
use crate::parent::plan::{Effect, Op, SourceFd, fixed_strings};
use crate::parent::std::{
    format,
    fs::File,
    path::{Path, PathBuf},
    vec::Vec,
};
use crate::sys::pidfd::reaped_status;
use crate::sys::wait::{Ended, is_unreaped};
use crate::sys::{Errno, number};

/// ENOENT of a descriptor.
const CLOSED: &str = "its interpreter cannot open it, as exec closes it: set \
                      a number for it with script_fd";

/// EACCES where the child is confined.
const DENIED: &str = "its permissions, or Landlock, which has to permit \
                      execute for the program, its interpreter and its \
                      dynamic loader";

impl Prepared {
    /// No candidate could be executed. EACCES takes precedence over ENOENT,
    /// as it shows that there is a file; any other error takes precedence
    /// over ENAMETOOLONG.
    pub(super) fn exec_error(
        &self,
        compiled: &CompiledPlan,
        (row, result): (u32, i64),
        denied: u32,
        block: &Block,
    ) -> Error {
        let candidates = self.candidates(compiled, row, block);
        let step = compiled.row(row).map_or(0, |row| row.step);
        let root = self.root_at(step);
        let program = self.plan.strings.get(self.plan.program);
        if let Some(why) = self.forbidden(compiled, row, result) {
            let error = Error::new(Step::Exec, why).with(program);
            return error.with_candidates(candidates);
        }
        if compiled.strategy.shell.is_some() {
            let error = Error::new(Step::Interpreter, cause(result));
            let shell = self.plan.strings.get(fixed_strings::SHELL);
            let error = error.with(shell).in_root(root);
            return error.with_candidates(candidates);
        }
        let result = match self.plan.tries_all {
            true => first_found(result, &candidates),
            false => last_short(result, &candidates),
        };
        let skipped = Errno::of(result).is_some_and(Errno::tries_next);
        let errno = match skipped && denied != 0 {
            true => Some(libc::EACCES),
            false => Errno::of(result).map(|errno| errno.0),
        };
        let error = match errno {
            None => Error::new(Step::Exec, cause(result)).with(program),
            Some(errno) => {
                let found = (candidates.as_slice(), errno);
                self.errno_error(compiled, block, found)
            }
        };
        error.in_root(root).with_candidates(candidates)
    }

    fn errno_error(
        &self,
        compiled: &CompiledPlan,
        block: &Block,
        (candidates, errno): (&[Candidate], i32),
    ) -> Error {
        let view = || self.view(compiled, block);
        if let Some((path, errno)) = self.interpreter(view, candidates, errno)
        {
            return Error::os(Step::Interpreter, errno).with(path);
        }
        let why = self.why(compiled, candidates, errno);
        let program = self.plan.strings.get(self.plan.program);
        let mut failed = candidates.iter().filter(|file| {
            self.plan.tries_all && !is_gone(errno) && file.failed_with(errno)
        });
        let failed = failed.next().map(Candidate::path);
        let operand = failed.unwrap_or_else(|| Path::new(program));
        Error::new(Step::Exec, why).with(operand)
    }

    /// What an errno of exec means, if no interpreter is the cause.
    fn why(
        &self,
        compiled: &CompiledPlan,
        candidates: &[Candidate],
        errno: i32,
    ) -> Cause {
        let skipped = Errno(errno).tries_next();
        let fd = self.program_fd();
        let closed = fd.is_some_and(|fd| fd.target.is_none());
        if skipped && closed && !compiled.strategy.no_execveat {
            return Cause::Explained(libc::ENOENT, CLOSED);
        }
        let program = Path::new(self.plan.strings.get(self.plan.program));
        let searched = candidates.iter().any(|file| file.path() != program);
        let why = match self.plan.tries_all {
            true if is_gone(errno) && candidates.len() > 1 => {
                "none of the candidates is there"
            }
            false if skipped && searched => {
                "no directory that was searched has it"
            }
            _ if errno == libc::EACCES && self.plan.is_confined() => DENIED,
            _ if errno == libc::E2BIG => self.too_large(),
            _ => return exec_reason(errno, fd.is_none()),
        };
        Cause::Explained(errno, why)
    }

    /// Corrects an outcome where another thread reaped the child: if it was
    /// executing a file that does not exist, it died before exec.
    #[inline(never)]
    pub(super) fn verify_exec(
        &self,
        compiled: &CompiledPlan,
        outcome: Outcome,
        block: &Block,
    ) -> Outcome {
        let Outcome::Running { pid, pidfd, confirmed: false } = outcome else {
            return outcome;
        };
        let target = self.plan.target(pid, pidfd);
        if is_unreaped(target) {
            return outcome;
        }
        let row = block.reached;
        let Some(Op::Exec(path)) = compiled.op(&self.plan, row) else {
            return outcome;
        };
        let path = PathBuf::from(self.plan.strings.get(path));
        let exists = match self.view(compiled, block).file(&path) {
            Ok(_) => true,
            Err(e) => !Errno(e.raw_os_error()).tries_next(),
        };
        if exists {
            return outcome;
        }
        // A child that exits reports why. One that just exited was the
        // program, which may have removed its own file.
        match pidfd.and_then(reaped_status).map(Ended::from_wait_status) {
            Some(ended) if ended.signal().is_some() => {
                Outcome::Died { row, ended: Some(ended), pidfd }
            }
            _ => outcome,
        }
    }

    /// Returns every candidate with the errno of its row, if that ran.
    fn candidates(
        &self,
        compiled: &CompiledPlan,
        failed: u32,
        block: &Block,
    ) -> Vec<Candidate> {
        let shell = compiled.strategy.shell.map(usize::from);
        let mut rows = compiled.rows.iter().peekable();
        let mut errno = |step: usize| {
            // ENOEXEC of the file was the reason for a shell.
            if shell == Some(step) {
                return Some(libc::ENOEXEC);
            }
            // Rows are in the order of their steps.
            while rows.next_if(|row| usize::from(row.step) < step).is_some() {}
            let row = rows.peek().filter(|r| usize::from(r.step) == step)?;
            let stored = row.store != slot::SINK;
            let ran = stored && u32::from(row.row) <= failed;
            let result = number(block.slot(row.store));
            Errno::of(result).filter(|_| ran).map(|errno| errno.0)
        };
        let mut candidates = Vec::new();
        for (n, step) in self.plan.steps.iter().enumerate() {
            if let Some(Op::Exec(path)) = step.op() {
                let path = PathBuf::from(self.plan.strings.get(path));
                candidates.push(Candidate::new(path, errno(n)));
            }
        }
        candidates
    }

    /// Returns the descriptor that is the program.
    fn program_fd(&self) -> Option<&SourceFd> {
        self.plan.source_fds.get(usize::from(self.plan.program_fd?))
    }

    /// Finds an interpreter that is missing or may not be executed, of a
    /// candidate that exists, and the errno.
    fn interpreter(
        &self,
        view: impl FnOnce() -> View,
        candidates: &[Candidate],
        errno: i32,
    ) -> Option<(PathBuf, i32)> {
        let denied = errno == libc::EACCES;
        if !denied && !Errno(errno).tries_next() {
            return None;
        }
        let view = view();
        let fd = self.program_fd().and_then(|fd| self.source_fds.file(fd));
        let fd = fd.and_then(|fd| fd.try_clone_to_owned().ok());
        let paths = candidates
            .iter()
            .filter(|file| !denied || file.failed_with(libc::EACCES))
            .filter_map(|file| view.file(file.path()).ok());
        let mut files = fd.map(File::from).into_iter().chain(paths);
        if !denied {
            return files.find_map(|file| missing_interpreter(file, &view));
        }
        let user = self.user();
        let path =
            files.find_map(|file| denied_interpreter(file, &view, &user))?;
        Some((path, libc::EACCES))
    }

    /// The child's ids at exec.
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

    /// The child's root and directory at exec. With exec in place they are
    /// this process's own by now.
    fn view(&self, compiled: &CompiledPlan, block: &Block) -> View {
        let mut view = View::default();
        if self.plan.strategy.in_place {
            return view;
        }
        let path = |at| PathBuf::from(self.plan.strings.get(at));
        for effect in self.effects(compiled, block) {
            match effect {
                Effect::Root(dir) => {
                    view = View { root: Some(path(dir)), dir: "/".into() };
                }
                Effect::Dir(dir) => view.dir = view.dir.join(path(dir)),
                Effect::DirFd(index) => {
                    let number = self.plan.number(index);
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

/// Returns the error of the first file that exists, else the last error, as
/// CPython's subprocess does.
fn first_found(result: i64, candidates: &[Candidate]) -> i64 {
    let mut all = candidates.iter().filter_map(Candidate::raw_os_error);
    let first = all.find(|errno| !is_gone(*errno));
    first.map_or(result, |errno| -i64::from(errno))
}

/// Returns the last error; if the last path was too long, that of the last
/// path which was not.
fn last_short(result: i64, candidates: &[Candidate]) -> i64 {
    const LONG: i32 = libc::ENAMETOOLONG;
    if Errno::of(result) != Some(Errno(LONG)) {
        return result;
    }
    let mut all = candidates.iter().filter_map(Candidate::raw_os_error);
    let last = all.rfind(|n| *n != LONG && *n != libc::EACCES);
    -i64::from(last.unwrap_or(LONG))
}
