//! Model of a descriptor table, for the planner of descriptors.
//!
//! Parent and child change it as they change the kernel's table. What the
//! program has at the end is compared with what was asked for, which is
//! computed here without the planner. Compiled for tests and fuzzing only.

extern crate std;

pub(crate) mod bytes;

use crate::parent::plan::fds::{FdMapping, Order, gaps, order, outside};
use std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// The file that is open at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    /// The one that the caller had at this number.
    Caller(u32),
    /// The one that was made for the mapping with this index.
    Made(usize),
    /// The parent's end of a pipe.
    Ours,
}

#[derive(Clone, Copy, Debug)]
struct File {
    id: Id,
    cloexec: bool,
}

/// The source of a mapping.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Number(u32),
    /// Opened before the copies are made, as `/dev/null` is; the kernel
    /// gives it the first free number from this one on.
    Early(u32),
    /// Opened after them, with an end for the parent, as a pipe is.
    Late(u32),
}

/// What happens to descriptors that no option lists.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    Closed,
    Marked,
    Kept,
}

/// The table of a caller, and what its child should have.
#[derive(Debug)]
struct Case {
    /// The caller's descriptors, and whether exec closes them.
    open: BTreeMap<u32, bool>,
    /// Targets, which all differ, and their sources.
    mappings: Vec<(u32, Origin)>,
    /// Descriptors that are open until exec and closed by it.
    kept: Vec<u32>,
    /// Those of 0 to 2 that should be closed; they are no targets.
    shut: BTreeSet<u32>,
    rest: Rest,
}

/// A source that is not open.
#[derive(Debug, PartialEq)]
struct Refused(u32);

impl Case {
    /// The mappings as the planner takes them.
    fn mappings(&self) -> Vec<FdMapping> {
        let mapping = |&(to, from): &(u32, Origin)| match from {
            Origin::Number(from) => FdMapping { to, from: Some(from) },
            Origin::Early(_) | Origin::Late(_) => FdMapping { to, from: None },
        };
        self.mappings.iter().map(mapping).collect()
    }

    /// The file that a mapping should give.
    fn wanted(&self, n: usize) -> Id {
        match self.mappings[n].1 {
            Origin::Number(from) => Id::Caller(from),
            Origin::Early(_) | Origin::Late(_) => Id::Made(n),
        }
    }

    /// What the program should have, computed without the planner.
    fn specified(&self) -> BTreeMap<u32, Id> {
        let mut all = BTreeMap::new();
        for (n, cloexec) in &self.open {
            let stays = match n {
                0..3 => !self.shut.contains(n),
                _ => self.rest == Rest::Kept,
            };
            if stays && !cloexec {
                all.insert(*n, Id::Caller(*n));
            }
        }
        let made = self.mappings.iter().enumerate();
        all.extend(made.map(|(n, (to, _))| (*to, self.wanted(n))));
        all
    }

    /// The number of cycles of targets that are each other's sources: counts
    /// the lowest number of each. Computed without the planner.
    fn cycles(&self) -> usize {
        let mut reads = BTreeMap::new();
        for mapping in self.mappings() {
            reads.extend(mapping.from.map(|from| (mapping.to, from)));
        }
        let lowest = |start: &&u32| {
            let mut at = **start;
            for length in 1..=reads.len() {
                match reads.get(&at) {
                    Some(next) if next == *start => return length > 1,
                    Some(next) if next > *start => at = *next,
                    _ => return false,
                }
            }
            false
        };
        reads.keys().filter(lowest).count()
    }

    /// Does what a spawn does, and checks the result.
    fn run(&self) -> Result<(), Refused> {
        self.play(&order(&self.mappings()))
    }

    fn play(&self, order: &Order) -> Result<(), Refused> {
        let mut indices = order.indices.clone();
        indices.sort_unstable();
        assert!(indices.into_iter().eq(0..self.mappings.len()), "{self:?}");
        let (mut table, numbers, kept) = Table::of(self).prepare(order)?;
        table.child(order, &numbers, &kept);
        let cycles = self.cycles();
        assert_eq!(order.copies.len(), cycles, "{order:?} {self:?}");
        assert_eq!(order.copied.len(), cycles, "{order:?} {self:?}");
        Ok(())
    }
}

/// The table of one process.
struct Table<'a> {
    case: &'a Case,
    files: BTreeMap<u32, File>,
    /// 0 to 2 and all targets, in ascending order.
    targets: Vec<u32>,
}

/// A table with all sources; the number that each mapping is read from; the
/// numbers of descriptors kept until exec, with their files.
type Ready<'a> = (Table<'a>, Vec<u32>, Vec<(u32, u32)>);

