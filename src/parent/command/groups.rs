//! `Groups`: the supplementary groups of a child.

use crate::parent::std::vec::Vec;

/// The supplementary groups of a child.
///
/// Groups grant access as the user and the group do, so a child that gets
/// another user or group drops them unless this option is set.
///
/// # Examples
///
/// ```no_run
/// use offshoot::{Command, Groups};
///
/// let mut server = Command::new("server");
/// server.uid(1000).gid(1000).groups([1000, 27]);
/// server.groups(Groups::keep());
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(pub(crate) GroupsSetting);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum GroupsSetting {
    /// Dropped if the user or the group changes, else kept.
    #[default]
    Unset,
    Keep,
    List(Vec<u32>),
}

impl Groups {
    /// Keeps the parent's groups.
    #[must_use]
    pub fn keep() -> Groups {
        Groups(GroupsSetting::Keep)
    }

    /// Drops all groups.
    #[must_use]
    pub fn clear() -> Groups {
        Groups(GroupsSetting::List(Vec::new()))
    }

    /// Whether the option is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0 != GroupsSetting::Unset
    }
}

impl From<Vec<u32>> for Groups {
    fn from(list: Vec<u32>) -> Groups {
        Groups(GroupsSetting::List(list))
    }
}

impl From<&[u32]> for Groups {
    fn from(list: &[u32]) -> Groups {
        Vec::from(list).into()
    }
}

impl From<&Vec<u32>> for Groups {
    fn from(list: &Vec<u32>) -> Groups {
        list.clone().into()
    }
}

impl<const N: usize> From<&[u32; N]> for Groups {
    fn from(list: &[u32; N]) -> Groups {
        Vec::from(list).into()
    }
}

impl<const N: usize> From<[u32; N]> for Groups {
    fn from(list: [u32; N]) -> Groups {
        Vec::from(list).into()
    }
}
