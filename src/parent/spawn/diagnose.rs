//! Diagnosis: the outcome of a failed launch becomes an error with its step.

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use super::reason::reason;
use crate::call::{Block, local};
use crate::launch::Outcome;
use crate::parent::command::{OpenCgroup, namespaces};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::{
    Effect, FdSource, Op, Operand, SourceFd, StepRecord, stdio_step,
};
use crate::parent::std::{format, string::ToString};
use crate::parent::support;
use crate::sys::call::is_filtered;
use crate::sys::wait::Ended;
use crate::sys::{CloneCall, CloneFlags, Errno};

/// EAGAIN of clone.
const NO_PROCESS: &str = "there is no process id at the moment: RLIMIT_NPROC \
                          of the user, pids.max of a control group or a limit \
                          of the system is reached; retry_again waits";

/// ENOMEM of clone.
const NO_MEMORY: &str = "there is no memory for a process, or the first \
                         process of the PID namespace for new children has \
                         ended";

impl Prepared {
    pub(super) fn diagnose(
        &self,
        compiled: &CompiledPlan,
        outcome: Outcome,
        block: &Block,
        group: Option<&OpenCgroup>,
    ) -> Error {
        match outcome {
            Outcome::Rejected(errno) => {
                self.clone_error(compiled, errno, group)
            }
            Outcome::Died { row, ended, .. } => {
                let Some(step) = compiled.step(&self.plan, row) else {
                    return Error::ended(Step::Clone, ended);
                };
                let trapped = is_trapped(compiled, row, ended);
                let error = match self.step(step) {
                    step if self.is_killed_by_filter(step, ended) => {
                        Error::new(step, Cause::KilledByFilter)
                    }
                    step if trapped => Error::new(step, Cause::Trapped),
                    step => Error::ended(step, ended),
                };
                self.operand(step, error)
            }
            Outcome::Failed { row, result, denied, .. } => {
                let Some(step) = compiled.step(&self.plan, row) else {
                    return Error::new(Step::Plan, Cause::Unexpected(result));
                };
                match step.op() {
                    Some(Op::Exec(_) | Op::ExecFd(_)) => {
                        self.exec_error(compiled, (row, result), denied, block)
                    }
                    _ => self.step_error(compiled, step, row, result, group),
                }
            }
            Outcome::Running { .. } | Outcome::Stopped { .. } => {
                Error::new(Step::Plan, Cause::Unexpected(0))
            }
        }
    }

    /// A step before exec failed.
    fn step_error(
        &self,
        compiled: &CompiledPlan,
        step: &StepRecord,
        row: u32,
        result: i64,
        group: Option<&OpenCgroup>,
    ) -> Error {
        match (group, Errno::of(result)) {
            (Some(group), Some(errno)) if step.operand == Operand::Cgroup => {
                return group.error(errno.0);
            }
            (_, None) if step.op() == Some(Op::HelperInit) => {
                let why = "exec changes the capabilities";
                return Error::refused(Step::Image, why);
            }
            _ => {}
        }
        // A directory is looked up from the root that the child has by then.
        let at = compiled.row(row).map_or(0, |row| row.step);
        let dir = matches!(step.effect, Effect::Dir(_));
        let file = step.step == Step::OpenInChild;
        let root = (dir || file).then(|| self.root_at(at)).flatten();
        let error = Error::new(self.step(step), reason(step, result));
        self.operand(step, error).in_root(root)
    }

    /// Whether a filter of the plan, which the child has installed by then,
    /// killed it.
    fn is_killed_by_filter(&self, step: Step, ended: Option<Ended>) -> bool {
        let sigsys = ended.and_then(Ended::signal) == Some(libc::SIGSYS);
        sigsys && step == Step::Exec && !self.plan.filters.is_empty()
    }

    /// No child was created.
    fn clone_error(
        &self,
        compiled: &CompiledPlan,
        errno: Errno,
        group: Option<&OpenCgroup>,
    ) -> Error {
        let group = group.filter(|_| !compiled.strategy.joins_cgroup);
        if let Some(group) = group.filter(|group| group.is_cause_of(errno.0)) {
            return group.error(errno.0);
        }
        if let Some(error) = self.end_flags_error(errno.0) {
            return error;
        }
        if let Some(error) = self.namespaces_error(compiled, errno.0) {
            return error;
        }
        let ids = &self.plan.set_tid;
        let why = match (errno.0, ids.len()) {
            (libc::EEXIST, 1..) => "another process has that id",
            (libc::EPERM, 1..) => {
                "it needs CAP_CHECKPOINT_RESTORE in the PID namespace"
            }
            (libc::EINVAL, 1) => {
                "that id is out of range, or the first process of a PID \
                 namespace needs id 1"
            }
            (libc::EINVAL, 2..) => {
                "more ids than PID namespaces, or an id is out of range"
            }
            (libc::EAGAIN, _) => {
                return Error::explained(Step::Clone, errno.0, NO_PROCESS);
            }
            (libc::ENOMEM, _) => {
                return Error::explained(Step::Clone, errno.0, NO_MEMORY);
            }
            _ => return Error::os(Step::Clone, errno.0),
        };
        let shown = format!("{ids:?}");
        Error::explained(Step::SetTid, errno.0, why).with(shown)
    }

