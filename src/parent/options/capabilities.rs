//! Capabilities: what the child may do of what root may.

use crate::call::{Call, Check, ROW, slot};
use crate::parent::command::{CapabilitySet, Command, Options, Securebits};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Detail, Effect, Operand, PlanBuilder, Reasons, StepBuilder,
    local_row, row,
};
use crate::parent::std::string::ToString;
use crate::sys::abi::CAPS_HEADER;
use crate::sys::safe::prctl_get;

impl Command {
    /// Sets the ambient capabilities: those that the program has although its
    /// user is not root, and that it passes on ([`capabilities(7)`], Linux
    /// 4.3). They are kept through a change of user ([`Command::uid`]), and
    /// become inheritable as well, which they have to be.
    ///
    /// The child has no other capabilities until its execve then, unless
    /// [`Command::permitted_capabilities`] or
    /// [`Command::inheritable_capabilities`] is set. A program of root's gets
    /// the whole bounding set at execve all the same: change the user as well,
    /// or set [`Command::bounding_capabilities`] or [`Securebits::NOROOT`]. A
    /// program with set-user-ID, or with capabilities of its file, gets no
    /// ambient ones.
    ///
    /// # Errors
    ///
    /// [`Step::Capabilities`], naming the capability, if the kernel does not
    /// have it, or another of these options excludes it; with EPERM, if the
    /// caller does not have it; [`Step::KeepCapabilities`] beside a change of
    /// user, if SECBIT_KEEP_CAPS is locked; [`Step::AmbientCapabilities`] with EPERM under
    /// [`Securebits::NO_CAP_AMBIENT_RAISE`]. Refused by [`Command::exec`]: if
    /// that failed, one thread would have other capabilities.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{CapabilitySet, Command};
    ///
    /// // Port 80, and nothing else of root's.
    /// let mut server = Command::new("server");
    /// server.uid(65534).gid(65534);
    /// server.ambient_capabilities(CapabilitySet::NET_BIND_SERVICE);
    /// server.spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`capabilities(7)`]: https://man7.org/linux/man-pages/man7/capabilities.7.html
    pub fn ambient_capabilities(
        &mut self,
        set: CapabilitySet,
    ) -> &mut Command {
        self.options.capabilities.ambient = Some(set);
        self
    }

    /// Sets the inheritable capabilities: those that a program whose file has
    /// them inheritable too gets at execve. Ambient capabilities are added.
    ///
    /// # Errors
    ///
    /// As [`Command::ambient_capabilities`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{CapabilitySet, Command};
    ///
    /// // Nothing is inherited, as from a login.
    /// Command::new("sh").inheritable_capabilities(CapabilitySet::empty()).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn inheritable_capabilities(
        &mut self,
        set: CapabilitySet,
    ) -> &mut Command {
        self.options.capabilities.inheritable = Some(set);
        self
    }

    /// Sets the permitted and effective capabilities that the child has before
    /// execve, such as for a function of [`Command::pre_exec`]. execve
    /// replaces them: a program of root's gets all of the bounding set,
    /// another one its ambient capabilities.
    ///
    /// # Errors
    ///
    /// As [`Command::ambient_capabilities`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{CapabilitySet, Command};
    ///
    /// let mut child = Command::new("program");
    /// child.permitted_capabilities(CapabilitySet::SYS_CHROOT).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn permitted_capabilities(
        &mut self,
        set: CapabilitySet,
    ) -> &mut Command {
        self.options.capabilities.permitted = Some(set);
        self
    }

    /// Sets the bounding set: no program that the child executes gets
    /// capabilities outside it by its file or by being root's. What the
    /// caller's set lacks stays out. Capabilities that the caller has
    /// inheritable or ambient are inherited all the same: set those too
    /// ([`Command::inheritable_capabilities`]).
    ///
    /// # Errors
    ///
    /// [`Step::BoundingCapabilities`] with EPERM without CAP_SETPCAP, unless
    /// nothing has to be removed; and as [`Command::ambient_capabilities`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{CapabilitySet, Command};
    ///
    /// let mut root = Command::new("program");
    /// root.bounding_capabilities(CapabilitySet::CHOWN | CapabilitySet::FOWNER);
    /// root.spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn bounding_capabilities(
        &mut self,
        set: CapabilitySet,
    ) -> &mut Command {
        self.options.capabilities.bounding = Some(set);
        self
    }

    /// Sets the securebits, which the program and what it starts inherit.
    ///
    /// # Errors
    ///
    /// [`Step::Securebits`] with EPERM without CAP_SETPCAP, or if a bit is
    /// locked; [`Step::Capabilities`] with EPERM without CAP_SETPCAP, if the user
    /// changes or a set of capabilities is set as well. Refused by [`Command::exec`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, Securebits};
    ///
    /// let mut root = Command::new("program");
    /// root.securebits(Securebits::NOROOT | Securebits::NOROOT_LOCKED).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn securebits(&mut self, bits: Securebits) -> &mut Command {
        self.options.capabilities.securebits = Some(bits);
        self
    }
}

