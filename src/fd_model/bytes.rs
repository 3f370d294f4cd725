//! Bytes: arbitrary bytes as a case for the descriptor model.

use super::std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use super::{Case, Origin, Rest};
use crate::parent::plan::fds::{gaps, outside};

/// The highest number that a descriptor can have.
const LAST: u32 = i32::MAX.unsigned_abs();

/// Decodes bytes as a case, and runs it. The first byte selects what happens to
/// unlisted descriptors and to 0 to 2; then three bytes each: a kind and two
/// numbers.
pub(crate) fn fuzz(data: &[u8]) {
    let case = decode(data);
    // A case with a closed source is refused, which is right.
    let refused = case.run().is_err();
    let number = |from: &Origin| match from {
        Origin::Number(from) => Some(*from),
        Origin::Early(_) | Origin::Late(_) => None,
    };
    let sources = case.mappings.iter().filter_map(|(_, from)| number(from));
    let mut read = sources.chain(case.kept.iter().copied());
    let closed = read.any(|from| !case.open.contains_key(&from));
    assert_eq!(refused, closed, "{case:?}");
    let named = case.mappings.iter().map(|(to, _)| *to);
    let named: BTreeSet<u32> = named.chain(case.kept.clone()).collect();
    let named: Vec<u32> = named.into_iter().collect();
    for least in [0, 3, 5, named.first().copied().unwrap_or_default()] {
        sets(&named, least);
    }
}

fn decode(data: &[u8]) -> Case {
    const WIRES: usize = 64;
    const HELD: usize = 8;
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut case = Case {
        open: BTreeMap::new(),
        mappings: Vec::new(),
        kept: Vec::new(),
        shut: BTreeSet::new(),
        rest: match first % 4 {
            0 | 1 => Rest::Closed,
            2 => Rest::Marked,
            _ => Rest::Kept,
        },
    };
    let mut targets = BTreeSet::new();
    for record in rest.chunks_exact(3) {
        let &[kind, a, b] = record else { continue };
        let (a, b) = (wide(kind >> 3, a), wide(kind >> 5, b));
        let marked = kind & 0x80 != 0;
        let from = match kind & 7 {
            0..3 => Origin::Number(b),
            3 => Origin::Early(b),
            4 => Origin::Late(b),
            5 => {
                if case.kept.len() < HELD {
                    case.kept.push(a);
                    case.open.entry(a).or_insert(marked);
                }
                continue;
            }
            6 => {
                case.open.insert(a, marked);
                continue;
            }
            _ => {
                case.open.remove(&a);
                continue;
            }
        };
        if case.mappings.len() < WIRES && targets.insert(a) {
            case.mappings.push((a, from));
            if kind & 7 < 2 {
                case.open.entry(b).or_insert(marked);
            }
        }
    }
    let shut = (0..3).filter(|n| first & (4 << n) != 0);
    case.shut = shut.filter(|n| !targets.contains(n)).collect();
    case
}

/// Low numbers, so that there are cycles, some of the next hundreds, and the
/// highest ones.
fn wide(how: u8, n: u8) -> u32 {
    let n = u32::from(n);
    match how & 3 {
        0 => n % 8,
        1 => n,
        2 => 256 + n % 64,
        _ => LAST - n,
    }
}

/// Checks `outside` and `gaps` for a sorted list.
fn sets(taken: &[u32], least: u32) {
    let free = (least..).find(|n| !taken.contains(n));
    assert_eq!(free, Some(outside(taken, least)), "{least} {taken:?}");
    let gaps = gaps(taken);
    // Between the ranges there are the kept numbers only.
    let mut next = 3;
    let mut between = Vec::new();
    for (n, (from, to)) in gaps.iter().enumerate() {
        assert!(next <= *from, "{gaps:?} {taken:?}");
        between.extend((next..*from).take(taken.len() + 1));
        let last = n + 1 == gaps.len();
        assert_eq!(to.is_none(), last, "{gaps:?} {taken:?}");
        let Some(to) = to else { continue };
        assert!(from <= to && *to < LAST, "{gaps:?} {taken:?}");
        next = to + 1;
    }
    let kept: Vec<u32> = taken.iter().copied().filter(|n| *n > 2).collect();
    assert_eq!(between, kept, "{gaps:?}");
}

#[cfg(test)]
mod tests {
    use super::{Vec, fuzz, sets};
    use crate::fd_model::std::{eprintln, fs, path::Path};

    #[test]
    fn outside_and_gaps_are_right_for_every_set_of_ten_numbers() {
        for set in 0..1u32 << 10 {
            let taken: Vec<u32> =
                (0..10).filter(|n| set >> n & 1 != 0).collect();
            for least in 0..12 {
                sets(&taken, least);
            }
        }
    }

    #[test]
    fn the_fuzz_corpus_replays() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !home.exists() {
            // In the packaged crate, and in the emulated machine.
            eprintln!("SKIP the_fuzz_corpus_replays: no {}", home.display());
            return;
        }
        let mut count = 0;
        for file in fs::read_dir(home.join("corpus/fds")).unwrap() {
            fuzz(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 20, "{count} files");
    }
}
