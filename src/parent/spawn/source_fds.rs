//! Held: the descriptors that a prepared plan keeps from spawn to spawn.
#![allow(unsafe_code, reason = "a number that the caller vouches for")]

use rustix::io::{Errno, FdFlags, fcntl_getfd};

use crate::parent::command::fd_request::pair;
use crate::parent::command::method::Engine;
use crate::parent::command::program_source::ProgramSource;
use crate::parent::command::stdio::FdArg;
use crate::parent::error::{Error, Step};
use crate::parent::plan::Plan;
use crate::parent::plan::fds::outside;
use crate::parent::plan::op::{Op, Role};
use crate::parent::plan::source_fd::SourceFd;
use crate::parent::plan::source_fd::stdio_step;
use crate::parent::plan::strategy::Strategy;
use crate::parent::reserve::{ReservedFd, dup_above};
use crate::parent::sealed_memfd::{
    begins_a_script, is_script, memfd_of_bytes, memfd_of_self_exe,
};
use crate::parent::std::{
    boxed::Box,
    format,
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    vec::Vec,
};
use crate::sys::abi::Limit;
use crate::sys::call::limit;
use crate::sys::fds::Inode;

/// What is said of a script that is run by its descriptor: the kernel would
/// say ENOENT, as its interpreter finds nothing at `/dev/fd/N`.
const SCRIPT: &str = "it is a #! script, whose interpreter has to find it \
                      open: say at which number, by script_fd";

/// What stays open while a plan may be launched.
#[derive(Debug, Default)]
pub(super) struct SourceFds {
    /// `/dev/null`, for each of 0 to 2 that is made from it.
    null: [Option<ReservedFd>; 3],
    /// What stands in the place of the caller's own, and the program's image.
    copies: Vec<ReservedFd>,
    /// The numbers that the child's descriptors get, in ascending order; and
    /// those with what is lent to an image, which is the last of them that
    /// is brought there.
    targets: Vec<u32>,
    helper_targets: Vec<u32>,
    /// The first number above all that steps read from; 3 if they read none.
    pub(super) source_end: u32,
    /// The first number above all that stays open, and above what is lent
    /// to an image.
    pub(super) kept_end: u32,
    pub(super) helper_end: u32,
    /// What the plan's descriptors are open on, once other threads may use
    /// them; in the plan's order.
    files: Vec<Option<Inode>>,
    /// Why there is no image, where the plan wanted one.
    pub(super) no_helper: Option<Unimaged>,
}

