//! Starts programs on Linux: safe to call, honest about what failed, and as
//! fast as the kernel allows.
//!
//! *A spawn is a tiny program that the parent compiles and the child runs.*
//! The builder collects wishes; the plan turns them into a list of steps and
//! checks each once; each step becomes rows of one table of system calls; the
//! child goes down that table in under a hundred instructions of assembly, in
//! the parent's own memory, and execs. If a row fails, its step, operand and
//! errno come back.
//!
//! ```
//! use offshoot::{Command, Step};
//!
//! let output = Command::new("echo").arg("hello").output()?;
//! assert_eq!(output.stdout, b"hello\n");
//!
//! let error = Command::new("echo").current_dir("/nope").spawn();
//! assert_eq!(error.unwrap_err().step(), Step::Chdir);
//! # Ok::<(), offshoot::Error>(())
//! ```
//!
//! Linux on x86-64 or aarch64; best from 5.9 on, with fallbacks for what is
//! missing (docs/kernels.md in the repository).

#![no_std]
// The import tells the room; examples and tests may name std.
#![deny(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!(
    "offshoot runs on Linux, on x86-64 and little-endian aarch64, only: \
     its child is written in their assembly"
);

mod call;
mod child;
mod launch;
#[cfg(test)]
mod model;
mod parent;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
mod sys;

pub use parent::command::cgroup::Cgroup;
pub use parent::command::groups::Groups;
pub use parent::command::hook::HookContext;
pub use parent::command::method::{Engine, Memory, Method};
pub use parent::command::path_search::PathSearch;
pub use parent::command::stdio::Stdio;
pub use parent::command::{Command, CommandArgs, CommandEnvs};
pub use parent::error::{Candidate, Error, Step};
pub use parent::handle::Child;
pub use parent::handle::launch::{CgroupEntry, Fallback, Launch};
pub use parent::handle::pidfd::PidFd;
#[doc(no_inline)]
pub use parent::handle::{
    ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output,
};
pub use parent::plan::Plan;
pub use parent::reserve::reserve_fds;
pub use parent::sealed_memfd::self_exe_is_sealed;
pub use parent::spawn::prepared::Prepared;
pub use sys::safe::{Disposition, MaskChange};
pub use sys::{CloneFlags, Errno};

/// Doors for `fuzz/`, compiled by cargo-fuzz only.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use crate::parent;

    /// The descriptor planner against its model.
    pub fn fds(data: &[u8]) {
        parent::plan::fds::model::bytes::fuzz(data);
    }
}
