//! Sealing: a memory file of which somebody uses a page.
#![allow(unsafe_code, reason = "the test maps a file for writing")]

mod util;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use offshoot::Command;
use util::alone;

/// Maps a memory file of the crate's that is not sealed yet, for writing, and
/// holds it for a while. As the kernel holds
/// pages of it while it frees memory or moves it together.
fn hold_a_page(stop: &AtomicBool) -> bool {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let map = |file: File| {
        let (null, fd) = (ptr::null_mut(), file.as_raw_fd());
        // SAFETY: a fresh mapping takes nobody's memory.
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
                // SAFETY: it was mapped above, and nobody refers to it.
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
    let held = thread::scope(|scope| {
        let thief = scope.spawn(|| hold_a_page(&stop));
        for _ in 0..50 {
            let mut command = Command::from_bytes(bytes.clone());
            assert!(command.status().unwrap().success());
            if thief.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        thief.join().unwrap()
    });
    assert!(held, "the file was never seen before it was sealed");
}
