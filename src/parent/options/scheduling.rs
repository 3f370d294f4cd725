//! Scheduling: when and where the child gets CPU time and disk time.

use core::ops::RangeInclusive;

use super::number_sets::{list, mask, too_high};
use crate::parent::command::{Command, IoPriority, Scheduler};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Detail, Effect, Operand, PlanBuilder, Reasons,
};
use crate::parent::std::{time::Duration, vec::Vec};

impl Command {
    /// Sets the nice value of the child, from -20 (the most CPU time) to 19
    /// (the least). The value is absolute, as in [`setpriority(2)`]; it does
    /// not add to the one of this process, as [`nice(2)`] does. Without this
    /// option the child inherits the value of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Step::Nice`] for a value outside this range; with EACCES, if the
    /// value is below the inherited one, the caller lacks CAP_SYS_NICE, and
    /// RLIMIT_NICE does not allow it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut nice = offshoot::Command::new("nice");
    /// assert_eq!(nice.nice(19).output()?.stdout, b"19\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::Nice`]: crate::Step::Nice
    /// [`nice(2)`]: https://man7.org/linux/man-pages/man2/nice.2.html
    /// [`setpriority(2)`]: https://man7.org/linux/man-pages/man2/getpriority.2.html
    pub fn nice(&mut self, value: i32) -> &mut Command {
        self.options.scheduling.nice = Some(value);
        self
    }

    /// Sets the scheduling policy of the child ([`sched_setscheduler(2)`], and
    /// [`sched_setattr(2)`] for deadlines, Linux 3.14). The nice value stays.
    ///
    /// # Errors
    ///
    /// [`Step::Scheduler`] for a priority or time outside the range; with
    /// EPERM, as a real-time policy takes CAP_SYS_NICE or RLIMIT_RTPRIO, a
    /// deadline CAP_SYS_NICE, and leaving `SCHED_IDLE` CAP_SYS_NICE or
    /// RLIMIT_NICE; with EBUSY, if the deadlines of all processes together
    /// cannot be met.
    ///
    /// A program with a deadline cannot fork (EAGAIN), unless
    /// [`Command::scheduler_reset_on_fork`] is set.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Scheduler};
    ///
    /// let mut chrt = Command::new("grep");
    /// chrt.args(["policy", "/proc/self/sched"]).scheduler(Scheduler::Batch);
    /// let output = chrt.output()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`sched_setscheduler(2)`]: https://man7.org/linux/man-pages/man2/sched_setscheduler.2.html
    /// [`sched_setattr(2)`]: https://man7.org/linux/man-pages/man2/sched_setattr.2.html
    pub fn scheduler(&mut self, scheduler: Scheduler) -> &mut Command {
        self.options.scheduling.scheduler = Some(scheduler);
        self
    }

