//! Signals: plans for fault injection that set signal dispositions, masks and
//! parent death signals.

use offshoot::{SignalSet, Step};

use super::Case;
use crate::util::ENGINES;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "signals",
        engines: &ENGINES,
        options: |c| {
            c.ignore_signal(libc::SIGHUP).default_signal(libc::SIGINT);
            c.signal_mask(SignalSet::from([libc::SIGUSR1]))
        },
        own: |nr, _| match nr {
            libc::SYS_rt_sigaction => Some(Step::SignalAction),
            _ => None,
        },
    },
    Case {
        name: "parent death",
        engines: &ENGINES,
        options: |c| c.parent_death_signal(libc::SIGTERM),
        own: |nr, args| match nr {
            libc::SYS_getppid => Some(Step::ParentDeathSignal),
            libc::SYS_prctl if args[0] == libc::PR_SET_PDEATHSIG as u64 => {
                Some(Step::ParentDeathSignal)
            }
            libc::SYS_prctl => Some(Step::Image),
            _ => None,
        },
    },
];