/// What an image needs and could not have, and the errno.
pub(super) type Unimaged = (&'static str, i32);

impl SourceFds {
    /// Opens, checks and copies. The plan's numbers are those to use from
    /// here on.
    pub(super) fn new(plan: &mut Plan) -> Result<Box<SourceFds>, Error> {
        let targets = plan.targets();
        let source_fds = SourceFds {
            targets,
            source_end: 3,
            kept_end: 3,
            ..SourceFds::default()
        };
        let mut source_fds = Box::new(source_fds);
        // Before anything is opened: it could take a closed one's number.
        let limit = open(plan)?;
        for op in plan.ops() {
            if let Op::Dup { to, role: Role::Null } = op {
                let n = u8::try_from(to).unwrap_or_default();
                let null = source_fds.move_off_targets(null(n)?);
                let null =
                    null.map_err(|e| os(stdio_step(n), e).with("/dev/null"))?;
                source_fds.source_end =
                    source_fds.source_end.max(null.number().saturating_add(1));
                if let Some(place) = source_fds.null.get_mut(usize::from(n)) {
                    *place = Some(null);
                }
            }
        }
        let isolated = plan.strategy.engine == Engine::Isolated;
        if plan.source_fds.is_empty() && !isolated {
            return Ok(source_fds);
        }
        for n in 0..plan.source_fds.len() {
            source_fds.one(plan, n, limit)?;
        }
        let highest = plan.source_fds.iter().map(|given| given.number).max();
        let above = highest.map_or(3, |n| n.saturating_add(1));
        source_fds.source_end = source_fds.source_end.max(above);
        if isolated && !source_fds.choose_helper_fds(plan, limit) {
            if !plan.any_engine {
                return Err(Error::os(Step::Image, libc::EMFILE));
            }
            source_fds.no_helper = Some(("RLIMIT_NOFILE", libc::EMFILE));
            plan.strategy.engine = Engine::Copied;
        }
        let shared = Strategy { engine: Engine::Suspended, ..plan.strategy };
        let kept = plan.kept(shared).last().copied();
        source_fds.kept_end = kept.map_or(3, |n| n.saturating_add(1)).max(3);
        let [page, image] = plan.helper_fds;
        source_fds.helper_end = page.max(image).saturating_add(1);
        if let Some(place) = plan.program_fd {
            // This thread's table need not be that of the process's first.
            let own =
                if plan.strategy.in_place { "thread-self" } else { "self" };
            let path = format!("/proc/{own}/fd/{}", plan.place(place));
            if let Ok(path) = plan.strings.put(&[path.as_bytes()]) {
                plan.proc_path = path;
            }
        }
        Ok(source_fds)
    }

    /// Chooses where an image finds its page and itself: numbers that nothing
    /// else is kept at, the last that a small table has room for, as the
    /// first are what this process is given for its own files. False if
    /// there are none.
    fn choose_helper_fds(&mut self, plan: &mut Plan, limit: u64) -> bool {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let shared = Strategy { engine: Engine::Suspended, ..plan.strategy };
        let kept = plan.kept(shared);
        let free = |n: &u32| kept.binary_search(n).is_err();
        let low = (3..limit.min(64)).rev().filter(free);
        let mut all = low.chain((64..limit).filter(free));
        let (Some(image), Some(page)) = (all.next(), all.next()) else {
            return false;
        };
        plan.helper_fds = [page, image];
        self.helper_targets = self.targets.clone();
        self.helper_targets.extend(plan.helper_fds);
        self.helper_targets.sort_unstable();
        true
    }

    /// One of the caller's, or the program's image.
    fn one(
        &mut self,
        plan: &mut Plan,
        n: usize,
        limit: u64,
    ) -> Result<(), Error> {
        let image = plan.program_source.clone();
        let Some(given) = plan.source_fds.get_mut(n) else { return Ok(()) };
        let by = given.by;
        let low = match (&given.arg, image) {
            (None, Some(image)) => {
                let made = program(&image, given.target)?;
                Some(self.move_off_targets(made).map_err(|e| os(by, e))?)
            }
            (None, None) => None,
            (Some(lent), _) => {
                let low = self.lent(given, borrow(lent), limit)?;
                if by == Step::FromFd && given.target.is_none() {
                    let fd = borrow(lent);
                    if is_script(fd) {
                        let refused =
                            Error::refused_as(by, libc::ENOENT, SCRIPT);
                        return Err(refused.with(given.shown()));
                    }
                }
                low
            }
        };
        if let Some(low) = low {
            given.number = low.number();
            self.copies.push(low);
        }
        Ok(())
    }

    /// A copy of one of the caller's descriptors, if it cannot serve itself,
    /// or a reserved number makes the child's table smaller.
    fn lent(
        &self,
        given: &SourceFd,
        fd: BorrowedFd<'_>,
        limit: u64,
    ) -> Result<Option<ReservedFd>, Error> {
        // Open until exec, and not after it.
        let source_fds = given.target.is_none();
        let lost = self.is_target(given.number);
        let leaks = !given.cloexec;
        if given.copied || (source_fds && (lost || leaks)) {
            let copy = dup_above(fd, 3);
            let low = copy.and_then(|copy| self.move_off_targets(copy));
            let low = low.map_err(|e| os(given.by, e).with(given.shown()))?;
            return Ok(Some(low));
        }
        let may = given.target.is_none_or(|to| u64::from(to) < limit);
        Ok(may.then(|| ReservedFd::acquire(fd, &self.targets)).flatten())
    }

    /// A descriptor that steps read from, at a number that none of them
    /// writes over, and a low one if there is a choice.
    pub(super) fn move_off_targets(
        &self,
        fd: OwnedFd,
    ) -> Result<ReservedFd, Errno> {
        move_off_targets(fd, &self.targets)
    }

    /// One that an image is made of.
    pub(super) fn move_off_helper_targets(
        &self,
        fd: OwnedFd,
    ) -> Result<ReservedFd, Errno> {
        move_off_targets(fd, &self.helper_targets)
    }

    /// Lets other threads use them: a system call each.
    pub(super) fn record_files(&mut self, plan: &Plan) {
        let files =
            plan.source_fds.iter().map(|given| Inode::at(given.number));
        self.files.extend(files);
        self.null
            .iter()
            .flatten()
            .chain(&self.copies)
            .for_each(ReservedFd::record_file);
    }

    /// Whether this thread's table has them, where another thread has made
    /// them: a system call each.
    pub(super) fn check_fd_table(&self, plan: &Plan) -> Result<(), Error> {
        const APART: &str = "this thread has a table of descriptors of its \
                             own, without the one that was prepared";
        for (given, file) in plan.source_fds.iter().zip(&self.files) {
            if file.is_some_and(|file| !file.is_at(given.number)) {
                let error = Error::explained(given.by, libc::EBADF, APART);
                return Err(error.with(given.shown()));
            }
        }
        for (n, null) in (0u8..).zip(&self.null) {
            if null.as_ref().is_some_and(|null| !null.is_in_table()) {
                let by = stdio_step(n);
                let error = Error::explained(by, libc::EBADF, APART);
                return Err(error.with("/dev/null"));
            }
        }
        Ok(())
    }

    /// What a descriptor of the plan is made from.
    pub(super) fn file<'a>(
        &'a self,
        given: &'a SourceFd,
    ) -> Option<BorrowedFd<'a>> {
        let is = |low: &&ReservedFd| low.number() == given.number;
        let copy = self.copies.iter().find(is).and_then(ReservedFd::fd);
        copy.or_else(|| given.arg.as_ref().map(borrow))
    }

    /// Whether steps write over this number.
    fn is_target(&self, number: u32) -> bool {
        self.targets.binary_search(&number).is_ok()
    }

    /// Whether steps do, where an image is lent what it needs.
    pub(super) fn is_helper_target(&self, number: u32) -> bool {
        self.helper_targets.binary_search(&number).is_ok()
    }

    /// The number of `/dev/null` for one of 0 to 2.
    pub(super) fn null(&self, n: u8) -> Option<u32> {
        let null = self.null.get(usize::from(n))?.as_ref();
        null.map(ReservedFd::number)
    }

    /// Makes a descriptor at `source_end` or above from a source descriptor.
    pub(super) fn new_probe_fd(&self, plan: &Plan) -> Option<OwnedFd> {
        let mut own = self.null.iter().flatten().chain(&self.copies);
        let mut lent = plan.source_fds.iter().filter_map(|g| g.arg.as_ref());
        let fd = own
            .find_map(ReservedFd::fd)
            .or_else(|| lent.next().map(borrow))?;
        dup_above(fd, i32::try_from(self.source_end).ok()?).ok()
    }
}