    /// Sets whether what the program forks gets the default policy and a nice
    /// value of 0 at least (`SCHED_RESET_ON_FORK`). It takes effect with
    /// [`Command::scheduler`] only.
    ///
    /// # Errors
    ///
    /// [`Step::Scheduler`], if no scheduler is set.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, Scheduler};
    ///
    /// let mut audio = Command::new("audio-server");
    /// audio.scheduler(Scheduler::Fifo(10)).scheduler_reset_on_fork(true);
    /// audio.spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn scheduler_reset_on_fork(&mut self, reset: bool) -> &mut Command {
        self.options.scheduling.reset_on_fork = reset;
        self
    }

    /// Sets the CPUs that the child may run on, by their numbers
    /// ([`sched_setaffinity(2)`]). Numbers of CPUs that the machine does not
    /// have, or that the cpuset of its control group excludes, have no effect.
    ///
    /// # Errors
    ///
    /// [`Step::CpuAffinity`] for an empty set and for a number above 65,535;
    /// with EINVAL, if none of these CPUs is available.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let error = Command::new("true").cpu_affinity([]).spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::CpuAffinity);
    /// ```
    ///
    /// [`sched_setaffinity(2)`]: https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html
    pub fn cpu_affinity(
        &mut self,
        cpus: impl IntoIterator<Item = u32>,
    ) -> &mut Command {
        let cpus = cpus.into_iter().collect();
        self.options.scheduling.cpu_affinity = Some(cpus);
        self
    }

    /// Sets the priority of the child's disk access ([`ioprio_set(2)`]). Not
    /// every scheduler of the block layer uses it.
    ///
    /// # Errors
    ///
    /// [`Step::IoPriority`] for a level above 7; with EPERM for
    /// [`IoPriority::RealTime`] without CAP_SYS_ADMIN or CAP_SYS_NICE.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, IoPriority};
    ///
    /// let mut backup = Command::new("true");
    /// assert!(backup.io_priority(IoPriority::Idle).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`ioprio_set(2)`]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
    pub fn io_priority(&mut self, priority: IoPriority) -> &mut Command {
        self.options.scheduling.io_priority = Some(priority);
        self
    }

    /// Sets how late the child's timers may expire, so that the kernel can
    /// combine them (PR_SET_TIMERSLACK of [`prctl(2)`]). In nanoseconds; the
    /// usual value is 50 us. Real-time policies ignore it.
    ///
    /// # Errors
    ///
    /// [`Step::TimerSlack`] for 0, which the kernel takes for "the default",
    /// and for more than 2^63 - 1 ns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cat = offshoot::Command::new("cat");
    /// cat.arg("/proc/self/timerslack_ns");
    /// cat.timer_slack(Duration::from_millis(2));
    /// assert_eq!(cat.output()?.stdout, b"2000000\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/PR_SET_TIMERSLACK.2const.html
    pub fn timer_slack(&mut self, slack: Duration) -> &mut Command {
        self.options.scheduling.timer_slack = Some(slack);
        self
    }

    /// Sets whether the child gets a core scheduling cookie of its own: other
    /// processes without this cookie never run on the other hardware threads
    /// of its core at the same time, and cannot observe it from there
    /// (PR_SCHED_CORE of [`prctl(2)`], Linux 5.14).
    ///
    /// # Errors
    ///
    /// [`Step::CoreScheduling`] with ENODEV, if the machine has no such
    /// hardware threads; with EINVAL, if the kernel has no core scheduling.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// offshoot::Command::new("tenant").core_scheduling(true).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://docs.kernel.org/admin-guide/hw-vuln/core-scheduling.html
    pub fn core_scheduling(&mut self, own_cookie: bool) -> &mut Command {
        self.options.scheduling.core_scheduling = own_cookie;
        self
    }
}

/// `setpriority(PRIO_PROCESS, 0, value)`.
pub(crate) fn nice(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const LOWER: &str = "a value below the inherited one takes CAP_SYS_NICE \
                         or RLIMIT_NICE";
    let Some(value) = plan.options().scheduling.nice else { return Ok(()) };
    if !(-20..=19).contains(&value) {
        let why = "a nice value is from -20 to 19";
        return plan.refuse(Step::Nice, why, value);
    }
    let which = libc::PRIO_PROCESS.into();
    plan.step(Step::Nice, Operand::Number(value.into()))
        .call(libc::SYS_setpriority, &[which, 0.into(), value.into()])
        .shown_as("setpriority")
        .note("nice value")
        .reasons(&[(libc::EACCES, LOWER)]);
    Ok(())
}

const REAL_TIME: Reasons =
    &[(libc::EPERM, "a real-time policy takes CAP_SYS_NICE or RLIMIT_RTPRIO")];

const ORDINARY: Reasons = &[(
    libc::EPERM,
    "leaving SCHED_IDLE takes CAP_SYS_NICE or RLIMIT_NICE, and leaving a policy \
     with reset on fork CAP_SYS_NICE",
)];

