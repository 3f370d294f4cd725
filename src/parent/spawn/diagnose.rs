//! Blame: what the child left in its block becomes an error with a step.

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use super::reason::reason;
use crate::call::{Block, local};
use crate::launch::Outcome;
use crate::parent::command::cgroup::Group;
use crate::parent::command::hook::PANICKED;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::op::{Op, Role};
use crate::parent::plan::source_fd::SourceFd;
use crate::parent::plan::stdio_step;
use crate::parent::std::{ffi::OsStr, format, string::ToString};
use crate::sys::Errno;
use crate::sys::call::is_filtered;
use crate::sys::wait::Ended;

impl Prepared {
    /// The error for a launch that did not end in a running program.
    pub(super) fn diagnose(
        &self,
        compiled: &CompiledPlan,
        made: Outcome,
        block: &Block,
        group: Option<&Group>,
    ) -> Error {
        let op = |row| compiled.op(&self.plan, row);
        match made {
            Outcome::Refused(errno) => self.refused(compiled, errno, group),
            Outcome::Died { row, ended, .. } => match op(row) {
                Some(op) if is_trapped(compiled, row, ended) => {
                    let error = Error::new(self.step(op), Cause::Trapped);
                    self.operand(op, error)
                }
                Some(op) => {
                    self.operand(op, Error::ended(self.step(op), ended))
                }
                None => Error::ended(Step::Clone, ended),
            },
            Outcome::Failed { row, result, denied, .. } => match op(row) {
                Some(Op::Exec(_) | Op::ExecFd(_)) => {
                    self.exec_error(compiled, (row, result), denied, block)
                }
                Some(Op::JoinCgroup) => match (group, Errno::of(result)) {
                    (Some(group), Some(errno)) => group.refused(errno.0),
                    _ => Error::new(Step::Cgroup, cause(result)),
                },
                Some(Op::HelperInit) if Errno::of(result).is_none() => {
                    let why = "exec changes the capabilities";
                    Error::refused(Step::Image, why)
                }
                Some(op) => {
                    let why = Errno::of(result);
                    let why = why.map(|errno| reason(op, errno.0));
                    let why = why.unwrap_or_else(|| cause(result));
                    self.operand(op, Error::new(self.step(op), why))
                        .below(self.path_root(compiled, row, op))
                }
                None => Error::new(Step::Plan, Cause::Untrue(result)),
            },
            Outcome::Running { .. } | Outcome::Stopped { .. } => {
                Error::new(Step::Plan, Cause::Untrue(0))
            }
        }
    }

    /// No child was made.
    fn refused(
        &self,
        compiled: &CompiledPlan,
        errno: Errno,
        group: Option<&Group>,
    ) -> Error {
        let born = group.filter(|_| !compiled.strategy.joins_cgroup);
        if let Some(group) = born.filter(|group| group.is_cause_of(errno.0)) {
            return group.refused(errno.0);
        }
        let ids = !self.plan.set_tid.is_empty();
        let why = match errno.0 {
            libc::EEXIST => "a process has that id",
            libc::EPERM => {
                "it takes CAP_CHECKPOINT_RESTORE over the PID namespace"
            }
            libc::EINVAL => {
                "an id is out of range, or there are more than namespaces"
            }
            _ => return Error::os(Step::Clone, errno.0),
        };
        if !ids {
            return Error::os(Step::Clone, errno.0);
        }
        let shown = format!("{:?}", self.plan.set_tid);
        Error::explained(Step::SetTid, errno.0, why).with(shown)
    }

    /// The root in which a step looked for its path.
    fn path_root(
        &self,
        compiled: &CompiledPlan,
        row: u32,
        op: Op,
    ) -> Option<&OsStr> {
        let step = compiled.row(row)?.step;
        matches!(op, Op::Chdir(_)).then(|| self.root_at(step)).flatten()
    }

    fn step(&self, op: Op) -> Step {
        match op {
            // What stays where it is only loses close-on-exec.
            Op::Dup { to, role: Role::Given(place) }
                if self.plan.number(place) == to =>
            {
                Step::Fcntl
            }
            op => step(op),
        }
    }