const PRIVATE: &str = "this option must not run in the parent's memory";
const MISSING: &str = "the caller does not have these capabilities, or the \
                       bounding set lacks them";
const SETPCAP: &str = "it takes CAP_SETPCAP";

/// The sets that the child has before execve.
#[derive(Clone, Copy)]
pub(super) struct Sets {
    pub(super) permitted: CapabilitySet,
    pub(super) inheritable: CapabilitySet,
    /// What is permitted until the securebits are set.
    until_securebits: CapabilitySet,
}

/// The sets that the options mean together, if any of them does.
pub(super) fn sets(options: &Options, uid: Option<[u32; 3]>) -> Option<Sets> {
    let all = &options.capabilities;
    let ambient = all.ambient.unwrap_or_default();
    let inheritable = all.inheritable.unwrap_or_default() | ambient;
    let changes = uid.is_some() && all.securebits.is_some();
    let set = all.ambient.is_some() || all.inheritable.is_some();
    if !set && all.permitted.is_none() && !changes {
        return None;
    }
    let permitted = all.permitted.unwrap_or(inheritable);
    let until_securebits = match all.securebits {
        Some(_) => permitted | CapabilitySet::SETPCAP,
        None => permitted,
    };
    Some(Sets { permitted, inheritable, until_securebits })
}

/// The highest capability of this kernel: the last that the bounding set can be
/// asked for, if a filter does not reject the call.
fn last_capability() -> u32 {
    const NEWEST_KNOWN: u32 = 40;
    let is_known =
        |n: &u32| prctl_get(libc::PR_CAPBSET_READ, u64::from(*n)).is_ok();
    (0..u64::BITS).take_while(is_known).last().unwrap_or(NEWEST_KNOWN)
}

/// Validates the sets of a command, and of what each must be part of.
fn check(plan: &PlanBuilder<'_>) -> Result<(), Error> {
    let all = &plan.options().capabilities;
    let refuse = |set: CapabilitySet, why| {
        Err(Error::refused(Step::Capabilities, why).with(set.to_string()))
    };
    let given = [all.ambient, all.inheritable, all.permitted, all.bounding];
    if given.iter().all(Option::is_none) && all.securebits.is_none() {
        return Ok(());
    }
    if plan.in_place() {
        let why = "exec would change them in one thread only, if it failed";
        return Err(Error::refused(Step::Capabilities, why).with("exec"));
    }
    let last = last_capability();
    let known =
        CapabilitySet::from_bits_retain(u64::MAX >> (63 - last.min(63)));
    let used = [all.ambient, all.inheritable, all.permitted];
    let used = used.into_iter().flatten();
    let used = used.fold(CapabilitySet::empty(), |all, set| all | set);
    if !known.contains(used) {
        return refuse(used - known, "this kernel has no such capability");
    }
    // The bounding set may have names that an older kernel lacks, so that
    // `CapabilitySet::all()` is what it says.
    let bounding = all.bounding.unwrap_or_default();
    let named = known | CapabilitySet::all();
    if !named.contains(bounding) {
        return refuse(bounding - named, "this kernel has no such capability");
    }
    let ambient = all.ambient.unwrap_or_default();
    let inheritable = all.inheritable.unwrap_or_default() | ambient;
    if let Some(permitted) = all.permitted {
        if !permitted.contains(ambient) {
            let why = "ambient, but not in permitted_capabilities";
            return refuse(ambient - permitted, why);
        }
    }
    if let Some(bounding) = all.bounding {
        if !bounding.contains(inheritable) {
            let why = match (inheritable - bounding).intersects(ambient) {
                true => {
                    "ambient, so inheritable too, but not in \
                     bounding_capabilities"
                }
                false => "inheritable, but not in bounding_capabilities",
            };
            return refuse(inheritable - bounding, why);
        }
    }
    Ok(())
}

