//! Descriptors: plans for fault injection with files that the child opens, and
//! with calls of the user's own.

use super::Case;

pub(super) const CASES: &[Case] = &[];
