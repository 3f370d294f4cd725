//! The order of the child's steps: a table with a reason a row.

use super::PlanBuilder;
use super::{emit, fd_steps, files};
use crate::parent::error::Error;

/// One row: which step, how wishes become it, and why it stands here.
pub(super) struct Row {
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests"))]
    pub(super) op: &'static str,
    pub(super) emit: fn(&mut PlanBuilder<'_>) -> Result<(), Error>,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people"))]
    pub(super) why: &'static str,
}

/// Every step a child can make, in the order it makes them.
pub(super) const ORDER: &[Row] = &[
    Row {
        op: "BlockSigsys",
        emit: emit::block_sigsys,
        why: "before any call that a filter may trap: the parent's handler \
              would run in the child",
    },
    Row {
        op: "RobustList",
        emit: emit::watch,
        why: "before anything that can fail, so that the parent always wakes",
    },
    Row {
        op: "CloseRange",
        emit: emit::close_range,
        why: "before any step that touches a descriptor: until it the table \
              may be the parent's",
    },
    Row {
        op: "MarkRange",
        emit: emit::mark_range,
        why: "before the steps that make descriptors the program shall have",
    },
    Row {
        op: "JoinCgroup",
        emit: emit::join_cgroup,
        why: "early, so that the group is charged for what follows, and with \
              the parent's credentials",
    },
    Row {
        op: "Dup",
        emit: fd_steps::dup,
        why: "after the table is the child's own, before its gaps are closed",
    },
    Row {
        op: "Close",
        emit: fd_steps::close,
        why: "after the copies that may be made of it",
    },
    Row {
        op: "PassHelperFds",
        emit: emit::lend,
        why: "after the last step that reads a descriptor of the parent's, \
              whose numbers these may take",
    },
    Row {
        op: "CloseGaps",
        emit: fd_steps::close_gaps,
        why: "after the last step that needs a descriptor of the parent's",
    },
    Row {
        op: "ExecHelper",
        emit: emit::enter,
        why: "as soon as the descriptors are the child's: what follows wants \
              memory of its own",
    },
    Row {
        op: "HelperInit",
        emit: emit::arrive,
        why: "before anything else in the image that can fail, so that the \
              parent always wakes",
    },
    Row {
        op: "Setsid",
        emit: emit::setsid,
        why: "while the child still may, whatever its credentials become",
    },
    Row {
        op: "Setpgid",
        emit: emit::setpgid,
        why: "as setsid, which excludes it",
    },
    Row {
        op: "Umask",
        emit: emit::umask,
        why: "before whatever makes a file",
    },
    Row {
        op: "Chroot",
        emit: emit::chroot,
        why: "before the user changes: it takes CAP_SYS_CHROOT",
    },
    Row {
        op: "ClearGroups",
        emit: emit::clear_groups,
        why: "before the user changes: after it nobody may change groups",
    },
    Row {
        op: "Setgroups",
        emit: emit::setgroups,
        why: "as ClearGroups, whose place it takes",
    },
    Row {
        op: "Setgid",
        emit: emit::setgid,
        why: "before the user changes: after it nobody may change groups",
    },
    Row {
        op: "Setuid",
        emit: emit::setuid,
        why: "after all that needs the parent's privilege",
    },
    Row {
        op: "Chdir",
        emit: emit::chdir,
        why: "as the user that the program runs as, and before exec, which a \
              relative program needs",
    },
    Row {
        op: "Fchdir",
        emit: emit::fchdir,
        why: "as Chdir, whose place it takes",
    },
    Row {
        op: "ClearHandlers",
        emit: emit::clear_handlers,
        why: "while signals are still blocked: a handler would run in the \
              parent's memory",
    },
    Row {
        op: "DefaultSignal",
        emit: emit::default_signal,
        why: "while signals are still blocked",
    },
    Row {
        op: "Gate",
        emit: emit::gate,
        why: "after the last change of ids, which takes back that the child \
              ends with its parent, and before hooks, which may ask for it",
    },
    Row {
        op: "Hook",
        emit: emit::hook,
        why: "after all that it may want to change, as std has it",
    },
    Row {
        op: "MarkHelper",
        emit: emit::name,
        why: "last but for the mask: from here on a death looks like exec",
    },
    Row {
        op: "SignalMask",
        emit: emit::signal_mask,
        why: "last before exec: from here a signal can end the child",
    },
    Row {
        op: "ListenPid",
        emit: emit::listen_pid,
        why: "any time before exec: the child has had its id since birth",
    },
    Row { op: "Exec", emit: files::exec, why: "nothing comes after it" },
    Row {
        op: "ExecFd",
        emit: emit::exec_fd,
        why: "as Exec, whose place it takes",
    },
];

#[cfg(test)]
mod tests {
    use super::ORDER;

    #[test]
    fn every_row_of_the_order_gives_its_reason_once() {
        for (n, row) in ORDER.iter().enumerate() {
            assert!(row.why.len() > 12, "{}", row.op);
            assert!(ORDER.iter().skip(n + 1).all(|r| r.op != row.op));
        }
    }
}
