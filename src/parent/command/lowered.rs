//! Lowered: a plan's rows for each shape that it was launched in so far.

use core::mem;

use super::held::Held;
use super::page::{Image, keep_rows, spare_rows};
use crate::call::{Call, Entry, Table, number};
use crate::launch::ENTRIES;
use crate::launch::isolated::Inside;
use crate::op::Op;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::image::Parts;
use crate::parent::plan::method::Engine;
use crate::parent::plan::room::MOST as MOST_ROWS;
use crate::parent::plan::shape::Shape;
use crate::parent::plan::{Plan, lower};
use crate::parent::std::{
    boxed::Box,
    sync::{Arc, OnceLock},
    vec::Vec,
};

/// The rows of one shape; those of lesser shapes hang behind it, made when
/// the kernel refuses this one.
pub(super) struct Lowered {
    pub(super) shape: Shape,
    pub(super) rows: Vec<Call>,
    entries: Vec<Entry>,
    /// How many of the rows run in this process's memory or a copy; the
    /// rest run in the image.
    here: usize,
    pub(super) image: Option<Arc<Image>>,
    next: OnceLock<Box<Lowered>>,
}

impl Lowered {
    /// The plan's words are bound already. Nothing is verified here but an
    /// image: each launch does, as only a [`Table`] can be launched.
    pub(super) fn new(
        plan: &Plan,
        shape: Shape,
        held: &Held,
    ) -> Result<Lowered, Error> {
        let spare = match shape.engine {
            Engine::Isolated => spare_rows(),
            _ => Vec::new(),
        };
        let mut rows = lower::lower(plan, shape, spare);
        if rows.len() > MOST_ROWS {
            return Err(plan.crowded());
        }
        let mut entries = Vec::new();
        if shape.listed || !plan.hooks.is_empty() {
            entries.extend(ENTRIES);
            entries.extend(plan.hooks.iter().map(|hook| hook.entry()));
        }
        let enters = |row: &Call| {
            let op = plan.ops.get(usize::from(row.step));
            op == Some(&Op::Enter)
        };
        let enter = rows.iter().rposition(enters);
        let here = enter.map_or(rows.len(), |at| at + 1);
        let (text, lists) = plan.words.places();
        let at = entries.as_ptr().expose_provenance() as u64;
        lower::bind(&mut rows[..here], text, lists, at);
        let (image, next) = (None, OnceLock::new());
        let mut lowered = Lowered { shape, rows, entries, here, image, next };
        if let (Some(first), true) = (lowered.first(), enter.is_some()) {
            let [page, _] = plan.lent;
            let inside = lowered.rows.get_mut(here..).unwrap_or_default();
            let parts = Parts::new(plan, inside, page);
            lowered.image = Some(Image::of(&parts, first, held)?);
        }
        Ok(lowered)
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
    pub(super) fn within(&self) -> Inside {
        let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
        let exec = self.inside().iter().find(|row| execs.contains(&row.nr));
        Inside {
            first: self.first().unwrap_or_default().into(),
            exec: exec.map_or(u32::MAX, |row| row.row.into()),
        }
    }

    /// The rows for a shape, made if this is the first launch in it.
    pub(super) fn of(
        &self,
        plan: &Plan,
        shape: Shape,
        held: &Held,
    ) -> Result<&Lowered, Error> {
        let mut lowered = self;
        while lowered.shape != shape {
            if lowered.next.get().is_none() {
                // Another thread may be first, with this shape or another.
                let made = Lowered::new(plan, shape, held)?;
                // Another thread may use it.
                made.image.iter().for_each(|image| image.note());
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
        let rows = self.rows.get(..self.here).unwrap_or_default();
        Table::new(rows, text, lists, &self.entries)
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
