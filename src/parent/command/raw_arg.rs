//! `RawArg`: an argument of a raw system call.

use crate::call::raw::RawCall;
use crate::parent::std::{
    fmt, os::fd::OwnedFd, string::String, sync::Arc, vec::Vec,
};

/// An argument of a system call that the child makes
/// ([`Command::raw_syscall`]): a number, or memory that the plan owns.
///
/// # Examples
///
/// ```
/// use std::fs::File;
/// use offshoot::RawArg;
///
/// let number = RawArg::from(-1);
/// let path = RawArg::bytes(c"/srv".to_bytes_with_nul());
/// let size = RawArg::output(8);
/// let file = RawArg::fd(File::open("/dev/null")?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Command::raw_syscall`]: crate::Command::raw_syscall
#[derive(Clone, Debug)]
#[must_use = "it does nothing by itself"]
pub struct RawArg(pub(crate) RawValue);

#[derive(Clone)]
pub(crate) enum RawValue {
    Number(u64),
    Bytes(Vec<u8>),
    Fd(Arc<OwnedFd>),
    Output(usize),
}

/// Bytes are shown by their length: they may be a key or a password.
impl fmt::Debug for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawValue::Number(number) => write!(f, "{number:#x}"),
            RawValue::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            RawValue::Fd(fd) => fd.fmt(f),
            RawValue::Output(len) => write!(f, "output of {len} bytes"),
        }
    }
}

/// A call that a command makes.
#[derive(Clone, Debug)]
pub(crate) struct RawRequest {
    pub(crate) name: String,
    pub(crate) nr: i64,
    pub(crate) args: Vec<RawArg>,
    pub(crate) call: RawCall,
    /// Whether it may run in shared memory.
    pub(crate) shared: bool,
}

impl RawArg {
    /// The address of a copy of these bytes, which the call reads. They are
    /// not aligned, and a string needs its NUL.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> RawArg {
        RawArg(RawValue::Bytes(bytes.into()))
    }

    /// The number of a descriptor in the child. It is open until exec, and the
    /// program does not inherit it.
    pub fn fd(fd: impl Into<OwnedFd>) -> RawArg {
        RawArg(RawValue::Fd(Arc::new(fd.into())))
    }

    /// The address of memory for so many bytes, 128 at most, which the call
    /// writes and nobody reads.
    pub fn output(len: usize) -> RawArg {
        RawArg(RawValue::Output(len))
    }
}

impl From<u64> for RawArg {
    fn from(number: u64) -> RawArg {
        RawArg(RawValue::Number(number))
    }
}

/// The number is extended with its sign, as the kernel expects it.
impl From<i32> for RawArg {
    fn from(number: i32) -> RawArg {
        RawArg(RawValue::Number(crate::sys::bits(number.into())))
    }
}
