//! `Handle`: what waits for a child, and what its drop does.

use super::waitable::Waitable;
use crate::parent::std::sync::Arc;
use crate::sys::fork_detection::Owner;

/// What dropping a `Child` does, in the process that has asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDrop {
    Nothing,
    Reap(Owner),
    Kill(Owner),
}

/// What waits for the child: it alone, or other handles too.
#[derive(Debug)]
pub(super) enum Handle {
    Own(Waitable),
    Shared(Arc<Waitable>),
}

impl Handle {
    pub(super) fn get(&self) -> &Waitable {
        match self {
            Handle::Own(own) => own,
            Handle::Shared(shared) => shared,
        }
    }

    /// Allocates, the first time.
    pub(super) fn share(&mut self) -> Arc<Waitable> {
        let shared = match self {
            Handle::Own(own) => Arc::new(own.take()),
            Handle::Shared(shared) => Arc::clone(shared),
        };
        *self = Handle::Shared(Arc::clone(&shared));
        shared
    }
}