impl<'a> Table<'a> {
    fn of(case: &'a Case) -> Table<'a> {
        let file = |(n, cloexec): (&u32, &bool)| {
            (*n, File { id: Id::Caller(*n), cloexec: *cloexec })
        };
        let files = case.open.iter().map(file).collect();
        let made = case.mappings.iter().map(|(to, _)| *to);
        let targets: BTreeSet<u32> = (0..3).chain(made).collect();
        Table { case, files, targets: targets.into_iter().collect() }
    }

    /// The lowest free number, which the kernel gives.
    fn free(&self, least: u32) -> u32 {
        let free = (least..).find(|n| !self.files.contains_key(n));
        free.expect("a free number")
    }

    fn open(&mut self, least: u32, id: Id) -> u32 {
        let at = self.free(least);
        self.files.insert(at, File { id, cloexec: true });
        at
    }

    /// `SourceFds::move_off_targets`: a new descriptor moves to a number that is
    /// no target.
    fn move_off_targets(&mut self, begin: u32, id: Id) -> u32 {
        let mut at = self.open(begin, id);
        let mut least = 3;
        while self.targets.binary_search(&at).is_ok() {
            least = outside(&self.targets, least);
            let next = self.open(least, id);
            self.files.remove(&at);
            at = next;
            least = at + 1;
        }
        assert!(!self.targets.contains(&at), "{at}: {:?}", self.case);
        at
    }

    /// What the parent does before the clone.
    fn prepare(mut self, order: &Order) -> Result<Ready<'a>, Refused> {
        let case = self.case;
        let mut numbers = Vec::new();
        for (n, (_, from)) in case.mappings.iter().enumerate() {
            numbers.push(match from {
                Origin::Number(from) => *from,
                Origin::Early(begin) => {
                    self.move_off_targets(*begin, Id::Made(n))
                }
                Origin::Late(_) => 0,
            });
        }
        for (n, (_, from)) in case.mappings.iter().enumerate() {
            let Origin::Number(from) = from else { continue };
            if !case.open.contains_key(from) {
                return Err(Refused(*from));
            }
            if order.copied.contains(&n) {
                assert!(order.copies.contains(from), "{order:?} {case:?}");
                numbers[n] = self.move_off_targets(3, Id::Caller(*from));
            }
        }
        let mut kept = Vec::new();
        for from in &case.kept {
            let cloexec = *case.open.get(from).ok_or(Refused(*from))?;
            let lost = self.targets.contains(from);
            let id = Id::Caller(*from);
            let copy = lost || !cloexec;
            let at = if copy { self.move_off_targets(3, id) } else { *from };
            kept.push((at, *from));
        }
        for (n, (_, from)) in case.mappings.iter().enumerate() {
            let Origin::Late(begin) = from else { continue };
            self.open(3, Id::Ours);
            numbers[n] = self.move_off_targets(*begin, Id::Made(n));
        }
        Ok((self, numbers, kept))
    }

