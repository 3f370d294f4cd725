//! Limits: plans for fault injection with resource limits and scheduling.

use super::Case;

pub(super) const CASES: &[Case] = &[];
