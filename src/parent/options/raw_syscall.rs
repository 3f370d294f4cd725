//! Raw system calls: any other call, as data.
#![allow(unsafe_code, reason = "the caller vouches for the call")]

use crate::call::raw::{OUTPUT, RawCall, RawKind};
use crate::call::{number, slot};
use crate::parent::command::Command;
use crate::parent::command::raw_arg::{RawArg, RawRequest, RawValue};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, SourceFd, local_row};
use crate::parent::std::{string::String, vec::Vec};

impl Command {
    /// Lets the child make any system call, after the steps of all options and
    /// before its hooks, in the order in which they were added.
    ///
    /// `number` is libc's `SYS_*`, and `name` is what an error names. The
    /// result must not be an error. What the call reads and writes is memory
    /// of the plan: see [`RawArg`].
    ///
    /// The child has memory of its own: the helper
    /// ([`Engine::Isolated`](crate::Engine::Isolated)) makes the call, and
    /// nothing of this process is copied. Where it may share this process's
    /// memory, [`Command::raw_syscall_shared`] is faster.
    ///
    /// The other options of [`Command`] do not know what the call does. A
    /// change of ids, root or directory can make the diagnosis of a failed
    /// exec inexact.
    ///
    /// # Safety
    ///
    /// Clause 1: with these arguments the call reads memory only at addresses
    /// of [`RawArg::bytes`], no more than there are, and writes memory only at
    /// [`RawArg::output`], no more than its length. A number that is used as
    /// an address is no address of this process in the child.
    ///
    /// Clause 2: it makes no process or thread and ends none, runs no program,
    /// and does not unmap, protect or replace memory (`munmap`, `mprotect`,
    /// `brk`, `rseq`) that the child uses until exec.
    ///
    /// # Errors
    ///
    /// [`Step::RawSyscall`] with the name and the errno; refused for more than
    /// six arguments, a number that no call has, more than 128 bytes of
    /// output, and an output that is not among the first four arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, RawArg};
    ///
    /// /// As `libc::SYS_prctl` and `libc::PR_SET_TIMERSLACK`.
    /// const PRCTL: i64 = if cfg!(target_arch = "x86_64") { 157 } else { 167 };
    /// const TIMER_SLACK: u64 = 29;
    ///
    /// let mut cat = Command::new("cat");
    /// cat.arg("/proc/self/timerslack_ns");
    /// let args = [RawArg::from(TIMER_SLACK), RawArg::from(70_000)];
    /// // SAFETY: the call takes two numbers and changes no memory.
    /// unsafe { cat.raw_syscall("PR_SET_TIMERSLACK", PRCTL, args) };
    /// assert_eq!(cat.output()?.stdout, b"70000\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn raw_syscall(
        &mut self,
        name: impl Into<String>,
        number: i64,
        args: impl IntoIterator<Item = RawArg>,
    ) -> &mut Command {
        let args = args.into_iter().collect();
        let request = request(name.into(), number, args, false);
        self.options.hooks.raw.push(request);
        self
    }

    /// Lets the child make any system call, as [`Command::raw_syscall`] does,
    /// also where it shares this process's memory
    /// ([`Engine::Suspended`](crate::Engine::Suspended)).
    ///
    /// # Safety
    ///
    /// In addition to the clauses of [`Command::raw_syscall`]:
    ///
    /// Clause 3: the call leaves what the child shares with this process as it
    /// is: mappings, the dumpable flag, and with it every id and capability.
    /// It does not wait: the calling thread is suspended with it.
    ///
    /// # Errors
    ///
    /// As [`Command::raw_syscall`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Engine};
    ///
    /// /// As `libc::SYS_setsid`.
    /// const SETSID: i64 = if cfg!(target_arch = "x86_64") { 112 } else { 157 };
    ///
    /// let mut leader = Command::new("true");
    /// // SAFETY: the call takes no argument and concerns no memory.
    /// unsafe { leader.raw_syscall_shared("setsid", SETSID, []) };
    /// let mut child = leader.spawn()?;
    /// assert_eq!(child.launch().engine(), Engine::Suspended);
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn raw_syscall_shared(
        &mut self,
        name: impl Into<String>,
        number: i64,
        args: impl IntoIterator<Item = RawArg>,
    ) -> &mut Command {
        let args = args.into_iter().collect();
        let request = request(name.into(), number, args, true);
        self.options.hooks.raw.push(request);
        self
    }
}

/// What the caller of `raw_syscall` has vouched for.
fn request(
    name: String,
    nr: i64,
    args: Vec<RawArg>,
    shared: bool,
) -> RawRequest {
    let mut kinds = [RawKind::Number(0); 6];
    for (kind, arg) in kinds.iter_mut().zip(&args) {
        *kind = match &arg.0 {
            RawValue::Number(n) => RawKind::Number(*n),
            RawValue::Bytes(bytes) => RawKind::Bytes(bytes.len() as u64),
            RawValue::Fd(_) => RawKind::Fd,
            RawValue::Output(_) => RawKind::Output,
        };
    }
    let narrow = u32::try_from(nr).unwrap_or(u32::MAX);
    // SAFETY: clauses 1 and 2 are those of `raw_syscall`, whose caller fulfils
    // them for this number and these arguments.
    let call = unsafe { RawCall::new(narrow, kinds) };
    RawRequest { name, nr, args, call, shared }
}

/// The calls, in their order.
pub(crate) fn raw_syscall(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let step = Step::RawSyscall;
    for request in &plan.options().hooks.raw {
        let RawRequest { name, nr, args, call, shared } = request;
        if args.len() > 6 {
            return plan.refuse(step, "a call has six arguments", name);
        }
        if !(0..1 << 20).contains(nr) {
            return plan.refuse(step, "no call has that number", name);
        }
        let mut all = Vec::with_capacity(args.len());
        for (n, arg) in args.iter().enumerate() {
            all.push(match &arg.0 {
                RawValue::Number(value) => Arg::Value(*value),
                RawValue::Bytes(bytes) => {
                    let bytes = plan.plan.strings.numbers(&padded(bytes));
                    Arg::Text(bytes.map_err(|why| why.of(step, name))?)
                }
                RawValue::Fd(fd) => {
                    let fd = SourceFd::open_until_exec(step, fd);
                    Arg::Fd(plan.keep_fd(fd)?)
                }
                RawValue::Output(len) if *len > OUTPUT => {
                    let why = "the output has at most 128 bytes";
                    return plan.refuse(step, why, name);
                }
                RawValue::Output(_) if n >= 4 => {
                    let why = "output is one of the first four arguments";
                    return plan.refuse(step, why, name);
                }
                RawValue::Output(_) => Arg::Slot(slot::SCRATCH_ADDR),
            });
        }
        let text = plan.text(step, name.as_ref())?;
        let mut made = plan
            .step(step, Operand::Text(text))
            .row(local_row(number(*nr), &all))
            .shown_as("system call");
        if !shared {
            made = made.needs_private("raw_syscall", WHY);
        }
        made = made.needs_suspended("raw_syscall_shared", WHY);
        made.note("raw_syscall");
        plan.plan.raw.push(*call);
    }
    Ok(())
}

/// The bytes as numbers of 32 bits, with zeros after the last.
fn padded(bytes: &[u8]) -> Vec<u32> {
    let number = |all: &[u8]| {
        let mut four = [0; 4];
        four.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(four)
    };
    bytes.chunks(4).map(number).collect()
}

const WHY: &str = "the call may change what shared memory concerns; \
                   raw_syscall_shared is for one that does not";
