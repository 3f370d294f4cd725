//! Starts: how long a start holds its caller, and many programs from one
//! thread, next to posix_spawn and std.

use std::process;
use std::sync::Arc;
use std::time::Instant;

use offshoot::{Child, Command, Prepared, Starting, spawn_all};

use crate::peers::{Peers, reap};
use crate::shuffle;

/// How many programs a batch has.
const BATCH: usize = 20;

/// A row, its median in microseconds, and the ratio to that of posix_spawn.
pub(crate) type Line = (&'static str, f64, f64);

/// Both tables, with posix_spawn first.
pub(crate) struct Tables {
    held: Vec<Line>,
    batches: Vec<Line>,
}

struct Inputs<'a> {
    peers: &'a Peers,
    prepared: Arc<Prepared>,
}

impl Inputs<'_> {
    fn builder(&self) -> Command {
        Command::new(self.peers.path())
    }

    fn builder_env(&self) -> Command {
        let mut command = self.builder();
        command.environment(self.peers.environment());
        command
    }
}

/// Measures only the part of a row in which its caller is held, in
/// microseconds.
type Held = fn(&Inputs<'_>) -> f64;

const HELD: [(&str, Held); 5] = [
    ("posix_spawn", |inputs| {
        let begun = Instant::now();
        let pid = inputs.peers.posix_spawn_only();
        let time = begun.elapsed();
        reap(pid);
        time.as_secs_f64() * 1e6
    }),
    ("spawn", |inputs| {
        let begun = Instant::now();
        let child = inputs.builder().spawn();
        let time = begun.elapsed();
        end(child);
        time.as_secs_f64() * 1e6
    }),
    ("start", |inputs| held(|| inputs.builder().start())),
    ("start_env", |inputs| held(|| inputs.builder_env().start())),
    ("start_prepared", |inputs| held(|| inputs.prepared.start())),
];

fn held(start: impl FnOnce() -> Result<Starting, offshoot::Error>) -> f64 {
    let begun = Instant::now();
    let starting = start().unwrap();
    let time = begun.elapsed();
    end(starting.wait());
    time.as_secs_f64() * 1e6
}

fn end(child: Result<Child, offshoot::Error>) {
    assert!(child.unwrap().wait().unwrap().success());
}

type Run = fn(&Inputs<'_>);

const BATCHES: [(&str, Run); 6] = [
    ("posix_spawn", |inputs| {
        let pids = [(); BATCH].map(|()| inputs.peers.posix_spawn_only());
        pids.into_iter().for_each(reap);
    }),
    ("std", |inputs| {
        let spawn = || process::Command::new(inputs.peers.path()).spawn();
        for child in [(); BATCH].map(|()| spawn()) {
            assert!(child.unwrap().wait().unwrap().success());
        }
    }),
    ("spawn", |inputs| {
        [(); BATCH]
            .map(|()| inputs.prepared.spawn())
            .into_iter()
            .for_each(end);
    }),
    ("start", |inputs| {
        let start = || inputs.prepared.start().unwrap();
        let starts = [(); BATCH].map(|()| start());
        starts.into_iter().for_each(|starting| end(starting.wait()));
    }),
    ("start_env", |inputs| {
        let start = || inputs.builder_env().start().unwrap();
        let starts = [(); BATCH].map(|()| start());
        starts.into_iter().for_each(|starting| end(starting.wait()));
    }),
    ("spawn_all", |inputs| {
        let all = spawn_all([&*inputs.prepared; BATCH]);
        all.into_iter().for_each(end);
    }),
];

/// Medians of rounds in which each row runs once, in random order.
fn medians<const N: usize>(
    names: [&'static str; N],
    rounds: usize,
    run: impl Fn(usize) -> f64,
) -> Vec<Line> {
    let mut times = names.map(|_| Vec::new());
    let mut order: Vec<usize> = (0..N).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..rounds {
        shuffle(&mut order, &mut seed);
        for at in order.iter().copied() {
            times[at].push(run(at));
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let lines = names.into_iter().zip(medians);
    lines.map(|(name, time)| (name, time, time / medians[0])).collect()
}

pub(crate) fn table(peers: &Peers, test: bool) -> Tables {
    let prepared = Arc::new(Command::new(peers.path()).prepare().unwrap());
    let inputs = &Inputs { peers, prepared };
    let rounds = if test { (2, 2) } else { (1500, 200) };
    let names = HELD.map(|(name, _)| name);
    let held = medians(names, rounds.0, |at| HELD[at].1(inputs));
    let names = BATCHES.map(|(name, _)| name);
    let batches = medians(names, rounds.1, |at| {
        let begun = Instant::now();
        BATCHES[at].1(inputs);
        begun.elapsed().as_secs_f64() * 1e6
    });
    Tables { held, batches }
}

pub(crate) fn print(tables: &Tables) {
    println!("\nhow long the call holds its caller, without the wait");
    for (name, time, ratio) in &tables.held {
        println!("held  {name:<14} {time:>8.1} us {ratio:>6.2} x posix_spawn");
    }
    println!("\n{BATCH} programs from one thread, started and waited for");
    for (name, time, ratio) in &tables.batches {
        let rate = 1.0 / ratio;
        println!("batch {name:<14} {time:>8.1} us {rate:>6.2} x the rate");
    }
}
