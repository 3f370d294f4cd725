//! Identity: plans for fault injection with ids, capabilities and privileges.

use offshoot::{CapabilitySet, Securebits, Step};

use super::{Case, no_new_privs, none};
use crate::util::{ENGINES, PRIVATE, is_root};

fn capabilities(nr: libc::c_long, args: &[u64; 6]) -> Option<Step> {
    let option = libc::c_int::try_from(args[0]).unwrap_or_default();
    match (nr, option) {
        (libc::SYS_capset | libc::SYS_capget, _) => Some(Step::Capabilities),
        (libc::SYS_prctl, libc::PR_CAPBSET_READ | libc::PR_CAPBSET_DROP) => {
            Some(Step::BoundingCapabilities)
        }
        (libc::SYS_prctl, libc::PR_SET_KEEPCAPS | libc::PR_GET_KEEPCAPS) => {
            Some(Step::KeepCapabilities)
        }
        (libc::SYS_prctl, libc::PR_CAP_AMBIENT) => {
            Some(Step::AmbientCapabilities)
        }
        (
            libc::SYS_prctl,
            libc::PR_SET_SECUREBITS | libc::PR_GET_SECUREBITS,
        ) => Some(Step::Securebits),
        _ => None,
    }
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ids apart",
        engines: &PRIVATE,
        options: |c| {
            let root = is_root();
            if root { c.resuid(1, 2, 3).resgid(4, 5, 6) } else { c }
        },
        own: none,
    },
    Case {
        name: "capabilities",
        engines: &PRIVATE,
        options: |c| {
            let set = CapabilitySet::NET_BIND_SERVICE;
            if !is_root() {
                return c.inheritable_capabilities(CapabilitySet::empty());
            }
            // All but one: each of the others would add three calls.
            let bounding = CapabilitySet::all() - CapabilitySet::SYSLOG;
            c.uid(1).ambient_capabilities(set).bounding_capabilities(bounding);
            c.securebits(Securebits::NO_CAP_AMBIENT_RAISE)
        },
        own: capabilities,
    },
    Case {
        name: "umask_or",
        engines: &ENGINES,
        options: |c| c.umask_or(0o22),
        own: none,
    },
    Case {
        name: "no_new_privs",
        engines: &ENGINES,
        options: |c| c.no_new_privs(true),
        own: no_new_privs,
    },
];
