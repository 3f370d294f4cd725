//! Namespaces: plans for fault injection with new namespaces. Each map has a
//! case, as their calls are the same.

use std::process;
use std::sync::LazyLock;

use offshoot::{Command, IdMap, Namespaces, Step};

use super::Case;
use crate::util::{ENGINES, WITHOUT_HELPER, is_root};

fn own_ids() -> (u32, u32) {
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    (uid, unsafe { libc::getegid() })
}

/// Sets a map where that is permitted; elsewhere the plan has no options. It is
/// found out once, before any fault is injected.
fn mapped(
    it: &mut Command,
    set: fn(&mut Command) -> &mut Command,
) -> &mut Command {
    static PERMITTED: LazyLock<bool> = LazyLock::new(|| {
        let mut unshare = process::Command::new("unshare");
        let status = unshare.args(["-Ur", "true"]).status();
        status.is_ok_and(|status| status.success())
    });
    match *PERMITTED {
        true => set(it.namespaces(Namespaces::USER)),
        false => it,
    }
}

fn map(nr: libc::c_long, step: Step) -> Option<Step> {
    let own = [
        libc::SYS_openat,
        libc::SYS_fstatfs,
        libc::SYS_write,
        libc::SYS_close,
    ];
    own.contains(&nr).then_some(step)
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "namespaces",
        engines: &ENGINES,
        options: |it| match is_root() {
            true => it
                .namespaces(
                    Namespaces::MOUNT | Namespaces::UTS | Namespaces::CGROUP,
                )
                .hostname("inside")
                .domainname("domain"),
            false => it,
        },
        own: |nr, _| match nr {
            libc::SYS_unshare => Some(Step::Namespaces),
            libc::SYS_mount => Some(Step::MountPropagation),
            libc::SYS_sethostname => Some(Step::Hostname),
            libc::SYS_setdomainname => Some(Step::Domainname),
            _ => None,
        },
    },
    Case {
        name: "uid map",
        engines: &WITHOUT_HELPER,
        options: |it| {
            mapped(it, |it| it.uid_map([IdMap::new(0, own_ids().0, 1)]))
        },
        own: |nr, _| map(nr, Step::UidMap),
    },
    Case {
        name: "gid map",
        engines: &WITHOUT_HELPER,
        options: |it| {
            mapped(it, |it| it.gid_map([IdMap::new(0, own_ids().1, 1)]))
        },
        own: |nr, _| map(nr, Step::GidMap),
    },
];
