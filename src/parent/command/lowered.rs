//! Lowered: a plan's rows for each shape that it was launched in so far.

use crate::call::{Call, Entry, Table};
use crate::launch::CLOSERS;
use crate::op::Op;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::shape::Shape;
use crate::parent::plan::{Plan, lower};
use crate::parent::std::{boxed::Box, sync::OnceLock, vec::Vec};

/// The rows of one shape; those of lesser shapes hang behind it, made when
/// the kernel refuses this one.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) shape: Shape,
    pub(super) rows: Vec<Call>,
    entries: Vec<Entry>,
    next: OnceLock<Box<Lowered>>,
}

impl Lowered {
    /// The plan's words are bound already.
    pub(super) fn new(plan: &Plan, shape: Shape) -> Result<Lowered, Error> {
        let mut rows = lower::lower(plan, shape);
        let mut entries = Vec::new();
        if shape.listed || !plan.hooks.is_empty() {
            entries.extend(CLOSERS);
            entries.extend(plan.hooks.iter().map(|hook| hook.entry()));
        }
        let (text, lists) = plan.words.places();
        let at = entries.as_ptr().expose_provenance() as u64;
        lower::bind(&mut rows, text, lists, at);
        let next = OnceLock::new();
        let lowered = Lowered { shape, rows, entries, next };
        lowered.table(plan)?;
        Ok(lowered)
    }

    /// The rows for a shape, made if this is the first launch in it.
    pub(super) fn of(
        &self,
        plan: &Plan,
        shape: Shape,
    ) -> Result<&Lowered, Error> {
        let mut lowered = self;
        while lowered.shape != shape {
            if lowered.next.get().is_none() {
                // Another thread may be first, with this shape or another.
                let made = Lowered::new(plan, shape)?;
                let _ = lowered.next.set(Box::new(made));
            }
            match lowered.next.get() {
                Some(next) => lowered = next,
                None => break,
            }
        }
        Ok(lowered)
    }

    pub(super) fn table<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> Result<Table<'a>, Error> {
        let (text, lists) = (plan.words.text(), plan.words.lists());
        Table::new(&self.rows, text, lists, &self.entries)
            .map_err(|flaw| Error::new(Step::Plan, Cause::Flaw(flaw)))
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
    pub(super) fn op(&self, plan: &Plan, place: u32) -> Option<Op> {
        let row = self.row(place)?;
        plan.ops.get(usize::from(row.step)).copied()
    }
}
