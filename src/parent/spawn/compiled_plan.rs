//! `CompiledPlan`: a plan's rows for each strategy it was launched with.

use core::mem;

use super::helper_image::{HelperImage, recycle_row_buffer, take_row_buffer};
use super::source_fds::SourceFds;
use crate::call::{Call, Callback, Table, number};
use crate::launch::CALLBACKS;
use crate::launch::isolated::HelperRows;
use crate::parent::command::Engine;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::helper_layout::HelperLayout;
use crate::parent::plan::row_limit::MOST as MOST_ROWS;
use crate::parent::plan::{Op, Plan, StepRecord, Strategy, lower};
use crate::parent::std::{
    boxed::Box,
    sync::{Arc, OnceLock},
    vec::Vec,
};

/// The rows for one strategy, and a list of those for its fallbacks, which
/// are compiled when they are first used.
pub(super) struct CompiledPlan {
    pub(super) strategy: Strategy,
    pub(super) rows: Vec<Call>,
    callbacks: Vec<Callback>,
    /// How many rows run in this process's memory or a copy of it; the
    /// others run in the helper.
    in_process: usize,
    pub(super) image: Option<Arc<HelperImage>>,
    next: OnceLock<Box<CompiledPlan>>,
}

impl CompiledPlan {
    /// The plan's strings are relocated already. Verifies the helper's rows
    /// only: each launch verifies the others, as it needs a [`Table`].
    pub(super) fn new(
        plan: &Plan,
        strategy: Strategy,
        source_fds: &SourceFds,
    ) -> Result<CompiledPlan, Error> {
        let buffer = match strategy.engine {
            Engine::Isolated => take_row_buffer(),
            _ => Vec::new(),
        };
        let mut rows = lower::lower(plan, strategy, buffer);
        if rows.len() > MOST_ROWS {
            return Err(plan.too_many_rows());
        }
        let mut callbacks = Vec::new();
        if strategy.no_close_range || !plan.hooks.is_empty() {
            callbacks.extend(CALLBACKS);
            callbacks.extend(plan.hooks.iter().map(|hook| hook.callback()));
        }
        let execs_helper = |row: &Call| {
            let step = plan.steps.get(usize::from(row.step));
            step.and_then(StepRecord::op) == Some(Op::ExecHelper)
        };
        let last = rows.iter().rposition(execs_helper);
        let in_process = last.map_or(rows.len(), |at| at + 1);
        let (text, lists) = plan.strings.addresses();
        let at = callbacks.as_ptr().expose_provenance() as u64;
        lower::relocate(&mut rows[..in_process], text, lists, at);
        let (image, next) = (None, OnceLock::new());
        let mut compiled = CompiledPlan {
            strategy,
            rows,
            callbacks,
            in_process,
            image,
            next,
        };
        if let (Some(first), true) = (compiled.helper_start(), last.is_some())
        {
            let [page, _] = plan.helper_fds;
            let rows = compiled.rows.get_mut(in_process..).unwrap_or_default();
            let layout = HelperLayout::new(plan, rows, page);
            let image = HelperImage::with_layout(&layout, first, source_fds)?;
            compiled.image = Some(image);
        }
        Ok(compiled)
    }

    /// Caches what another launch can use.
    pub(super) fn recycle(&mut self) {
        if self.image.is_some() {
            recycle_row_buffer(mem::take(&mut self.rows));
        }
    }

    /// The helper's first row.
    fn helper_start(&self) -> Option<u16> {
        u16::try_from(self.in_process + 1).ok()
    }

    /// Returns which rows the helper runs.
    pub(super) fn helper_rows(&self) -> HelperRows {
        let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
        let rows = self.rows.get(self.in_process..).unwrap_or_default();
        let exec = rows.iter().find(|row| execs.contains(&row.nr));
        HelperRows {
            first: self.helper_start().unwrap_or_default().into(),
            exec: exec.map_or(u32::MAX, |row| row.row.into()),
        }
    }

    /// Returns the rows for a strategy, which are compiled if this is the
    /// first launch with it.
    pub(super) fn for_strategy(
        &self,
        plan: &Plan,
        strategy: Strategy,
        source_fds: &SourceFds,
    ) -> Result<&CompiledPlan, Error> {
        let mut compiled = self;
        while compiled.strategy != strategy {
            if compiled.next.get().is_none() {
                let next = CompiledPlan::new(plan, strategy, source_fds)?;
                // Another thread may use it.
                next.image.iter().for_each(|image| image.record_file());
                // Another thread may be first, with any strategy.
                let _ = compiled.next.set(Box::new(next));
            }
            match compiled.next.get() {
                Some(next) => compiled = next,
                None => break,
            }
        }
        Ok(compiled)
    }

    pub(super) fn table<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> Result<Table<'a>, Error> {
        let (text, lists) = (plan.strings.text(), plan.strings.lists());
        let rows = self.rows.get(..self.in_process).unwrap_or_default();
        Table::with_raw(rows, text, lists, &self.callbacks, &plan.raw)
            .map_err(|error| Error::new(Step::Plan, Cause::VerifyError(error)))
    }

    /// Returns a row by its number, counted from 1.
    pub(super) fn row(&self, number: u32) -> Option<&Call> {
        self.rows.get((number as usize).checked_sub(1)?)
    }

    /// Returns the number of a step's first row.
    pub(super) fn first_row(&self, step: u16) -> u16 {
        let row = self.rows.iter().find(|row| row.step == step);
        row.map_or(1, |row| row.row)
    }

    /// Returns the step that a row belongs to.
    pub(super) fn step<'p>(
        &self,
        plan: &'p Plan,
        row: u32,
    ) -> Option<&'p StepRecord> {
        plan.steps.get(usize::from(self.row(row)?.step))
    }

    /// As `step`, if its rows depend on the strategy.
    pub(super) fn op(&self, plan: &Plan, row: u32) -> Option<Op> {
        self.step(plan, row)?.op()
    }
}
