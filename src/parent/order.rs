//! The order of the child's steps, and how a plan is compiled by it.

use super::command::families::Families;
use super::command::options::Options;
use super::command::stdio::StdioSource;
use super::error::Error;
use super::options::descriptors::{
    listen, mapping, nonblocking, open_in_child, requests,
};
use super::options::{
    arguments, attributes, best_effort, capabilities, cgroup, directory,
    environment, hooks, id_maps, identity, landlock, limits, memory_policy,
    namespaces, no_new_privs, program_files, ptrace, raw_syscall, scheduling,
    seccomp, security, session, signals, terminal, user,
};
use super::plan::builder::PlanBuilder;
use super::plan::{Plan, fd_steps, helper_steps};
use super::std::{boxed::Box, env};

/// A step, and the function that records it.
struct Row {
    name: &'static str,
    /// The families without which it does nothing.
    families: Families,
    record: fn(&mut PlanBuilder<'_>) -> Result<(), Error>,
}

/// The families whose options the steps of a file depend on.
const FAMILIES: [(&str, Families); 27] = [
    ("attributes", Families::ATTRIBUTES),
    ("capabilities", Families::CAPABILITIES.union(Families::IDENTITY)),
    ("cgroup", Families::ALWAYS),
    ("directory", Families::DIRECTORY),
    ("fd_steps", Families::ALWAYS),
    ("helper_steps", Families::ALWAYS),
    ("hooks", Families::HOOKS),
    ("id_maps", Families::NAMESPACES),
    ("identity", Families::IDENTITY),
    ("landlock", Families::SECURITY),
    ("limits", Families::LIMITS),
    ("listen", Families::DESCRIPTORS),
    ("mapping", Families::ALWAYS),
    ("memory_policy", Families::MEMORY_POLICY),
    ("namespaces", Families::NAMESPACES),
    ("no_new_privs", Families::IDENTITY),
    ("nonblocking", Families::DESCRIPTORS),
    ("open_in_child", Families::DESCRIPTORS),
    ("program_files", Families::ALWAYS),
    ("ptrace", Families::SECURITY),
    ("raw_syscall", Families::HOOKS),
    ("scheduling", Families::SCHEDULING),
    ("seccomp", Families::SECCOMP),
    ("security", Families::SECURITY),
    ("session", Families::SESSION),
    ("signals", Families::ALWAYS),
    ("terminal", Families::SESSION),
];

/// Returns those of a file, at compile time.
const fn families(file: &str) -> Families {
    let mut n = 0;
    while n < FAMILIES.len() {
        let (name, families) = FAMILIES[n];
        if is_same(name.as_bytes(), file.as_bytes()) {
            return families;
        }
        n += 1;
    }
    panic!("the file is not in FAMILIES")
}

const fn is_same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b) {
        if *first != *other {
            return false;
        }
        (a, b) = (rest, others);
    }
    a.is_empty() && b.is_empty()
}

/// Declares the table: the functions, each with the reason for its position.
/// A step has the name of its function.
macro_rules! order {
    ($($family:ident::$step:ident: $why:literal,)*) => {
        /// Every step that a child can run, in the order in which it runs
        /// them.
        const ORDER: &[Row] = &[$(Row {
            name: stringify!($step),
            families: families(stringify!($family)),
            record: $family::$step,
        },)*];
    };
}