    /// The error of a clone with namespaces, where they may be the cause.
    fn namespaces_error(
        &self,
        compiled: &CompiledPlan,
        errno: i32,
    ) -> Option<Error> {
        const NOT_PERMITTED: &str = "new user namespaces are not permitted here: sysctl \
             user.max_user_namespaces, kernel.unprivileged_userns_clone or \
             kernel.apparmor_restrict_unprivileged_userns, a filter, or this \
             process is in a chroot or its ids are not mapped";
        let flags = self.plan.namespaces;
        let is_clone3 = compiled.strategy.clone_call == CloneCall::Clone3;
        let has_user = flags.contains(CloneFlags::NEWUSER);
        let why = match errno {
            _ if flags.is_empty() => return None,
            libc::EPERM if is_clone3 && support::clone3_is_blocked(errno) => {
                return None;
            }
            libc::EPERM if has_user => NOT_PERMITTED,
            libc::EPERM => namespaces::NO_PRIVILEGE,
            // EUSERS: before Linux 4.9.
            libc::ENOSPC | libc::EUSERS => namespaces::LIMIT,
            libc::EINVAL if self.plan.set_tid.is_empty() => {
                "the kernel lacks one of these namespaces"
            }
            _ => return None,
        };
        let error = Error::explained(Step::Namespaces, errno, why);
        Some(error.with(flags.to_string()))
    }

    /// The error of a clone3 whose flags for the end of the child the kernel
    /// does not have or permit. They came together.
    fn end_flags_error(&self, errno: i32) -> Option<Error> {
        let flags = self.plan.end_flags;
        let kills = flags.contains(CloneFlags::PIDFD_AUTOKILL);
        let privileged = !kills || flags.contains(CloneFlags::NNP);
        let no_clone3 = || {
            let blocked = errno == libc::ENOSYS || errno == libc::EPERM;
            blocked && support::clone3_is_blocked(errno)
        };
        let why = match errno {
            _ if flags.is_empty() => return None,
            _ if no_clone3() => {
                "only clone3 has it, which the kernel or a filter does not"
            }
            libc::EINVAL if self.plan.set_tid.is_empty() => {
                "it takes Linux 7.1"
            }
            libc::EINVAL => {
                "it takes Linux 7.1, or the kernel does not assign the ids of \
                 set_tid"
            }
            libc::EPERM if !privileged && self.plan.set_tid.is_empty() => {
                "it takes no_new_privs of the command, or CAP_SYS_ADMIN"
            }
            _ => return None,
        };
        let step = if kills { Step::Autokill } else { Step::Autoreap };
        Some(Error::explained(step, errno, why))
    }

    fn step(&self, record: &StepRecord) -> Step {
        match record.op() {
            // It keeps its number and loses close-on-exec.
            Some(Op::Dup { to, source: FdSource::Fd(index) })
                if self.plan.number(index) == to =>
            {
                Step::Fcntl
            }
            _ => record.step,
        }
    }

    pub(super) fn operand(&self, record: &StepRecord, error: Error) -> Error {
        let strings = &self.plan.strings;
        match record.operand {
            Operand::None => match record.op() {
                Some(Op::Dup { to, source }) => {
                    self.dup_operand(to, source, error)
                }
                _ => error,
            },
            Operand::Label(_) => error,
            Operand::Name(name) => error.with(name),
            Operand::Text(text) => error.with(strings.get(text)),
            Operand::Stdio(n) => error.with(stdio_step(n).to_string()),
            Operand::Number(number) => error.with(number.to_string()),
            Operand::Octal(number) => error.with(format!("{number:#o}")),
            Operand::EmptyList => error.with("[]"),
            Operand::Filter(_) => {
                let filter = self.plan.shown(record.operand);
                error.with(format!("filter of {filter}"))
            }
            Operand::Signals(set) => error.with(set.to_string()),
            Operand::Ids(list) => {
                error.with(format!("{:?}", strings.listed(list)))
            }
            Operand::Fd(at) => {
                match self.plan.source_fds.get(usize::from(at)) {
                    Some(fd) => error.with(fd.shown()),
                    None => error,
                }
            }
            Operand::Cgroup => match &self.plan.cgroup {
                Some(cgroup) => error.with(cgroup.name()),
                None => error,
            },
        }
    }

    /// Names one of 0 to 2 by its option, others by source and target.
    fn dup_operand(&self, to: u32, source: FdSource, error: Error) -> Error {
        match (u8::try_from(to), source) {
            (_, FdSource::Path(path)) => {
                error.with(self.plan.strings.get(path))
            }
            (Ok(to @ 0..=2), _) => error.with(stdio_step(to).to_string()),
            (_, FdSource::Fd(index)) => {
                let source = self.plan.source_fds.get(usize::from(index));
                error.with(source.map(SourceFd::shown).unwrap_or_default())
            }
            _ => error.with(to.to_string()),
        }
    }
}

/// Whether a seccomp filter killed the child at a system call of a row:
/// without a filter another process sent the SIGSYS.
pub(super) fn is_trapped(
    compiled: &CompiledPlan,
    row: u32,
    ended: Option<Ended>,
) -> bool {
    let sigsys = ended.and_then(Ended::signal) == Some(libc::SIGSYS);
    let row = compiled.row(row).filter(|row| row.nr != local::CALLBACK);
    sigsys && is_filtered() && row.is_some()
}
