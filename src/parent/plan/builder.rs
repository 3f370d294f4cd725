//! `PlanBuilder`: what the families of options write their steps into.

use core::mem;

use super::end_flags::end_flags;
use super::fixed_strings;
use super::needs::Needs;
use super::op::{Op, Str};
use super::parentage::Parentage;
use super::source_fd::SourceFd;
use super::step::{Detail, Effect, Operand, Reasons, Rows, StepRecord};
use super::strategy::Strategy;
use super::strings::StringTable;
use super::{Plan, choose};
use crate::call::{Call, Check, ROW, local, number, slot};
use crate::parent::command::{FdArg, Ids, Options, SignalSet, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::std::{
    boxed::Box, ffi::OsStr, os::unix::ffi::OsStrExt, string::ToString,
    vec::Vec,
};
use crate::sys::abi::{CAPS_HEADER, PROC_SUPER_MAGIC};
use crate::sys::{CloneFlags, bits};

/// `capget`'s header, for the calling process, and room for what follows.
const CAPS_ARGUMENT: [u32; 6] = [CAPS_HEADER, 0, 0, 0, 0, 0];

/// A plan that is being built, step by step in the order of the child.
pub(crate) struct PlanBuilder<'a> {
    options: &'a Options,
    in_place: bool,
    pub(crate) needs: Needs,
    pub(crate) plan: Box<Plan>,
    /// The ids that the options mean.
    pub(crate) ids: Ids,
    /// The row of the order table that is being recorded.
    pub(crate) name: &'static str,
    /// Whether steps that are recorded now may fail.
    optional: bool,
}

