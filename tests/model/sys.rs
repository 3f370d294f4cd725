//! `sys` in the model: the library's files, and the model's system call.

use std::num::NonZeroI32;

#[path = "../../src/sys/abi.rs"]
pub(crate) mod abi;
#[path = "../../src/sys/ended.rs"]
mod ended;
#[path = "../../src/sys/kill.rs"]
pub(crate) mod kill;
#[path = "../../src/sys/pidfd.rs"]
pub(crate) mod pidfd;
#[path = "../../src/sys/wait.rs"]
pub(crate) mod wait;
#[path = "../../src/sys/waitid.rs"]
mod waitid;

pub(crate) mod arch {
    #![allow(unsafe_code, reason = "the signature of the real one")]

    /// Makes system call `nr` of the model.
    ///
    /// # Safety
    ///
    /// Clause 1, as that of the real one.
    pub(crate) unsafe fn syscall(nr: i64, args: [u64; 6]) -> i64 {
        // SAFETY: the caller guarantees clause 1.
        unsafe { crate::calls::syscall(nr, args) }
    }
}

/// No process of the model forks.
pub(crate) mod fork_detection {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Owner;

    impl Owner {
        pub(crate) fn this() -> Owner {
            Owner
        }

        pub(crate) fn is_another(self) -> bool {
            false
        }

        pub(crate) fn number(self) -> u64 {
            0
        }
    }
}

pub(crate) const fn bits(n: i64) -> u64 {
    u64::from_ne_bytes(n.to_ne_bytes())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(NonZeroI32);

impl Pid {
    pub(crate) fn new(raw: i64) -> Option<Pid> {
        let raw = i32::try_from(raw).ok().filter(|n| *n > 0)?;
        NonZeroI32::new(raw).map(Pid)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get().unsigned_abs()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const fn from_raw_os_error(number: i32) -> Errno {
        Errno(number)
    }

    pub(crate) const fn raw_os_error(self) -> i32 {
        self.0
    }

    pub(crate) fn tries_next(self) -> bool {
        self.0 == libc::ENOENT
    }

    pub(crate) fn of(result: i64) -> Option<Errno> {
        match i32::try_from(result) {
            Ok(n @ -4095..=-1) => Some(Errno(-n)),
            _ => None,
        }
    }
}
