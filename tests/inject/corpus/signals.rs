//! Signals: plans for fault injection that set signal dispositions, masks and
//! parent death signals.

use super::Case;

pub(super) const CASES: &[Case] = &[];
