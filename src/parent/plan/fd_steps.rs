//! Wires: the steps that make the child's descriptors from others.

use super::emit::{Emitted, marks};
use super::fds::{self, FdMapping};
use super::source_fd::SourceFd;
use super::strategy::Strategy;
use super::{Plan, PlanBuilder, jobserver, source_fd, stdio_step};
use crate::parent::command::fd_request::FdRequest;
use crate::parent::command::method::Engine;
use crate::parent::command::stdio::{FdArg, Source};
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::{Op, Role};
use crate::parent::std::{string::ToString, vec::Vec};

pub(super) fn dup(builder: &mut PlanBuilder<'_>) -> Emitted {
    let jobserver = match builder.options.jobserver {
        true => jobserver::found(&builder.plan.strings),
        false => Vec::new(),
    };
    let listed = source_fd::listed(builder.options, &jobserver)?;
    let mut wires = Vec::new();
    let mut roles = Vec::new();
    for to in 0..3u8 {
        let number = u32::from(to);
        let role = match builder.plan.stdio.get(usize::from(to)) {
            Some(Source::Null) => Role::Null,
            Some(Source::Piped) => Role::Pipe,
            Some(Source::Given(lent)) => {
                let lent = lent.clone();
                let by = option_of(builder, to);
                Role::Given(builder.give(lent, number, by)?)
            }
            Some(Source::Open(path, _)) => {
                let path = path.clone();
                Role::Path(builder.word(stdio_step(to), path.as_os_str())?)
            }
            _ => continue,
        };
        wires.push(builder.wire(number, role));
        roles.push(role);
    }
    for wanted in listed {
        let to = wanted.target.unsigned_abs();
        let role = builder.give(wanted.from.clone(), to, wanted.by)?;
        wires.push(builder.wire(to, Role::Given(role)));
        roles.push(Role::Given(role));
    }
    script(builder, &mut wires, &mut roles)?;
    let order = fds::order(&wires);
    for n in order.copied {
        if let Some(Role::Given(place)) = roles.get(n) {
            builder.plan.given[usize::from(*place)].copied = true;
        }
    }
    for n in order.places {
        if let (Some(wire), Some(role)) = (wires.get(n), roles.get(n)) {
            builder.push(Op::Dup { to: wire.to, role: *role });
        }
    }
    same(builder)
}

/// The program of a `#!` script stays open for its interpreter.
fn script(
    builder: &mut PlanBuilder<'_>,
    wires: &mut Vec<FdMapping>,
    roles: &mut Vec<Role>,
) -> Emitted {
    let Some(target) = builder.options.script_fd else { return Ok(()) };
    let refuse = |why| {
        Err(Error::refused(Step::ScriptFd, why).with(target.to_string()))
    };
    let Some(place) = builder.plan.program_fd else {
        return refuse("the program is given as a path");
    };
    let to = match u32::try_from(target) {
        Ok(to) if to >= 3 => to,
        _ => return refuse("its number is 3 or above"),
    };
    if wires.iter().any(|wire| wire.to == to) {
        return refuse("another option names that descriptor too");
    }
    builder.plan.given[usize::from(place)].target = Some(to);
    wires.push(builder.wire(to, Role::Given(place)));
    roles.push(Role::Given(place));
    Ok(())
}

/// The option that gave a standard descriptor.
fn option_of(builder: &PlanBuilder<'_>, n: u8) -> Step {
    let named = |w: &&FdRequest| w.target == i32::from(n);
    let wanted = builder.options.fds.iter().find(named);
    wanted.map_or(stdio_step(n), |wanted| wanted.by)
}

impl PlanBuilder<'_> {
    /// Notes a descriptor of the caller's.
    fn give(&mut self, lent: FdArg, to: u32, by: Step) -> Result<u16, Error> {
        let number = lent.number().unsigned_abs();
        let given = SourceFd::new(number, Some(to), by);
        self.lock_caches(SourceFd { lent: Some(lent), ..given })
    }

    pub(super) fn lock_caches(
        &mut self,
        given: SourceFd,
    ) -> Result<u16, Error> {
        let by = given.by;
        let place = u16::try_from(self.plan.given.len());
        let place = place.map_err(|_| {
            let why = "there are over 65,535 descriptors";
            Error::refused_as(by, libc::EMFILE, why)
        })?;
        self.plan.given.push(given);
        Ok(place)
    }

    fn wire(&self, to: u32, role: Role) -> FdMapping {
        let from = match role {
            Role::Given(place) => {
                let given = self.plan.given.get(usize::from(place));
                let lent = given.filter(|given| given.lent.is_some());
                lent.map(|given| given.number)
            }
            _ => None,
        };
        FdMapping { to, from }
    }
}

/// Those that are the same as another, after that other.
fn same(builder: &mut PlanBuilder<'_>) -> Emitted {
    let mut left = Vec::new();
    for to in 0..3u8 {
        let source = builder.plan.stdio.get(usize::from(to));
        let Some(Source::Same(from)) = source else { continue };
        let refuse = |why| {
            Err(Error::refused(stdio_step(to), why).with(from.to_string()))
        };
        let Some(from) = u8::try_from(*from).ok().filter(|n| *n < 3) else {
            return refuse("same_as: only 0, 1 and 2 can be named");
        };
        if matches!(
            builder.plan.stdio.get(usize::from(from)),
            Some(Source::Closed)
        ) {
            return refuse("same_as: that one is closed");
        }
        left.push((to, from));
    }
    while !left.is_empty() {
        let waits = |from: u8| left.iter().any(|(to, _)| *to == from);
        let ready = left.iter().position(|(_, from)| !waits(*from));
        let Some((to, from)) = ready.map(|n| left.remove(n)) else {
            let (to, from) = left.first().copied().unwrap_or_default();
            let why = "same_as: it is the same as itself in the end";
            let error = Error::refused(stdio_step(to), why);
            return Err(error.with(from.to_string()));
        };
        builder.push(Op::Dup { to: to.into(), role: Role::Same(from) });
    }
    Ok(())
}

pub(super) fn close(builder: &mut PlanBuilder<'_>) -> Emitted {
    for to in 0..3 {
        let source = builder.plan.stdio.get(usize::from(to));
        if let Some(Source::Closed) = source {
            builder.push(Op::Close { to });
        }
    }
    Ok(())
}

pub(super) fn close_gaps(builder: &mut PlanBuilder<'_>) -> Emitted {
    if !marks(builder) && !builder.options.unlisted {
        builder.push(Op::CloseGaps);
    }
    Ok(())
}

impl Plan {
    /// The numbers that the child's descriptors get, in ascending order; 0
    /// to 2 are always among them.
    pub(crate) fn targets(&self) -> Vec<u32> {
        let made = self.ops.iter().filter_map(|op| match op {
            Op::Dup { to, .. } => Some(*to),
            _ => None,
        });
        sorted((0..3).chain(made).collect())
    }

    /// Those, and what is open until exec for a step that needs it.
    pub(crate) fn kept(&self, strategy: Strategy) -> Vec<u32> {
        let held = self.given.iter().map(SourceFd::place);
        let isolated = strategy.engine == Engine::Isolated;
        let lent = self.helper_fds.into_iter().filter(|_| isolated);
        let held = held.chain(lent);
        sorted(self.targets().into_iter().chain(held).collect())
    }
}

fn sorted(mut all: Vec<u32>) -> Vec<u32> {
    all.sort_unstable();
    all.dedup();
    all
}
