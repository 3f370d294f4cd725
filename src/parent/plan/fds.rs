//! Fds: the order of `dup3` calls, and which ranges are closed. Pure.
//!
//! The child makes one `dup3` call for each descriptor and has no temporary.
//! Where targets are sources of each other (a swap, a rotation) no order is
//! right: then one source of each cycle is read from a copy that the parent
//! makes before, at a number that is no target.

use crate::parent::std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// A descriptor of the child: its number, and the number of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdMapping {
    pub(crate) to: u32,
    /// `None` if the source is made later: at a number that is no target.
    pub(crate) from: Option<u32>,
}

impl FdMapping {
    /// A descriptor that is its own source can be made at any time.
    fn moves(self) -> Option<(u32, Option<u32>)> {
        (self.from != Some(self.to)).then_some((self.to, self.from))
    }
}

/// The order in which mappings are made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Indices into the list of mappings.
    pub(crate) indices: Vec<usize>,
    /// Sources that must be read from a copy.
    pub(crate) copies: BTreeSet<u32>,
    /// The mappings that read those copies.
    pub(crate) copied: BTreeSet<usize>,
}

/// Orders mappings, whose targets all differ, so that each source is read
/// before it is written over. Takes time n log n; the lowest target comes
/// first where that is possible.
pub(crate) fn order(mappings: &[FdMapping]) -> Order {
    let mut order = Order::default();
    let mut left = BTreeMap::new();
    for (n, mapping) in mappings.iter().enumerate() {
        match mapping.moves() {
            Some((to, _)) => drop(left.insert(to, n)),
            None => order.indices.push(n),
        }
    }
    // The mappings that read a number which will be written over.
    let mut readers = BTreeMap::<u32, Vec<usize>>::new();
    for (n, mapping) in mappings.iter().enumerate() {
        if let Some((_, Some(from))) = mapping.moves() {
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
            // Each that is left waits for another, so only cycles are left.
            // The mappings that still read this one read a copy of it.
            let to = *first;
            let all = readers.get(&to).map(Vec::as_slice).unwrap_or_default();
            let late = |n: &&usize| {
                let mapping = mappings.get(**n);
                mapping.is_some_and(|mapping| left.contains_key(&mapping.to))
            };
            order.copied.extend(all.iter().filter(late));
            order.copies.insert(to);
            waits.remove(&to);
            to
        });
        let Some(n) = left.remove(&to) else { continue };
        order.indices.push(n);
        // A mapping that reads a copy waits for no other.
        let read = mappings.get(n).and_then(|mapping| mapping.from);
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

/// The smallest number from `least` on that is not in `taken`, which is
/// sorted.
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

/// The ranges from 3 up between the numbers of `kept`, which is sorted; the
/// last range has no end.
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
