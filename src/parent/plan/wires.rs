//! Wires: the steps that make the child's descriptors from others.

use super::emit::{Emitted, marks};
use super::fds::{self, Wire};
use super::given::Given;
use super::method::Engine;
use super::shape::Shape;
use super::{Draft, Plan, given, jobserver, stdio_step};
use crate::op::{Op, Role};
use crate::parent::error::{Error, Step};
use crate::parent::std::{string::ToString, vec::Vec};
use crate::parent::stdio::{Lent, Source};

pub(super) fn dup(draft: &mut Draft<'_>) -> Emitted {
    let jobserver = match draft.wishes.jobserver {
        true => jobserver::found(&draft.plan.words),
        false => Vec::new(),
    };
    let listed = given::listed(draft.wishes, &jobserver)?;
    let mut wires = Vec::new();
    let mut roles = Vec::new();
    for to in 0..3u8 {
        let number = u32::from(to);
        let role = match draft.plan.stdio.get(usize::from(to)) {
            Some(Source::Null) => Role::Null,
            Some(Source::Piped) => Role::Pipe,
            Some(Source::Given(lent)) => {
                let lent = lent.clone();
                let by = option_of(draft, to);
                Role::Given(draft.give(lent, number, by)?)
            }
            Some(Source::Open(path, _)) => {
                let path = path.clone();
                Role::Path(draft.word(stdio_step(to), path.as_os_str())?)
            }
            _ => continue,
        };
        wires.push(draft.wire(number, role));
        roles.push(role);
    }
    for wanted in listed {
        let to = wanted.target.unsigned_abs();
        let role = draft.give(wanted.from.clone(), to, wanted.by)?;
        wires.push(draft.wire(to, Role::Given(role)));
        roles.push(Role::Given(role));
    }
    script(draft, &mut wires, &mut roles)?;
    let order = fds::order(&wires);
    for n in order.copied {
        if let Some(Role::Given(place)) = roles.get(n) {
            draft.plan.given[usize::from(*place)].copied = true;
        }
    }
    for n in order.places {
        if let (Some(wire), Some(role)) = (wires.get(n), roles.get(n)) {
            draft.push(Op::Dup { to: wire.to, role: *role });
        }
    }
    same(draft)
}

/// The program of a `#!` script stays open for its interpreter.
fn script(
    draft: &mut Draft<'_>,
    wires: &mut Vec<Wire>,
    roles: &mut Vec<Role>,
) -> Emitted {
    let Some(target) = draft.wishes.script_fd else { return Ok(()) };
    let refuse = |why| {
        Err(Error::refused(Step::ScriptFd, why).with(target.to_string()))
    };
    let Some(place) = draft.plan.program_fd else {
        return refuse("the program is given as a path");
    };
    let to = match u32::try_from(target) {
        Ok(to) if to >= 3 => to,
        _ => return refuse("its number is 3 or above"),
    };
    if wires.iter().any(|wire| wire.to == to) {
        return refuse("another option names that descriptor too");
    }
    draft.plan.given[usize::from(place)].target = Some(to);
    wires.push(draft.wire(to, Role::Given(place)));
    roles.push(Role::Given(place));
    Ok(())
}

/// The option that gave a standard descriptor.
fn option_of(draft: &Draft<'_>, n: u8) -> Step {
    let named = |w: &&given::Wanted| w.target == i32::from(n);
    let wanted = draft.wishes.fds.iter().find(named);
    wanted.map_or(stdio_step(n), |wanted| wanted.by)
}

impl Draft<'_> {
    /// Notes a descriptor of the caller's.
    fn give(&mut self, lent: Lent, to: u32, by: Step) -> Result<u16, Error> {
        let number = lent.number().unsigned_abs();
        let given = Given::new(number, Some(to), by);
        self.hold(Given { lent: Some(lent), ..given })
    }

    pub(super) fn hold(&mut self, given: Given) -> Result<u16, Error> {
        let by = given.by;
        let place = u16::try_from(self.plan.given.len());
        let place = place.map_err(|_| {
            let why = "there are over 65,535 descriptors";
            Error::refused_as(by, libc::EMFILE, why)
        })?;
        self.plan.given.push(given);
        Ok(place)
    }

    fn wire(&self, to: u32, role: Role) -> Wire {
        let from = match role {
            Role::Given(place) => {
                let given = self.plan.given.get(usize::from(place));
                let lent = given.filter(|given| given.lent.is_some());
                lent.map(|given| given.number)
            }
            _ => None,
        };
        Wire { to, from }
    }
}

/// Those that are the same as another, after that other.
fn same(draft: &mut Draft<'_>) -> Emitted {
    let mut left = Vec::new();
    for to in 0..3u8 {
        let source = draft.plan.stdio.get(usize::from(to));
        let Some(Source::Same(from)) = source else { continue };
        let refuse = |why| {
            Err(Error::refused(stdio_step(to), why).with(from.to_string()))
        };
        let Some(from) = u8::try_from(*from).ok().filter(|n| *n < 3) else {
            return refuse("same_as: only 0, 1 and 2 can be named");
        };
        if matches!(
            draft.plan.stdio.get(usize::from(from)),
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
        draft.push(Op::Dup { to: to.into(), role: Role::Same(from) });
    }
    Ok(())
}

pub(super) fn close(draft: &mut Draft<'_>) -> Emitted {
    for to in 0..3 {
        let source = draft.plan.stdio.get(usize::from(to));
        if let Some(Source::Closed) = source {
            draft.push(Op::Close { to });
        }
    }
    Ok(())
}

pub(super) fn close_gaps(draft: &mut Draft<'_>) -> Emitted {
    if !marks(draft) && !draft.wishes.unlisted {
        draft.push(Op::CloseGaps);
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
    pub(crate) fn kept(&self, shape: Shape) -> Vec<u32> {
        let held = self.given.iter().map(Given::place);
        let isolated = shape.engine == Engine::Isolated;
        let lent = self.lent.into_iter().filter(|_| isolated);
        let held = held.chain(lent);
        sorted(self.targets().into_iter().chain(held).collect())
    }
}

fn sorted(mut all: Vec<u32>) -> Vec<u32> {
    all.sort_unstable();
    all.dedup();
    all
}
