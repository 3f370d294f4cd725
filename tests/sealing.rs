//! Sealing: a memfd that is mapped for writing while it is to be sealed.
#![allow(unsafe_code, reason = "the test maps a file for writing")]

mod util;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use offshoot::Command;
use util::alone;

/// Maps a memfd of the crate that is not sealed yet for writing, for 40 ms.
/// F_SEAL_WRITE fails meanwhile, as it does while the kernel reclaims or
/// compacts pages of the file.
fn map_for_a_while(stop: &AtomicBool) -> bool {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let map = |file: File| {
        let (null, fd) = (ptr::null_mut(), file.as_raw_fd());
        // SAFETY: a new mapping replaces no memory.
        let at =
            unsafe { libc::mmap(null, 4096, rights, libc::MAP_SHARED, fd, 0) };
        (at != libc::MAP_FAILED).then_some(at)
    };
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc/self/fd").unwrap() {
            let path = entry.unwrap().path();
            let name = fs::read_link(&path).unwrap_or_default();
            if !name.to_string_lossy().starts_with("/memfd:offshoot") {
                continue;
            }
            let file = File::options().read(true).write(true).open(&path);
            if let Some(at) = file.ok().and_then(map) {
                thread::sleep(Duration::from_millis(40));
                // SAFETY: it was mapped above, and has no references.
                assert_eq!(unsafe { libc::munmap(at, 4096) }, 0);
                return true;
            }
        }
    }
    false
}

#[test]
fn sealing_waits_until_a_writable_mapping_is_gone() {
    let _alone = alone();
    let mut bytes = fs::read("/bin/true").unwrap();
    bytes.resize(bytes.len() + (32 << 20), 0);
    let stop = AtomicBool::new(false);
    let mapped = thread::scope(|scope| {
        let mapper = scope.spawn(|| map_for_a_while(&stop));
        for _ in 0..50 {
            let mut command = Command::from_bytes(bytes.clone());
            assert!(command.status().unwrap().success());
            if mapper.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        mapper.join().unwrap()
    });
    assert!(mapped, "the memfd was never seen before it was sealed");
}