fn prctl(option: i32, value: u32) -> Call {
    row(libc::SYS_prctl, &[option.into(), value.into()])
}

fn ambient(operation: i32, capability: u32) -> Call {
    let option = libc::PR_CAP_AMBIENT.into();
    let args = [option, operation.into(), capability.into()];
    row(libc::SYS_prctl, &args)
}

fn must_be(row: Call, want: u32) -> Call {
    Call { check: Check::Equal, want: want.into(), ..row }
}

/// `prctl(PR_CAPBSET_DROP)` of each capability outside the set that is in the
/// caller's.
pub(crate) fn bounding_capabilities(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    check(plan)?;
    let Some(set) = plan.options().capabilities.bounding else {
        return Ok(());
    };
    let text =
        plan.text(Step::BoundingCapabilities, set.to_string().as_ref())?;
    let mut step = plan.step(Step::BoundingCapabilities, Operand::Text(text));
    for n in (0..=last_capability()).filter(|n| set.bits() & 1 << n == 0) {
        let is_in = prctl(libc::PR_CAPBSET_READ, n);
        step = step
            .row(Call { check: Check::Skip, skip: 2 * ROW, ..is_in })
            .row(prctl(libc::PR_CAPBSET_DROP, n))
            .row(must_be(is_in, 0));
    }
    step.shown_as("prctl")
        .note("PR_CAPBSET_DROP of the others, read back")
        .reasons(&[(libc::EPERM, SETPCAP)])
        .needs_private("bounding_capabilities", PRIVATE);
    Ok(())
}

/// `prctl(PR_SET_KEEPCAPS, 1)`: a change of user keeps permitted capabilities.
/// execve clears it.
pub(crate) fn keep_capabilities(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let changes = plan.ids.uid.is_some();
    let sets = sets(plan.options(), plan.ids.uid);
    if changes && sets.is_some_and(|it| !it.until_securebits.is_empty()) {
        let is_set = prctl(libc::PR_GET_KEEPCAPS, 0);
        let skip = Check::Skip;
        // It may be locked.
        let is_there = Call { check: skip, want: 1, skip: 2 * ROW, ..is_set };
        plan.step(Step::KeepCapabilities, Operand::None)
            .row(is_there)
            .row(prctl(libc::PR_SET_KEEPCAPS, 1))
            .row(must_be(is_set, 1))
            .shown_as("prctl")
            .note("PR_SET_KEEPCAPS, read back")
            .reasons(&[(libc::EPERM, "SECBIT_KEEP_CAPS is locked")])
            .needs_private("ambient_capabilities", PRIVATE);
    }
    Ok(())
}

/// `capset`, read back.
pub(crate) fn capabilities(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(sets) = sets(plan.options(), plan.ids.uid) else {
        return Ok(());
    };
    capset(plan, sets.until_securebits, sets.inheritable)
}

/// `capset` without CAP_SETPCAP, which was kept for the securebits.
pub(crate) fn drop_setpcap(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    match sets(plan.options(), plan.ids.uid) {
        Some(sets) if sets.until_securebits != sets.permitted => {
            capset(plan, sets.permitted, sets.inheritable)
        }
        _ => Ok(()),
    }
}

