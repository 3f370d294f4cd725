//! Mapping: the steps that create the child's descriptors.

use super::{jobserver, requests};
use crate::parent::command::StdioSource;
use crate::parent::error::{Error, Step};
use crate::parent::plan::fds::{self, FdMapping};
use crate::parent::plan::{FdSource, Op, Operand, PlanBuilder, stdio_step};
use crate::parent::std::{string::ToString, vec::Vec};

/// `dup3(source, target)` for each descriptor of the child.
pub(crate) fn dup(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = plan.options();
    let jobserver = match options.descriptors.jobserver {
        true => jobserver::found(&plan.plan.strings),
        false => Vec::new(),
    };
    let requests = requests::above_stdio(options, &jobserver)?;
    let mut all = Mappings::default();
    for to in 0..3u8 {
        let source = match plan.plan.stdio.get(usize::from(to)) {
            Some(StdioSource::Null) => FdSource::Null,
            Some(StdioSource::Piped) => FdSource::Pipe,
            Some(StdioSource::Fd(arg)) => {
                let (arg, by) = (arg.clone(), option_of(plan, to));
                FdSource::Fd(plan.source_fd(arg, to.into(), by)?)
            }
            Some(StdioSource::Open(path, _)) => {
                let path = path.clone();
                FdSource::Path(plan.text(stdio_step(to), path.as_os_str())?)
            }
            _ => continue,
        };
        all.add(plan, to.into(), source);
    }
    for request in requests {
        let to = request.target.unsigned_abs();
        let from = request.from.clone();
        let index = plan.source_fd(from, to, request.by)?;
        all.add(plan, to, FdSource::Fd(index));
    }
    script(plan, &mut all)?;
    record(plan, &all);
    same_as(plan)
}

/// The targets, each with its source.
#[derive(Default)]
struct Mappings {
    fds: Vec<FdMapping>,
    sources: Vec<FdSource>,
}

impl Mappings {
    fn add(&mut self, plan: &PlanBuilder<'_>, to: u32, source: FdSource) {
        let from = match source {
            FdSource::Fd(index) => {
                let source = plan.plan.source_fds.get(usize::from(index));
                let source = source.filter(|source| source.arg.is_some());
                source.map(|source| source.number)
            }
            _ => None,
        };
        self.fds.push(FdMapping { to, from });
        self.sources.push(source);
    }
}

/// Records the steps, in an order in which no source is overwritten before it
/// is read, and the sources that must be copied first.
fn record(plan: &mut PlanBuilder<'_>, all: &Mappings) {
    let order = fds::order(&all.fds);
    for n in order.copied {
        if let Some(FdSource::Fd(index)) = all.sources.get(n) {
            let source = plan.plan.source_fds.get_mut(usize::from(*index));
            source.into_iter().for_each(|source| source.copied = true);
        }
    }
    for n in order.indices {
        if let (Some(fd), Some(from)) = (all.fds.get(n), all.sources.get(n)) {
            dup_step(plan, fd.to, *from);
        }
    }
}

fn dup_step(plan: &mut PlanBuilder<'_>, to: u32, source: FdSource) {
    plan.op(Step::Dup, Operand::None, Op::Dup { to, source });
}

/// `script_fd`: the script stays open for its interpreter.
fn script(
    plan: &mut PlanBuilder<'_>,
    all: &mut Mappings,
) -> Result<(), Error> {
    let Some(target) = plan.options().program.script_fd else { return Ok(()) };
    let refuse = |why| {
        Err(Error::refused(Step::ScriptFd, why).with(target.to_string()))
    };
    let Some(index) = plan.plan.program_fd else {
        return refuse("the program is a path");
    };
    let to = match u32::try_from(target) {
        Ok(to) if to >= 3 => to,
        _ => return refuse("the number must be 3 or above"),
    };
    let opened = &plan.options().descriptors.opened;
    let opened = opened.iter().any(|it| it.target == target);
    if opened || all.fds.iter().any(|fd| fd.to == to) {
        return refuse("another option assigns that descriptor too");
    }
    let source = plan.plan.source_fds.get_mut(usize::from(index));
    source.into_iter().for_each(|source| source.target = Some(to));
    all.add(plan, to, FdSource::Fd(index));
    Ok(())
}

/// The option that sets a standard descriptor.
fn option_of(plan: &PlanBuilder<'_>, n: u8) -> Step {
    let mut all = plan.options().descriptors.fds.iter();
    let fd = all.find(|fd| fd.target == i32::from(n));
    fd.map_or(stdio_step(n), |fd| fd.by)
}

/// `same_as`: each copy follows the descriptor that it copies.
fn same_as(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let mut left = Vec::new();
    for to in 0..3u8 {
        let source = plan.plan.stdio.get(usize::from(to));
        let Some(StdioSource::SameAs(from)) = source else { continue };
        let refuse = |why| {
            Err(Error::refused(stdio_step(to), why).with(from.to_string()))
        };
        let Some(from) = u8::try_from(*from).ok().filter(|n| *n < 3) else {
            return refuse("same_as takes 0, 1 or 2");
        };
        let source = plan.plan.stdio.get(usize::from(from));
        if matches!(source, Some(StdioSource::Closed)) {
            return refuse("same_as: that descriptor is closed");
        }
        left.push((to, from));
    }
    while !left.is_empty() {
        let waits = |from: u8| left.iter().any(|(to, _)| *to == from);
        let ready = left.iter().position(|(_, from)| !waits(*from));
        let Some((to, from)) = ready.map(|n| left.remove(n)) else {
            let (to, from) = left.first().copied().unwrap_or_default();
            let why = "same_as: the copies form a cycle";
            return plan.refuse(stdio_step(to), why, from);
        };
        dup_step(plan, to.into(), FdSource::SameAs(from));
    }
    Ok(())
}

/// `close(to)`.
pub(crate) fn close(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    for (to, note) in
        [(0u8, "stdin: closed"), (1, "stdout: closed"), (2, "stderr: closed")]
    {
        let source = plan.plan.stdio.get(usize::from(to));
        if let Some(StdioSource::Closed) = source {
            let operand = Operand::Stdio(to);
            plan.op(Step::Close, operand, Op::Close { to }).note(note);
        }
    }
    Ok(())
}
