//! The parent's side: ordinary Rust. std lives here and nowhere else.
//!
//! The crate root is `no_std`, so `std` and `alloc` have no name in `child`,
//! `launch` and `sys`: nobody can allocate there by mistake.

extern crate std;

pub(crate) mod cgroup;
pub(crate) mod command;
pub(crate) mod error;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod hook;
pub(crate) mod identity;
pub(crate) mod image;
pub(crate) mod kernel;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod reserve;
pub(crate) mod stdio;
pub(crate) mod table;