fn capset(
    plan: &mut PlanBuilder<'_>,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
) -> Result<(), Error> {
    let step = Step::Capabilities;
    let half = |n: u64| n & u64::from(u32::MAX);
    let (p, i) = (permitted.bits(), inheritable.bits());
    // effective, permitted, inheritable; the low halves, then the high ones.
    let data = [
        half(p) | half(p) << 32,
        half(i) | p >> 32 << 32,
        p >> 32 | i >> 32 << 32,
    ];
    // The length of the structure is that of both arguments' rule.
    let header = plan.words(step, &[CAPS_HEADER.into(), 0, 0])?;
    let sets = plan.words(step, &data)?;
    let text = plan.text(step, permitted.to_string().as_ref())?;
    let scratch = Arg::Slot(slot::SCRATCH_ADDR);
    let mut step = plan
        .step(step, Operand::Text(text))
        .call(libc::SYS_capset, &[header.into(), sets.into()])
        .call(libc::SYS_capget, &[header.into(), scratch]);
    for (n, word) in (0..).zip(data) {
        let got = local_row(
            crate::call::local::VALUE,
            &[Arg::Slot(slot::SCRATCH + n)],
        );
        step = step.row(Call { check: Check::Equal, want: word, ..got });
    }
    finish_capset(step, permitted);
    Ok(())
}

fn finish_capset(step: StepBuilder<'_>, permitted: CapabilitySet) {
    const REASONS: Reasons = &[(libc::EPERM, MISSING)];
    step.shown_as("capset")
        .note("permitted and effective, read back")
        .reasons(REASONS)
        .effect(Effect::Capabilities(permitted.bits()))
        .needs_private("ambient_capabilities", PRIVATE);
}

/// `prctl(PR_CAP_AMBIENT)`: no others, then each, read back.
pub(crate) fn ambient_capabilities(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    const IS_SET: i32 = libc::PR_CAP_AMBIENT_IS_SET;
    const REASONS: Reasons = &[(
        libc::EPERM,
        "SECBIT_NO_CAP_AMBIENT_RAISE is set, or the caller does not have \
         these capabilities",
    )];
    let Some(set) = plan.options().capabilities.ambient else {
        return Ok(());
    };
    let text =
        plan.text(Step::AmbientCapabilities, set.to_string().as_ref())?;
    let mut step = plan
        .step(Step::AmbientCapabilities, Operand::Text(text))
        .row(ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0));
    for n in 0..=last_capability() {
        let has = set.bits() & 1 << n != 0;
        if has {
            step = step.row(ambient(libc::PR_CAP_AMBIENT_RAISE, n));
        }
        step = step.row(must_be(ambient(IS_SET, n), has.into()));
    }
    step.shown_as("prctl")
        .note("PR_CAP_AMBIENT, read back")
        .reasons(REASONS)
        .needs_private("ambient_capabilities", PRIVATE);
    Ok(())
}

/// `prctl(PR_SET_SECUREBITS, bits)`, read back.
pub(crate) fn securebits(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(bits) = plan.options().capabilities.securebits else {
        return Ok(());
    };
    if bits.bits() & !Securebits::all().bits() != 0 {
        return plan.refuse(Step::Securebits, "unknown bits", bits.bits());
    }
    let detail = Detail::Securebits(bits);
    let bits = bits.bits();
    plan.step(Step::Securebits, Operand::Number(bits.into()))
        .detail(detail)
        .row(prctl(libc::PR_SET_SECUREBITS, bits))
        .row(must_be(prctl(libc::PR_GET_SECUREBITS, 0), bits))
        .shown_as("prctl")
        .note("PR_SET_SECUREBITS, read back")
        .reasons(&[(
            libc::EPERM,
            "it takes CAP_SETPCAP, and bits that are not locked",
        )])
        .needs_private("securebits", PRIVATE);
    Ok(())
}