const DEADLINES: Reasons = &[
    (libc::EPERM, "SCHED_DEADLINE takes CAP_SYS_NICE, and all CPUs"),
    (libc::EBUSY, "the deadlines of all processes cannot be met together"),
];

/// `sched_setscheduler(0, policy, &priority)`, or `sched_setattr` for a
/// deadline. A second thread does not inherit all of it: see
/// `Plan::may_exec_in_thread`.
pub(crate) fn scheduler(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let scheduling = &plan.options().scheduling;
    let reset = scheduling.reset_on_fork;
    let Some(scheduler) = scheduling.scheduler else {
        if reset {
            let why = "it is a flag of a scheduler, and none is set";
            return plan.refuse(
                Step::Scheduler,
                why,
                "scheduler_reset_on_fork",
            );
        }
        return Ok(());
    };
    let (policy, name, priority) = match scheduler {
        Scheduler::Other => (libc::SCHED_OTHER, "SCHED_OTHER", 0),
        Scheduler::Batch => (libc::SCHED_BATCH, "SCHED_BATCH", 0),
        Scheduler::Idle => (libc::SCHED_IDLE, "SCHED_IDLE", 0),
        Scheduler::Fifo(n) => (libc::SCHED_FIFO, "SCHED_FIFO", n),
        Scheduler::RoundRobin(n) => (libc::SCHED_RR, "SCHED_RR", n),
        Scheduler::Deadline { runtime, deadline, period } => {
            return deadlines(plan, [runtime, deadline, period]);
        }
    };
    let real_time = [libc::SCHED_FIFO, libc::SCHED_RR].contains(&policy);
    if real_time && !(1..=99).contains(&priority) {
        let why = "a real-time priority is from 1 to 99";
        return plan.refuse(Step::Scheduler, why, priority);
    }
    let flag = if reset { libc::SCHED_RESET_ON_FORK } else { 0 };
    let param = plan.plan.strings.numbers(&[priority.into()]);
    let param = param.map_err(|why| why.of(Step::Scheduler, name))?;
    let args = [0.into(), (policy | flag).into(), param.into()];
    let step = plan
        .step(Step::Scheduler, Operand::Name(name))
        .call(libc::SYS_sched_setscheduler, &args)
        .shown_as("sched_setscheduler");
    let step = match real_time {
        true => {
            step.detail(Detail::Number(priority.into())).reasons(REAL_TIME)
        }
        false => step.reasons(ORDINARY),
    };
    if reset {
        step.note("reset on fork").effect(Effect::ThreadOnly);
    }
    Ok(())
}

/// `sched_setattr(0, &attr, 0)` with `struct sched_attr` of its first version,
/// 48 bytes.
fn deadlines(
    plan: &mut PlanBuilder<'_>,
    times: [Duration; 3],
) -> Result<(), Error> {
    const SIZE: u64 = 48;
    const SCHED_DEADLINE: u64 = 6;
    const LEAST: u64 = 1024;
    let step = Step::Scheduler;
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let all: Option<Vec<u64>> = times.into_iter().map(nanoseconds).collect();
    let valid = all.filter(|all| {
        all.is_sorted() && all.iter().all(|n| (LEAST..1 << 63).contains(n))
    });
    let Some(all) = valid else {
        let why = "a deadline takes 1,024 ns <= runtime <= deadline <= period \
                   < 2^63 ns";
        return plan.refuse(step, why, "SCHED_DEADLINE");
    };
    let reset = u64::from(plan.options().scheduling.reset_on_fork);
    let head = [SIZE | SCHED_DEADLINE << 32, reset, 0];
    let attr = [&head, all.as_slice()].concat();
    let attr = plan.words(step, &attr)?;
    plan.step(step, Operand::Name("SCHED_DEADLINE"))
        .call(libc::SYS_sched_setattr, &[0.into(), attr.into(), 0.into()])
        .detail(Detail::Times(times))
        .shown_as("sched_setattr")
        .reasons(DEADLINES)
        .effect(Effect::ThreadOnly);
    Ok(())
}

