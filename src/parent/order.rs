//! The order of the child's steps, and how a plan is compiled by it.

use super::command::options::Options;
use super::command::stdio::Source;
use super::error::Error;
use super::options::descriptors::{listen, mapping, requests};
use super::options::{
    arguments, cgroup, directory, environment, hooks, identity, program_files,
    scheduling, session, signals,
};
use super::plan::builder::PlanBuilder;
use super::plan::{Plan, fd_steps, helper_steps};
use super::std::{boxed::Box, env};

/// One row: which step, how wishes become it, and why it stands here.
struct Row {
    name: &'static str,
    record: fn(&mut PlanBuilder<'_>) -> Result<(), Error>,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people"))]
    why: &'static str,
}

/// Every step a child can make, in the order it makes them.
const ORDER: &[Row] = &[
    Row {
        name: "block_sigsys",
        record: signals::block_sigsys,
        why: "before any call that a filter may trap: the parent's handler \
              would run in the child",
    },
    Row {
        name: "robust_list",
        record: helper_steps::robust_list,
        why: "before anything that can fail, so that the parent always wakes",
    },
    Row {
        name: "close_range",
        record: fd_steps::close_range,
        why: "before any step that touches a descriptor: until it the table \
              may be the parent's",
    },
    Row {
        name: "mark_range",
        record: fd_steps::mark_range,
        why: "before the steps that make descriptors the program shall have",
    },
    Row {
        name: "join_cgroup",
        record: cgroup::join_cgroup,
        why: "early, so that the group is charged for what follows, and with \
              the parent's credentials",
    },
    Row {
        name: "dup",
        record: mapping::dup,
        why: "after the table is the child's own, before its gaps are closed",
    },
    Row {
        name: "close",
        record: mapping::close,
        why: "after the copies that may be made of it",
    },
    Row {
        name: "pass_helper_fds",
        record: helper_steps::pass_helper_fds,
        why: "after the last step that reads a descriptor of the parent's, \
              whose numbers these may take",
    },
    Row {
        name: "close_gaps",
        record: fd_steps::close_gaps,
        why: "after the last step that needs a descriptor of the parent's",
    },
    Row {
        name: "exec_helper",
        record: helper_steps::exec_helper,
        why: "as soon as the descriptors are the child's: what follows wants \
              memory of its own",
    },
    Row {
        name: "helper_init",
        record: helper_steps::helper_init,
        why: "before anything else in the image that can fail, so that the \
              parent always wakes",
    },
    Row {
        name: "setsid",
        record: session::setsid,
        why: "while the child still may, whatever its credentials become",
    },
    Row {
        name: "setpgid",
        record: session::setpgid,
        why: "as setsid, which excludes it",
    },
    Row {
        name: "umask",
        record: session::umask,
        why: "before whatever makes a file",
    },
    Row {
        name: "nice",
        record: scheduling::nice,
        why: "before the user changes: a lower value takes CAP_SYS_NICE",
    },
    Row {
        name: "chroot",
        record: directory::chroot,
        why: "before the user changes: it takes CAP_SYS_CHROOT",
    },
    Row {
        name: "clear_groups",
        record: identity::clear_groups,
        why: "before the user changes: after it nobody may change groups",
    },
    Row {
        name: "setgroups",
        record: identity::setgroups,
        why: "as ClearGroups, whose place it takes",
    },
    Row {
        name: "setgid",
        record: identity::setgid,
        why: "before the user changes: after it nobody may change groups",
    },
    Row {
        name: "setuid",
        record: identity::setuid,
        why: "after all that needs the parent's privilege",
    },
    Row {
        name: "chdir",
        record: directory::chdir,
        why: "as the user that the program runs as, and before exec, which a \
              relative program needs",
    },
    Row {
        name: "fchdir",
        record: directory::fchdir,
        why: "as Chdir, whose place it takes",
    },
    Row {
        name: "clear_handlers",
        record: signals::clear_handlers,
        why: "while signals are still blocked: a handler would run in the \
              parent's memory",
    },
    Row {
        name: "default_sigpipe",
        record: signals::default_sigpipe,
        why: "while signals are still blocked",
    },
    Row {
        name: "gate",
        record: hooks::gate,
        why: "after the last change of ids, which takes back that the child \
              ends with its parent, and before hooks, which may ask for it",
    },
    Row {
        name: "hooks",
        record: hooks::hooks,
        why: "after all that it may want to change, as std has it",
    },
    Row {
        name: "mark_helper",
        record: helper_steps::mark_helper,
        why: "last but for the mask: from here on a death looks like exec",
    },
    Row {
        name: "signal_mask",
        record: signals::signal_mask,
        why: "last before exec: from here a signal can end the child",
    },
    Row {
        name: "listen_pid",
        record: listen::listen_pid,
        why: "any time before exec: the child has had its id since birth",
    },
    Row {
        name: "exec",
        record: program_files::exec,
        why: "nothing comes after it",
    },
    Row {
        name: "exec_fd",
        record: program_files::exec_fd,
        why: "as Exec, whose place it takes",
    },
];

/// Compiles options. `default` is what 0, 1 and 2 are where no option says;
/// `in_place` is for steps that run in this process. The plan is in a box:
/// by value it would take room in several frames of the caller's stack.
pub(crate) fn compile(
    options: &Options,
    default: impl Fn(usize) -> Source,
    in_place: bool,
) -> Result<Box<Plan>, Error> {
    let stdio = requests::standard(options, default)?;
    // Before any memory of our own: std makes two small strings of each
    // variable, and glibc merges the small pieces that the last ones left,
    // one by one, when a large one is asked for first.
    let whole =
        options.environment.clear || options.environment.exact.is_some();
    let own = (!whole).then(env::vars_os);
    let mut plan = PlanBuilder::new(options, in_place, stdio);
    let strings = &mut plan.plan.strings;
    let program = arguments::argv(strings, options)?;
    environment::environment(strings, options, own)?;
    plan.plan.program = program;
    program_files::program_fd(&mut plan)?;
    for row in ORDER {
        plan.name = row.name;
        (row.record)(&mut plan)?;
    }
    plan.finish()
}

#[cfg(test)]
mod tests {
    use super::ORDER;

    #[test]
    fn every_row_of_the_order_gives_its_reason_once() {
        for (n, row) in ORDER.iter().enumerate() {
            assert!(row.why.len() > 12, "{}", row.name);
            assert!(ORDER.iter().skip(n + 1).all(|r| r.name != row.name));
        }
    }
}