    fn operand(&self, op: Op, error: Error) -> Error {
        let strings = &self.plan.strings;
        match op {
            Op::Chdir(path)
            | Op::Chroot(path)
            | Op::Dup { role: Role::Path(path), .. } => {
                error.with(strings.get(path))
            }
            Op::Dup { to, role } => self.dup_operand(to, role, error),
            Op::Close { to } => error.with(stdio_step(to).to_string()),
            Op::Fchdir(place) => match self.plan.given.get(usize::from(place))
            {
                Some(given) => error.with(given.shown()),
                None => error,
            },
            Op::Setpgid(id) | Op::Setgid(id) | Op::Setuid(id) => {
                error.with(id.to_string())
            }
            Op::ClearGroups { .. } => error.with("[]"),
            Op::Setgroups { list, .. } => {
                error.with(format!("{:?}", strings.listed(list)))
            }
            Op::JoinCgroup => match &self.plan.cgroup {
                Some(cgroup) => error.with(cgroup.name()),
                None => error,
            },
            Op::Exec(_) | Op::ExecFd(_) => {
                error.with(strings.get(self.plan.program))
            }
            _ => error,
        }
    }

    /// One of 0 to 2 is called by its option, any other by source and
    /// target.
    fn dup_operand(&self, to: u32, role: Role, error: Error) -> Error {
        match (u8::try_from(to), role) {
            (Ok(to @ 0..=2), _) => error.with(stdio_step(to).to_string()),
            (_, Role::Given(place)) => {
                let given = self.plan.given.get(usize::from(place));
                error.with(given.map(SourceFd::shown).unwrap_or_default())
            }
            _ => error.with(to.to_string()),
        }
    }
}

/// Whether a child died of the signal that a seccomp filter sends for a call,
/// at a row that makes one itself.
pub(super) fn is_trapped(
    compiled: &CompiledPlan,
    row: u32,
    ended: Option<Ended>,
) -> bool {
    let sigsys = ended.and_then(Ended::signal) == Some(libc::SIGSYS);
    // Without a filter somebody has sent it.
    let sigsys = sigsys && is_filtered();
    let row = compiled.row(row).filter(|row| row.nr != local::CALLBACK);
    sigsys && row.is_some()
}

pub(super) fn cause(result: i64) -> Cause {
    match Errno::of(result) {
        Some(errno) => Cause::Os(errno.0),
        None if result == PANICKED => Cause::Panicked,
        None => Cause::Untrue(result),
    }
}

fn step(op: Op) -> Step {
    match op {
        Op::RobustList => Step::RobustList,
        Op::CloseRange | Op::MarkRange | Op::CloseGaps => Step::CloseRange,
        Op::JoinCgroup => Step::Cgroup,
        Op::Dup { .. } => Step::Dup,
        Op::Close { .. } => Step::Close,
        Op::Setsid => Step::Setsid,
        Op::Setpgid(_) => Step::Setpgid,
        Op::Umask(_) => Step::Umask,
        Op::Chroot(_) => Step::Chroot,
        Op::PassHelperFds
        | Op::ExecHelper
        | Op::HelperInit
        | Op::MarkHelper => Step::Image,
        Op::ClearGroups { .. } | Op::Setgroups { .. } => Step::Setgroups,
        Op::Setgid(_) => Step::Setresgid,
        Op::Setuid(_) => Step::Setresuid,
        Op::Chdir(_) => Step::Chdir,
        Op::Fchdir(_) => Step::Fchdir,
        Op::ListenPid => Step::ListenFds,
        Op::ClearHandlers | Op::DefaultSignal(_) => Step::SignalAction,
        Op::Gate => Step::BeforeExec,
        Op::Hook(_) => Step::PreExec,
        Op::BlockSigsys | Op::SignalMask => Step::SignalMask,
        Op::Exec(_) | Op::ExecFd(_) => Step::Exec,
    }
}