/// `sched_setaffinity(0, size, &mask)`.
pub(crate) fn cpu_affinity(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (libc::EINVAL, "none of these CPUs is available to the child"),
        (libc::EBUSY, "under SCHED_DEADLINE it takes all CPUs"),
    ];
    let step = Step::CpuAffinity;
    let Some(cpus) = &plan.options().scheduling.cpu_affinity else {
        return Ok(());
    };
    let Some(mask) = mask(cpus) else {
        let why = "it takes one CPU at least, and numbers up to 65,535";
        return plan.refuse(step, why, too_high(cpus));
    };
    let size = 8 * mask.len() as u64;
    let mask = plan.words(step, &mask)?;
    let shown = plan.text(step, list(cpus).as_ref())?;
    let args = [0.into(), Arg::Value(size), mask.into()];
    plan.step(step, Operand::Text(shown))
        .call(libc::SYS_sched_setaffinity, &args)
        .shown_as("sched_setaffinity")
        .reasons(REASONS);
    Ok(())
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, 0, class << 13 | level)`.
pub(crate) fn io_priority(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const LEVELS: RangeInclusive<u8> = 0..=7;
    const CLASS_SHIFT: u32 = 13;
    const PROCESS: u32 = 1;
    const RIGHT: &str = "the real-time class takes CAP_SYS_ADMIN or \
                         CAP_SYS_NICE";
    let Some(priority) = plan.options().scheduling.io_priority else {
        return Ok(());
    };
    let (class, name, level) = match priority {
        IoPriority::RealTime(level) => (1, "real-time", level),
        IoPriority::BestEffort(level) => (2, "best-effort", level),
        IoPriority::Idle => (3, "idle", 0),
    };
    if !LEVELS.contains(&level) {
        let why = "a level is from 0 to 7";
        return plan.refuse(Step::IoPriority, why, level);
    }
    let value = class << CLASS_SHIFT | u32::from(level);
    let args = [PROCESS.into(), 0.into(), value.into()];
    let step = plan
        .step(Step::IoPriority, Operand::Name(name))
        .call(libc::SYS_ioprio_set, &args)
        .shown_as("ioprio_set")
        .reasons(&[(libc::EPERM, RIGHT)]);
    if priority != IoPriority::Idle {
        step.detail(Detail::Number(level.into()));
    }
    Ok(())
}

/// `prctl(PR_SET_TIMERSLACK, nanoseconds)`.
pub(crate) fn timer_slack(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(slack) = plan.options().scheduling.timer_slack else {
        return Ok(());
    };
    let Some(number) = i64::try_from(slack.as_nanos()).ok().filter(|n| *n > 0)
    else {
        let why = "a timer slack is from 1 to 2^63 - 1 nanoseconds";
        return plan.refuse(Step::TimerSlack, why, slack.as_nanos());
    };
    let option = libc::PR_SET_TIMERSLACK.into();
    let value = Arg::Value(number.unsigned_abs());
    plan.step(Step::TimerSlack, Operand::Number(number))
        .call(libc::SYS_prctl, &[option, value])
        .shown_as("prctl")
        .note("PR_SET_TIMERSLACK, in nanoseconds");
    Ok(())
}

/// `prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD,
/// 0)`.
pub(crate) fn core_scheduling(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    const REASONS: Reasons = &[
        (libc::ENODEV, "no core of this machine has several threads"),
        (libc::EINVAL, "the kernel has no core scheduling (Linux 5.14)"),
    ];
    if !plan.options().scheduling.core_scheduling {
        return Ok(());
    }
    let option = libc::PR_SCHED_CORE.into();
    let create = libc::PR_SCHED_CORE_CREATE.into();
    plan.step(Step::CoreScheduling, Operand::None)
        .call(libc::SYS_prctl, &[option, create])
        .shown_as("prctl")
        .note("PR_SCHED_CORE: a cookie of its own")
        .reasons(REASONS);
    Ok(())
}
