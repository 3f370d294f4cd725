//! Lowered: a plan's rows for each shape that it was launched in so far.

use core::mem;

use super::source_fds::SourceFds;
use super::status_page::{HelperImage, keep_rows, spare_rows};
use crate::call::{Call, Callback, Table, number};
use crate::launch::CALLBACKS;
use crate::launch::isolated::HelperRows;
use crate::parent::command::method::Engine;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::helper_layout::HelperLayout;
use crate::parent::plan::op::Op;
use crate::parent::plan::row_limit::MOST as MOST_ROWS;
use crate::parent::plan::step::StepRecord;
use crate::parent::plan::strategy::Strategy;
use crate::parent::plan::{Plan, lower};
use crate::parent::std::{
    boxed::Box,
    sync::{Arc, OnceLock},
    vec::Vec,
};

/// The rows of one shape; those of lesser shapes hang behind it, made when
/// the kernel refuses this one.
pub(super) struct CompiledPlan {
    pub(super) strategy: Strategy,
    pub(super) rows: Vec<Call>,
    callbacks: Vec<Callback>,
    /// How many of the rows run in this process's memory or a copy; the
    /// rest run in the image.
    here: usize,
    pub(super) image: Option<Arc<HelperImage>>,
    next: OnceLock<Box<CompiledPlan>>,
}

impl CompiledPlan {
    /// The plan's words are bound already. Nothing is verified here but an
    /// image: each launch does, as only a [`Table`] can be launched.
    pub(super) fn new(
        plan: &Plan,
        strategy: Strategy,
        source_fds: &SourceFds,
    ) -> Result<CompiledPlan, Error> {
        let spare = match strategy.engine {
            Engine::Isolated => spare_rows(),
            _ => Vec::new(),
        };
        let mut rows = lower::lower(plan, strategy, spare);
        if rows.len() > MOST_ROWS {
            return Err(plan.too_many_rows());
        }
        let mut callbacks = Vec::new();
        if strategy.no_close_range || !plan.hooks.is_empty() {
            callbacks.extend(CALLBACKS);
            callbacks.extend(plan.hooks.iter().map(|hook| hook.callback()));
        }
        let enters = |row: &Call| {
            let step = plan.steps.get(usize::from(row.step));
            step.and_then(StepRecord::op) == Some(Op::ExecHelper)
        };
        let enter = rows.iter().rposition(enters);
        let here = enter.map_or(rows.len(), |at| at + 1);
        let (text, lists) = plan.strings.addresses();
        let at = callbacks.as_ptr().expose_provenance() as u64;
        lower::relocate(&mut rows[..here], text, lists, at);
        let (image, next) = (None, OnceLock::new());
        let mut compiled =
            CompiledPlan { strategy, rows, callbacks, here, image, next };
        if let (Some(first), true) = (compiled.first(), enter.is_some()) {
            let [page, _] = plan.helper_fds;
            let inside = compiled.rows.get_mut(here..).unwrap_or_default();
            let parts = HelperLayout::new(plan, inside, page);
            compiled.image = Some(HelperImage::of(&parts, first, source_fds)?);
        }
        Ok(compiled)
    }

    /// Gives back what another launch can use.
    pub(super) fn give_back(&mut self) {
        if self.image.is_some() {
            keep_rows(mem::take(&mut self.rows));
        }
    }

    /// The rows of the image.
    fn inside(&self) -> &[Call] {
        self.rows.get(self.here..).unwrap_or_default()
    }

    fn first(&self) -> Option<u16> {
        u16::try_from(self.here + 1).ok()
    }

    /// Which rows the image runs.
    pub(super) fn within(&self) -> HelperRows {
        let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
        let exec = self.inside().iter().find(|row| execs.contains(&row.nr));
        HelperRows {
            first: self.first().unwrap_or_default().into(),
            exec: exec.map_or(u32::MAX, |row| row.row.into()),
        }
    }

    /// The rows for a shape, made if this is the first launch in it.
    pub(super) fn of(
        &self,
        plan: &Plan,
        strategy: Strategy,
        source_fds: &SourceFds,
    ) -> Result<&CompiledPlan, Error> {
        let mut compiled = self;
        while compiled.strategy != strategy {
            if compiled.next.get().is_none() {
                // Another thread may be first, with this shape or another.
                let made = CompiledPlan::new(plan, strategy, source_fds)?;
                // Another thread may use it.
                made.image.iter().for_each(|image| image.note());
                let _ = compiled.next.set(Box::new(made));
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
        let rows = self.rows.get(..self.here).unwrap_or_default();
        Table::new(rows, text, lists, &self.callbacks)
            .map_err(|error| Error::new(Step::Plan, Cause::VerifyError(error)))
    }

    /// A row by its place, counted from 1.
    pub(super) fn row(&self, place: u32) -> Option<&Call> {
        self.rows.get((place as usize).checked_sub(1)?)
    }

    /// Where the rows of a step begin, counted from 1.
    pub(super) fn place(&self, step: u16) -> u16 {
        let row = self.rows.iter().find(|row| row.step == step);
        row.map_or(1, |row| row.row)
    }

    /// The step that a row belongs to.
    pub(super) fn step<'p>(
        &self,
        plan: &'p Plan,
        place: u32,
    ) -> Option<&'p StepRecord> {
        plan.steps.get(usize::from(self.row(place)?.step))
    }

    /// As `step`, where its rows depend on the strategy.
    pub(super) fn op(&self, plan: &Plan, place: u32) -> Option<Op> {
        self.step(plan, place)?.op()
    }
}
