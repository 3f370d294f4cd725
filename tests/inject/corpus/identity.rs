//! Identity: plans for fault injection with ids, capabilities and privileges.

use super::Case;

pub(super) const CASES: &[Case] = &[];
