//! Fields: the options of a command that are set, by name.

use super::Command;
use super::method::{Memory, Method};
use super::namespaces::OwnIds;
use super::options::{DescriptorOptions, HookOptions, LaunchOptions, Options};
use super::path_search::PathSearch;
use super::shell_line::name_of;
use crate::parent::std::{
    ffi::{OsStr, OsString},
    fmt,
    vec::Vec,
};

impl Command {
    /// Passes on each option but the arguments and the environment: its name,
    /// whether it is set, and its value.
    pub(crate) fn each_field(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let Options { program, directory, descriptors, .. } = &*self.options;
        let Options { identity, session, hooks, launch, .. } = &*self.options;
        let Options { scheduling, best_effort, .. } = &*self.options;
        let Options { seccomp, .. } = &*self.options;
        let [stdin, stdout, stderr] = &self.options.stdio;
        let candidates = &program.candidates;
        set("candidates", candidates.is_some(), candidates);
        self.environment_fields(set);
        let dir = &directory.current_dir;
        set("cwd", dir.is_some(), dir);
        set("uid", identity.uid.is_some(), &identity.uid);
        set("gid", identity.gid.is_some(), &identity.gid);
        set("groups", identity.groups.is_set(), &identity.groups);
        set("resuid", identity.resuid.is_some(), &identity.resuid);
        set("resgid", identity.resgid.is_some(), &identity.resgid);
        self.capability_fields(set);
        set("user", identity.user.is_some(), &identity.user);
        set("no_new_privs", identity.no_new_privs, &true);
        set("stdin", stdin.is_some(), stdin);
        set("stdout", stdout.is_some(), stdout);
        set("stderr", stderr.is_some(), stderr);
        set("pgroup", session.process_group.is_some(), &session.process_group);
        set("program_source", program.source.is_some(), &program.source);
        let dir = &directory.current_dir_fd;
        set("cwd_fd", dir.is_some(), dir);
        set("chroot", directory.chroot.is_some(), &directory.chroot);
        descriptor_fields(descriptors, set);
        set("script_fd", program.script_fd.is_some(), &program.script_fd);
        set("shell_fallback", program.shell_fallback, &true);
        set("setsid", session.setsid, &true);
        let terminal = &session.controlling_terminal;
        set("controlling_terminal", terminal.is_some(), terminal);
        let terminal = &session.foreground;
        set("foreground", terminal.is_some(), terminal);
        set("detach_terminal", session.detach_terminal, &true);
        set("umask", session.umask.is_some(), &session.umask);
        set("umask_or", session.umask_or.is_some(), &session.umask_or);
        set("nice", scheduling.nice.is_some(), &scheduling.nice);
        self.each_attribute(set);
        self.security_fields(set);
        self.namespace_fields(set);
        set("seccomp", !seccomp.filters.is_empty(), &seccomp.filters);
        let listener = &seccomp.listener;
        set("seccomp_with_listener", listener.is_some(), listener);
        hook_fields(hooks, set);
        launch_fields(launch, set);
        let path = &program.path_search;
        set("path_search", *path != PathSearch::default(), path);
        set("resolve_program", program.resolve, &true);
        let method = &launch.method;
        set("method", *method != Method::default(), method);
        let memory = &launch.memory;
        set("memory", *memory != Memory::default(), memory);
        let inner = best_effort.as_deref();
        let inner =
            inner.map(|inner| Command { options: inner.clone().into() });
        set("best_effort", inner.is_some(), &inner);
    }

    fn environment_fields(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let exact = self.get_env_exact().map(Exact::new);
        set("env_exact", exact.is_some(), &exact);
        let shared = &self.options.environment.shared;
        set("environment", shared.is_some(), shared);
    }

    fn capability_fields(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let all = &self.options.capabilities;
        for (name, own) in [
            ("ambient_capabilities", all.ambient),
            ("inheritable_capabilities", all.inheritable),
            ("permitted_capabilities", all.permitted),
            ("bounding_capabilities", all.bounding),
        ] {
            set(name, own.is_some(), &own);
        }
        set("securebits", all.securebits.is_some(), &all.securebits);
    }

