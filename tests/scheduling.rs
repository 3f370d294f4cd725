//! Scheduling, memory policy and attributes of the child, in every engine
//! that may run them.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::time::Duration;

use offshoot::{
    Command, Engine, IoPriority, NumaPolicy, Personality, Scheduler, Step,
};
use util::attributes::attributes;
use util::clean::{assert_error, clean, command, refused, spawn};
use util::{PRIVATE, each_engine, each_of, report, reporter_with};

/// The attributes that a child has with these options, each of which differs
/// from this process's.
#[track_caller]
fn child_has(
    engine: Engine,
    set: impl Fn(&mut Command) -> &mut Command,
    expected: &[(&str, &str)],
) {
    let before = attributes();
    let mut reporter = reporter_with(engine);
    set(&mut reporter);
    let seen = report(&mut reporter);
    for (name, value) in expected {
        assert_eq!(seen.attribute(name), *value, "{engine}: {name}");
    }
    assert_eq!(attributes(), before, "{engine}");
}

/// The first CPU that this thread may run on.
fn cpu() -> u32 {
    let all = attributes();
    let list = all.iter().find(|own| own.0 == "Cpus_allowed_list").unwrap();
    let first = list.1.split([',', '-']).next().unwrap();
    first.parse().unwrap()
}

#[test]
fn scheduling_options_apply_to_the_child_only() {
    let cpu = cpu();
    let only = cpu.to_string();
    each_engine(|engine| {
        let batch = |it: &mut Command| {
            it.scheduler(Scheduler::Batch).nice(19);
            it.io_priority(IoPriority::BestEffort(6)).cpu_affinity([cpu]);
            it.timer_slack(Duration::from_micros(77));
        };
        child_has(
            engine,
            |it| {
                batch(it);
                it
            },
            &[
                ("policy", "3"),
                ("nice", "1"),
                ("ioprio", "16390"),
                ("Cpus_allowed_list", only.as_str()),
                ("timer_slack", "77000"),
            ],
        );
        let idle = |it: &mut Command| {
            it.scheduler(Scheduler::Idle).scheduler_reset_on_fork(true);
            it.io_priority(IoPriority::Idle);
        };
        child_has(
            engine,
            |it| {
                idle(it);
                it
            },
            &[("policy", "1073741829"), ("ioprio", "24576")],
        );
    });
}

#[test]
fn a_real_time_policy_is_set_or_says_what_it_takes() {
    each_engine(|engine| {
        for (scheduler, policy) in
            [(Scheduler::Fifo(3), "1"), (Scheduler::RoundRobin(99), "2")]
        {
            let mut reporter = reporter_with(engine);
            reporter.scheduler(scheduler);
            match reporter.output() {
                Ok(output) => {
                    let seen = util::reporter::Report::parse(&output.stdout);
                    assert_eq!(seen.attribute("policy"), policy);
                }
                Err(error) => {
                    assert!(!util::is_root(), "{error}");
                    assert_eq!(error.step(), Step::Scheduler);
                    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                    let text = error.to_string();
                    assert!(text.contains("RLIMIT_RTPRIO"), "{text}");
                }
            }
        }
        let ms = Duration::from_millis;
        let mut reporter = reporter_with(engine);
        reporter.scheduler(Scheduler::Deadline {
            runtime: ms(1),
            deadline: ms(50),
            period: ms(100),
        });
        // A program with a deadline cannot fork, which the reporter does not.
        match reporter.output() {
            Ok(output) => {
                let seen = util::reporter::Report::parse(&output.stdout);
                assert_eq!(seen.attribute("policy"), "6");
            }
            Err(error) => {
                assert_eq!(error.step(), Step::Scheduler, "{error}");
                let errno = error.raw_os_error().unwrap();
                let known = [libc::EPERM, libc::EBUSY];
                assert!(known.contains(&errno), "{error}");
                assert!(!util::is_root() || errno == libc::EBUSY, "{error}");
            }
        }
    });
}

type Set = Box<dyn Fn(&mut Command)>;

