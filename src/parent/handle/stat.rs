//! `Stat`: what `/proc` tells of a process.

use crate::parent::std::vec::Vec;
use crate::parent::std::{format, fs, io};
use crate::sys::Pid;

/// What `/proc/PID/stat` has of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) threads: u32,
    pub(super) start: u64,
}

impl Stat {
    /// `None`: there is no such process, or `hidepid` hides it.
    pub(super) fn of(pid: Pid) -> io::Result<Option<Stat>> {
        match fs::read(format!("/proc/{}/stat", pid.get())) {
            Ok(text) => Ok(Stat::parse(&text)),
            Err(e) => match e.raw_os_error() {
                Some(
                    libc::ENOENT | libc::ESRCH | libc::EPERM | libc::EACCES,
                ) => Ok(None),
                _ => Err(e),
            },
        }
    }

    /// The name, in parentheses, may have any bytes.
    fn parse(text: &[u8]) -> Option<Stat> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let text = core::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
        // A group or session outside of the PID namespace is 0.
        let id = |n| u32::try_from(number(n)?).ok();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            threads: id(17)?,
            start: number(19)?,
        })
    }

    /// Whether it cannot start a process now. The state is that of its first
    /// thread, which may be stopped, or a zombie, before the others are: those
    /// have files of their own.
    pub(super) fn is_stopped(&self, pid: Pid) -> io::Result<bool> {
        match self.threads {
            _ if !self.is_still() => Ok(false),
            0 | 1 => Ok(true),
            _ => threads_are_stopped(pid),
        }
    }

    fn is_still(&self) -> bool {
        [b'T', b't', b'Z', b'X'].contains(&self.state)
    }
}

/// Whether each thread of a process has stopped or ended. One that is stopped
/// stays so until SIGCONT.
fn threads_are_stopped(pid: Pid) -> io::Result<bool> {
    const GONE: [i32; 2] = [libc::ENOENT, libc::ESRCH];
    let is_gone = |error: &io::Error| {
        error.raw_os_error().is_some_and(|errno| GONE.contains(&errno))
    };
    let threads = match fs::read_dir(format!("/proc/{}/task", pid.get())) {
        Err(error) if is_gone(&error) => return Ok(true),
        threads => threads?,
    };
    for thread in threads {
        let stat = match fs::read(thread?.path().join("stat")) {
            Err(error) if is_gone(&error) => continue,
            stat => Stat::parse(&stat?),
        };
        if stat.is_some_and(|stat| !stat.is_still()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::Stat;
    use crate::sys::Pid;
    use crate::sys::safe::getpid;

    #[test]
    fn a_name_with_any_bytes_does_not_confuse_the_fields() {
        let name = b"7 (a) S 1 1 1 (\n\xFF) ".as_slice();
        let rest = b"T 5 6 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 3 0 99 8 9\n";
        let stat = Stat::parse(&[name, rest].concat()).unwrap();
        let want = Stat {
            state: b'T',
            parent: 5,
            group: 6,
            session: 7,
            threads: 3,
            start: 99,
        };
        assert_eq!(stat, want);
        assert!(stat.is_still());
        assert_eq!(Stat::parse(b"7 (cat"), None);
        assert_eq!(Stat::parse(b"7 (cat) R 1"), None);
    }

    /// As when a stop signal has reached the first thread only.
    #[test]
    fn a_process_is_not_stopped_before_all_its_threads_are() {
        let stat = |state, threads| Stat {
            state,
            parent: 1,
            group: 1,
            session: 1,
            threads,
            start: 1,
        };
        // This process, which runs.
        let own = Pid::new(getpid().into()).unwrap();
        for state in [b'T', b't', b'Z', b'X'] {
            assert!(stat(state, 1).is_stopped(own).unwrap());
            assert!(!stat(state, 2).is_stopped(own).unwrap());
        }
        assert!(!stat(b'S', 1).is_stopped(own).unwrap());
    }
}
