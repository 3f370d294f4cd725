//! Limits: plans for fault injection with resource limits and scheduling.

use std::time::Duration;

use offshoot::{
    Command, IoPriority, NumaPolicy, Personality, Resource, Scheduler, Step,
};

use super::Case;
use crate::util::{ENGINES, PRIVATE};

fn shared(c: &mut Command) -> &mut Command {
    c.scheduler(Scheduler::Batch).cpu_affinity(0..64);
    c.io_priority(IoPriority::Idle).timer_slack(Duration::from_micros(60));
    c.oom_score_adj(1000).personality(Personality::empty());
    c.rlimit(Resource::Core, 0)
}

/// The step of a call of `shared`.
fn own(nr: libc::c_long, args: &[u64; 6]) -> Option<Step> {
    let slack = u64::from(libc::PR_SET_TIMERSLACK.unsigned_abs());
    match nr {
        libc::SYS_sched_setscheduler => Some(Step::Scheduler),
        libc::SYS_sched_setaffinity => Some(Step::CpuAffinity),
        libc::SYS_ioprio_set => Some(Step::IoPriority),
        libc::SYS_openat
        | libc::SYS_fstatfs
        | libc::SYS_write
        | libc::SYS_close => Some(Step::OomScoreAdj),
        libc::SYS_personality => Some(Step::Personality),
        libc::SYS_prlimit64 => Some(Step::Rlimit),
        libc::SYS_prctl if args[0] == slack => Some(Step::TimerSlack),
        _ => None,
    }
}

pub(super) const CASES: &[Case] = &[
    Case { name: "attributes", engines: &ENGINES, options: shared, own },
    Case {
        name: "memory policy",
        engines: &PRIVATE,
        options: |c| c.transparent_huge_pages(true),
        own: |nr, args| {
            let huge = u64::from(libc::PR_SET_THP_DISABLE.unsigned_abs());
            let own = nr == libc::SYS_prctl && args[0] == huge;
            own.then_some(Step::TransparentHugePages)
        },
    },
    Case {
        // What a kernel may lack.
        name: "best effort: kernel",
        engines: &ENGINES,
        options: |c| {
            c.best_effort(|it| {
                it.core_scheduling(true).numa_policy(NumaPolicy::Local)
            })
        },
        own: |nr, args| {
            let core = u64::from(libc::PR_SCHED_CORE.unsigned_abs());
            match nr {
                libc::SYS_set_mempolicy => Some(Step::NumaPolicy),
                libc::SYS_prctl if args[0] == core => {
                    Some(Step::CoreScheduling)
                }
                _ => None,
            }
        },
    },
    Case {
        name: "best effort: memory",
        engines: &PRIVATE,
        options: |c| c.best_effort(|it| it.memory_merge(false)),
        own: |nr, args| {
            let own = nr == libc::SYS_prctl && args[0] == 67;
            own.then_some(Step::MemoryMerge)
        },
    },
];
