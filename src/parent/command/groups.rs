//! `Groups`: what becomes of the supplementary groups.

use crate::parent::std::vec::Vec;

/// The child's supplementary groups.
///
/// They give access like the user and the group do, so a child that gets
/// another user or group loses them unless told otherwise.
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
    /// None, if user or group change; else as they are.
    #[default]
    Unset,
    Keep,
    List(Vec<u32>),
}

impl Groups {
    /// The parent's.
    #[must_use]
    pub fn keep() -> Groups {
        Groups(GroupsSetting::Keep)
    }

    /// None at all.
    #[must_use]
    pub fn clear() -> Groups {
        Groups(GroupsSetting::List(Vec::new()))
    }

    /// Whether anything was said of them.
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
