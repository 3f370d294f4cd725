//! Descriptor requests of all options, each target at most once.

use super::open_in_child;
use crate::parent::command::{FdRequest, Options, StdioSource};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::stdio_step;
use crate::parent::std::vec::Vec;

/// Returns the sources of 0, 1 and 2: of an option, else the default.
pub(crate) fn standard(
    options: &Options,
    default: impl Fn(usize) -> StdioSource,
) -> Result<[StdioSource; 3], Error> {
    let mut all =
        [StdioSource::Inherit, StdioSource::Inherit, StdioSource::Inherit];
    for (n, source) in (0u8..).zip(&mut all) {
        let stdio = options.stdio.get(usize::from(n));
        let stdio = stdio.and_then(Option::as_ref);
        let opened = &options.descriptors.opened;
        let opened = opened.iter().any(|it| it.target == i32::from(n));
        let is_target = |fd: &&FdRequest| fd.target == i32::from(n);
        *source = match (stdio, options.descriptors.fds.iter().find(is_target))
        {
            (Some(_), Some(fd)) => {
                return Err(assigned_twice(fd, Some(stdio_step(n))));
            }
            (Some(stdio), None) => stdio.0.clone(),
            (None, Some(fd)) => StdioSource::Fd(fd.from.clone()),
            // The child replaces it.
            (None, None) if opened => StdioSource::Inherit,
            (None, None) => default(n.into()),
        };
    }
    Ok(all)
}

fn assigned_twice(fd: &FdRequest, by: Option<Step>) -> Error {
    let cause = Cause::AssignedTwice { number: fd.target, by };
    Error::new(fd.by, cause).with(fd.pair())
}

/// Returns the requests above 2 in the order of the calls, without
/// duplicates. Refuses negative numbers and a target with two sources.
pub(super) fn above_stdio<'a>(
    options: &'a Options,
    jobserver: &'a [FdRequest],
) -> Result<Vec<&'a FdRequest>, Error> {
    let all = options.descriptors.fds.iter().chain(jobserver);
    let mut all: Vec<(usize, &FdRequest)> = all.enumerate().collect();
    all.sort_by_key(|(_, fd)| fd.target);
    let mut unique: Vec<(usize, &FdRequest)> = Vec::with_capacity(all.len());
    for (n, fd) in all {
        if fd.target < 0 || fd.from.number() < 0 {
            let why = "a descriptor's number is 0 or above";
            let error = Error::refused_as(fd.by, libc::EBADF, why);
            return Err(error.with(fd.pair()));
        }
        match unique.last() {
            Some((_, last)) if last.target == fd.target => {
                if last.from.number() != fd.from.number() {
                    let other = (last.by != fd.by).then_some(last.by);
                    return Err(assigned_twice(fd, other));
                }
            }
            _ => unique.push((n, fd)),
        }
    }
    open_in_child::check(&options.descriptors.opened, |number| {
        let stdio = usize::try_from(number).ok();
        let stdio = stdio.and_then(|n| options.stdio.get(n)?.as_ref());
        let n = u8::try_from(number).unwrap_or_default();
        let fd = unique.iter().find(|(_, fd)| fd.target == number);
        stdio.map(|_| stdio_step(n)).or(fd.map(|(_, fd)| fd.by))
    })?;
    unique.sort_unstable_by_key(|(n, _)| *n);
    let unique = unique.into_iter().map(|(_, fd)| fd);
    Ok(unique.filter(|fd| fd.target >= 3).collect())
}