/// Options that take a privilege: what sets one, and its error.
fn privileged(lower: i32) -> Vec<(Set, Step, String, i32, &'static str)> {
    let real = IoPriority::RealTime(0);
    let ms = Duration::from_millis;
    let (runtime, deadline, period) = (ms(1), ms(50), ms(100));
    let deadline = Scheduler::Deadline { runtime, deadline, period };
    vec![
        (
            Box::new(move |it| _ = it.scheduler(deadline)),
            Step::Scheduler,
            "SCHED_DEADLINE".into(),
            libc::EPERM,
            "SCHED_DEADLINE takes CAP_SYS_NICE",
        ),
        (
            Box::new(|it| _ = it.scheduler(Scheduler::Fifo(1))),
            Step::Scheduler,
            "SCHED_FIFO".into(),
            libc::EPERM,
            "CAP_SYS_NICE",
        ),
        (
            Box::new(move |it| _ = it.io_priority(real)),
            Step::IoPriority,
            "real-time".into(),
            libc::EPERM,
            "CAP_SYS_ADMIN or CAP_SYS_NICE",
        ),
        (
            Box::new(move |it| _ = it.oom_score_adj(lower)),
            Step::OomScoreAdj,
            lower.to_string(),
            libc::EACCES,
            "CAP_SYS_RESOURCE",
        ),
    ]
}

#[test]
fn what_takes_a_privilege_says_so() {
    let name = "what_takes_a_privilege_says_so";
    if !util::inside(name, &[]) {
        return;
    }
    util::limit(libc::RLIMIT_RTPRIO, 0, 0);
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let own: i32 = own.trim().parse().unwrap();
    if util::is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
        // SAFETY: makes /proc/self its own again, which the change of ids
        // took away.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
    }
    let lower = (own - 1).max(-1000);
    each_engine(|engine| {
        for (set, step, operand, errno, why) in privileged(lower) {
            let mut least = command("/bin/true", engine);
            set(&mut least);
            let error = clean(spawn(least));
            assert_error(&error, step, Some(&operand), errno);
            assert!(error.to_string().contains(why), "{error}");
            let mut least = command("/bin/true", engine);
            least.best_effort(|it| {
                set(it);
                it
            });
            let mut child = least.spawn().unwrap();
            let refused: Vec<_> = child
                .launch()
                .refused()
                .map(|error| (error.step(), error.raw_os_error()))
                .collect();
            assert_eq!(refused, [(step, Some(errno))], "{engine}");
            assert!(child.wait().unwrap().success());
        }
    });
}

/// The value of the parent stays although the child shares its memory.
#[test]
fn attributes_of_the_memory_manager_apply_to_the_child_only() {
    each_engine(|engine| {
        child_has(
            engine,
            |it| {
                it.oom_score_adj(1000);
                it.personality(Personality::ADDR_NO_RANDOMIZE)
            },
            &[("oom_score_adj", "1000"), ("personality", "262144")],
        );
    });
}

#[test]
fn huge_and_merged_pages_are_settings_of_private_memory() {
    each_of(&PRIVATE, |engine| {
        child_has(
            engine,
            |it| it.transparent_huge_pages(false),
            &[("thp_disable", "1")],
        );
        let mut reporter = reporter_with(engine);
        match reporter.memory_merge(true).output() {
            Ok(output) => {
                let seen = util::reporter::Report::parse(&output.stdout);
                assert_eq!(seen.attribute("memory_merge"), "1");
            }
            Err(error) => {
                assert_eq!(error.step(), Step::MemoryMerge, "{error}");
                let errno = error.raw_os_error();
                let known = [Some(libc::EPERM), Some(libc::EINVAL)];
                assert!(known.contains(&errno), "{error}");
            }
        }
    });
    for option in ["transparent_huge_pages", "memory_merge"] {
        let mut least = command("/bin/true", Engine::Suspended);
        match option {
            "memory_merge" => least.memory_merge(true),
            _ => least.transparent_huge_pages(false),
        };
        let error = least.plan().unwrap_err();
        assert_eq!(error.step(), Step::Memory, "{error}");
        assert_eq!(error.operand().unwrap(), option, "{error}");
    }
}

