//! SourceFd: the caller's own descriptors, and what they are for.

use crate::parent::command::fd_request::FdRequest;
use crate::parent::command::options::Options;
use crate::parent::command::stdio::{FdArg, Source};
use crate::parent::error::{Error, Step};
use crate::parent::std::{
    format, os::fd::OwnedFd, string::String, sync::Arc, vec::Vec,
};

/// A descriptor of a plan that does not change from spawn to spawn.
#[derive(Debug)]
pub(crate) struct SourceFd {
    /// `None`: it is made when the plan is prepared.
    pub(crate) lent: Option<FdArg>,
    /// Its number, or that of the copy in its place.
    pub(crate) number: u32,
    /// What it becomes; `None` if it is needed open and is closed at exec.
    pub(crate) target: Option<u32>,
    /// Whether exec closes it; known once it is looked at.
    pub(crate) cloexec: bool,
    /// Whether a copy must take its place.
    pub(crate) copied: bool,
    /// The option that gave it.
    pub(crate) by: Step,
}

impl SourceFd {
    pub(crate) fn new(number: u32, target: Option<u32>, by: Step) -> SourceFd {
        let (lent, cloexec, copied) = (None, true, false);
        SourceFd { lent, number, target, cloexec, copied, by }
    }

    /// One that is open until exec: a directory, a program.
    pub(crate) fn held(by: Step, fd: &Arc<OwnedFd>) -> SourceFd {
        let fd = Arc::clone(fd);
        let lent = FdArg::Owned(fd);
        let number = lent.number().unsigned_abs();
        SourceFd { lent: Some(lent), ..SourceFd::new(number, None, by) }
    }

    /// Where the child has it open while it is needed.
    pub(crate) fn place(&self) -> u32 {
        self.target.unwrap_or(self.number)
    }

    /// As the caller knows it, whatever stands in its place.
    pub(crate) fn shown(&self) -> String {
        let own = self.lent.as_ref().map(FdArg::number);
        let own = own.map_or(self.number, i32::unsigned_abs);
        match self.target {
            Some(to) => format!("{own} -> {to}"),
            None => format!("{own}"),
        }
    }
}

/// Who names a descriptor of the child's as well.
fn also(by: Step) -> &'static str {
    match by {
        Step::InheritFd => "inherit_fd names that descriptor too",
        Step::InheritRawFd => "inherit_raw_fd names that descriptor too",
        Step::InheritJobserver => "it is one of make's jobserver",
        Step::ListenFds => "listen_fds names that descriptor too",
        _ => "fd names that descriptor too",
    }
}

/// What 0 to 2 are made from: what an option says, else the default.
pub(crate) fn standard(
    options: &Options,
    default: impl Fn(usize) -> Source,
) -> Result<[Source; 3], Error> {
    let mut all = [Source::Inherit, Source::Inherit, Source::Inherit];
    for (n, source) in all.iter_mut().enumerate() {
        let wish = options.stdio.get(n).and_then(Option::as_ref);
        let named = |w: &&FdRequest| usize::try_from(w.target) == Ok(n);
        let wanted = options.fds.iter().find(named);
        *source = match (wish, wanted) {
            (Some(_), Some(wanted)) => {
                let why = match n {
                    0 => "stdin names that descriptor too",
                    1 => "stdout names that descriptor too",
                    _ => "stderr names that descriptor too",
                };
                let error = Error::refused(wanted.by, why);
                return Err(error.with(wanted.pair()));
            }
            (Some(wish), None) => wish.0.clone(),
            (None, Some(wanted)) => Source::Given(wanted.from.clone()),
            (None, None) => default(n),
        };
    }
    Ok(all)
}

/// Those above 2, in the order they were asked for, the same pair once.
/// Refuses numbers that cannot be, and those that two options want.
pub(super) fn listed<'a>(
    options: &'a Options,
    jobserver: &'a [FdRequest],
) -> Result<Vec<&'a FdRequest>, Error> {
    let all = options.fds.iter().chain(jobserver);
    let mut all: Vec<(usize, &FdRequest)> = all.enumerate().collect();
    all.sort_by_key(|(_, wanted)| wanted.target);
    let mut listed: Vec<(usize, &FdRequest)> = Vec::with_capacity(all.len());
    for (n, wanted) in all {
        let (errno, why) = match listed.last() {
            _ if wanted.target < 0 || wanted.from.number() < 0 => {
                (libc::EBADF, "a descriptor's number is 0 or above")
            }
            Some((_, last)) if last.target == wanted.target => {
                if last.from.number() == wanted.from.number() {
                    continue;
                }
                (libc::EINVAL, also(last.by))
            }
            _ => {
                listed.push((n, wanted));
                continue;
            }
        };
        let error = Error::refused_as(wanted.by, errno, why);
        return Err(error.with(wanted.pair()));
    }
    listed.sort_unstable_by_key(|(n, _)| *n);
    let listed = listed.into_iter().map(|(_, wanted)| wanted);
    Ok(listed.filter(|wanted| wanted.target >= 3).collect())
}
