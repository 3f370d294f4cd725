//! Filtered: the time in `spawn`, and in spawn and wait together, in a thread
//! under docker's filter and in one without. User, group, groups, root and
//! directory change, so the isolated engine is used.
//!
//! On one processor, a parent that waited for its child by yielding would wait
//! until the program has ended.

use std::time::Instant;
use std::{mem, thread};

use offshoot::{Engine, Prepared};

use crate::filter;
use crate::peers::drop;

/// A program that takes longer to run than to start.
const PROGRAM: &str = "/bin/true";

/// Spawns of a thread that are measured, after some that are not, as a thread
/// remembers which calls are refused.
const SPAWNS: usize = 40;
const FIRST: usize = 5;

/// Number of processors, whether there is a filter, and medians in
/// microseconds of `spawn` and of spawn and wait.
pub(crate) type Line = (usize, bool, f64, f64);

pub(crate) fn table(test: bool) -> Vec<Line> {
    let rounds = if test { 1 } else { 40 };
    let prepared = drop(PROGRAM.as_ref()).prepare().unwrap();
    let mut lines = Vec::new();
    for cpus in [1, 2] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for filtered in [false, true] {
                let run = || spawns(&prepared, cpus, filtered);
                let some =
                    thread::scope(|scope| scope.spawn(run).join().unwrap());
                times[usize::from(filtered)].extend(some);
            }
        }
        for (filtered, some) in [false, true].into_iter().zip(times) {
            let (mut first, mut both): (Vec<f64>, Vec<f64>) =
                some.into_iter().unzip();
            first.sort_by(f64::total_cmp);
            both.sort_by(f64::total_cmp);
            let half = first.len() / 2;
            lines.push((cpus, filtered, first[half], both[half]));
        }
    }
    lines
}

fn spawns(
    prepared: &Prepared,
    cpus: usize,
    filtered: bool,
) -> Vec<(f64, f64)> {
    keep_to(cpus);
    if filtered {
        filter::docker();
    }
    let mut times = Vec::new();
    for n in 0..FIRST + SPAWNS {
        let begun = Instant::now();
        let mut child = prepared.spawn().unwrap();
        let spawned = begun.elapsed();
        assert!(child.wait().unwrap().success());
        let ended = begun.elapsed();
        assert_eq!(child.launch().engine(), Engine::Isolated);
        assert!(child.launch().confirmed());
        if n >= FIRST {
            let us = |time: std::time::Duration| time.as_secs_f64() * 1e6;
            times.push((us(spawned), us(ended)));
        }
    }
    times
}

/// Restricts this thread to the first `cpus` of its processors.
fn keep_to(cpus: usize) {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&set);
    // SAFETY: writes one set.
    unsafe { libc::sched_getaffinity(0, size, &mut set) };
    let mut left = cpus;
    for cpu in 0..1024 {
        // SAFETY: the index is below the size of the set.
        let has = unsafe { libc::CPU_ISSET(cpu, &set) };
        if has && left > 0 {
            left -= 1;
        } else {
            // SAFETY: as above.
            unsafe { libc::CPU_CLR(cpu, &mut set) };
        }
    }
    // SAFETY: reads one set.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &set) }, 0);
}

pub(crate) fn print(lines: &[Line]) {
    println!("\nuid, gid, groups, chroot, chdir of {PROGRAM}, medians:");
    for both in lines.chunks(2) {
        let [(cpus, _, plain, ends), (_, _, filtered, later)] = *both else {
            continue;
        };
        println!(
            "{cpus} CPU   in spawn {plain:>7.1} us, under docker's filter \
             {filtered:>7.1} us: {:>5.2}   with its wait {:>5.2}",
            filtered / plain,
            later / ends
        );
    }
}
