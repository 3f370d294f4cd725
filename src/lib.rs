//! Starts programs on Linux: safe to call, with errors that name the failed
//! step, and as fast as the kernel allows.
//!
//! *A spawn is a small program that the parent compiles and the child runs.*
//! A [`Command`] collects options, under the names of `std::process::Command`
//! where that has them. [`Command::plan`] validates the options and turns them
//! into a list of steps, which can be printed before it runs. Each step becomes
//! rows of one table, one system call in each. In the child, under a hundred
//! instructions of assembly go through the rows up to the exec, without a
//! stack, libc or allocation.
//!
//! ```
//! use offshoot::{Command, Step};
//!
//! let output = Command::new("echo").arg("hello").output()?;
//! assert_eq!(output.stdout, b"hello\n");
//!
//! // A failure names its step, its operand and the errno.
//! let error = Command::new("echo").current_dir("/nope").spawn().unwrap_err();
//! assert_eq!(error.step(), Step::Chdir);
//! assert_eq!(
//!     error.to_string(),
//!     r#"chdir "/nope": No such file or directory (os error 2)"#,
//! );
//! # Ok::<(), offshoot::Error>(())
//! ```
//!
//! # Engines
//!
//! The options decide how the child is made; [`Launch::engine`] returns which
//! [`Engine`] it was:
//!
//! - **suspended**, as vfork: the child runs in the caller's memory, and the
//!   kernel suspends the caller until exec. Its cost does not depend on how
//!   much memory the caller has. Used wherever the options permit it.
//! - **isolated**: the child first execs a small helper, and the remaining
//!   steps run in its memory. Used for user and group ids and whatever else
//!   must not share the caller's memory.
//! - **copied**, as fork: the child runs in a copy of the caller's memory, and
//!   the cost grows with that memory. Used for hooks, and where the helper
//!   cannot be executed.
//! - **pipe**: fork and an error pipe, for emulators and kernels that do not
//!   support the others.
//!
//! # Where to read on
//!
//! - [`Command`]: every option.
//! - [`Prepared`]: a plan that is compiled once and spawned from any thread.
//! - [`Child`] and [`Launch`]: the child, and how it was made.
//! - [`Error`] and [`Step`]: what failed.
//!
//! In the repository, `docs/gotchas.md` has what is surprising about starting
//! programs, `docs/compare.md` every difference from std, `docs/kernels.md` what
//! each kernel version adds and which fallback replaces it, and
//! `docs/architecture.md` the source tree.
//!
//! Linux on x86-64 or little-endian aarch64; without fallbacks from 5.9 on.

#![no_std]
// Only `parent` uses std and alloc; examples and tests may import from std.
#![deny(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!(
    "offshoot runs on Linux, on x86-64 and little-endian aarch64, only: \
     the child's code is their assembly"
);

mod call;
mod child;
#[cfg(any(test, fuzzing))]
mod fd_model;
mod launch;
#[cfg(test)]
mod model;
mod parent;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
mod sys;

pub use parent::command::capabilities::{CapabilitySet, Securebits};
pub use parent::command::cgroup::Cgroup;
pub use parent::command::environment::Environment;
pub use parent::command::groups::Groups;
pub use parent::command::hook::HookContext;
pub use parent::command::landlock::Landlock;
pub use parent::command::limits::{Resource, Rlimit};
pub use parent::command::method::{Engine, Memory, Method};
pub use parent::command::namespaces::{IdMap, Namespaces, Propagation};
pub use parent::command::open_options::ChildOpenOptions;
pub use parent::command::path_search::PathSearch;
pub use parent::command::personality::Personality;
pub use parent::command::raw_arg::RawArg;
pub use parent::command::scheduling::{IoPriority, NumaPolicy, Scheduler};
pub use parent::command::seccomp::{SeccompFilter, SockFilter};
pub use parent::command::signal_set::{SignalSet, Signals};
pub use parent::command::stdio::Stdio;
pub use parent::command::{Command, CommandArgs, CommandEnvs, ParentDeath};
pub use parent::error::{Candidate, Error, Step};
pub use parent::handle::{
    CgroupEntry, Child, ChildEvent, ChildEvents, Detached, Fallback, Launch,
    Limits, Namespace, OutputError, OutputLimit, OutputStream, OutputText,
    PidFd, PidFdInfo, Process, Rusage, TreeKill, WaitSet, child_subreaper,
    set_child_subreaper, wait_any,
};
#[doc(no_inline)]
pub use parent::handle::{
    ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output,
};
pub use parent::plan::Plan;
pub use parent::pty;
pub use parent::reserve::reserve_fds;
pub use parent::sealed_memfd::self_exe_is_sealed;
pub use parent::spawn::prepared::Prepared;
pub use parent::spawn::spawn_all::spawn_all;
pub use parent::spawn::starting::Starting;
#[cfg(feature = "tokio")]
pub use parent::tokio;
pub use sys::safe::{Disposition, MaskChange};
pub use sys::{CloneFlags, Errno};

/// Threads can share these.
const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<(
        Command,
        Environment,
        Plan,
        Prepared,
        Child,
        PidFd,
        Launch,
        Error,
    )>();
    shared::<(Process, Rusage, PidFdInfo, ChildEvent, WaitSet<u8>)>();
    shared::<(Limits, OutputError, Starting)>();
};

/// Entry points for `fuzz/`, compiled by cargo-fuzz only.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use crate::fd_model;

    /// Compares the descriptor planner with its model.
    pub fn fds(data: &[u8]) {
        fd_model::bytes::fuzz(data);
    }
}
