//! Corpus: plans that together have every step, for fault injection. A file
//! for each family of options.

mod base;
mod descriptors;
mod identity;
mod limits;
mod namespaces;
pub(crate) mod sandbox;
mod seccomp;
mod session;
mod signals;

use offshoot::{Command, Engine, Step};

/// A command, its name, and the engines that can run it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) engines: &'static [Engine],
    pub(crate) options: fn(&mut Command) -> &mut Command,
    /// The step that a system call belongs to, by its number and arguments,
    /// if it is one of the options of this case. An error of it is always an
    /// error of that step.
    pub(crate) own: fn(libc::c_long, &[u64; 6]) -> Option<Step>,
}

pub(crate) const SHARED: [Engine; 1] = [Engine::Suspended];

/// For a case whose calls are those of the function `step` in main.rs.
pub(crate) fn none(_: libc::c_long, _: &[u64; 6]) -> Option<Step> {
    None
}

/// Every step is in one of these plans, which a test checks.
pub(crate) fn cases() -> impl Iterator<Item = &'static Case> {
    [
        base::CASES,
        descriptors::CASES,
        identity::CASES,
        limits::CASES,
        namespaces::CASES,
        sandbox::CASES,
        seccomp::CASES,
        session::CASES,
        signals::CASES,
    ]
    .into_iter()
    .flatten()
}

/// The calls of `no_new_privs`.
pub(crate) fn no_new_privs(nr: libc::c_long, args: &[u64; 6]) -> Option<Step> {
    let option = [libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS];
    let option = option.map(|option| u64::from(option.unsigned_abs()));
    let own = nr == libc::SYS_prctl && option.contains(&args[0]);
    own.then_some(Step::NoNewPrivs)
}
