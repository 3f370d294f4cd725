//! Session: plans for fault injection with terminals and sessions.

use super::Case;

pub(super) const CASES: &[Case] = &[];
