//! `Ended`: how a child ended, by `siginfo_t` and by its wait status.

/// How a child ended, as in `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub(crate) code: i32,
    /// The exit code or the signal.
    pub(crate) status: i32,
}

impl Ended {
    /// From a wait status as `wait4` returns it.
    pub(crate) fn from_wait_status(status: i32) -> Ended {
        if libc::WIFEXITED(status) {
            let status = libc::WEXITSTATUS(status);
            return Ended { code: libc::CLD_EXITED, status };
        }
        let dumped = libc::WCOREDUMP(status);
        let code = if dumped { libc::CLD_DUMPED } else { libc::CLD_KILLED };
        Ended { code, status: libc::WTERMSIG(status) }
    }

    /// Returns the wait status, for `WEXITSTATUS` and its like.
    pub(crate) fn wait_status(self) -> i32 {
        match self.code {
            libc::CLD_EXITED => (self.status & 0xFF) << 8,
            libc::CLD_DUMPED => self.status | 0x80,
            _ => self.status,
        }
    }

    /// Whether it is none: the stop of a child that this process traces, which
    /// every wait for the end of a child sees.
    pub(super) fn is_stop(self) -> bool {
        matches!(self.code, libc::CLD_TRAPPED | libc::CLD_STOPPED)
    }

    /// Whether it is the end, not a stop or a continuation.
    pub(crate) fn has_ended(self) -> bool {
        let ends = [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED];
        ends.contains(&self.code)
    }

    /// Returns the signal that ended the child, if one did.
    pub(crate) fn signal(self) -> Option<i32> {
        (self.code != libc::CLD_EXITED).then_some(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::Ended;

    #[test]
    fn a_wait_status_is_the_same_after_a_round_trip() {
        for status in [0, 0x100, 0xFF00, 9, 11, 11 | 0x80, 64] {
            let ended = Ended::from_wait_status(status);
            assert_eq!(ended.wait_status(), status, "{status:#x}");
        }
    }
}
