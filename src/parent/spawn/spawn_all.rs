//! `spawn_all`: many programs, started at once: their children are made beside
//! each other, or by as many threads as there are processors.

use core::any::Any;
use core::num::NonZero;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::{iter, mem};

use super::beside::{Nth, start_beside};
use super::prepared::Prepared;
use crate::parent::command::ParentDeath;
use crate::parent::error::{Error, Step};
use crate::parent::fd_table::{act_for, thread_id};
use crate::parent::handle::Child;
use crate::parent::std::{
    boxed::Box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
    thread::{self, Builder},
    vec::Vec,
};
use crate::parent::support::{known, set_known};

/// Starts one program for each of the commands, which may be the same one many
/// times, and returns their children or errors, in the order of the commands,
/// once all have started or failed.
///
/// The calling thread makes up to 32 children and then waits until each runs its
/// program, so that they start beside each other ([`Engine::Concurrent`], Linux
/// 5.5): they have all that a child inherits from it. If one is stopped, or its
/// exec hangs, this function waits for it.
///
/// What cannot be made so is started as by [`Prepared::spawn`]: a program with
/// another user, in a control group, with hooks, with `oom_score_adj` or with
/// files that the child opens; all, if a debugger is attached to this process;
/// one whose first attempt fails and for which another may help. That is done by
/// the calling thread and others that it creates, one for each further processor
/// that this process may use, which end before it returns. Where no thread can be
/// created, the calling one starts all programs.
///
/// Programs with [`Command::parent_death_signal`] or
/// [`Command::ptrace_traceme`] are started by the calling thread, whose
/// children these options make them.
///
/// # Errors
///
/// Each is that of its [`Prepared::spawn`]; the other programs start all the
/// same.
///
/// # Panics
///
/// If a function of [`Command::before_exec`] panics, with its message. The
/// programs that were started run on.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, spawn_all};
///
/// let words = ["one", "two", "three"].map(|word| {
///     Command::new("echo").arg(word).prepare()
/// });
/// let words: Vec<_> = words.into_iter().collect::<Result<_, _>>()?;
/// for child in spawn_all(&words) {
///     assert!(child?.wait()?.success());
/// }
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Engine::Concurrent`]: crate::Engine::Concurrent
/// [`Command::parent_death_signal`]: crate::Command::parent_death_signal
/// [`Command::ptrace_traceme`]: crate::Command::ptrace_traceme
/// [`Command::before_exec`]: crate::Command::before_exec
pub fn spawn_all<'a>(
    commands: impl IntoIterator<Item = &'a Prepared>,
) -> Vec<Result<Child, Error>> {
    let mut commands = Vec::from_iter(commands.into_iter().enumerate());
    let len = commands.len();
    let done = start_beside(&mut commands);
    let batch = Batch {
        next: AtomicUsize::new(0),
        done: Mutex::new(done),
        panic: Mutex::default(),
        commands,
    };
    let others = batch.threads().saturating_sub(1);
    let (caller, own) = (thread_id(), known());
    thread::scope(|scope| {
        for _ in 0..others {
            let body = || {
                act_for(caller);
                set_known(own);
                batch.run(Prepared::is_of_any_thread);
            };
            let name = "offshoot-start".into();
            if Builder::new().name(name).spawn_scoped(scope, body).is_err() {
                break;
            }
        }
        batch.run(Prepared::is_of_any_thread);
    });
    batch.next.store(0, Ordering::Relaxed);
    batch.run(|command| !command.is_of_any_thread());
    batch.results(len)
}

/// Commands, and which of them have been started.
struct Batch<'a> {
    commands: Vec<Nth<'a>>,
    next: AtomicUsize,
    done: Mutex<Vec<(usize, Result<Child, Error>)>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Batch<'_> {
    /// How many threads start programs.
    fn threads(&self) -> usize {
        let spread = |nth: &&Nth<'_>| nth.1.is_of_any_thread();
        let most = self.commands.iter().filter(spread).count();
        // It reads files of control groups, and one program needs no second
        // thread.
        match most {
            0 | 1 => most,
            _ => {
                let processors = thread::available_parallelism();
                processors.map_or(1, NonZero::get).min(most)
            }
        }
    }

    /// Starts those of the rest that `is_mine` accepts.
    fn run(&self, is_mine: impl Fn(&Prepared) -> bool) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((at, command)) = self.commands.get(at) else { return };
            if is_mine(command) {
                let spawn = AssertUnwindSafe(|| command.spawn());
                let child = match catch_unwind(spawn) {
                    Ok(child) => child,
                    Err(panic) => {
                        let kept = self.panic.lock();
                        let kept =
                            kept.unwrap_or_else(PoisonError::into_inner);
                        { kept }.get_or_insert(panic);
                        return;
                    }
                };
                let done = self.done.lock();
                let mut done = done.unwrap_or_else(PoisonError::into_inner);
                done.push((*at, child));
            }
        }
    }

    /// The results in the order of the commands.
    fn results(self, len: usize) -> Vec<Result<Child, Error>> {
        let done = self.done.into_inner();
        let mut done = done.unwrap_or_else(PoisonError::into_inner);
        let panic = self.panic.into_inner();
        if let Some(panic) = panic.unwrap_or_else(PoisonError::into_inner) {
            for (_, child) in &mut done {
                if let Ok(child) = child {
                    child.reap_on_drop(true);
                }
            }
            mem::drop(done);
            resume_unwind(panic);
        }
        let mut results = Vec::new();
        results.extend(iter::repeat_with(|| None).take(len));
        for (at, child) in done {
            if let Some(result) = results.get_mut(at) {
                *result = Some(child);
            }
        }
        let missing = || Err(Error::os(Step::Clone, libc::EAGAIN));
        let results = results.into_iter();
        results.map(|child| child.unwrap_or_else(missing)).collect()
    }
}

impl Prepared {
    /// Whether it makes no difference which thread's child it is.
    fn is_of_any_thread(&self) -> bool {
        let plan = &self.plan;
        plan.parent_death != Some(ParentDeath::Thread) && !plan.traced
    }
}
