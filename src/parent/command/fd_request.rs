//! `FdRequest`: a descriptor that an option passes to the child.

use super::stdio::FdArg;
use crate::parent::error::Step;
use crate::parent::std::{format, os::fd::RawFd, string::String};

/// A descriptor that an option passes to the child, and its number there.
#[derive(Clone, Debug)]
pub(crate) struct FdRequest {
    pub(crate) target: RawFd,
    pub(crate) from: FdArg,
    /// The option.
    pub(crate) by: Step,
}

impl FdRequest {
    /// Returns source and target, as an error names them.
    pub(crate) fn pair(&self) -> String {
        pair(Some(self.from.number()), self.target)
    }
}

pub(crate) fn pair(from: Option<RawFd>, to: impl Into<i64>) -> String {
    match from {
        Some(from) => format!("{from} -> {}", to.into()),
        None => format!("{}", to.into()),
    }
}
