//! The parent's side: ordinary Rust. std lives here and nowhere else.
//!
//! The crate root is `no_std`, so `std` and `alloc` have no name in `child`,
//! `launch` and `sys`: nobody can allocate there by mistake.

extern crate std;

pub(crate) mod command;
pub(crate) mod error;
mod fd_table;
pub(crate) mod handle;
mod options;
mod order;
pub(crate) mod plan;
pub(crate) mod reserve;
pub(crate) mod sealed_memfd;
pub(crate) mod spawn;
mod support;
