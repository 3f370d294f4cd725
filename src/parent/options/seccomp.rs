//! Seccomp: filters that decide about the system calls of the program.

use rustix::system::uname;

use super::bpf_check;
use super::privilege::require_no_new_privs;
use crate::call::{Call, Check, local, number, slot};
use crate::parent::command::{Command, Engine, SeccompFilter, SockFilter};
use crate::parent::error::{Error, Step};
use crate::parent::plan::filter_answer::answer;
use crate::parent::plan::{Arg, Operand, PlanBuilder, local_row, row};
use crate::parent::std::{format, string::String, vec::Vec};

impl Command {
    /// Adds a seccomp filter, which the child installs as its last step before
    /// exec ([`seccomp(2)`]). Filters are installed in the order in which they
    /// were added.
    ///
    /// The filter applies to exec itself, so it must allow `execve` (and
    /// `execveat` for a program that is a descriptor). If it does not, the
    /// spawn fails. It applies to no other step of the child: they have run
    /// before it.
    ///
    /// A filter that compares numbers of calls must compare the architecture
    /// first: the kernel also has the calls of 32-bit programs, and x32, with
    /// numbers of their own.
    ///
    /// Without CAP_SYS_ADMIN in its user namespace the child needs
    /// [`Command::no_new_privs`], which it may have inherited. With
    /// [`Command::exec`] the filter stays installed in the calling thread if
    /// exec fails.
    ///
    /// # Errors
    ///
    /// [`Step::Seccomp`]:
    ///
    /// - for a program that the kernel would reject: it is empty, has more than
    ///   4,096 instructions, an unknown operation, a jump behind its end, a
    ///   read outside `seccomp_data`, or no return at its end. The operand is
    ///   the instruction, counted from 0;
    /// - naming `no_new_privs`, if the child has neither CAP_SYS_ADMIN nor
    ///   that; with EACCES, if a function of [`Command::pre_exec`] could have
    ///   set it and did not;
    /// - with ENOMEM, if all filters of the child together are too long, about
    ///   32,768 instructions with those that it has inherited;
    /// - with EINVAL, if the kernel has no seccomp filters or lacks a flag.
    ///
    /// [`Step::Exec`] if the filter forbids exec: with the errno of the filter,
    /// or with EPERM and [`Error::signal`] SIGSYS if it kills.
    ///
    /// Before Linux 5.16 the child needs memory of its own
    /// ([`Step::Memory`] with [`Memory::Shared`](crate::Memory::Shared)): a
    /// child that a filter kills dumps core, which would end every process
    /// that shares its memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// // AUDIT_ARCH of this program: calls of another architecture have other
    /// // numbers, so they end the process.
    /// let arch = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
    /// // mkdir and mkdirat fail with EROFS: load the number of the call,
    /// // compare it, return.
    /// let filter = [
    ///     (0x20, 0, 0, 4),
    ///     (0x15, 1, 0, arch),
    ///     (0x06, 0, 0, 0x8000_0000), // SECCOMP_RET_KILL_PROCESS
    ///     (0x20, 0, 0, 0),
    ///     (0x35, 3, 0, 0x4000_0000), // x32 has numbers from here on
    ///     (0x15, 2, 0, u32::try_from(libc::SYS_mkdirat)?),
    ///     (0x15, 1, 0, 83), // SYS_mkdir of x86-64
    ///     (0x06, 0, 0, 0x7FFF_0000), // SECCOMP_RET_ALLOW
    ///     (0x06, 0, 0, 0x0005_0000 | libc::EROFS.unsigned_abs()),
    /// ];
    /// let mut mkdir = Command::new("mkdir");
    /// mkdir.arg("/tmp/offshoot-doc-seccomp").no_new_privs(true).seccomp(filter);
    /// # mkdir.stderr(offshoot::Stdio::null());
    /// assert!(!mkdir.status()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Error::signal`]: crate::Error::signal
    /// [`seccomp(2)`]: https://man7.org/linux/man-pages/man2/seccomp.2.html
    pub fn seccomp(
        &mut self,
        filter: impl Into<SeccompFilter>,
    ) -> &mut Command {
        self.options.seccomp.filters.push(filter.into());
        self
    }

