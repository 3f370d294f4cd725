//! Sets of numbers, of CPUs and of NUMA nodes: as a text and as a mask.

use crate::parent::std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// Numbers as a text, "0-3 7".
pub(super) fn list(all: &[u32]) -> String {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut words: Vec<String> = Vec::new();
    let ranges = sorted.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    for range in ranges {
        match range {
            [first, .., last] => words.push(format!("{first}-{last}")),
            [one] => words.push(one.to_string()),
            [] => {}
        }
    }
    words.join(" ")
}

/// The first number that no mask has, for an error.
pub(super) fn too_high(all: &[u32]) -> String {
    let first = all.iter().find(|n| **n > HIGHEST);
    first.map_or_else(String::new, ToString::to_string)
}

/// The highest number of a mask.
const HIGHEST: u32 = 0xFFFF;

/// A bit for each number; `None` without any, or with one above 65,535.
pub(super) fn mask(all: &[u32]) -> Option<Vec<u64>> {
    let most = *all.iter().max()?;
    if most > HIGHEST {
        return None;
    }
    let most = usize::try_from(most).ok()?;
    let mut mask = Vec::from_iter((0..=most / 64).map(|_| 0u64));
    for n in all {
        let n = usize::try_from(*n).unwrap_or_default();
        if let Some(word) = mask.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::{list, mask, too_high};
    use crate::parent::std::vec;

    #[test]
    fn a_set_is_shown_as_ranges_and_made_a_mask() {
        assert_eq!(list(&[7, 1, 0, 2, 3, 3]), "0-3 7");
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[u32::MAX, 5]), "5 4294967295");
        assert_eq!(mask(&[0, 65]), Some(vec![1, 2]));
        assert_eq!(mask(&[]), None);
        assert_eq!(mask(&[0x1_0000]), None);
        assert_eq!(too_high(&[1, 0x1_0000]), "65536");
    }
}
