//! Options: what the setters of a command have recorded, grouped in families.

use core::fmt;
use core::time::Duration;

use super::capabilities::{CapabilitySet, Securebits};
use super::cgroup::Cgroup;
use super::environment::Environment;
use super::fd_request::FdRequest;
use super::groups::Groups;
use super::hook::Hook;
use super::landlock::Landlock;
use super::limits::{Resource, Rlimit};
use super::method::{Engine, Memory, Method};
use super::namespaces::NamespaceOptions;
use super::open_options::OpenRequest;
use super::parent_hook::ParentHook;
use super::path_search::PathSearch;
use super::personality::Personality;
use super::program_source::ProgramSource;
use super::raw_arg::RawRequest;
use super::scheduling::{IoPriority, NumaPolicy, Scheduler};
use super::seccomp::SeccompFilter;
use super::signal_set::{Signal, SignalSet};
use super::stdio::Stdio;
use crate::parent::std::{
    boxed::Box, collections::BTreeMap, ffi::OsString, os::fd::OwnedFd,
    path::PathBuf, string::String, sync::Arc, vec::Vec,
};
use crate::sys::safe::Disposition;

/// The options of a command. Plain data, validated when a plan is compiled.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) program: ProgramOptions,
    pub(crate) environment: EnvironmentOptions,
    pub(crate) directory: DirectoryOptions,
    pub(crate) stdio: [Option<Stdio>; 3],
    pub(crate) descriptors: DescriptorOptions,
    pub(crate) identity: IdentityOptions,
    pub(crate) capabilities: CapabilityOptions,
    pub(crate) session: SessionOptions,
    pub(crate) scheduling: SchedulingOptions,
    pub(crate) memory_policy: MemoryPolicyOptions,
    pub(crate) attributes: AttributeOptions,
    pub(crate) limits: LimitOptions,
    pub(crate) security: SecurityOptions,
    pub(crate) seccomp: SeccompOptions,
    pub(crate) namespaces: NamespaceOptions,
    pub(crate) signals: SignalOptions,
    pub(crate) hooks: HookOptions,
    pub(crate) launch: LaunchOptions,
    /// What `best_effort` sets.
    pub(crate) best_effort: Option<Box<Options>>,
}

#[derive(Clone, Default)]
pub(crate) struct ProgramOptions {
    pub(crate) name: OsString,
    /// Alternatives that are tried in turn; `name` is the first of them.
    pub(crate) candidates: Option<Vec<OsString>>,
    pub(crate) arg0: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    /// The source of the program, if that is not a path.
    pub(crate) source: Option<ProgramSource>,
    pub(crate) script_fd: Option<i32>,
    pub(crate) shell_fallback: bool,
    pub(crate) path_search: PathSearch,
    /// Whether the parent searches.
    pub(crate) resolve: bool,
}

#[derive(Clone, Default)]
pub(crate) struct EnvironmentOptions {
    pub(crate) clear: bool,
    /// Variables to set, or to remove where the value is `None`.
    pub(crate) vars: BTreeMap<OsString, Option<OsString>>,
    /// What takes the place of this process's variables.
    pub(crate) shared: Option<Environment>,
    /// The whole environment, entry by entry.
    pub(crate) exact: Option<Vec<OsString>>,
}

#[derive(Clone, Default)]
pub(crate) struct DirectoryOptions {
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) current_dir_fd: Option<Arc<OwnedFd>>,
    pub(crate) chroot: Option<PathBuf>,
}

#[derive(Clone, Default)]
pub(crate) struct DescriptorOptions {
    pub(crate) fds: Vec<FdRequest>,
    /// Whether the child inherits descriptors that no option names.
    pub(crate) unlisted: bool,
    pub(crate) jobserver: bool,
    /// The names of the listening sockets, which begin at descriptor 3.
    pub(crate) listen: Option<Vec<Option<String>>>,
    /// The files that the child opens.
    pub(crate) opened: Vec<OpenRequest>,
    /// Whether O_NONBLOCK is set, by the number in the child.
    pub(crate) nonblocking: BTreeMap<i32, bool>,
}

#[derive(Clone, Default)]
pub(crate) struct IdentityOptions {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    /// Real, effective and saved id.
    pub(crate) resuid: Option<[u32; 3]>,
    pub(crate) resgid: Option<[u32; 3]>,
    pub(crate) user: Option<OsString>,
    pub(crate) no_new_privs: bool,
}

#[derive(Clone, Default)]
pub(crate) struct CapabilityOptions {
    pub(crate) ambient: Option<CapabilitySet>,
    pub(crate) inheritable: Option<CapabilitySet>,
    pub(crate) permitted: Option<CapabilitySet>,
    pub(crate) bounding: Option<CapabilitySet>,
    pub(crate) securebits: Option<Securebits>,
}

/// What the options of identity mean together: real, effective and saved ids.
#[derive(Clone, Default)]
pub(crate) struct Ids {
    pub(crate) uid: Option<[u32; 3]>,
    pub(crate) gid: Option<[u32; 3]>,
    pub(crate) groups: Groups,
}

