//! `offshoot::tokio`: programs started from tokio's tasks.
//!
//! [`Command`] and [`Child`] have the methods of `tokio::process`, so a program
//! changes to them by its imports. A child is waited for by its pidfd, which
//! the runtime polls beside its sockets: there is no handler of SIGCHLD, no
//! thread that reaps, and `tokio::process` works in the same program.
//!
//! Takes the feature `tokio`, and a runtime with IO enabled: with the feature
//! `rt` of the crate tokio, or `rt-multi-thread`. Beside `use offshoot::tokio`, that
//! crate is `::tokio`.
//!
//! # Spawning
//!
//! `spawn` does what [`crate::Command::spawn`] does: the kernel suspends the
//! calling thread until the program runs, usually for less than a millisecond.
//! The other tasks of this thread do not run meanwhile. [`Command::spawn_async`],
//! [`Command::output`] and [`Command::status`] do not hold the thread: another
//! one, which the crate creates for it, starts the program and ends.
//!
//! # Cancellation
//!
//! Each future can be dropped at any time. If the program does not run yet, the
//! drop does not wait for it: it is killed, or starts all the same and is reaped
//! by a later spawn of the crate. So `tokio::time::timeout` around
//! [`Command::spawn_async`] is a deadline if [`Command::kill_on_drop`] is set. [`Child::wait`] and [`Child::kill`]
//! can then be called again, and nothing is lost. Dropping that of
//! [`Child::wait_with_output`], [`Command::output`] or [`Command::status`]
//! drops the `Child`, and what was read so far.
//!
//! # Dropping a child
//!
//! The program goes on, or is killed with [`Command::kill_on_drop`]. A task of
//! the runtime reaps it when it ends; if the runtime ends before, the crate
//! reaps it with a later spawn ([`crate::Child::reap_on_drop`]).
//!
//! # Examples
//!
//! ```
//! use offshoot::Stdio;
//! use offshoot::tokio::Command;
//! use tokio::io::{AsyncBufReadExt, BufReader};
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! runtime.block_on(async {
//!     let mut seq = Command::new("seq").arg("3").stdout(Stdio::piped()).spawn()?;
//!     let mut lines = BufReader::new(seq.stdout.take().unwrap()).lines();
//!     let mut sum = 0;
//!     while let Some(line) = lines.next_line().await? {
//!         sum += line.parse::<i32>().unwrap();
//!     }
//!     assert_eq!(sum, 6);
//!     assert!(seq.wait().await?.success());
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod child;
mod command;
mod pipes;

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
