//! Many descriptors: the cost of a spawn while thousands are open.
//!
//! Compares offshoot with posix_spawn and std, with few and with 10,000 open
//! descriptors. Servers with many descriptors should call `reserve_fds` early:
//! then pipes for children have low numbers, and the kernel need not copy the
//! whole descriptor table.
//!
//! Run: `cargo run --release --example many_descriptors`
#![allow(unsafe_code, reason = "posix_spawn is a C function")]

use std::error::Error;
use std::fs::File;
use std::time::Instant;
use std::{io, process, ptr};

use offshoot::{Command, Stdio};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const ROUNDS: usize = 60;

type Row = (&'static str, fn() -> io::Result<bool>);

/// Each starts `true`, waits for it, and returns whether it succeeded.
const ROWS: [Row; 5] = [
    ("offshoot", || Ok(Command::new("/bin/true").status()?.success())),
    ("offshoot, piped", || {
        let child = Command::new("/bin/true").stdout(Stdio::piped()).spawn();
        Ok(child?.wait_with_output()?.status.success())
    }),
    ("posix_spawn", posix_spawn),
    ("std", || Ok(process::Command::new("/bin/true").status()?.success())),
    ("std, piped", || {
        let mut command = process::Command::new("/bin/true");
        let child = command.stdout(process::Stdio::piped()).spawn()?;
        Ok(child.wait_with_output()?.status.success())
    }),
];

fn posix_spawn() -> io::Result<bool> {
    let (path, null) = (c"/bin/true".as_ptr(), ptr::null_mut());
    let (argv, envp) = ([path.cast_mut(), null], [null]);
    let (argv, envp) = (argv.as_ptr(), envp.as_ptr());
    let (mut pid, mut status, no) = (0, -1, ptr::null());
    let spawn = libc::posix_spawn;
    // SAFETY: terminated arrays of this frame; no actions, no attributes.
    let e = unsafe { spawn(&mut pid, path, no, ptr::null(), argv, envp) };
    assert_eq!(e, 0, "an errno");
    // SAFETY: waits for our own child, and writes one int.
    let reaped = unsafe { libc::waitpid(pid, &mut status, 0) };
    Ok(reaped == pid && status == 0)
}

/// The median of each row in microseconds; the rows take turns.
fn medians() -> io::Result<[u128; ROWS.len()]> {
    let mut all = ROWS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, run), times) in ROWS.iter().zip(&mut all) {
            let begun = Instant::now();
            assert!(run()?);
            times.push(begun.elapsed().as_micros());
        }
    }
    Ok(all.map(|mut times| *times.select_nth_unstable(ROUNDS / 2).1))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Early, while low numbers are free, for the pipes of children.
    offshoot::reserve_fds(6)?;
    // Children inherit the raised limit.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let few = medians()?;
    let null = File::open("/dev/null")?;
    let count = maximum.map_or(10_000, |n| n.saturating_sub(64).min(10_000));
    let open = (0..count).map(|_| null.try_clone());
    let open = open.collect::<io::Result<Vec<_>>>()?;
    let many = medians()?;
    println!("{:<15} {:>8} open {:>8} open", "", "few", open.len());
    for ((row, _), (few, many)) in ROWS.iter().zip(few.iter().zip(many)) {
        let ratio = many as f64 / *few as f64;
        println!("{row:<15} {few:>10} us {many:>10} us  x{ratio:.2}");
    }
    Ok(())
}