impl<'a> PlanBuilder<'a> {
    pub(crate) fn new(
        options: &'a Options,
        in_place: bool,
        stdio: [StdioSource; 3],
    ) -> PlanBuilder<'a> {
        let launch = &options.launch;
        let plan = Box::new(Plan {
            strategy: Strategy::suspended(in_place),
            any_method: choose::any_method(options),
            any_engine: true,
            beside: false,
            steps: Vec::with_capacity(24),
            rows: Vec::with_capacity(32),
            strings: StringTable::new(),
            stdio,
            source_fds: Vec::new(),
            opened: opened(options),
            file_limit: None,
            death_signal: None,
            program_fd: None,
            program_source: options.program.source.clone(),
            helper_fds: [0; 2],
            caps_header: fixed_strings::ZEROS,
            helper_lists: (0, 0),
            proc_path: fixed_strings::ZEROS,
            tries_all: false,
            argvs: Vec::new(),
            shell_fallback: options.program.shell_fallback,
            listens: options.descriptors.listen.is_some(),
            program: fixed_strings::ZEROS,
            defaults: SignalSet::empty(),
            ignored: SignalSet::empty(),
            parent_death: None,
            mask: None,
            hooks: options.hooks.child.clone(),
            filters: Vec::new(),
            listener: false,
            raw: Vec::new(),
            parent_hooks: options.hooks.parent.clone(),
            cgroup: launch.own_cgroup.clone().or(launch.cgroup.clone()),
            owns_cgroup: launch.own_cgroup.is_some(),
            traced: false,
            parentage: Parentage::Child,
            landlock: None,
            landlock_lacks: None,
            hides_root: false,
            set_tid: options.launch.set_tid.clone(),
            end_flags: CloneFlags::empty(),
            namespaces: CloneFlags::empty(),
            retry_again: options.launch.retry_again,
        });
        let needs = Needs::default();
        PlanBuilder {
            options,
            in_place,
            ids: Ids::default(),
            needs,
            plan,
            name: "",
            optional: false,
        }
    }

    /// Chooses the strategy, now that it is known what the steps need.
    pub(crate) fn finish(mut self) -> Result<Box<Plan>, Error> {
        let PlanBuilder { options, in_place, needs, .. } = self;
        let plan = &mut self.plan;
        plan.strategy = choose::choose(options, &needs, in_place)?;
        plan.any_engine = choose::any_engine(options, &needs);
        plan.beside = choose::beside(options, &needs).is_none();
        plan.end_flags = end_flags(options, plan)?;
        if plan.strategy.has_helper() {
            let header = plan.strings.numbers(&CAPS_ARGUMENT);
            let header = header.map_err(|why| why.of(Step::Image, ""));
            plan.caps_header = header?;
            plan.helper_lists = plan.strings.helper_lists();
        }
        plan.has_room()?;
        Ok(self.plan)
    }

    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// Records the steps of other options, which may fail in the child.
    pub(crate) fn optional(
        &mut self,
        options: &'a Options,
        record: fn(&mut PlanBuilder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let own = mem::replace(&mut self.options, options);
        self.optional = true;
        let recorded = record(self);
        (self.options, self.optional) = (own, false);
        recorded
    }

    /// Whether a row of the order table has recorded a step.
    pub(crate) fn has_step(&self, name: &str) -> bool {
        self.plan.steps.iter().any(|record| record.name == name)
    }

    /// Whether the steps run in this process, without a child.
    pub(crate) fn in_place(&self) -> bool {
        self.in_place
    }

    /// Records a step, which an error of it is named after.
    pub(crate) fn step(
        &mut self,
        step: Step,
        operand: Operand,
    ) -> StepBuilder<'_> {
        let from = u16::try_from(self.plan.rows.len()).unwrap_or(u16::MAX);
        self.record(step, operand, Rows::Fixed { from, count: 0 })
    }

    /// Records a step whose rows depend on the strategy.
    pub(crate) fn op(
        &mut self,
        step: Step,
        operand: Operand,
        op: Op,
    ) -> StepBuilder<'_> {
        self.record(step, operand, Rows::Lowered(op))
    }

    fn record(
        &mut self,
        step: Step,
        operand: Operand,
        rows: Rows,
    ) -> StepBuilder<'_> {
        self.plan.steps.push(StepRecord {
            name: self.name,
            step,
            operand,
            detail: Detail::None,
            call: "",
            note: "",
            rows,
            effect: Effect::None,
            reasons: &[],
            runs: |_| true,
            optional: self.optional,
        });
        let at = self.plan.steps.len() - 1;
        StepBuilder { plan: &mut self.plan, needs: &mut self.needs, at }
    }

    /// Refuses an option, with the value that it was given.
    pub(crate) fn refuse<T>(
        &self,
        step: Step,
        why: &'static str,
        operand: impl ToString,
    ) -> Result<T, Error> {
        Err(Error::refused(step, why).with(operand.to_string()))
    }

    /// Puts a string of an option into the string table.
    pub(crate) fn text(
        &mut self,
        step: Step,
        string: &OsStr,
    ) -> Result<Str, Error> {
        let put = self.plan.strings.put(&[string.as_bytes()]);
        put.map_err(|why| why.of(step, string))
    }

    /// Puts a structure of 64-bit numbers into the string table.
    pub(crate) fn words(
        &mut self,
        step: Step,
        words: &[u64],
    ) -> Result<Str, Error> {
        let low = |n: u64| {
            u32::try_from(n & u64::from(u32::MAX)).unwrap_or_default()
        };
        let halves = words.iter().flat_map(|n| [low(*n), low(n >> 32)]);
        let halves: Vec<u32> = halves.collect();
        let put = self.plan.strings.numbers(&halves);
        put.map_err(|why| why.of(step, ""))
    }

    /// Records a descriptor of the caller's that becomes `to` in the child.
    pub(crate) fn source_fd(
        &mut self,
        from: FdArg,
        to: u32,
        by: Step,
    ) -> Result<u16, Error> {
        let number = from.number().unsigned_abs();
        let source = SourceFd::new(number, Some(to), by);
        self.keep_fd(SourceFd { arg: Some(from), ..source })
    }

    /// Records a source descriptor: its index in the plan.
    pub(crate) fn keep_fd(&mut self, source: SourceFd) -> Result<u16, Error> {
        let by = source.by;
        let index = u16::try_from(self.plan.source_fds.len());
        let index = index.map_err(|_| {
            let why = "more than 65,535 descriptors";
            Error::refused_as(by, libc::EMFILE, why)
        })?;
        self.plan.source_fds.push(source);
        Ok(index)
    }
}

fn opened(options: &Options) -> Vec<u32> {
    let opened = options.descriptors.opened.iter();
    opened.map(|request| request.target.unsigned_abs()).collect()
}

/// An argument of a row: a value, or what is known only when the plan is
/// launched.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg {
    Value(u64),
    /// The address of a string.
    Text(Str),
    /// The address of a list, by its offset.
    List(u64),
    /// The number of a source descriptor in the child.
    Fd(u16),
    /// What a slot of the block holds.
    Slot(u8),
}

