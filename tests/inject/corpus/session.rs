//! Session: plans for fault injection with terminals and sessions.

use offshoot::{Step, pty};

use super::Case;
use crate::util::ENGINES;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "terminal",
        engines: &ENGINES,
        options: |c| {
            // Without its controller the terminal is hung up.
            let (controller, terminal) = pty::open().unwrap();
            let same = terminal.try_clone().unwrap();
            c.fd(9, controller).terminal(terminal).foreground(same)
        },
        own: |nr, args| match (nr, args[1]) {
            (libc::SYS_ioctl, TIOCSCTTY) => Some(Step::ControllingTerminal),
            (libc::SYS_ioctl, TIOCSPGRP) => Some(Step::Foreground),
            (libc::SYS_getpgid, _) => Some(Step::Foreground),
            _ => None,
        },
    },
    Case {
        // The test has no terminal, so opening it is the only call.
        name: "detach terminal",
        engines: &ENGINES,
        options: |c| c.detach_terminal(true),
        own: |nr, _| match nr {
            libc::SYS_openat => Some(Step::DetachTerminal),
            _ => None,
        },
    },
];

const TIOCSCTTY: u64 = 0x540E;
const TIOCSPGRP: u64 = 0x5410;