order! {
    signals::block_sigsys:
        "A seccomp filter may trap any later call with SIGSYS, and the \
         parent's handler would then run in the child.",
    helper_steps::robust_list:
        "The kernel wakes the parent through this list if the child dies, \
         so it comes before every other call that can fail.",
    fd_steps::close_range:
        "Until this call the descriptor table may be shared with the \
         parent, so no earlier step may change a descriptor.",
    fd_steps::mark_range:
        "The call marks every descriptor from 3 up close-on-exec, so the \
         descriptors of the program are made after it.",
    cgroup::join_cgroup:
        "It takes the parent's credentials, and the group is charged for \
         the memory that later steps use.",
    namespaces::cgroup_namespace:
        "The root of the namespace is the group that the child has entered.",
    mapping::dup:
        "The descriptor table is the child's own by now, and the source \
         descriptors are closed later.",
    mapping::close:
        "The descriptor may be the source of a copy, which is made first.",
    helper_steps::pass_helper_fds:
        "The helper's descriptors may take the numbers of source \
         descriptors, which no later step reads.",
    fd_steps::close_gaps:
        "It closes the source descriptors, so it follows the last step that \
         reads one.",
    id_maps::deny_setgroups:
        "It opens a file, so the descriptors are in place. The kernel takes no \
         map of groups before it.",
    id_maps::uid_map:
        "Until the ids are mapped, later steps have those of nobody.",
    id_maps::gid_map:
        "As for users; an exec would take the capabilities of a process \
         without ids.",
    helper_steps::exec_helper:
        "The steps from here on must not run in the parent's memory, and \
         the descriptors that the helper needs are in place.",
    helper_steps::helper_init:
        "It registers the robust list in the helper's memory, so that the \
         parent wakes if a later step fails.",
    namespaces::mount_propagation:
        "A mount that a later step makes must not reach the parent.",
    namespaces::hostname:
        "It takes a capability in the new namespace, which a change of user \
         removes.",
    namespaces::domainname:
        "It takes the same capability.",
    session::setsid:
        "It depends on no other step; hooks run in the new session.",
    terminal::controlling_terminal:
        "Only the leader of a session can acquire a terminal, and the \
         descriptor may be one that the user could not open.",
    session::setpgid:
        "It takes the place of setsid: a leader cannot change its group.",
    terminal::foreground:
        "The group exists by now. Signals are still blocked: a child in the \
         background would otherwise be stopped by SIGTTOU.",
    terminal::detach_terminal:
        "/dev/tty is opened, which a new root may not have.",
    session::umask:
        "The mask applies to files that a later step or a hook creates.",
    session::umask_or:
        "It takes the place of umask: a command has one of the two.",
    scheduling::scheduler:
        "The nice value of a policy is set after it; a real-time policy takes \
         CAP_SYS_NICE, which a change of user removes.",
    scheduling::nice:
        "A lower value needs CAP_SYS_NICE, which a change of user removes.",
    scheduling::cpu_affinity:
        "It depends on no other step; the cpuset of the control group, which \
         the child entered above, restricts it.",
    scheduling::io_priority:
        "The real-time class takes CAP_SYS_NICE, which a change of user \
         removes.",
    scheduling::timer_slack:
        "It depends on no other step, and a program inherits it.",
    scheduling::core_scheduling:
        "It reads the cookie of the calling thread only, so any position \
         before exec will do.",
    memory_policy::transparent_huge_pages:
        "The memory is the child's own by now, and exec passes the setting \
         on.",
    memory_policy::memory_merge:
        "A kernel may want CAP_SYS_RESOURCE for it, which a change of user \
         removes.",
    memory_policy::numa_policy:
        "It applies to memory that is allocated afterwards, and the program \
         inherits it.",
    attributes::oom_score_adj:
        "It writes to /proc, which a new root may lack, and a lower value \
         takes CAP_SYS_RESOURCE, which a change of user removes.",
    attributes::personality:
        "The helper restores the caller's personality, so it comes after \
         that, and exec applies it.",
    security::apparmor_profile:
        "It writes to a file in /proc, which the new root may not have, and \
         which is root's once the ids have changed. The exec of a helper \
         would consume the label.",
    security::selinux_context:
        "It needs the same file system and the same user as the profile.",
    directory::chroot:
        "It needs CAP_SYS_CHROOT, which a change of user removes.",
    limits::rlimits:
        "A higher limit takes CAP_SYS_RESOURCE, which a change of user \
         removes; a low RLIMIT_NOFILE would keep the steps above from opening \
         their files.",
    capabilities::bounding_capabilities:
        "It takes CAP_SETPCAP, which a change of user removes.",
    capabilities::keep_capabilities:
        "A change of user would remove the capabilities that the program \
         keeps.",
    identity::clear_groups:
        "It needs CAP_SETGID, which a change of user removes.",
    identity::setgroups:
        "It takes the place of clear_groups and needs CAP_SETGID too.",
    identity::setgid:
        "It needs CAP_SETGID, which a change of user removes.",
    identity::setuid:
        "It removes capabilities, so it follows the steps that need one.",
    capabilities::capabilities:
        "A change of user clears the effective capabilities.",
    capabilities::ambient_capabilities:
        "A change of user clears them, and they must be permitted and \
         inheritable.",
    capabilities::securebits:
        "They may forbid to raise ambient capabilities, and take CAP_SETPCAP, \
         which is kept until here.",
    capabilities::drop_setpcap:
        "The securebits above took CAP_SETPCAP; no later step does.",
    security::session_keyring:
        "The keyring belongs to the user that makes it, and takes part of \
         that user's quota, so the ids are the program's by then.",
    directory::chdir:
        "The permissions of the program's user decide whether the directory \
         can be entered, and a relative program path is resolved from \
         there.",
    directory::fchdir:
        "It takes the place of chdir: a command has one of the two.",
    open_in_child::open_in_child:
        "The file is opened inside the new root, from the child's directory, \
         and by the program's user, so its permissions count.",
    nonblocking::nonblocking:
        "The descriptors are in place, those that the child opens itself \
         too.",
    signals::clear_handlers:
        "Signals are still blocked: a handler of the parent would otherwise \
         run in the child.",
    signals::dispositions:
        "Signals are still blocked, so none can end the child, and one that \
         is pending and becomes ignored is discarded.",
    no_new_privs::no_new_privs:
        "AppArmor and SELinux restrict changes of their labels by it, so it \
         follows those; a sandbox needs it, so it comes before.",
    hooks::gate:
        "A change of ids clears the parent death signal that ends a waiting \
         child, and a hook may set one of its own.",
    raw_syscall::raw_syscall:
        "The call may override the effect of every option, as a hook may, \
         and a hook may depend on it.",
    hooks::hooks:
        "As in std, a hook may override the effect of every option.",
    landlock::landlock:
        "Directories, files and hooks before it need no rule; only exec \
         follows that opens a file. A later hook could not be confined.",
    helper_steps::mark_helper:
        "From here on the parent takes the child's death for a successful \
         exec, so this step comes as late as it can.",
    signals::parent_death:
        "A change of ids clears the signal, and the second thread in which a \
         helper may execute the program does not inherit it.",
    signals::signal_mask:
        "Once signals are unblocked one of them can end the child, so only \
         steps that cannot fail, and exec, follow.",
    listen::listen_pid:
        "It cannot fail, and the process id of the child is constant.",
    ptrace::ptrace_traceme:
        "From here on each signal stops the child until the parent continues \
         it, so this step comes as late as it can. A signal that was blocked \
         has had its effect by now.",
    seccomp::seccomp:
        "The filter applies to every call that follows, so none may follow \
         but exec, and the exit after a failure.",
    seccomp::seccomp_listener:
        "It is the last filter: it would be notified of the installation of \
         another.",
    program_files::exec:
        "After a successful exec no step of this table can run.",
    program_files::exec_fd:
        "It takes the place of exec where the program is a descriptor.",
}

