//! Code that runs in the parent. Only this directory uses std: the crate is
//! `no_std`, so code in `child`, `launch` and `sys` cannot allocate.

extern crate std;

pub(crate) mod command;
pub(crate) mod error;
mod fd_table;
pub(crate) mod handle;
mod options;
mod order;
pub(crate) mod plan;
pub mod pty;
pub(crate) mod reserve;
pub(crate) mod sealed_memfd;
pub(crate) mod spawn;
mod support;
#[cfg(feature = "tokio")]
pub mod tokio;