    /// What the child does, exec included.
    fn child(&mut self, order: &Order, numbers: &[u32], kept: &[(u32, u32)]) {
        let case = self.case;
        if case.rest == Rest::Marked {
            for (_, file) in self.files.range_mut(3..) {
                file.cloexec = true;
            }
        }
        for n in &order.indices {
            // `dup3`, or `F_SETFD` if both numbers are the same.
            let (to, _) = case.mappings[*n];
            let read = self.files.get(&numbers[*n]).map(|file| file.id);
            let id = case.wanted(*n);
            assert_eq!(read, Some(id), "for {to} {order:?} {case:?}");
            self.files.insert(to, File { id, cloexec: false });
        }
        for n in &case.shut {
            self.files.remove(n);
        }
        if case.rest == Rest::Closed {
            let own = kept.iter().map(|(at, _)| *at);
            let mut kept: Vec<u32> = self.targets.clone();
            kept.extend(own);
            kept.sort_unstable();
            kept.dedup();
            for (from, to) in gaps(&kept) {
                let to = to.unwrap_or(u32::MAX);
                assert!(from <= to, "EINVAL: {from}..={to} {case:?}");
                self.files.retain(|n, _| *n < from || *n > to);
            }
        }
        for (at, from) in kept {
            let read = self.files.get(at).map(|file| file.id);
            assert_eq!(read, Some(Id::Caller(*from)), "{at}: {case:?}");
        }
        self.files.retain(|_, file| !file.cloexec);
        let ids = self.files.iter().map(|(n, file)| (*n, file.id));
        let has: BTreeMap<u32, Id> = ids.collect();
        assert_eq!(has, case.specified(), "{order:?} {case:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::std::vec;
    use super::{BTreeSet, Case, Origin, Refused, Rest, Vec, order};

    const ALL: u32 = 5;

    /// All maps of 0..5, where a number may be no target at all.
    fn maps() -> impl Iterator<Item = Vec<(u32, u32)>> {
        let choices = ALL + 1;
        (0..choices.pow(ALL)).map(move |code| {
            let source = |to| code / choices.pow(to) % choices;
            let all = (0..ALL).map(|to| (to, source(to)));
            all.filter(|(_, from)| *from < ALL).collect()
        })
    }

    fn case(map: &[(u32, u32)], open: u32, marked: u32) -> Case {
        let mapping = |(to, from): &(u32, u32)| (*to, Origin::Number(*from));
        let open = (0..ALL).filter(|n| open >> n & 1 != 0);
        Case {
            open: open.map(|n| (n, marked >> n & 1 != 0)).collect(),
            mappings: map.iter().map(mapping).collect(),
            kept: Vec::new(),
            shut: BTreeSet::new(),
            rest: Rest::Closed,
        }
    }

    #[test]
    fn every_map_of_five_numbers_with_every_subset_closed_is_right() {
        let (mut played, mut refused) = (0, 0);
        for map in maps() {
            let order = order(&case(&map, 0, 0).mappings());
            for open in 0..1 << ALL {
                let mut from = map.iter().map(|(_, from)| *from);
                let closed = from.find(|from| open >> from & 1 == 0);
                let closed = closed.map_or(Ok(()), |n| Err(Refused(n)));
                for marked in [0, !0] {
                    let case = case(&map, open, marked);
                    assert_eq!(case.play(&order), closed, "{case:?}");
                }
                played += usize::from(closed.is_ok());
                refused += usize::from(closed.is_err());
            }
        }
        assert_eq!(played + refused, 6 * 6 * 6 * 6 * 6 * 32);
        // A map of d sources leaves 5 - d that may be closed or open.
        assert_eq!(played, 36_232);
    }

    /// Pseudo-random numbers, the same in each run (xorshift).
    struct Dice(u32);

    impl Dice {
        fn roll(&mut self, sides: u32) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            self.0 % sides
        }
    }

    #[test]
    fn every_map_with_one_or_two_sources_made_later_is_right() {
        let mut dice = Dice(1);
        let mut refused = 0;
        for map in maps() {
            let mut case = case(&map, 0, 0);
            // One in eight is closed, so most cases are not refused.
            for n in (0..10).filter(|_| dice.roll(8) != 0).collect::<Vec<_>>()
            {
                case.open.insert(n, dice.roll(2) == 0);
            }
            for _ in 0..=dice.roll(2) {
                let to = dice.roll(10);
                let from = match dice.roll(2) {
                    0 => Origin::Early(dice.roll(12)),
                    _ => Origin::Late(dice.roll(12)),
                };
                case.mappings.retain(|mapping| mapping.0 != to);
                case.mappings.push((to, from));
            }
            for n in (1..case.mappings.len()).rev() {
                let other = usize::try_from(dice.roll(10)).unwrap() % (n + 1);
                case.mappings.swap(n, other);
            }
            if dice.roll(4) == 0 {
                case.kept.push(dice.roll(10));
            }
            let free =
                |n: &u32| case.mappings.iter().all(|mapping| mapping.0 != *n);
            case.shut = (0..3).filter(|_| dice.roll(4) == 0).collect();
            case.shut.retain(free);
            case.rest = match dice.roll(3) {
                0 => Rest::Closed,
                1 => Rest::Marked,
                _ => Rest::Kept,
            };
            refused += usize::from(case.run().is_err());
        }
        assert!(refused < 3000, "{refused} of 7776 were not played");
    }

    /// Each number of a cycle from the next, and the first from the last.
    fn cycle(numbers: &[u32]) -> Vec<(u32, u32)> {
        let next = numbers.iter().cycle().skip(1);
        numbers.iter().copied().zip(next.copied()).collect()
    }

    #[test]
    fn each_cycle_needs_one_copy() {
        let swap = cycle(&[0, 1]);
        let whole = cycle(&[0, 1, 2, 3, 4]);
        let back = cycle(&[4, 3, 2, 1, 0]);
        let two = [cycle(&[0, 3]), cycle(&[1, 4, 2])].concat();
        // Others read from the cycle, and from those that do.
        let crowd = [cycle(&[3, 1]), vec![(0, 3), (2, 3), (4, 2)]].concat();
        let line = vec![(0, 1), (1, 2), (2, 3), (3, 4)];
        let stay = vec![(0, 0), (1, 0), (2, 2), (3, 2)];
        let cases = [
            (swap, 1),
            (whole, 1),
            (back, 1),
            (two, 2),
            (crowd, 1),
            (line, 0),
            (stay, 0),
        ];
        for (map, copies) in cases {
            let case = case(&map, !0, !0);
            let order = order(&case.mappings());
            assert_eq!(order.copies.len(), copies, "{map:?}");
            assert_eq!(order.copied.len(), copies, "{map:?}");
            assert_eq!(case.cycles(), copies, "{map:?}");
            assert_eq!(case.play(&order), Ok(()));
        }
    }
}
