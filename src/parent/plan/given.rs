//! Given: the caller's own descriptors, and what they are for.

use super::Wishes;
use crate::parent::error::{Error, Step};
use crate::parent::std::{
    fmt, format,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    string::String,
    sync::Arc,
    vec::Vec,
};
use crate::parent::stdio::{Lent, Source};

/// A descriptor that was asked for by its number in the child.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) target: RawFd,
    pub(crate) from: Lent,
    /// The option that asked.
    pub(crate) by: Step,
}

impl Wanted {
    /// Source and target, as an error names them.
    pub(crate) fn pair(&self) -> String {
        pair(Some(self.from.number()), self.target)
    }
}

pub(crate) fn pair(from: Option<RawFd>, to: impl Into<i64>) -> String {
    match from {
        Some(from) => format!("{from} -> {}", to.into()),
        None => format!("{}", to.into()),
    }
}

/// What a program is run from, where it is no path.
#[derive(Clone)]
pub(crate) enum Image {
    /// A descriptor of the caller's.
    Fd(Arc<OwnedFd>),
    /// Bytes, in a sealed memory file.
    Bytes(Arc<[u8]>),
    /// This program itself, in a sealed memory file.
    Own,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Image::Fd(fd) => write!(f, "Fd({})", fd.as_raw_fd()),
            Image::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Image::Own => f.write_str("Own"),
        }
    }
}

impl Image {
    pub(crate) fn step(&self) -> Step {
        match self {
            Image::Fd(_) => Step::FromFd,
            Image::Bytes(_) => Step::FromBytes,
            Image::Own => Step::SelfExe,
        }
    }
}

/// A descriptor of a plan that does not change from spawn to spawn.
#[derive(Debug)]
pub(crate) struct Given {
    /// `None`: it is made when the plan is prepared.
    pub(crate) lent: Option<Lent>,
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

impl Given {
    pub(crate) fn new(number: u32, target: Option<u32>, by: Step) -> Given {
        let (lent, cloexec, copied) = (None, true, false);
        Given { lent, number, target, cloexec, copied, by }
    }

    /// One that is open until exec: a directory, a program.
    pub(crate) fn held(by: Step, fd: &Arc<OwnedFd>) -> Given {
        let fd = Arc::clone(fd);
        let lent = Lent::Owned(fd);
        let number = lent.number().unsigned_abs();
        Given { lent: Some(lent), ..Given::new(number, None, by) }
    }

    /// Where the child has it open while it is needed.
    pub(crate) fn place(&self) -> u32 {
        self.target.unwrap_or(self.number)
    }

    /// As the caller knows it, whatever stands in its place.
    pub(crate) fn shown(&self) -> String {
        let own = self.lent.as_ref().map(Lent::number);
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
    wishes: &Wishes,
    default: impl Fn(usize) -> Source,
) -> Result<[Source; 3], Error> {
    let mut all = [Source::Inherit, Source::Inherit, Source::Inherit];
    for (n, source) in all.iter_mut().enumerate() {
        let wish = wishes.stdio.get(n).and_then(Option::as_ref);
        let named = |w: &&Wanted| usize::try_from(w.target) == Ok(n);
        let wanted = wishes.fds.iter().find(named);
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
    wishes: &'a Wishes,
    jobserver: &'a [Wanted],
) -> Result<Vec<&'a Wanted>, Error> {
    let all = wishes.fds.iter().chain(jobserver);
    let mut all: Vec<(usize, &Wanted)> = all.enumerate().collect();
    all.sort_by_key(|(_, wanted)| wanted.target);
    let mut listed: Vec<(usize, &Wanted)> = Vec::with_capacity(all.len());
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
