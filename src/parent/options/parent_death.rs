//! Parent death: the signal that the child gets when its parent ends.

use super::capabilities;
use crate::call::{Check, ROW, local, slot};
use crate::parent::command::signal_set::NO_SIGNAL;
use crate::parent::command::{Command, ParentDeath, SignalSet};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, DeathSignalCheck, Operand, PlanBuilder, local_row, row,
};

impl Command {
    /// Sends the program a signal when the *thread* that spawned it ends
    /// ([`PR_SET_PDEATHSIG(2const)`]).
    ///
    /// The kernel takes the thread, not the process, for the parent. A thread
    /// of a pool that ends when it is idle ends the program too, although this
    /// process goes on; [`Command::die_with_parent`] is about the process.
    /// Which of the two was set is in [`Launch::parent_death`].
    ///
    /// The signal is set after the ids, as a change of ids clears it. Then the
    /// child looks whether its parent has ended meanwhile, and if so it exits.
    /// In a new PID namespace it cannot see its parent, and this is left out.
    ///
    /// The kernel clears the signal in the program when that changes its ids,
    /// and when it executes a file that gains privileges (set-user-ID, file
    /// capabilities). The children of the program do not inherit it.
    ///
    /// With [`Command::exec`] the signal is sent when the parent of this
    /// process ends, or the thread of it that created this process. After a
    /// failed exec this process has the signal again that it had before.
    ///
    /// # Errors
    ///
    /// [`Step::ParentDeathSignal`] for a number that is not from 1 to 64; if exec
    /// would clear the signal: as the real and the effective id of the child
    /// differ ([`Command::resuid`], or a caller with such ids), or as the
    /// program is root's and gets capabilities that the child does not have
    /// ([`Command::permitted_capabilities`], or a caller that lacks some of its
    /// bounding set); with ESRCH, if the parent is another than the one that the child began with.
    /// A [`Command::pre_exec`] hook that forks and exits its parent has that
    /// effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, ParentDeath};
    ///
    /// const SIGTERM: i32 = 15;
    ///
    /// let mut child =
    ///     Command::new("true").parent_death_signal(SIGTERM).spawn()?;
    /// assert_eq!(child.launch().parent_death(), Some(ParentDeath::Thread));
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Launch::parent_death`]: crate::Launch::parent_death
    /// [`Step::ParentDeathSignal`]: crate::Step::ParentDeathSignal
    /// [`PR_SET_PDEATHSIG(2const)`]: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    pub fn parent_death_signal(&mut self, signal: i32) -> &mut Command {
        self.options.signals.parent_death = Some(signal);
        self
    }

    /// Kills the program (SIGKILL) when this *process* ends, however it ends,
    /// and not when only the thread that spawned it does.
    ///
    /// A thread is created for each such child, named `offshoot-wait`. It
    /// inherits from the calling thread whatever a child would (ids, mask,
    /// descriptors, directory, nice value, processors, namespaces, filters),
    /// creates the child, and waits until that has ended. It blocks all signals
    /// and does not take the exit status. [`Command::before_exec`] functions
    /// run on it, with its thread-locals.
    ///
    /// With [`Command::parent_death_signal`] that signal is sent instead of
    /// SIGKILL. What is said there about ids, privileges and PID namespaces
    /// applies here too.
    ///
    /// What the program has started goes on, unless it has such an option too.
    ///
    /// This process ends its children too when it executes another program,
    /// as that ends its other threads.
    ///
    /// # Errors
    ///
    /// [`Step::DieWithParent`] with the errno of [`pthread_create(3)`]: EAGAIN
    /// near a limit of threads; EINVAL, if the calling thread has called
    /// `unshare(CLONE_NEWPID)`, after which the kernel creates no threads.
    /// With [`Command::exec`], which creates no process, and for ids as
    /// [`Command::parent_death_signal`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, ParentDeath};
    ///
    /// let spawn = || Command::new("sleep").arg("60").die_with_parent().spawn();
    /// let mut child = std::thread::spawn(spawn).join().unwrap()?;
    /// assert_eq!(child.launch().parent_death(), Some(ParentDeath::Process));
    /// // The thread has ended, and the program runs.
    /// assert!(child.try_wait()?.is_none());
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::DieWithParent`]: crate::Step::DieWithParent
    /// [`pthread_create(3)`]: https://man7.org/linux/man-pages/man3/pthread_create.3.html
    pub fn die_with_parent(&mut self) -> &mut Command {
        self.options.signals.die_with_parent = true;
        self
    }
}

/// What the options say about it.
fn death_signal_check(plan: &PlanBuilder<'_>) -> DeathSignalCheck {
    let all = &plan.options().capabilities;
    let sets = capabilities::sets(plan.options(), plan.ids.uid);
    DeathSignalCheck {
        uid: plan.ids.uid,
        gid: plan.ids.gid,
        permitted: sets.map(|sets| sets.permitted.bits()),
        inheritable: sets.map(|sets| sets.inheritable.bits()),
        bounding: all.bounding.map(|set| set.bits()),
        securebits: all.securebits.map(|bits| bits.bits()),
    }
}

/// `prctl(PR_SET_PDEATHSIG)`; then the parent must still be the one that has
/// cloned the child. In a new PID namespace `getppid` returns 0 in any case.
pub(crate) fn parent_death(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    const ENDED: &str = "the child has another parent by now";
    const PID: u64 = 8;
    let options = &plan.options().signals;
    let signal = match (options.parent_death, options.die_with_parent) {
        (None, false) => return Ok(()),
        (signal, _) => signal.unwrap_or(libc::SIGKILL),
    };
    if !(1..=64).contains(&signal) {
        return plan.refuse(Step::ParentDeathSignal, NO_SIGNAL, signal);
    }
    if options.die_with_parent && plan.in_place() {
        let why = "exec creates no process";
        return Err(Error::refused(Step::DieWithParent, why));
    }
    let check = death_signal_check(plan);
    check.refuse_cleared(options.die_with_parent)?;
    plan.plan.death_signal = Some(check);
    plan.plan.parent_death = Some(match options.die_with_parent {
        true => ParentDeath::Process,
        false => ParentDeath::Thread,
    });
    let option = Arg::from(libc::PR_SET_PDEATHSIG);
    let mut parent = row(libc::SYS_getppid, &[]);
    parent.store = slot::GETPPID;
    parent.check = Check::Skip;
    parent.skip = ROW;
    let pids = [slot::GETPPID_ADDR, slot::PARENT_PID_ADDR].map(Arg::Slot);
    let args = [pids[0], pids[1], Arg::Value(PID)];
    let mut same = local_row(local::COMPARE, &args);
    same.check = Check::Equal;
    let operand = Operand::Signals(SignalSet::from([signal]));
    plan.step(Step::ParentDeathSignal, operand)
        .call(libc::SYS_prctl, &[option, signal.into()])
        .row(parent)
        .row(same)
        .shown_as("prctl")
        .note(match options.die_with_parent {
            true => "when this process ends: a thread waits",
            false => "when this thread ends",
        })
        .reasons(&[(0, ENDED)]);
    Ok(())
}
