//! Pidfd poll: ten children in the order in which they end, and what a handler
//! of SIGCHLD knows of the same ten.
//!
//! A signal that is pending already is not queued again, so several ends make
//! one SIGCHLD: a handler has to look at all children each time, or it loses
//! ends. A pidfd stays readable until its child has been waited for. Use it
//! where a program waits for children beside other descriptors.
//!
//! Run: `cargo run --example pidfd_poll`
#![allow(
    unsafe_code,
    reason = "std cannot install a handler or block signals"
)]

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use offshoot::{Child, Command};
use rustix::event::{PollFd, PollFlags, poll};

const CHILDREN: usize = 10;

/// How often the handler ran.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Starts children that sleep for random times of up to 100 ms.
fn start() -> Result<Vec<(usize, Child)>, Box<dyn Error>> {
    let mut random = u64::from(std::process::id()) | 1;
    let mut children = Vec::new();
    for n in 0..CHILDREN {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let time = format!("0.{:03}", random % 100);
        let child = Command::new("sleep").arg(&time).spawn()?;
        println!("child {n} sleeps for {time} s");
        children.push((n, child));
    }
    Ok(children)
}

/// Waits for the children by their pidfds. Returns the order of their ends.
fn by_pidfd(
    mut children: Vec<(usize, Child)>,
) -> Result<Vec<usize>, Box<dyn Error>> {
    let mut order = Vec::new();
    while !children.is_empty() {
        let pidfds = children.iter().filter_map(|child| child.1.pidfd());
        let mut fds: Vec<PollFd<'_>> =
            pidfds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if fds.len() < children.len() {
            return Err("a child has no pidfd (Linux 5.3)".into());
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            // The handler of SIGCHLD ran.
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ended: Vec<bool> =
            fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for n in (0..children.len()).rev().filter(|n| ended[*n]) {
            let (number, mut child) = children.remove(n);
            if let Some(status) = child.try_wait()? {
                println!("child {number}: {status}");
                order.push(number);
            }
        }
    }
    Ok(order)
}

/// Waits for the children after they have ended while SIGCHLD was blocked, as
/// in a program that is busy. Returns the ends that each signal stood for.
fn by_signal(
    children: Vec<(usize, Child)>,
) -> Result<Vec<usize>, Box<dyn Error>> {
    let numbers: HashMap<i32, usize> = children
        .iter()
        .map(|(n, child)| Ok((i32::try_from(child.id())?, *n)))
        .collect::<Result<_, std::num::TryFromIntError>>()?;
    // SAFETY: all zeros is a set of signals.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is a valid one.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    let none = std::ptr::null_mut();
    let mut ends = Vec::new();
    let mut left = children.len();
    while left > 0 {
        // SAFETY: reads a set; blocks a signal of this thread.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, none) };
        std::thread::sleep(std::time::Duration::from_millis(40));
        let before = SIGNALS.load(Ordering::Relaxed);
        // SAFETY: as above; the handler runs now, once, if it is pending.
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, none) };
        if SIGNALS.load(Ordering::Relaxed) == before {
            continue;
        }
        let mut count = 0;
        loop {
            let mut status = 0;
            // SAFETY: writes one int.
            let pid =
                unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            match pid {
                0 => break,
                -1 if left == 0 => break,
                -1 => return Err(io::Error::last_os_error().into()),
                pid => {
                    let number = numbers.get(&pid);
                    println!("child {number:?}: status {status:#x}");
                    (count, left) = (count + 1, left - 1);
                }
            }
        }
        ends.push(count);
    }
    Ok(ends)
}

fn main() -> Result<(), Box<dyn Error>> {
    let handler = count as extern "C" fn(libc::c_int);
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGCHLD, handler as usize) };

    println!("by pidfd:");
    let order = by_pidfd(start()?)?;
    let signals = SIGNALS.load(Ordering::Relaxed);
    println!("order {order:?}, {signals} signals for {CHILDREN} ends");
    assert_eq!(order.len(), CHILDREN);

    println!("by SIGCHLD and waitpid(-1):");
    let ends = by_signal(start()?)?;
    let merged = ends.iter().filter(|count| **count > 1).count();
    let lost: usize = ends.iter().map(|count| count.saturating_sub(1)).sum();
    println!(
        "{} signals for {CHILDREN} ends: {merged} stood for several, and \
         {lost} ends had no signal of their own",
        ends.len()
    );
    assert_eq!(ends.iter().sum::<usize>(), CHILDREN);
    Ok(())
}
