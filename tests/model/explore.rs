//! Explore: runs a test in every order of its threads, on each kernel.

use std::cell::Cell;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::kernel::{self, LINUX, Version};

thread_local! {
    /// The number of the run, unique in this process.
    static RUN: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn run() -> u64 {
    RUN.get()
}

/// Runs a test on each of the kernels, with `most` preemptions at most.
pub(crate) fn explore(
    name: &'static str,
    most: usize,
    test: impl Fn() + Copy + Send + Sync + 'static,
) {
    for version in LINUX {
        on(version, name, most, test);
    }
}

/// Runs a test on one kernel, and checks that it has left no child behind.
pub(crate) fn on(
    version: Version,
    name: &'static str,
    most: usize,
    test: impl Fn() + Send + Sync + 'static,
) {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let mut loom = loom::model::Builder::new();
    // With 3 it takes six times as long.
    let preemptions = env::var("OFFSHOOT_PREEMPTIONS");
    let preemptions = preemptions.map_or(2, |n| n.parse().unwrap());
    loom.preemption_bound = Some(most.min(preemptions));
    loom.max_branches = 10_000;
    loom.check(move || {
        RUN.set(RUNS.fetch_add(1, Ordering::Relaxed) + 1);
        counted.fetch_add(1, Ordering::Relaxed);
        kernel::boot(version);
        test();
        kernel::kernel().every_child_was_reaped();
    });
    let (count, time) = (count.load(Ordering::Relaxed), began.elapsed());
    println!("{name}, {}: {count} orders, {time:.1?}", version.name);
}