    fn security_fields(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let security = &self.options.security;
        let profile = &security.apparmor_profile;
        set("apparmor_profile", profile.is_some(), profile);
        let context = &security.selinux_context;
        set("selinux_context", context.is_some(), context);
        let keyring = &security.session_keyring;
        set("session_keyring", keyring.is_some(), keyring);
        set("ptrace_traceme", security.ptrace_traceme, &true);
        let rules = &security.landlock;
        set("landlock", rules.is_some(), rules);
        let ruleset = &security.landlock_fd;
        set("landlock_fd", ruleset.is_some(), ruleset);
    }

    fn namespace_fields(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let all = &self.options.namespaces;
        set("namespaces", !all.new.is_empty(), &all.new);
        let propagation = &all.propagation;
        set("mount_propagation", propagation.is_some(), propagation);
        set("uid_map", !all.uid_map.is_empty(), &all.uid_map);
        set("gid_map", !all.gid_map.is_empty(), &all.gid_map);
        let own = |ids| all.own_ids == Some(ids);
        set("map_root_user", own(OwnIds::Root), &true);
        set("map_current_user", own(OwnIds::Same), &true);
        set("hostname", all.hostname.is_some(), &all.hostname);
        set("domainname", all.domainname.is_some(), &all.domainname);
    }

    /// The options of scheduling, memory policy and limits.
    fn each_attribute(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        let Options { scheduling, memory_policy, .. } = &*self.options;
        let Options { attributes, limits, .. } = &*self.options;
        let scheduler = &scheduling.scheduler;
        set("scheduler", scheduler.is_some(), scheduler);
        let reset = scheduling.reset_on_fork;
        set("scheduler_reset_on_fork", reset, &true);
        let cpus = &scheduling.cpu_affinity;
        set("cpu_affinity", cpus.is_some(), cpus);
        let io = &scheduling.io_priority;
        set("io_priority", io.is_some(), io);
        let slack = &scheduling.timer_slack;
        set("timer_slack", slack.is_some(), slack);
        set("core_scheduling", scheduling.core_scheduling, &true);
        let pages = &memory_policy.huge_pages;
        set("transparent_huge_pages", pages.is_some(), pages);
        let merge = &memory_policy.merge;
        set("memory_merge", merge.is_some(), merge);
        let numa = &memory_policy.numa;
        set("numa_policy", numa.is_some(), numa);
        let oom = &attributes.oom_score_adj;
        set("oom_score_adj", oom.is_some(), oom);
        let personality = &attributes.personality;
        set("personality", personality.is_some(), personality);
        set("rlimits", !limits.rlimits.is_empty(), &limits.rlimits);
    }
}

fn descriptor_fields(
    descriptors: &DescriptorOptions,
    set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
) {
    set("fds", !descriptors.fds.is_empty(), &descriptors.fds);
    set("inherit_unlisted_fds", descriptors.unlisted, &true);
    set("inherit_jobserver", descriptors.jobserver, &true);
    set("listen_fds", descriptors.listen.is_some(), &descriptors.listen);
    let opened = &descriptors.opened;
    set("open_in_child", !opened.is_empty(), opened);
    let modes = &descriptors.nonblocking;
    set("nonblocking", !modes.is_empty(), modes);
}

fn hook_fields(
    hooks: &HookOptions,
    set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
) {
    set("raw_syscall", !hooks.raw.is_empty(), &hooks.raw);
    set("hooks", !hooks.child.is_empty(), &hooks.child);
    set("before_exec", !hooks.parent.is_empty(), &hooks.parent);
}

fn launch_fields(
    launch: &LaunchOptions,
    set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
) {
    set("cgroup", launch.cgroup.is_some(), &launch.cgroup);
    set("own_cgroup", launch.own_cgroup.is_some(), &launch.own_cgroup);
    set("set_tid", !launch.set_tid.is_empty(), &launch.set_tid);
    set("autoreap", launch.autoreap, &true);
    set("autokill", launch.autokill, &true);
    let again = &launch.retry_again;
    set("retry_again", !again.is_zero(), again);
}

/// The names of an exact environment, in its order.
struct Exact(Vec<OsString>);

impl Exact {
    fn new<'a>(all: impl Iterator<Item = &'a OsStr>) -> Exact {
        Exact(all.map(|entry| name_of(entry).to_os_string()).collect())
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
