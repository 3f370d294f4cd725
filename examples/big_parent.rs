//! Big parent: a process with much memory starts programs as fast as a small
//! one, and goes on while they start.
//!
//! The child shares the memory until its exec, so nothing is copied, whatever
//! the options: another user does not change that, where `fork`, and std with
//! `uid` or a hook, copy the page tables of all of it. What still suspends the
//! thread that spawns is the exec itself; `start` has another thread for that.
//! Use it in databases, language runtimes and other large servers.
//!
//! Run: `cargo run --release --example big_parent`, or with the size in MiB:
//! `cargo run --release --example big_parent -- 4096`

use std::env::args;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use offshoot::Command;

/// The median of twenty runs.
fn median(
    mut run: impl FnMut() -> Result<Duration, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut times = (0..20).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    times.sort();
    Ok(times[10])
}

/// How long a command takes to spawn, the program's end not included.
fn spawn(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    median(|| {
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let time = begun.elapsed();
        assert!(child.wait()?.success());
        Ok(time)
    })
}

/// How long `start` holds its caller.
fn start(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    median(|| {
        let begun = Instant::now();
        let starting = command.start()?;
        let time = begun.elapsed();
        assert!(starting.wait()?.wait()?.success());
        Ok(time)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let size = args().nth(1).map_or(Ok(512), |size| size.parse::<usize>())?;
    let mut command = Command::new("/bin/true");
    let mut private = Command::new("/bin/true");
    private.memory(offshoot::Memory::Private);
    let mut copied = Command::new("/bin/true");
    copied.method(offshoot::Method::Fork);

    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12}",
        "MiB", "spawn", "private", "start", "as fork"
    );
    let mut memory = Vec::new();
    for size in [1, size] {
        // Each page is written, so that it exists.
        memory.resize(size << 20, 1u8);
        let times = [
            spawn(&mut command)?,
            spawn(&mut private)?,
            start(&mut command)?,
            spawn(&mut copied)?,
        ];
        let [spawn, private, start, fork] =
            times.map(|time| format!("{time:.0?}"));
        println!("{size:>8} {spawn:>12} {private:>12} {start:>12} {fork:>12}");
        black_box(&memory);
    }
    Ok(())
}
