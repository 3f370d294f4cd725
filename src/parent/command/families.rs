//! `Families`: groups of options, and which of them a command sets.
//!
//! A plan skips the functions of a family that is not set. After a spawn their
//! code is no longer in the processor's caches: to call all of them takes ten
//! times as long as when it is.

use super::groups::Groups;
use super::namespaces::NamespaceOptions;
use super::options::{
    AttributeOptions, CapabilityOptions, DescriptorOptions, DirectoryOptions,
    HookOptions, IdentityOptions, LimitOptions, MemoryPolicyOptions, Options,
    SchedulingOptions, SeccompOptions, SecurityOptions, SessionOptions,
};

bitflags::bitflags! {
    /// Families of options.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Families: u16 {
        /// What is set in every command.
        const ALWAYS = 1;
        const ATTRIBUTES = 1 << 1;
        const CAPABILITIES = 1 << 2;
        const DESCRIPTORS = 1 << 3;
        const DIRECTORY = 1 << 4;
        const HOOKS = 1 << 5;
        const IDENTITY = 1 << 6;
        const LIMITS = 1 << 7;
        const MEMORY_POLICY = 1 << 8;
        const SCHEDULING = 1 << 9;
        const SECCOMP = 1 << 10;
        const SECURITY = 1 << 11;
        const SESSION = 1 << 12;
        const NAMESPACES = 1 << 13;
    }
}

impl Options {
    /// Returns the families of which an option is set, here or in
    /// `best_effort`.
    pub(crate) fn families(&self) -> Families {
        let mut set = Families::ALWAYS;
        set.set(Families::ATTRIBUTES, self.attributes.is_set());
        set.set(Families::CAPABILITIES, self.capabilities.is_set());
        set.set(Families::DESCRIPTORS, self.descriptors.is_set());
        set.set(Families::DIRECTORY, self.directory.is_set());
        set.set(Families::HOOKS, self.hooks.is_set());
        set.set(Families::IDENTITY, self.identity.is_set());
        set.set(Families::LIMITS, self.limits.is_set());
        set.set(Families::MEMORY_POLICY, self.memory_policy.is_set());
        set.set(Families::SCHEDULING, self.scheduling.is_set());
        set.set(Families::SECCOMP, self.seccomp.is_set());
        set.set(Families::SECURITY, self.security.is_set());
        set.set(Families::SESSION, self.session.is_set());
        set.set(Families::NAMESPACES, self.namespaces.is_set());
        match &self.best_effort {
            Some(inner) => set | inner.families(),
            None => set,
        }
    }
}

// Each pattern names all fields, so that a new one cannot be forgotten.

impl AttributeOptions {
    fn is_set(&self) -> bool {
        let AttributeOptions { oom_score_adj, personality } = self;
        oom_score_adj.is_some() || personality.is_some()
    }
}

impl CapabilityOptions {
    fn is_set(&self) -> bool {
        let CapabilityOptions {
            ambient,
            inheritable,
            permitted,
            bounding,
            securebits,
        } = self;
        let sets = [ambient, inheritable, permitted, bounding];
        sets.iter().any(|set| set.is_some()) || securebits.is_some()
    }
}

impl DescriptorOptions {
    fn is_set(&self) -> bool {
        let DescriptorOptions {
            fds,
            unlisted,
            jobserver,
            listen,
            opened,
            nonblocking,
        } = self;
        let lists = !fds.is_empty() || !opened.is_empty();
        let modes = *unlisted || *jobserver || !nonblocking.is_empty();
        lists || modes || listen.is_some()
    }
}

impl DirectoryOptions {
    fn is_set(&self) -> bool {
        let DirectoryOptions { current_dir, current_dir_fd, chroot } = self;
        current_dir.is_some() || current_dir_fd.is_some() || chroot.is_some()
    }
}

impl HookOptions {
    fn is_set(&self) -> bool {
        let HookOptions { child, parent, raw } = self;
        !child.is_empty() || !parent.is_empty() || !raw.is_empty()
    }
}

impl IdentityOptions {
    fn is_set(&self) -> bool {
        let IdentityOptions {
            uid,
            gid,
            groups,
            resuid,
            resgid,
            user,
            no_new_privs,
        } = self;
        let ids = uid.is_some() || gid.is_some() || user.is_some();
        let all = resuid.is_some() || resgid.is_some();
        ids || all || *no_new_privs || *groups != Groups::default()
    }
}

impl LimitOptions {
    fn is_set(&self) -> bool {
        let LimitOptions { rlimits } = self;
        !rlimits.is_empty()
    }
}

impl MemoryPolicyOptions {
    fn is_set(&self) -> bool {
        let MemoryPolicyOptions { huge_pages, merge, numa } = self;
        huge_pages.is_some() || merge.is_some() || numa.is_some()
    }
}

impl NamespaceOptions {
    fn is_set(&self) -> bool {
        let NamespaceOptions {
            new,
            propagation,
            uid_map,
            gid_map,
            own_ids,
            hostname,
            domainname,
        } = self;
        let maps = !uid_map.is_empty() || !gid_map.is_empty();
        let names = hostname.is_some() || domainname.is_some();
        let user = maps || own_ids.is_some();
        !new.is_empty() || user || names || propagation.is_some()
    }
}

impl SchedulingOptions {
    fn is_set(&self) -> bool {
        let SchedulingOptions {
            nice,
            scheduler,
            reset_on_fork,
            cpu_affinity,
            io_priority,
            timer_slack,
            core_scheduling,
        } = self;
        let policy = nice.is_some() || scheduler.is_some() || *reset_on_fork;
        let rest = cpu_affinity.is_some() || io_priority.is_some();
        policy || rest || timer_slack.is_some() || *core_scheduling
    }
}

impl SeccompOptions {
    fn is_set(&self) -> bool {
        let SeccompOptions { filters, listener } = self;
        !filters.is_empty() || listener.is_some()
    }
}

impl SecurityOptions {
    fn is_set(&self) -> bool {
        let SecurityOptions {
            apparmor_profile,
            selinux_context,
            session_keyring,
            ptrace_traceme,
            landlock,
            landlock_fd,
        } = self;
        let labels = apparmor_profile.is_some() || selinux_context.is_some();
        let rules = landlock.is_some() || landlock_fd.is_some();
        labels || rules || session_keyring.is_some() || *ptrace_traceme
    }
}

impl SessionOptions {
    fn is_set(&self) -> bool {
        let SessionOptions {
            process_group,
            setsid,
            umask,
            umask_or,
            controlling_terminal,
            foreground,
            detach_terminal,
        } = self;
        let mask = umask.is_some() || umask_or.is_some();
        let group = process_group.is_some() || *setsid;
        let terminal = controlling_terminal.is_some() || foreground.is_some();
        mask || group || terminal || *detach_terminal
    }
}
