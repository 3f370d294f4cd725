//! `Needs`: what the steps of a plan need of the way in which it is launched.

/// An option, and why it needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) option: &'static str,
    pub(crate) why: &'static str,
}

/// The first option that needs each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Memory of the child's own.
    pub(crate) private: Option<Need>,
    /// Memory shared with the parent.
    pub(crate) shared: Option<Need>,
    /// A copy of the parent's memory, or the parent itself: the helper image
    /// cannot run it.
    pub(crate) copy: Option<Need>,
    /// A caller that is suspended until exec, if memory is shared.
    pub(crate) suspended: Option<Need>,
}

impl Needs {
    pub(crate) fn private(&mut self, option: &'static str, why: &'static str) {
        self.private.get_or_insert(Need { option, why });
    }

    pub(crate) fn shared(&mut self, option: &'static str, why: &'static str) {
        self.shared.get_or_insert(Need { option, why });
    }

    pub(crate) fn copy(&mut self, option: &'static str, why: &'static str) {
        self.copy.get_or_insert(Need { option, why });
    }

    pub(crate) fn suspended(
        &mut self,
        option: &'static str,
        why: &'static str,
    ) {
        self.suspended.get_or_insert(Need { option, why });
    }
}
