//! End: kills a child that must not run its program.

use super::robust_futex::sleep_briefly;
use crate::sys::call::monotonic_now;
use crate::sys::kill::kill_child;
use crate::sys::wait::{Ended, Kind, Target, wait};

/// How long `end` waits for a child that it may not kill, in nanoseconds.
const UNKILLED: i64 = 1_000_000_000;

/// Kills a child, waits for its end and reaps it. This process may lack the
/// right to kill it, as it has another user by now: then the child, which is
/// about to end by itself, has a second for that.
pub(super) fn end(target: Target) -> Option<Ended> {
    let blocks = kill_child(target).is_ok();
    let until = monotonic_now().saturating_add(UNKILLED);
    loop {
        match wait(target, Kind::Any, blocks) {
            Ok(None) if monotonic_now() < until => sleep_briefly(),
            other => return other.ok().flatten(),
        }
    }
}
