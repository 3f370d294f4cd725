//! Families of options: the setters of a command and the steps that they
//! record.

pub(super) mod arguments;
pub(super) mod attributes;
pub(super) mod best_effort;
mod bpf_check;
pub(super) mod capabilities;
pub(super) mod cgroup;
pub(super) mod descriptors;
pub(super) mod directory;
mod end_flags;
pub(super) mod environment;
pub(super) mod hooks;
pub(super) mod id_maps;
pub(super) mod identity;
pub(super) mod landlock;
pub(super) mod limits;
pub(super) mod memory_policy;
mod method;
pub(super) mod namespaces;
pub(super) mod no_new_privs;
mod number_sets;
mod parent_death;
mod path_search;
mod privilege;
mod program;
pub(super) mod program_files;
pub(super) mod ptrace;
pub(super) mod raw_syscall;
pub(super) mod scheduling;
pub(super) mod seccomp;
pub(super) mod security;
pub(super) mod session;
pub(super) mod signals;
mod stdio;
pub(super) mod terminal;
pub(super) mod user;
