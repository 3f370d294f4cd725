//! Signals: the child's handlers, dispositions and signal mask.

pub(crate) use super::parent_death::parent_death;
use crate::parent::command::signal_set::NO_SIGNAL;
use crate::parent::command::signal_set::Signal;
use crate::parent::command::{Command, Engine, SignalSet};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Arg, Op, Operand, PlanBuilder, Str, fixed_strings};
use crate::parent::std::format;
use crate::sys::CloneCall;
use crate::sys::abi::SIGSET_SIZE;
use crate::sys::safe::Disposition;

impl Command {
    /// Sets the signal mask of the program: the signals that are blocked when
    /// it starts ([`sigprocmask(2)`]). Without this option it gets the mask of
    /// the calling thread, and a program that was started by a thread that
    /// blocks SIGTERM cannot be terminated by it.
    ///
    /// The kernel blocks neither SIGKILL nor SIGSTOP, and ignores them in the
    /// set. A [`Command::pre_exec`] hook may still change the mask.
    ///
    /// A blocked signal that is sent to the child before exec stays pending
    /// for the program.
    ///
    /// # Errors
    ///
    /// [`Step::SignalMask`] for a set with a number that is no signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, SignalSet};
    ///
    /// const SIGUSR1: i32 = 10;
    ///
    /// let mut grep = Command::new("grep");
    /// grep.args(["SigBlk", "/proc/self/status"]);
    /// grep.signal_mask(SignalSet::from([SIGUSR1]));
    /// assert_eq!(grep.output()?.stdout, b"SigBlk:\t0000000000000200\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::SignalMask`]: crate::Step::SignalMask
    /// [`sigprocmask(2)`]: https://man7.org/linux/man-pages/man2/sigprocmask.2.html
    pub fn signal_mask(&mut self, mask: SignalSet) -> &mut Command {
        self.options.signals.mask = Some(mask);
        self
    }

    /// Sets a signal to its default action (`SIG_DFL`, [`signal(7)`]).
    ///
    /// Exec resets a signal that has a handler, but one that is ignored stays
    /// ignored. So without this option the program ignores what this process
    /// ignores, SIGHUP under `nohup` for example, except for SIGPIPE (see
    /// [`Command::keep_sigpipe`]).
    ///
    /// Of several calls of this function, [`Command::ignore_signal`] and
    /// [`Command::reset_signals`] for the same signal the last has effect.
    ///
    /// # Errors
    ///
    /// [`Step::DefaultSignal`] for SIGKILL and SIGSTOP, which have no other
    /// action, and for a number that is not from 1 to 64.
    ///
    /// # Examples
    ///
    /// ```
    /// const SIGINT: i32 = 2;
    ///
    /// // A shell ignores SIGINT for the programs that it runs with `&`.
    /// let mut program = offshoot::Command::new("true");
    /// assert!(program.default_signal(SIGINT).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::DefaultSignal`]: crate::Step::DefaultSignal
    /// [`signal(7)`]: https://man7.org/linux/man-pages/man7/signal.7.html
    pub fn default_signal(&mut self, signal: i32) -> &mut Command {
        self.disposition(signal, Disposition::Default)
    }

    /// Makes the program ignore a signal (`SIG_IGN`, [`signal(7)`]), as
    /// `nohup` does with SIGHUP. The programs that it starts ignore it too.
    ///
    /// If the signal is sent to the child before exec, it is discarded.
    ///
    /// # Errors
    ///
    /// [`Step::IgnoreSignal`] for SIGKILL and SIGSTOP, which cannot be
    /// ignored, and for a number that is not from 1 to 64.
    ///
    /// # Examples
    ///
    /// ```
    /// const SIGHUP: i32 = 1;
    ///
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "kill -HUP $$; echo still here"]);
    /// assert_eq!(sh.ignore_signal(SIGHUP).output()?.stdout, b"still here\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::IgnoreSignal`]: crate::Step::IgnoreSignal
    /// [`signal(7)`]: https://man7.org/linux/man-pages/man7/signal.7.html
    pub fn ignore_signal(&mut self, signal: i32) -> &mut Command {
        self.disposition(signal, Disposition::Ignore)
    }

    fn disposition(&mut self, signal: i32, to: Disposition) -> &mut Command {
        self.options.signals.dispositions.insert(signal, to);
        self
    }

    /// Sets every signal to its default action, also those that this process
    /// ignores, and forgets earlier calls of [`Command::ignore_signal`]. A
    /// later call excepts a signal.
    ///
    /// The signal mask is not changed: see [`Command::signal_mask`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut grep = offshoot::Command::new("grep");
    /// grep.args(["SigIgn", "/proc/self/status"]).reset_signals();
    /// assert_eq!(grep.output()?.stdout, b"SigIgn:\t0000000000000000\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn reset_signals(&mut self) -> &mut Command {
        self.options.signals.reset = true;
        self.options.signals.dispositions.clear();
        self
    }

    /// Sets whether SIGPIPE stays as it is in this process. By default the
    /// program gets its default action, as in std: Rust's runtime ignores it
    /// in `main`'s process, and most programs rely on it to end when nobody
    /// reads their output.
    ///
    /// The other functions have precedence: with [`Command::default_signal`]
    /// or [`Command::ignore_signal`] for SIGPIPE, or with
    /// [`Command::reset_signals`], this one has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "kill -PIPE $$; echo still here"]);
    /// assert_eq!(sh.keep_sigpipe(true).output()?.stdout, b"still here\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn keep_sigpipe(&mut self, keep: bool) -> &mut Command {
        self.options.signals.keep_sigpipe = keep;
        self
    }
}

