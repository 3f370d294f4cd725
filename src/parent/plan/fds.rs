//! Fds: in which order descriptors become others, and what is closed. Pure.
//!
//! The child makes its descriptors by one `dup3` each, with no temporary of
//! its own. Where targets are sources of each other (a swap, a rotation) no
//! order serves: then one source of each circle is read from a copy that the
//! parent makes beforehand, at a number that is nobody's target.

#[cfg(any(test, fuzzing))]
pub(crate) mod model;

use crate::parent::std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// One descriptor of the child's: its number, and that of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdMapping {
    pub(crate) to: u32,
    /// `None` if the source is made later: at a number that is no target.
    pub(crate) from: Option<u32>,
}

impl FdMapping {
    /// A descriptor that stays what it is needs no place in the order.
    fn moves(self) -> Option<(u32, Option<u32>)> {
        (self.from != Some(self.to)).then_some((self.to, self.from))
    }
}

/// The order in which wires are made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Places in the list of wires.
    pub(crate) places: Vec<usize>,
    /// Sources of which a copy must be read.
    pub(crate) copies: BTreeSet<u32>,
    /// The wires that read them.
    pub(crate) copied: BTreeSet<usize>,
}

/// Orders wires whose targets all differ, so that each source is read before
/// it is written over. In time, n log n; the lowest target goes first where
/// it may.
pub(crate) fn order(wires: &[FdMapping]) -> Order {
    let mut order = Order::default();
    let mut left = BTreeMap::new();
    for (n, wire) in wires.iter().enumerate() {
        match wire.moves() {
            Some((to, _)) => drop(left.insert(to, n)),
            None => order.places.push(n),
        }
    }
    // Who still reads a number that will be written over.
    let mut readers = BTreeMap::<u32, Vec<usize>>::new();
    for (n, wire) in wires.iter().enumerate() {
        if let Some((_, Some(from))) = wire.moves() {
            if left.contains_key(&from) {
                readers.entry(from).or_default().push(n);
            }
        }
    }
    let mut waits: BTreeMap<u32, usize> =
        readers.iter().map(|(from, all)| (*from, all.len())).collect();
    let unread = |to: &&u32| !waits.contains_key(to);
    let mut ready: BTreeSet<u32> =
        left.keys().filter(unread).copied().collect();
    while let Some((first, _)) = left.first_key_value() {
        let to = ready.pop_first().unwrap_or_else(|| {
            // Each that is left waits for another, so only circles are left.
            // Whoever still reads this one reads a copy of it.
            let to = *first;
            let all = readers.get(&to).map(Vec::as_slice).unwrap_or_default();
            let late = |n: &&usize| {
                let wire = wires.get(**n);
                wire.is_some_and(|wire| left.contains_key(&wire.to))
            };
            order.copied.extend(all.iter().filter(late));
            order.copies.insert(to);
            waits.remove(&to);
            to
        });
        let Some(n) = left.remove(&to) else { continue };
        order.places.push(n);
        // Who reads a copy waits for nobody any more.
        let read = wires.get(n).and_then(|wire| wire.from);
        if let Some(from) = read {
            if let Some(count) = waits.get_mut(&from) {
                *count -= 1;
                if *count == 0 {
                    waits.remove(&from);
                    ready.insert(from);
                }
            }
        }
    }
    order
}

/// The smallest number that is `least` or above and not among `taken`, which
/// is sorted.
pub(crate) fn outside(taken: &[u32], least: u32) -> u32 {
    let from = taken.partition_point(|n| *n < least);
    let mut free = least;
    for n in taken.iter().skip(from) {
        if *n != free {
            break;
        }
        free = free.saturating_add(1);
    }
    free
}

/// The ranges from 3 up that lie between what is kept, which is sorted; the
/// last has no end.
pub(crate) fn gaps(kept: &[u32]) -> Vec<(u32, Option<u32>)> {
    let mut gaps = Vec::with_capacity(1);
    let mut next = 3;
    for n in kept.iter().filter(|n| **n >= 3) {
        if *n > next {
            gaps.push((next, Some(*n - 1)));
        }
        next = n.saturating_add(1);
    }
    gaps.push((next, None));
    gaps
}