#[derive(Clone, Default)]
pub(crate) struct SessionOptions {
    pub(crate) process_group: Option<i32>,
    pub(crate) setsid: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) umask_or: Option<u32>,
    pub(crate) controlling_terminal: Option<Arc<OwnedFd>>,
    pub(crate) foreground: Option<Arc<OwnedFd>>,
    pub(crate) detach_terminal: bool,
}

impl SessionOptions {
    /// What two sets of options ask for together.
    pub(crate) fn with(&self, other: &SessionOptions) -> SessionOptions {
        let one = |a: &Option<Arc<OwnedFd>>, b: &Option<Arc<OwnedFd>>| {
            a.as_ref().or(b.as_ref()).cloned()
        };
        let (acquired, others) =
            (&self.controlling_terminal, &other.controlling_terminal);
        SessionOptions {
            process_group: self.process_group.or(other.process_group),
            setsid: self.setsid || other.setsid,
            umask: self.umask.or(other.umask),
            umask_or: self.umask_or.or(other.umask_or),
            controlling_terminal: one(acquired, others),
            foreground: one(&self.foreground, &other.foreground),
            detach_terminal: self.detach_terminal || other.detach_terminal,
        }
    }

    /// Whether the child creates a session.
    pub(crate) fn is_leader(&self) -> bool {
        self.setsid || self.controlling_terminal.is_some()
    }
}

#[derive(Clone, Default)]
pub(crate) struct SchedulingOptions {
    pub(crate) nice: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) reset_on_fork: bool,
    pub(crate) cpu_affinity: Option<Vec<u32>>,
    pub(crate) io_priority: Option<IoPriority>,
    pub(crate) timer_slack: Option<Duration>,
    pub(crate) core_scheduling: bool,
}

#[derive(Clone, Default)]
pub(crate) struct MemoryPolicyOptions {
    pub(crate) huge_pages: Option<bool>,
    pub(crate) merge: Option<bool>,
    pub(crate) numa: Option<NumaPolicy>,
}

#[derive(Clone, Default)]
pub(crate) struct AttributeOptions {
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) personality: Option<Personality>,
}

#[derive(Clone, Default)]
pub(crate) struct LimitOptions {
    pub(crate) rlimits: BTreeMap<Resource, Rlimit>,
}

#[derive(Clone, Default)]
pub(crate) struct SecurityOptions {
    pub(crate) apparmor_profile: Option<OsString>,
    pub(crate) selinux_context: Option<OsString>,
    pub(crate) session_keyring: Option<SessionKeyring>,
    pub(crate) ptrace_traceme: bool,
    pub(crate) landlock: Option<Box<Landlock>>,
    pub(crate) landlock_fd: Option<Arc<OwnedFd>>,
}

/// The session keyring that a child joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionKeyring {
    New,
    Named(OsString),
}

#[derive(Clone, Default)]
pub(crate) struct SeccompOptions {
    pub(crate) filters: Vec<SeccompFilter>,
    /// The filter with a listener.
    pub(crate) listener: Option<SeccompFilter>,
}

#[derive(Clone, Default)]
pub(crate) struct SignalOptions {
    pub(crate) mask: Option<SignalSet>,
    /// Whether every signal that is not in `dispositions` gets its default.
    pub(crate) reset: bool,
    pub(crate) dispositions: BTreeMap<i32, Disposition>,
    pub(crate) keep_sigpipe: bool,
    pub(crate) parent_death: Option<i32>,
    pub(crate) die_with_parent: bool,
}

impl SignalOptions {
    /// As `Command::each_field`.
    pub(crate) fn each_field(
        &self,
        set: &mut dyn FnMut(&'static str, bool, &dyn fmt::Debug),
    ) {
        set("signal_mask", self.mask.is_some(), &self.mask);
        set("reset_signals", self.reset, &true);
        let dispositions = &self.dispositions;
        set("signals", !dispositions.is_empty(), dispositions);
        set("keep_sigpipe", self.keep_sigpipe, &true);
        let death = self.parent_death.map(Signal);
        set("parent_death_signal", death.is_some(), &death);
        set("die_with_parent", self.die_with_parent, &true);
    }
}

#[derive(Clone, Default)]
pub(crate) struct HookOptions {
    pub(crate) child: Vec<Hook>,
    pub(crate) parent: Vec<ParentHook>,
    pub(crate) raw: Vec<RawRequest>,
}

#[derive(Clone, Default)]
pub(crate) struct LaunchOptions {
    pub(crate) method: Method,
    pub(crate) memory: Memory,
    pub(crate) engine: Option<Engine>,
    pub(crate) cgroup: Option<Cgroup>,
    /// Below which a group is made.
    pub(crate) own_cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
    pub(crate) autoreap: bool,
    pub(crate) autokill: bool,
    /// How long an EAGAIN of clone is retried.
    pub(crate) retry_again: Duration,
}
