//! `parent` in the model: the library's files, and std with the model's locks.

#[path = "../../src/parent/error/mod.rs"]
pub(crate) mod error;
#[path = "handle.rs"]
pub(crate) mod handle;

/// As the library's `parent::std`.
pub(crate) mod std {
    pub(crate) use ::std::*;

    pub(crate) mod sync {
        pub(crate) use ::std::sync::{Arc, PoisonError, TryLockError};

        pub(crate) use crate::locks::{Condvar, Mutex, MutexGuard};

        pub(crate) mod atomic {
            pub(crate) use ::std::sync::atomic::Ordering;

            pub(crate) use crate::locks::AtomicBool;
        }
    }

    pub(crate) mod time {
        pub(crate) use crate::resources::Instant;
    }

    pub(crate) mod thread {
        pub(crate) use crate::resources::sleep;
    }

    pub(crate) mod os {
        pub(crate) use ::std::os::unix;

        pub(crate) mod fd {
            pub(crate) use ::std::os::fd::{
                AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd,
            };

            pub(crate) use crate::resources::OwnedFd;
        }
    }
}

pub(crate) mod command {
    /// No child of the model has a control group.
    #[derive(Debug)]
    pub(crate) enum OpenCgroup {}

    impl OpenCgroup {
        pub(crate) fn remove(&self) {
            match *self {}
        }
    }

    pub(crate) mod signal_set {
        pub(crate) const NO_SIGNAL: &str = "no signal";
    }
}