    /// Adds a seccomp filter whose `SECCOMP_RET_USER_NOTIF` asks this process:
    /// [`Child::take_seccomp_listener`] returns the descriptor of its
    /// notifications ([`seccomp_unotify(2)`]; Linux 5.6).
    ///
    /// It is installed after the filters of [`Command::seccomp`]. Another call
    /// replaces it. A filter may notify of exec: this process lets the child's
    /// own exec pass, and the first notification that the descriptor has is of
    /// the program. The program waits at its first such call, so the thread
    /// that answers must not wait for something that the program does first.
    ///
    /// The child has memory of its own, and waits until this process has taken
    /// the descriptor. If a filter does not allow `futex`, it waits without a
    /// call and uses the processor, about a millisecond; a caller with the
    /// policy `SCHED_FIFO` that may run on one processor only would then wait
    /// for ever, so such a filter must allow `futex`.
    ///
    /// # Errors
    ///
    /// [`Step::SeccompListener`] as [`Step::Seccomp`] for
    /// [`Command::seccomp`]; and
    ///
    /// - with EPERM, if this process may not take the descriptor, which takes
    ///   what ptrace takes: the same user and a dumpable process, or
    ///   CAP_SYS_PTRACE;
    /// - with EBUSY, if the child has inherited a filter with a listener;
    /// - with ENOSYS before Linux 5.6;
    /// - together with [`Command::pre_exec`], whose function may fork, with
    ///   [`Engine::Pipe`] or with [`Command::exec`].
    ///
    /// [`Step::Memory`] with [`Memory::Shared`](crate::Memory::Shared).
    ///
    /// # Examples
    ///
    /// `examples/noexec.rs` answers notifications, as sudo does for NOEXEC.
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// // Notify of `ptrace` and allow all other calls.
    /// let filter = [
    ///     (0x20, 0, 0, 0),
    ///     (0x15, 0, 1, u32::try_from(libc::SYS_ptrace)?),
    ///     (0x06, 0, 0, 0x7FC0_0000),
    ///     (0x06, 0, 0, 0x7FFF_0000),
    /// ];
    /// let mut command = Command::new("true");
    /// command.no_new_privs(true).seccomp_with_listener(filter);
    /// let mut child = command.spawn()?;
    /// assert!(child.take_seccomp_listener().is_some());
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Child::take_seccomp_listener`]: crate::Child::take_seccomp_listener
    /// [`seccomp_unotify(2)`]: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html
    pub fn seccomp_with_listener(
        &mut self,
        filter: impl Into<SeccompFilter>,
    ) -> &mut Command {
        self.options.seccomp.listener = Some(filter.into());
        self
    }
}

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`, for each filter.
pub(crate) fn seccomp(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let filters = &plan.options().seccomp.filters;
    if filters.is_empty() {
        return Ok(());
    }
    if !dumps_end_one_process() {
        plan.needs.private("seccomp", DUMP);
    }
    for filter in filters {
        validate(plan, Step::Seccomp, filter)?;
        require_no_new_privs(plan, Step::Seccomp)?;
        let install = install(plan, Step::Seccomp, filter, 0)?;
        plan.step(Step::Seccomp, operand(filter))
            .row(install)
            .note("applies to exec and the program")
            .reasons(REASONS);
    }
    plan.plan.filters.clone_from(filters);
    Ok(())
}

/// The filter with a listener: the child waits until the parent has its
/// descriptor. The filters may forbid to wait by a call; then the last row,
/// which makes none, is repeated.
pub(crate) fn seccomp_listener(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    const STEP: Step = Step::SeccompListener;
    let Some(filter) = &plan.options().seccomp.listener else {
        return Ok(());
    };
    if plan.in_place() {
        return Err(Error::refused(STEP, "exec creates no process"));
    }
    if plan.options().launch.engine == Some(Engine::Pipe) {
        let why = "the pipe engine cannot take it";
        return plan.refuse(STEP, why, "engine");
    }
    if !plan.options().hooks.child.is_empty() {
        return plan.refuse(STEP, FORK, "pre_exec");
    }
    validate(plan, STEP, filter)?;
    require_no_new_privs(plan, STEP)?;
    let flag = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let mut install = install(plan, STEP, filter, flag)?;
    install.store = slot::LISTENER;
    plan.plan.filters.push(filter.clone());
    plan.plan.listener = true;
    let answer = answer(&plan.plan.filters, number(libc::SYS_futex));
    let may_wait = answer == Some(libc::SECCOMP_RET_ALLOW);
    let mut step = plan
        .step(STEP, operand(filter))
        .row(install)
        .shown_as("seccomp")
        .note("the parent takes the listener")
        .reasons(REASONS)
        .needs_private("seccomp_with_listener", TAKE);
    if may_wait {
        let [wake, wait] = [libc::FUTEX_WAKE, libc::FUTEX_WAIT].map(Arg::from);
        let stored = Arg::Slot(slot::LISTENER_ADDR);
        let taken = Arg::Slot(slot::LISTENER_TAKEN_ADDR);
        for args in [[stored, wake, 1.into()], [taken, wait, 0.into()]] {
            let call = row(libc::SYS_futex, &args);
            step = step.row(Call { check: Check::May, ..call });
        }
    }
    let taken = Arg::Slot(slot::LISTENER_TAKEN);
    let taken = local_row(local::VALUE, &[taken]);
    step.row(Call { check: Check::Until, want: 1, ..taken });
    Ok(())
}

const TAKE: &str = "the caller is suspended until exec and cannot take it";
const FORK: &str = "the descriptor is that of the child, and a hook may fork";

fn operand(filter: &SeccompFilter) -> Operand {
    let len = u16::try_from(filter.program.len());
    Operand::Filter(len.unwrap_or(u16::MAX))
}

/// The row that installs a filter.
fn install(
    plan: &mut PlanBuilder<'_>,
    step: Step,
    filter: &SeccompFilter,
    flag: u64,
) -> Result<Call, Error> {
    let words: Vec<u32> =
        filter.program.iter().flat_map(|it| it.words()).collect();
    let program = plan.plan.strings.filter(&words);
    let program = program.map_err(|why| why.of(step, ""))?;
    let mode = libc::SECCOMP_SET_MODE_FILTER.into();
    let flags = Arg::Value(flags(filter) | flag);
    Ok(row(libc::SYS_seccomp, &[mode, flags, Arg::List(program)]))
}

const DUMP: &str = "before Linux 5.16 the core dump of a child that it kills \
                    ends the parent too";

const REASONS: &[(i32, &str)] = &[
    (libc::EACCES, "it takes no_new_privs or CAP_SYS_ADMIN"),
    (libc::ENOMEM, "all filters of a process have about 32,768 instructions"),
    (libc::EINVAL, "this kernel lacks seccomp filters or a flag of it"),
    (libc::EBUSY, "an inherited filter has a listener already"),
    (libc::ENOSYS, "this kernel has no seccomp, or a filter rejects it"),
];

fn flags(filter: &SeccompFilter) -> u64 {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    flag(filter.log, libc::SECCOMP_FILTER_FLAG_LOG)
        | flag(filter.speculation, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW)
}

/// Refuses a program that the kernel would reject.
fn validate(
    plan: &PlanBuilder<'_>,
    step: Step,
    filter: &SeccompFilter,
) -> Result<(), Error> {
    let program = &filter.program;
    let (len, rest) = (program.len(), filter.rest);
    let refuse =
        |why: &'static str, operand: String| plan.refuse(step, why, operand);
    if rest != 0 {
        let why = "its length is no multiple of 8, the size of an instruction";
        return refuse(why, format!("{} bytes", 8 * len + rest));
    }
    if len == 0 {
        return refuse("it has no instructions", String::new());
    }
    if len > bpf_check::MOST {
        let why = "a filter has at most 4,096 instructions";
        return refuse(why, format!("{len} instructions"));
    }
    bpf_check::check(program).or_else(|(n, why)| {
        let shown = program.get(n).map(shown).unwrap_or_default();
        refuse(why, format!("instruction {n}: {shown}"))
    })
}

fn shown(instruction: &SockFilter) -> String {
    let SockFilter { code, jt, jf, k } = instruction;
    format!("{code:#04x} {jt} {jf} {k:#x}")
}

/// Whether the core dump of a process leaves the others that share its memory
/// alone: from Linux 5.16 on.
fn dumps_end_one_process() -> bool {
    let uname = uname();
    let release = uname.release().to_str().unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    let version: (u32, u32) =
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 16)
}
