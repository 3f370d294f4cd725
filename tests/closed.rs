//! Parents in which some of 0, 1 and 2 are closed: each subset, with each
//! way of making the child's. In a process of its own.
#![allow(unsafe_code, reason = "the test closes 0 to 2 by number")]

mod util;

use std::fs;
use std::os::fd::AsRawFd;

use offshoot::{Command, Stdio};
use util::mirror::{ASK, Report, descriptors};
use util::{each_engine, scratch};

/// Which of 0 to 2 are open here.
fn open() -> Vec<u32> {
    let low = |(fd, _): (String, String)| fd.parse().ok().filter(|n| *n < 3);
    descriptors().into_iter().filter_map(low).collect()
}

#[test]
fn every_subset_of_0_to_2_may_be_closed_in_the_parent() {
    let name = "every_subset_of_0_to_2_may_be_closed_in_the_parent";
    if !util::inside(name, &[]) {
        return;
    }
    // Copies to come back to, above everything.
    // SAFETY: duplicates open descriptors.
    let kept = [0, 1, 2].map(|n| unsafe { libc::fcntl(n, libc::F_DUPFD, 90) });
    assert!(kept.iter().all(|fd| *fd >= 90));
    let path = scratch("closed").join("report");
    each_engine(|engine| {
        for closed in 0..8u32 {
            let is_closed = |n: u32| closed & (1 << n) != 0;
            for piped in 0..8u32 {
                for n in (0..3).filter(|n| is_closed(*n)) {
                    // SAFETY: closes a number that is put back below.
                    unsafe { libc::close(n as i32) };
                }
                let seen = child(&path, piped, engine);
                let left = open();
                for (n, fd) in (0..).zip(kept) {
                    // SAFETY: puts the number back.
                    unsafe { libc::dup2(fd, n) };
                }
                let want = |n: &u32| !is_closed(*n) || piped & (1 << n) != 0;
                let want: Vec<u32> = (0..3).filter(want).collect();
                let case = format!("closed {closed:03b} piped {piped:03b}");
                // The pidfd takes the lowest free number: below 3 it cannot
                // serve as the canary.
                let low = (0..3).any(is_closed);
                let copied = engine == offshoot::Engine::Copied;
                assert_eq!(seen, Ok((want, low || copied)), "{engine} {case}");
                let same: Vec<u32> =
                    (0..3).filter(|n| !is_closed(*n)).collect();
                assert_eq!(left, same, "the parent's: {engine} {case}");
            }
        }
    });
}

/// The descriptors of a child, or what went wrong. Nothing here may write to
/// 0, 1 or 2.
fn child(
    path: &std::path::Path,
    piped: u32,
    engine: offshoot::Engine,
) -> Result<(Vec<u32>, bool), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ASK).arg(path).engine(engine);
    let stdio = |n: u32| match piped & (1 << n) {
        0 => Stdio::inherit(),
        _ => Stdio::piped(),
    };
    command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let pidfd = child.pidfd().unwrap().as_raw_fd();
    if pidfd < 3 {
        return Err(format!("the pidfd is {pidfd}"));
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("{status}"));
    }
    let report = Report::parse(&fs::read(path).map_err(|e| e.to_string())?);
    Ok((report.fds(), child.launch().made_canary()))
}
