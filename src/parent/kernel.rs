//! What this system says of itself, asked only where the answer decides.

use super::std::{fs::File, io::Read};

use memchr::memmem;

/// Whether a debugger traces us (`TracerPid` of `/proc/self/status`).
///
/// gdb takes a child with exit signal 0 that it does not see vfork for a new
/// thread of ours and loses its session, so the copied engine asks. Without
/// /proc the answer is no.
pub(crate) fn traced() -> bool {
    let mut status = [0u8; 4096];
    let read = File::open("/proc/self/status")
        .and_then(|mut file| file.read(&mut status));
    let Ok(len) = read else { return false };
    let status = status.get(..len).unwrap_or_default();
    traced_in(status)
}

fn traced_in(status: &[u8]) -> bool {
    const KEY: &[u8] = b"TracerPid:\t";
    let at = memmem::find(status, KEY).map(|at| at + KEY.len());
    let first = at.and_then(|at| status.get(at));
    first.is_some_and(|digit| (b'1'..=b'9').contains(digit))
}

#[cfg(test)]
mod tests {
    use super::traced_in;

    #[test]
    fn a_tracer_is_any_pid_but_0() {
        assert!(traced_in(b"Name:\tx\nTracerPid:\t4711\nUid:\t0\n"));
        assert!(!traced_in(b"Name:\tx\nTracerPid:\t0\nUid:\t0\n"));
        assert!(!traced_in(b""));
    }
}
