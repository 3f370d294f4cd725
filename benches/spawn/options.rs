//! Options: every option that runs in shared memory, and the calls that it
//! makes, for a floor that makes the same ones without any check.

use std::path::Path;
use std::time::Duration;

use offshoot::{Command, IoPriority, Resource, Scheduler};

use crate::floor::{Call, OPENED};

/// What the calls point to; it lives as long as they are made.
pub(crate) struct Memory {
    priority: [u32; 1],
    cpus: [u64; 1],
    limit: [u64; 2],
    zeros: [u64; 4],
    mask: [u64; 1],
}

/// The command with all options.
pub(crate) fn command(path: &Path) -> Command {
    let mut all = Command::new(path);
    all.setsid(true).umask(0o22).scheduler(Scheduler::Batch).nice(5);
    all.cpu_affinity(0..64).io_priority(IoPriority::BestEffort(4));
    all.timer_slack(Duration::from_micros(50)).oom_score_adj(500);
    all.rlimit(Resource::Core, 0).current_dir("/").no_new_privs(true);
    all
}

impl Memory {
    pub(crate) fn new() -> Box<Memory> {
        Box::new(Memory {
            priority: [0],
            cpus: [u64::MAX],
            limit: [0; 2],
            zeros: [0; 4],
            mask: [0],
        })
    }

    /// The calls of a child with these options, but for execve.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let at = |c: &'static std::ffi::CStr| c.as_ptr() as u64;
        let int = |n: i32| u64::from(n.unsigned_abs());
        let all = u64::from(u32::MAX);
        let here = i64::from(libc::AT_FDCWD).to_ne_bytes();
        let here = u64::from_ne_bytes(here);
        let open = int(libc::O_WRONLY | libc::O_CLOEXEC);
        let prctl =
            |option, value| Call::new(libc::SYS_prctl, &[int(option), value]);
        let signals =
            [int(libc::SIG_SETMASK), self.mask.as_ptr() as u64, 0, 8];
        let pipe = [int(libc::SIGPIPE), self.zeros.as_ptr() as u64, 0, 8];
        let (batch, unshare) = (int(libc::SCHED_BATCH), 2);
        let priority = self.priority.as_ptr() as u64;
        let path = at(c"/proc/self/oom_score_adj");
        vec![
            Call::new(libc::SYS_close_range, &[3, all, unshare]),
            Call::new(libc::SYS_fcntl, &[999, int(libc::F_GETFD)]),
            Call::new(libc::SYS_setsid, &[]),
            Call::new(libc::SYS_umask, &[0o22]),
            Call::new(libc::SYS_sched_setscheduler, &[0, batch, priority]),
            Call::new(libc::SYS_setpriority, &[0, 0, 5]),
            Call::new(
                libc::SYS_sched_setaffinity,
                &[0, 8, self.cpus.as_ptr() as u64],
            ),
            Call::new(libc::SYS_ioprio_set, &[1, 0, 2 << 13 | 4]),
            prctl(libc::PR_SET_TIMERSLACK, 50_000),
            Call::new(libc::SYS_openat, &[here, path, open]),
            Call::new(libc::SYS_write, &[OPENED, at(c"500"), 3]),
            Call::new(libc::SYS_close, &[OPENED]),
            Call::new(
                libc::SYS_prlimit64,
                &[0, 4, self.limit.as_ptr() as u64, 0],
            ),
            Call::new(libc::SYS_chdir, &[at(c"/")]),
            Call::new(libc::SYS_rt_sigaction, &pipe),
            prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
            prctl(libc::PR_GET_NO_NEW_PRIVS, 0),
            Call::new(libc::SYS_rt_sigprocmask, &signals),
        ]
    }
}
