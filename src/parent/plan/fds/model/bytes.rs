//! Bytes: any of them as a case for the model, for the fuzzer.

use super::super::{gaps, outside};
use super::{Case, Origin, Rest};
use crate::parent::std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// The highest number that a descriptor can have.
const LAST: u32 = i32::MAX.unsigned_abs();

/// Reads any bytes as a case, and plays it. The first byte is what becomes
/// of the rest and of 0 to 2; then three bytes each, a kind and two numbers.
pub(crate) fn fuzz(data: &[u8]) {
    let case = decode(data);
    // What is refused was not played; it is enough that it is told.
    let refused = case.run().is_err();
    let number = |from: &Origin| match from {
        Origin::Number(from) => Some(*from),
        Origin::Early(_) | Origin::Late(_) => None,
    };
    let sources = case.mappings.iter().filter_map(|(_, from)| number(from));
    let mut read = sources.chain(case.held.iter().copied());
    let closed = read.any(|from| !case.open.contains_key(&from));
    assert_eq!(refused, closed, "{case:?}");
    let named = case.mappings.iter().map(|(to, _)| *to);
    let named: BTreeSet<u32> = named.chain(case.held.clone()).collect();
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
        held: Vec::new(),
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
                if case.held.len() < HELD {
                    case.held.push(a);
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

/// Low numbers, so that there are circles; some of the next hundreds; the
/// last that there are.
fn wide(how: u8, n: u8) -> u32 {
    let n = u32::from(n);
    match how & 3 {
        0 => n % 8,
        1 => n,
        2 => 256 + n % 64,
        _ => LAST - n,
    }
}

/// `outside` and `gaps`, against what they promise. Takes what is sorted.
fn sets(taken: &[u32], least: u32) {
    let free = (least..).find(|n| !taken.contains(n));
    assert_eq!(free, Some(outside(taken, least)), "{least} {taken:?}");
    let gaps = gaps(taken);
    // Between them and behind them there is what is kept, and nothing else.
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
    use crate::parent::std::{eprintln, fs, path::Path};

    #[test]
    fn outside_and_gaps_keep_their_promises_for_every_set_of_ten_numbers() {
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