/// Brings a descriptor to a number that is none of `taken`.
fn move_off_targets(fd: OwnedFd, taken: &[u32]) -> Result<ReservedFd, Errno> {
    if let Some(low) = ReservedFd::acquire(fd.as_fd(), taken) {
        return Ok(low);
    }
    let mut low = ReservedFd::from(fd);
    let mut least = 3;
    while taken.binary_search(&low.number()).is_ok() {
        // The kernel gives the first that is free: a target, perhaps.
        least = outside(taken, least);
        let from = i32::try_from(least).map_err(|_| Errno::MFILE)?;
        let Some(fd) = low.fd() else { break };
        low = dup_above(fd, from)?.into();
        least = low.number().saturating_add(1);
    }
    Ok(low)
}

fn os(step: Step, e: Errno) -> Error {
    Error::os(step, e.raw_os_error())
}

/// Whether the caller's descriptors are open, and which of them exec closes.
/// Returns the limit on numbers, which those that are made in the child have
/// to be below: else dup3 would say EBADF there.
fn open(plan: &mut Plan) -> Result<u64, Error> {
    if plan.source_fds.is_empty() && plan.strategy.engine != Engine::Isolated {
        return Ok(u64::MAX);
    }
    // Where a filter refuses it, dup3 itself says so in the child.
    let limit = limit(Limit::Descriptors).unwrap_or(u64::MAX);
    for given in &mut plan.source_fds {
        if let Some(lent) = &given.arg {
            let flags = fcntl_getfd(borrow(lent)).map_err(|e| {
                let why = "that descriptor is not open here";
                let error = Error::explained(given.by, e.raw_os_error(), why);
                error.with(given.shown())
            })?;
            given.cloexec = flags.contains(FdFlags::CLOEXEC);
        }
        let Some(to) = given.target else { continue };
        if u64::from(to) >= limit && given.number != to {
            let why = "that number is not below RLIMIT_NOFILE";
            let shown = pair(given.arg.as_ref().map(FdArg::number), to);
            let error = Error::refused_as(given.by, libc::EBADF, why);
            return Err(error.with(shown));
        }
    }
    Ok(limit)
}

/// A sealed memory file of the program.
fn program(
    image: &ProgramSource,
    target: Option<u32>,
) -> Result<OwnedFd, Error> {
    let fail = |e: io::Error| Error::io(image.step(), &e);
    match image {
        ProgramSource::Bytes(bytes)
            if target.is_none() && begins_a_script(bytes) =>
        {
            Err(Error::refused_as(image.step(), libc::ENOENT, SCRIPT))
        }
        ProgramSource::Bytes(bytes) => memfd_of_bytes(bytes).map_err(fail),
        ProgramSource::SelfExe | ProgramSource::Fd(_) => {
            memfd_of_self_exe().map_err(fail)
        }
    }
}

fn borrow(lent: &FdArg) -> BorrowedFd<'_> {
    match lent {
        FdArg::Owned(fd) => fd.as_fd(),
        // SAFETY: whoever named the number (`Command::raw_fd`, clause 1) has
        // promised that it stays open until the spawns are done, and of a
        // jobserver's, one call is made, which says EBADF; -1 was refused
        // when the plan was made.
        FdArg::Raw(number) => unsafe { BorrowedFd::borrow_raw(*number) },
    }
}

fn null(n: u8) -> Result<OwnedFd, Error> {
    let mut options = OpenOptions::new();
    options.read(n == 0).write(n != 0);
    let file: io::Result<File> = options.open("/dev/null");
    let file =
        file.map_err(|e| Error::io(stdio_step(n), &e).with("/dev/null"))?;
    Ok(file.into())
}
