//! `Strategy`: the way in which a plan is launched.

use crate::parent::command::Engine;
use crate::sys::CloneCall;

/// What can differ from launch to launch of the same plan. The best strategy
/// is tried first; where the kernel or a filter rejects it, the plan is
/// compiled again for a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) engine: Engine,
    pub(crate) clone_call: CloneCall,
    /// No `close_range`: open descriptors are listed, and closed one by one.
    pub(crate) no_close_range: bool,
    /// The child enters its control group by a write.
    pub(crate) joins_cgroup: bool,
    /// No `execveat`: a descriptor is run by its path in `/proc`.
    pub(crate) no_execveat: bool,
    /// The index of the candidate that a shell runs instead.
    pub(crate) shell: Option<u16>,
    /// No `rt_sigtimedwait`: stops that are pending stay so.
    pub(crate) leaves_stops_pending: bool,
    /// No child at all: the steps run in this process.
    pub(crate) in_place: bool,
}

impl Strategy {
    /// What works for every plan, but for what its options need.
    pub(crate) fn suspended(in_place: bool) -> Strategy {
        Strategy {
            engine: Engine::Suspended,
            clone_call: CloneCall::Clone3,
            no_close_range: false,
            joins_cgroup: false,
            no_execveat: false,
            shell: None,
            leaves_stops_pending: false,
            in_place,
        }
    }

    /// Whether steps run in a helper image.
    pub(crate) fn has_helper(self) -> bool {
        self.engine == Engine::Isolated
    }
}