impl From<u32> for Arg {
    fn from(value: u32) -> Arg {
        Arg::Value(value.into())
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Arg {
        Arg::Value(bits(value.into()))
    }
}

impl From<Str> for Arg {
    fn from(text: Str) -> Arg {
        Arg::Text(text)
    }
}

/// A row that makes a system call and must succeed; see [`Call`] for what
/// else can be set.
pub(crate) fn row(nr: libc::c_long, args: &[Arg]) -> Call {
    local_row(number(nr), args)
}

/// A row of [`local`](crate::call::local).
pub(crate) fn local_row(nr: u32, args: &[Arg]) -> Call {
    let mut row = Call::new(nr, [0; 6]);
    for (n, (to, from)) in row.args.iter_mut().zip(args).enumerate() {
        let bit = 1 << n;
        *to = match *from {
            Arg::Value(value) => value,
            Arg::Text(text) => {
                row.texts |= bit;
                text.start.into()
            }
            Arg::List(at) => {
                row.lists |= bit;
                at
            }
            Arg::Fd(index) => {
                row.fds |= bit;
                index.into()
            }
            Arg::Slot(slot) => {
                row.slots |= bit;
                slot.into()
            }
        };
    }
    row
}

/// Adds rows and descriptions to the step that was recorded last.
pub(crate) struct StepBuilder<'p> {
    plan: &'p mut Plan,
    needs: &'p mut Needs,
    at: usize,
}

impl StepBuilder<'_> {
    fn set(self, change: impl FnOnce(&mut StepRecord)) -> Self {
        if let Some(record) = self.plan.steps.get_mut(self.at) {
            change(record);
        }
        self
    }

    /// A system call that must succeed.
    pub(crate) fn call(self, nr: libc::c_long, args: &[Arg]) -> Self {
        self.row(row(nr, args))
    }

    pub(crate) fn row(self, row: Call) -> Self {
        self.plan.rows.push(row);
        self.set(|record| {
            if let Rows::Fixed { count, .. } = &mut record.rows {
                *count += 1;
            }
        })
    }

    /// Calls on a descriptor that the row before has stored in a slot, and its
    /// close. The first call that fails skips the others; its result, or that
    /// of the last, is checked after the close, so that a failed `exec` leaves
    /// no descriptor behind.
    pub(crate) fn on_opened(self, fd: u8, calls: &[Call]) -> Self {
        const RESULT: u8 = slot::SCRATCH + 1;
        let mut step = self;
        for (n, call) in (1..).zip(calls) {
            let rest = u16::try_from(calls.len() - n).unwrap_or_default();
            let kept = Call {
                check: Check::May,
                store: RESULT,
                skip: rest * ROW,
                ..*call
            };
            let checked = [Check::Must, Check::Equal].contains(&call.check);
            step = step.row(if checked { kept } else { *call });
        }
        let last = calls.last().map(|call| (call.check, call.want));
        let (check, want) = last.unwrap_or((Check::Must, 0));
        let result = local_row(local::VALUE, &[Arg::Slot(RESULT)]);
        step.call(libc::SYS_close, &[Arg::Slot(fd)]).row(Call {
            check,
            want,
            ..result
        })
    }

    /// As `on_opened` for one call, if the file is one of procfs: another file
    /// system may have any file at its path. Uses `SCRATCH`.
    pub(crate) fn on_procfs(self, fd: u8, call: Call) -> Self {
        let stat = [Arg::Slot(fd), Arg::Slot(slot::SCRATCH_ADDR)];
        let kind = local_row(local::VALUE, &[Arg::Slot(slot::SCRATCH)]);
        let other = bits(-i64::from(libc::EOPNOTSUPP));
        let calls = [
            row(libc::SYS_fstatfs, &stat),
            Call {
                check: Check::Skip,
                want: PROC_SUPER_MAGIC.into(),
                skip: ROW,
                ..kind
            },
            local_row(local::VALUE, &[Arg::Value(other)]),
            call,
        ];
        self.on_opened(fd, &calls)
    }

    /// The call that a plan shows; without it, the name of the step.
    pub(crate) fn shown_as(self, call: &'static str) -> Self {
        self.set(|record| record.call = call)
    }

    /// The purpose that a plan shows.
    pub(crate) fn note(self, note: &'static str) -> Self {
        self.set(|record| record.note = note)
    }

    pub(crate) fn detail(self, detail: Detail) -> Self {
        self.set(|record| record.detail = detail)
    }

    pub(crate) fn effect(self, effect: Effect) -> Self {
        self.set(|record| record.effect = effect)
    }

    pub(crate) fn reasons(self, reasons: Reasons) -> Self {
        self.set(|record| record.reasons = reasons)
    }

    pub(crate) fn runs(self, runs: fn(Strategy) -> bool) -> Self {
        self.set(|record| record.runs = runs)
    }

    /// The option needs memory of the child's own.
    pub(crate) fn needs_private(
        self,
        option: &'static str,
        why: &'static str,
    ) -> Self {
        self.needs.private(option, why);
        self
    }

    /// With shared memory, the option needs a suspended caller.
    pub(crate) fn needs_suspended(
        self,
        option: &'static str,
        why: &'static str,
    ) -> Self {
        self.needs.suspended(option, why);
        self
    }
}
