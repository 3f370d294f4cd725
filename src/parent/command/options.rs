//! Options: what the setters of a command have recorded.

use super::cgroup::Cgroup;
use super::fd_request::FdRequest;
use super::groups::Groups;
use super::hook::Hook;
use super::method::{Engine, Memory, Method};
use super::parent_hook::ParentHook;
use super::path_search::PathSearch;
use super::program_source::ProgramSource;
use super::stdio::Stdio;
use crate::parent::std::{
    collections::BTreeMap, ffi::OsString, os::fd::OwnedFd, path::PathBuf,
    string::String, sync::Arc, vec::Vec,
};

/// What the builder has been told. Plain data; nothing is checked yet.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) program: OsString,
    /// What is tried in its place, each in turn; it is the first of them.
    pub(crate) candidates: Option<Vec<OsString>>,
    pub(crate) arg0: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env_clear: bool,
    /// Set, or removed where the value is `None`.
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    /// The whole environment, entry by entry.
    pub(crate) env_exact: Option<Vec<OsString>>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) current_dir_fd: Option<Arc<OwnedFd>>,
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) stdio: [Option<Stdio>; 3],
    pub(crate) fds: Vec<FdRequest>,
    pub(crate) unlisted: bool,
    /// Whether make's jobserver is passed on.
    pub(crate) jobserver: bool,
    /// The names of the sockets from 3 up.
    pub(crate) listen: Option<Vec<Option<String>>>,
    /// What the program is run from, if that is no path.
    pub(crate) program_source: Option<ProgramSource>,
    pub(crate) script_fd: Option<i32>,
    pub(crate) shell_fallback: bool,
    pub(crate) process_group: Option<i32>,
    pub(crate) setsid: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    pub(crate) hooks: Vec<Hook>,
    /// What this process does with a child that waits.
    pub(crate) parent_hooks: Vec<ParentHook>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
    pub(crate) path_search: PathSearch,
    pub(crate) method: Method,
    pub(crate) memory: Memory,
    pub(crate) engine: Option<Engine>,
}
