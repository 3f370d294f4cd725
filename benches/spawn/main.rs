//! Spawn: the cost of a spawn and its wait, next to the floor and other ways.
//!
//! `cargo bench` measures each row by criterion, then all rows of a parent
//! size in turn, so that noise affects all of them, and prints medians and
//! their ratio to the floor. `cargo bench -- --test` runs each once;
//! `cargo bench -- --in-spawn` measures only the time in `spawn`, with a
//! filter and without; `-- --starts` only starts and batches.
#![allow(missing_docs, reason = "criterion's macros")]
#![allow(unsafe_code, reason = "the floor is assembly; the peers are C")]

mod ballast;
mod descriptors;
#[path = "../../tests/util/elf.rs"]
mod elf;
#[path = "../../tests/util/filter.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod filter;
mod filtered;
mod floor;
mod options;
mod peers;
mod starts;
mod wait_set;

use std::time::{Duration, Instant};
use std::{env, fs, hint};

use criterion::Criterion;

use ballast::Ballast;
use peers::{OTHERS, Peers};

/// Sizes of the parent, in MiB, with every page touched.
const SIZES: [usize; 4] = [16, 256, 1024, 2048];

/// Rows that copy the parent's page tables: fewer rounds in large parents.
const SLOW: [&str; 5] =
    ["fork_exec", "std_with_hook", "copied", "copied_drop", "std_ids"];

fn main() {
    let has = |wanted: &str| env::args().any(|arg| arg == wanted);
    if has("--in-spawn") {
        offshoot::reserve_fds(8).expect("a few low descriptors");
        return filtered::print(&filtered::table(false));
    }
    let limit = descriptors::limit();
    offshoot::reserve_fds(8).expect("a few low descriptors");
    forty_variables();
    let peers = Peers::new();
    if has("--starts") {
        return starts::print(&starts::table(&peers, false));
    }
    let test = has("--test");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut tables = Vec::new();
    for size in SIZES {
        let ballast = Ballast::new(size);
        let mut group = criterion.benchmark_group(format!("{size}MiB"));
        for (name, run) in peers.rows() {
            group.bench_function(*name, |b| b.iter(|| run(&peers)));
        }
        group.finish();
        tables.push((size, table(&peers, size, test)));
        hint::black_box(ballast);
    }
    criterion.final_summary();
    let spare = usize::try_from(limit).unwrap_or(0).saturating_sub(100);
    let most = descriptors::MANY.min(spare);
    let lines = descriptors::table(&peers, most, test);
    let in_spawn = filtered::table(test);
    let starts = starts::table(&peers, test);
    let ends = wait_set::table(test);
    if test {
        return;
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    println!("\nkernel {}", kernel.unwrap_or_default().trim());
    println!("spawn and wait, medians of rounds in which each row runs once");
    for (size, rows) in tables {
        println!();
        for (name, median, ratio, pidfd) in rows {
            println!(
                "{size:>5} MiB  {name:<14} {ratio:>8.2} x floor  \
                 {pidfd:>8.2} x floor_pidfd  {median:>9.1} us"
            );
        }
    }
    descriptors::print(&lines, most);
    filtered::print(&in_spawn);
    starts::print(&starts);
    wait_set::print(ends.as_ref());
}

/// Sets the environment: forty variables, as in a usual session.
fn forty_variables() {
    for (key, _) in env::vars_os() {
        if key != "PATH" && key != "CARGO_TARGET_TMPDIR" {
            // SAFETY: there is no other thread yet.
            unsafe { env::remove_var(key) };
        }
    }
    for n in env::vars_os().count()..40 {
        let (key, value) = (format!("VARIABLE_{n}"), "an ordinary value");
        // SAFETY: there is no other thread yet.
        unsafe { env::set_var(key, value) };
    }
}

/// A Fisher-Yates shuffle, with a xorshift generator.
fn shuffle(order: &mut [usize], seed: &mut u64) {
    for n in (1..order.len()).rev() {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let other = usize::try_from(*seed % (n as u64 + 1)).unwrap_or(n);
        order.swap(n, other);
    }
}

/// Name, median in microseconds, ratios to `floor` and `floor_pidfd`.
type Row = (&'static str, f64, f64, f64);

fn table(peers: &Peers, size: usize, test: bool) -> Vec<Row> {
    let (rounds, every) = match size {
        _ if test => (2, 1),
        16 => (1500, 5),
        256 => (1500, 30),
        _ => (1500, 100),
    };
    let rows = peers.rows();
    let mut times = vec![Vec::new(); rows.len()];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for round in 0..rounds {
        // A child that is still being freed slows down the next row, so no row
        // may always follow the same one.
        shuffle(&mut order, &mut seed);
        for at in order.iter().copied() {
            let (name, run) = rows[at];
            if SLOW.contains(&name) && round % every != 0 {
                continue;
            }
            let begun = Instant::now();
            run(peers);
            times[at].push(begun.elapsed().as_secs_f64() * 1e6);
            if name == OTHERS {
                // Makes the cached helper the builder's again.
                peers.run("drop_builder");
            }
            if SLOW.contains(&name) {
                // Unmeasured runs restore the caches, and the pages that the
                // parent has to copy or reclaim after a fork.
                let quick = |name| !SLOW.contains(&name) && name != OTHERS;
                let next = rows.iter().filter(|row| quick(row.0));
                next.for_each(|row| row.1(peers));
            }
        }
    }
    for all in &mut times {
        all.sort_by(f64::total_cmp);
    }
    let median = |n: usize| times[n][times[n].len() / 2];
    let row = |n: usize| {
        (rows[n].0, median(n), median(n) / median(0), median(n) / median(1))
    };
    (0..rows.len()).map(row).collect()
}
