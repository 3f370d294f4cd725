//! How long `spawn` holds its caller, and both calls together, in a thread
//! under docker's filter and in one without: user, group, groups, root and
//! directory change, so the steps run in an image.
//!
//! On one processor whoever waits for a child to have got somewhere by
//! yielding waits until its program has ended.

use std::time::Instant;
use std::{mem, thread};

use offshoot::{Engine, Prepared};

use crate::filter;
use crate::peers::drop;

/// A program that takes longer to run than to start.
const PROGRAM: &str = "/bin/true";

/// Spawns of a thread that are measured, after some that are not: what a
/// thread finds refused it remembers.
const SPAWNS: usize = 40;
const FIRST: usize = 5;

/// Processors, whether there is a filter, and medians in microseconds: of
/// `spawn`, and with the wait.
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

/// The first processors of those that this thread may have.
fn keep_to(cpus: usize) {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&set);
    // SAFETY: writes one set.
    unsafe { libc::sched_getaffinity(0, size, &mut set) };
    let mut left = cpus;
    for cpu in 0..1024 {
        // SAFETY: the set has so many.
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