#[test]
fn numa_policies_and_cookies_are_set_or_say_what_is_missing() {
    each_engine(|engine| {
        for (policy, mode) in [
            (NumaPolicy::Local, "0 4"),
            (NumaPolicy::Preferred(0), "0 1"),
            (NumaPolicy::Bind(vec![0]), "0 2"),
            (NumaPolicy::Interleave(vec![0]), "0 3"),
            (NumaPolicy::Default, "0 0"),
        ] {
            let mut reporter = reporter_with(engine);
            match reporter.numa_policy(policy.clone()).output() {
                Ok(output) => {
                    let seen = util::reporter::Report::parse(&output.stdout);
                    assert_eq!(seen.attribute("numa"), mode, "{policy:?}");
                }
                Err(error) => {
                    assert_eq!(error.step(), Step::NumaPolicy, "{error}");
                    let errno = error.raw_os_error();
                    let known = [Some(libc::ENOSYS), Some(libc::EPERM)];
                    assert!(known.contains(&errno), "{policy:?}: {error}");
                }
            }
        }
        let mut tenant = command("/bin/true", engine);
        match tenant.core_scheduling(true).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => {
                assert_eq!(error.step(), Step::CoreScheduling, "{error}");
                let errno = error.raw_os_error();
                let known = [Some(libc::ENODEV), Some(libc::EINVAL)];
                assert!(known.contains(&errno), "{error}");
            }
        }
    });
}

#[test]
fn cpus_that_are_not_there_are_an_error_of_the_child() {
    each_engine(|engine| {
        let mut far = command("/bin/true", engine);
        far.cpu_affinity([65_535]);
        let error = clean(spawn(far));
        let cpu = Some("65535");
        assert_error(&error, Step::CpuAffinity, cpu, libc::EINVAL);
        assert!(error.to_string().contains("available"), "{error}");
    });
}

/// The value that asks the kernel which is set.
fn no_change() -> Personality {
    Personality::from_bits_retain(u32::MAX)
}

/// What sets an invalid value, and the step and operand of its error.
fn invalid() -> Vec<(Set, Step, &'static str)> {
    let us = Duration::from_micros;
    let deadline = |runtime, deadline, period| Scheduler::Deadline {
        runtime,
        deadline,
        period,
    };
    let scheduler =
        |scheduler| -> Set { Box::new(move |it| _ = it.scheduler(scheduler)) };
    vec![
        (scheduler(Scheduler::Fifo(0)), Step::Scheduler, "0"),
        (scheduler(Scheduler::RoundRobin(100)), Step::Scheduler, "100"),
        (
            scheduler(deadline(us(9), us(8), us(10))),
            Step::Scheduler,
            "SCHED_DEADLINE",
        ),
        (
            scheduler(deadline(us(1), us(8), us(10))),
            Step::Scheduler,
            "SCHED_DEADLINE",
        ),
        (
            Box::new(|it| _ = it.personality(no_change())),
            Step::Personality,
            "4294967295",
        ),
        (
            Box::new(|it| _ = it.scheduler_reset_on_fork(true)),
            Step::Scheduler,
            "scheduler_reset_on_fork",
        ),
        (
            Box::new(|it| _ = it.io_priority(IoPriority::RealTime(8))),
            Step::IoPriority,
            "8",
        ),
        (Box::new(|it| _ = it.cpu_affinity([])), Step::CpuAffinity, ""),
        (
            Box::new(|it| _ = it.cpu_affinity([0, 65_536])),
            Step::CpuAffinity,
            "65536",
        ),
        (
            Box::new(|it| _ = it.timer_slack(Duration::ZERO)),
            Step::TimerSlack,
            "0",
        ),
        (
            Box::new(|it| _ = it.numa_policy(NumaPolicy::Bind(vec![]))),
            Step::NumaPolicy,
            "",
        ),
        (Box::new(|it| _ = it.oom_score_adj(1001)), Step::OomScoreAdj, "1001"),
        (
            Box::new(|it| _ = it.oom_score_adj(-1001)),
            Step::OomScoreAdj,
            "-1001",
        ),
    ]
}

#[test]
fn invalid_values_of_scheduling_are_refused_by_name() {
    for (set, step, operand) in invalid() {
        let mut least = Command::new("/bin/true");
        set(&mut least);
        refused(&least.plan().unwrap_err(), step, Some(operand), "");
    }
}
