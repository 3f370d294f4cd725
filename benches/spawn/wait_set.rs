//! Wait set: the cost of one end among 10 and among 10,000 children.

use std::time::Instant;

use offshoot::{Child, Command, WaitSet};
use rustix::event::{PollFd, PollFlags, poll};

/// The sizes of the set.
pub(crate) const FEW: usize = 10;
pub(crate) const MANY: usize = 10_000;

/// A size, and the median of a wait for one child that has ended, in
/// microseconds.
pub(crate) type Line = (usize, f64);

fn start(set: &WaitSet<usize>, n: usize) -> Option<Child> {
    let mut child = Command::new("sleep").arg("1000").spawn().ok()?;
    set.insert(n, &child.process());
    Some(child)
}

fn measure(size: usize, rounds: usize) -> Option<Line> {
    let set = WaitSet::new().ok()?;
    let mut children = Vec::new();
    for n in 0..size {
        match start(&set, n) {
            Some(child) => children.push(child),
            None => break,
        }
    }
    let mut times = Vec::new();
    for round in 0..if children.len() == size { rounds } else { 0 } {
        let n = round * 7919 % size;
        let child = &children[n];
        child.kill().unwrap();
        let pidfd = child.pidfd().unwrap();
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None).unwrap();
        let begun = Instant::now();
        let (key, status) = set.wait().unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        assert!(key == n && !status.unwrap().success());
        children[n] = start(&set, n).unwrap();
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map(|median| (size, *median))
}

/// Measures both sizes; `None` where so many children are not permitted.
pub(crate) fn table(test: bool) -> Option<[Line; 2]> {
    let (rounds, many) = if test { (2, 100) } else { (1000, MANY) };
    Some([measure(FEW, rounds)?, measure(many, rounds)?])
}

pub(crate) fn print(lines: Option<&[Line; 2]>) {
    let Some([few, many]) = lines else {
        return println!("\nwait_set: so many children are not permitted");
    };
    println!("\na WaitSet, the wait for one child that has ended");
    for (size, time) in [few, many] {
        let ratio = time / few.1;
        println!("wait_set {size:>6} children {time:>7.1} us {ratio:>6.2} x");
    }
}
