//! Best effort: options that the kernel may reject without an error of the
//! spawn.

use core::fmt;

use super::session;
use crate::parent::command::{Command, Options, Resource};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::PlanBuilder;

/// The options that `best_effort` may set, by their names in `Debug`, and the
/// steps that they become. The others are left out as a program must never
/// run without them: it would have privileges, files or a root that it must
/// not have.
const OPTIONS: &[(&str, &str)] = &[
    ("controlling_terminal", "controlling_terminal"),
    ("core_scheduling", "core_scheduling"),
    ("cpu_affinity", "cpu_affinity"),
    ("cwd", "chdir"),
    ("detach_terminal", "detach_terminal"),
    ("foreground", "foreground"),
    ("io_priority", "io_priority"),
    ("memory_merge", "memory_merge"),
    ("nice", "nice"),
    ("numa_policy", "numa_policy"),
    ("oom_score_adj", "oom_score_adj"),
    ("personality", "personality"),
    ("pgroup", "setpgid"),
    ("rlimits", "rlimits"),
    ("scheduler", "scheduler"),
    ("scheduler_reset_on_fork", "scheduler"),
    ("setsid", "setsid"),
    ("timer_slack", "timer_slack"),
    ("transparent_huge_pages", "transparent_huge_pages"),
    ("umask", "umask"),
    ("umask_or", "umask_or"),
];

/// The setters of fields that have another name.
const SETTERS: &[(&str, &str)] = &[
    ("arg", "arg or arg0"),
    ("cwd_fd", "current_dir_fd"),
    ("env", "env, env_remove or env_clear"),
    ("fds", "fd, inherit_fd or listen_fds"),
    ("hooks", "pre_exec or pre_exec_shared"),
    ("raw_syscall", "raw_syscall or raw_syscall_shared"),
    ("session_keyring", "session_keyring or new_session_keyring"),
    ("signals", "default_signal, ignore_signal or reset_signals"),
    ("stdin", "stdin or terminal"),
];

/// Fields that are no step of the child.
const NO_STEPS: &[&str] = &[
    "arg",
    "best_effort",
    "candidates",
    "engine",
    "env",
    "env_exact",
    "memory",
    "method",
    "path_search",
    "program",
    "resolve_program",
    "retry_again",
    "shell_fallback",
];

impl Command {
    /// Sets options that the kernel may reject: the child then continues
    /// without them, and [`Launch::refused`] has the error of each.
    ///
    /// Options that are set both inside and outside run in this order: the
    /// one outside, which must succeed, then the one inside. An option that is
    /// not valid, such as a nice value of 100, is an error of the spawn inside
    /// too.
    ///
    /// `set` may call `current_dir`; `setsid`, `process_group`,
    /// `controlling_terminal`, `foreground`, `detach_terminal`; `umask`,
    /// `umask_or`; `nice`, `scheduler`, `cpu_affinity`, `io_priority`,
    /// `timer_slack`, `core_scheduling`; `rlimit`, `oom_score_adj`,
    /// `personality`; `transparent_huge_pages`, `memory_merge` and
    /// `numa_policy`. What decides about the privileges, files and root of the
    /// program cannot be refused: ids, groups, capabilities, `no_new_privs`,
    /// `chroot`, sandboxes and descriptors (so `terminal` and
    /// `current_dir_fd` neither), and whatever is no step of the child.
    ///
    /// Further calls add options. With [`Command::exec`] a rejected option is
    /// not reported.
    ///
    /// # Errors
    ///
    /// [`Step::BestEffort`], naming the option, if it is one of those that
    /// cannot be refused; and what the setters document for values that are
    /// not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// // -20 takes CAP_SYS_NICE.
    /// let mut child = Command::new("true").best_effort(|it| it.nice(-20)).spawn()?;
    /// for error in child.launch().refused() {
    ///     eprintln!("without {error}");
    /// }
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Launch::refused`]: crate::Launch::refused
    pub fn best_effort(
        &mut self,
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> &mut Command {
        let own = self.options.best_effort.take();
        let options = own.unwrap_or_default();
        let mut inner = Command { options };
        set(&mut inner);
        self.options.best_effort = Some(inner.options);
        self
    }
}

/// Validates that `best_effort` sets only what it may.
pub(crate) fn check(options: &Options) -> Result<(), Error> {
    let Some(own) = &options.best_effort else { return Ok(()) };
    let refuse = |field: &'static str| {
        let why = match NO_STEPS.contains(&field) {
            true => "the kernel cannot refuse it",
            false => "a child must not run without it",
        };
        let mut setters = SETTERS.iter().filter(|(name, _)| *name == field);
        let option = setters.next().map_or(field, |(_, setters)| *setters);
        Err(Error::refused(Step::BestEffort, why).with(option))
    };
    let program = &own.program;
    if !program.name.is_empty() || program.source.is_some() {
        return refuse("program");
    }
    if !program.args.is_empty() || program.arg0.is_some() {
        return refuse("arg");
    }
    let environment = &own.environment;
    if environment.clear || !environment.vars.is_empty() {
        return refuse("env");
    }
    if own.launch.engine.is_some() {
        return refuse("engine");
    }
    let mut other = None;
    let inner = Command { options: own.clone() };
    let set = &mut |name, is_set, _: &dyn fmt::Debug| {
        if is_set && !OPTIONS.iter().any(|(option, _)| *option == name) {
            other = other.or(Some(name));
        }
    };
    inner.each_field(set);
    inner.options.signals.each_field(set);
    match other {
        Some(option) => refuse(option),
        // Whichever of the two may fail.
        None => session::check(&options.session.with(&own.session)),
    }?;
    beside(options, own)
}

/// Refuses an option inside that the one outside would replace or break.
fn beside(options: &Options, own: &Options) -> Result<(), Error> {
    let conflict = |step, option, other| {
        Err(Error::new(step, Cause::Conflict(other)).with(option))
    };
    let (outer, inner) = (&options.session, &own.session);
    if own.directory.current_dir.is_some()
        && options.directory.current_dir_fd.is_some()
    {
        return conflict(Step::CurrentDir, "current_dir", "current_dir_fd");
    }
    if outer.umask_or.is_some() && inner.umask.is_some() {
        return conflict(Step::Umask, "umask", "umask_or");
    }
    let mut opened = options.descriptors.opened.iter();
    let files = own.limits.rlimits.get(&Resource::NoFile);
    let above = |n: i32| {
        files.is_some_and(|it| u64::from(n.unsigned_abs()) >= it.soft)
    };
    if opened.any(|request| above(request.target)) {
        return conflict(Step::Rlimit, "RLIMIT_NOFILE", "open_in_child");
    }
    Ok(())
}

/// Records a step for the options of `best_effort`, if they may have it.
pub(crate) fn record(
    plan: &mut PlanBuilder<'_>,
    name: &'static str,
    step: fn(&mut PlanBuilder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(own) = plan.options().best_effort.as_deref() else {
        return Ok(());
    };
    // A second setsid fails.
    let twice = name == "setsid" && plan.has_step(name);
    match OPTIONS.iter().any(|(_, own)| *own == name) && !twice {
        true => plan.optional(own, step),
        false => Ok(()),
    }
}