/// Compiles options into a plan. `default` returns the source of a standard
/// descriptor that no option sets; `in_place` compiles steps that run in this
/// process. The plan is boxed: by value it would occupy several frames of the
/// caller's stack.
#[inline(never)]
pub(crate) fn compile(
    options: &Options,
    default: impl Fn(usize) -> StdioSource,
    in_place: bool,
) -> Result<Box<Plan>, Error> {
    best_effort::check(options)?;
    let stdio = requests::standard(options, default)?;
    // Read before the plan allocates: std allocates two small strings for
    // each variable, and glibc's malloc consolidates the small chunks that
    // the last spawn freed, one by one, when a large one is requested first.
    let whole = options.environment.clear
        || options.environment.exact.is_some()
        || options.environment.shared.is_some();
    let own = (!whole).then(env::vars_os);
    let mut plan = PlanBuilder::new(options, in_place, stdio);
    plan.ids = user::resolve(options)?;
    let strings = &mut plan.plan.strings;
    let program = arguments::argv(strings, options)?;
    environment::environment(strings, options, own)?;
    plan.plan.program = program;
    program_files::program_fd(&mut plan)?;
    let families = options.families();
    if families.contains(Families::NAMESPACES) {
        // No step: the child is created in them.
        namespaces::create_in(&mut plan)?;
    }
    for row in ORDER.iter().filter(|row| row.families.intersects(families)) {
        plan.name = row.name;
        (row.record)(&mut plan)?;
        best_effort::record(&mut plan, row.name, row.record)?;
    }
    plan.finish()
}
