//! Sandbox: plans for fault injection with Landlock, labels and keyrings.

use super::Case;

pub(super) const CASES: &[Case] = &[];