/// `sigprocmask` blocks SIGSYS while the parent's handler may still be set.
pub(crate) fn block_sigsys(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let how = Arg::Value(libc::SIG_BLOCK.unsigned_abs().into());
    let set = fixed_strings::SIGSYS.into();
    let args = [how, set, 0.into(), Arg::Value(SIGSET_SIZE)];
    plan.step(Step::SignalMask, Operand::Label("SIGSYS"))
        .call(libc::SYS_rt_sigprocmask, &args)
        .note("blocked, as there are handlers")
        .runs(|s| s.clone_call == CloneCall::Clone && !s.in_place);
    Ok(())
}

/// `sigaction` sets the default for every signal that has a handler. Only
/// for the legacy clone, as clone3 has a flag for it. The isolated engine
/// blocks all signals until its last exec, which resets handlers.
pub(crate) fn clear_handlers(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("every signal");
    plan.op(Step::SignalAction, operand, Op::ClearHandlers)
        .note("default, if it has a handler")
        .runs(|s| {
            let reset = s.engine == Engine::Isolated || s.in_place;
            s.clone_call == CloneCall::Clone && !reset
        });
    Ok(())
}

/// `sigaction` for each signal that an option names, and for SIGPIPE, which
/// Rust's runtime ignores: exec does not reset an ignored signal.
pub(crate) fn dispositions(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().signals;
    let sigpipe = libc::SIGPIPE;
    let named = |signal| options.dispositions.contains_key(&signal);
    if options.reset {
        let kept = [libc::SIGKILL, libc::SIGSTOP];
        let reset = (1..=64).filter(|n| !kept.contains(n) && !named(*n));
        default_all(plan, reset.collect());
    }
    let std = !options.keep_sigpipe && !options.reset && !named(sigpipe);
    let std = std.then_some((&sigpipe, &Disposition::Default));
    let mut ignore = None;
    for (signal, disposition) in options.dispositions.iter().chain(std) {
        let action = match disposition {
            Disposition::Default => fixed_strings::ZEROS,
            Disposition::Ignore => match ignore {
                Some(action) => action,
                None => *ignore.insert(ignore_action(plan)?),
            },
        };
        set(plan, *signal, *disposition, action)?;
    }
    Ok(())
}

/// All in one step, as a list of sixty would hide the others.
fn default_all(plan: &mut PlanBuilder<'_>, reset: SignalSet) {
    plan.plan.defaults = reset;
    let action = fixed_strings::ZEROS.into();
    let mut step = plan
        .step(Step::SignalAction, Operand::Label("every other signal"))
        .note("default");
    for signal in reset {
        let args = [signal.into(), action, 0.into(), Arg::Value(SIGSET_SIZE)];
        step = step.call(libc::SYS_rt_sigaction, &args);
    }
}

/// `SIG_IGN` as the kernel's `struct sigaction`.
fn ignore_action(plan: &mut PlanBuilder<'_>) -> Result<Str, Error> {
    const WORDS: usize = size_of::<[u64; 4]>() / size_of::<u32>();
    let mut action = [0; WORDS];
    action[0] = u32::try_from(libc::SIG_IGN).unwrap_or_default();
    let put = plan.plan.strings.numbers(&action);
    put.map_err(|why| why.of(Step::IgnoreSignal, ""))
}

fn set(
    plan: &mut PlanBuilder<'_>,
    signal: i32,
    disposition: Disposition,
    action: Str,
) -> Result<(), Error> {
    let (option, note) = match disposition {
        Disposition::Default => (Step::DefaultSignal, "default"),
        Disposition::Ignore => (Step::IgnoreSignal, "ignored"),
    };
    let why = match signal {
        libc::SIGKILL | libc::SIGSTOP => "it cannot be caught or ignored",
        1..=64 => "",
        _ => NO_SIGNAL,
    };
    if !why.is_empty() {
        return plan.refuse(option, why, format!("{:?}", Signal(signal)));
    }
    let of = match disposition {
        Disposition::Default => &mut plan.plan.defaults,
        Disposition::Ignore => &mut plan.plan.ignored,
    };
    of.add(signal);
    let operand = Operand::Signals(SignalSet::from([signal]));
    let size = Arg::Value(SIGSET_SIZE);
    let args = [signal.into(), action.into(), 0.into(), size];
    plan.step(Step::SignalAction, operand)
        .call(libc::SYS_rt_sigaction, &args)
        .note(note);
    Ok(())
}

/// `sigprocmask` sets the mask of the program: the caller's, or the one that
/// was asked for. The launch has stored it in the block.
pub(crate) fn signal_mask(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let mask = plan.options().signals.mask;
    if let Some(number) = mask.and_then(SignalSet::invalid) {
        let why = "signal_mask: a signal is a number from 1 to 64";
        return plan.refuse(Step::SignalMask, why, number);
    }
    plan.plan.mask = mask;
    let own = Operand::Label("the caller's mask");
    let operand = mask.map_or(own, Operand::Signals);
    plan.op(Step::SignalMask, operand, Op::SignalMask)
        .note(if mask.is_some() { "blocked" } else { "" });
    Ok(())
}
