//! `ProgramSource`: the source of a program that is not a path.

use crate::parent::error::Step;
use crate::parent::std::{
    fmt,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};

/// The source of a program that is not a path.
#[derive(Clone)]
pub(crate) enum ProgramSource {
    /// A descriptor of the caller.
    Fd(Arc<OwnedFd>),
    /// Bytes, copied into a sealed memfd.
    Bytes(Arc<[u8]>),
    /// This program, copied into a sealed memfd.
    SelfExe,
}

impl fmt::Debug for ProgramSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramSource::Fd(fd) => write!(f, "Fd({})", fd.as_raw_fd()),
            ProgramSource::Bytes(bytes) => {
                write!(f, "Bytes({} bytes)", bytes.len())
            }
            ProgramSource::SelfExe => f.write_str("SelfExe"),
        }
    }
}

impl ProgramSource {
    pub(crate) fn step(&self) -> Step {
        match self {
            ProgramSource::Fd(_) => Step::FromFd,
            ProgramSource::Bytes(_) => Step::FromBytes,
            ProgramSource::SelfExe => Step::SelfExe,
        }
    }
}
