//! Descriptors: the cost of a spawn with 16 and with 10,000 open descriptors.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process;
use std::time::Instant;

use offshoot::{Command, Prepared, Stdio};

use crate::peers::Peers;

/// The number of descriptors that are opened for a measurement.
pub(crate) const FEW: usize = 16;
pub(crate) const MANY: usize = 10_000;

/// Raises the soft limit, and returns it.
pub(crate) fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max.min(20_000);
    // SAFETY: reads one rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    limit.rlim_cur
}

pub(crate) struct Rows<'a> {
    peers: &'a Peers,
    piped: Prepared,
}

type Run = fn(&Rows<'_>);

const ROWS: [(&str, Run); 7] = [
    ("fds_prepared", |rows| rows.peers.run("prepared")),
    ("fds_prepared_piped", |rows| {
        let mut child = rows.piped.spawn().unwrap();
        assert!(child.wait().unwrap().success());
    }),
    ("fds_builder_piped", |rows| {
        let mut command = Command::new(rows.peers.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        assert!(child.wait().unwrap().success());
    }),
    ("fds_vfork", |rows| rows.peers.run("vfork_exec")),
    ("fds_posix_spawn", |rows| rows.peers.run("posix_spawn")),
    ("fds_std", |rows| rows.peers.run("std")),
    ("fds_std_piped", |rows| {
        let mut command = process::Command::new(rows.peers.path());
        let command = command.stdout(process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert!(child.wait().unwrap().success());
    }),
];

/// A row's name, and its medians in microseconds with few and with many.
pub(crate) type Line = (&'static str, f64, f64);

/// Measures few and many in turn, so that noise affects both alike.
pub(crate) fn table(peers: &Peers, most: usize, test: bool) -> Vec<Line> {
    let mut piped = Command::new(peers.path());
    let piped = piped.stdout(Stdio::piped()).prepare().unwrap();
    let rows = Rows { peers, piped };
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let turns = if test { 2 } else { 12 };
    let rounds = if test { 1 } else { 60 };
    let mut times = vec![[Vec::new(), Vec::new()]; ROWS.len()];
    for turn in 0..turns {
        let count = if turn % 2 == 0 { FEW } else { most };
        let copy = |_| null.try_clone().unwrap();
        let open: Vec<OwnedFd> = (0..count).map(copy).collect();
        for round in 0..rounds {
            for n in 0..ROWS.len() {
                let at = (round + n) % ROWS.len();
                // The effect of the previous row on caches is not measured.
                peers.run("floor");
                let begun = Instant::now();
                ROWS[at].1(&rows);
                let taken = begun.elapsed().as_secs_f64() * 1e6;
                times[at][turn % 2].push(taken);
            }
        }
        drop(open);
    }
    let median = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let line = |(row, times): (&(&'static str, Run), [Vec<f64>; 2])| {
        let [mut few, mut many] = times;
        (row.0, median(&mut few), median(&mut many))
    };
    ROWS.iter().zip(times).map(line).collect()
}

pub(crate) fn print(lines: &[Line], most: usize) {
    let spawn = lines.iter().find(|line| line.0 == "fds_posix_spawn");
    let (_, _, spawn) = *spawn.expect("a row of the table");
    println!("\nwith {FEW} and with {most} descriptors open");
    println!("numbers for pipes reserved early (reserve_fds)");
    for (name, few, many) in lines {
        let (ratio, peer) = (many / few, many / spawn);
        println!(
            "{name:<20} {few:>7.1} us {many:>8.1} us {ratio:>7.2} x  \
             {peer:>6.2} x posix_spawn with {most}"
        );
    }
}
