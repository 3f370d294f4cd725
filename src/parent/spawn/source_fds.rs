//! `SourceFds`: the descriptors that a plan keeps open from spawn to spawn.
#![allow(unsafe_code, reason = "a number that the caller keeps open")]

use rustix::io::{Errno, FdFlags, fcntl_getfd};

use crate::parent::command::fd_request::pair;
use crate::parent::command::{Engine, FdArg, ProgramSource};
use crate::parent::error::{Error, Step};
use crate::parent::plan::fds::outside;
use crate::parent::plan::{
    FdSource, Op, Plan, SourceFd, Strategy, stdio_step,
};
use crate::parent::reserve::{ReservedFd, dup_above};
use crate::parent::sealed_memfd::{
    begins_a_script, is_script, memfd_of_bytes, memfd_of_self_exe,
};
use crate::parent::std::{
    boxed::Box,
    format,
    fs::OpenOptions,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    string::ToString,
    vec::Vec,
};
use crate::sys::abi::Limit;
use crate::sys::call::limit;
use crate::sys::fds::Inode;

/// The kernel's own error would be ENOENT, as the interpreter finds nothing
/// at `/dev/fd/N`.
const SCRIPT: &str = "it is a #! script, and its interpreter cannot open it: \
                      set a number for it with script_fd";

const HIGH: &str = "that number is not below RLIMIT_NOFILE";

/// What stays open while a plan may be launched.
#[derive(Debug, Default)]
pub(super) struct SourceFds {
    /// `/dev/null`, for each of 0 to 2 that is a copy of it.
    null: [Option<ReservedFd>; 3],
    /// Copies of the caller's descriptors, and the program's sealed memfd.
    copies: Vec<ReservedFd>,
    /// The numbers that steps write over, in ascending order; with a helper,
    /// also those of its status page and image.
    targets: Vec<u32>,
    helper_targets: Vec<u32>,
    /// The first number above all that steps read from, at least 3.
    pub(super) source_end: u32,
    /// The first number above all that stays open until exec; and above the
    /// helper's status page and image.
    pub(super) kept_end: u32,
    pub(super) helper_end: u32,
    /// The files of the plan's source descriptors, in its order; recorded
    /// where other threads may use them.
    files: Vec<Option<Inode>>,
    /// What a helper needs and could not have, and the errno.
    pub(super) no_helper: Option<(&'static str, i32)>,
}

impl SourceFds {
    /// Opens, checks and copies what the plan reads from, and sets the
    /// numbers in the plan.
    pub(super) fn new(plan: &mut Plan) -> Result<Box<SourceFds>, Error> {
        let mut source_fds = Box::new(SourceFds {
            targets: plan.targets(),
            source_end: 3,
            kept_end: 3,
            ..SourceFds::default()
        });
        // Comes first: opening a file could reuse a closed one's number.
        let limit = check_fds(plan)?;
        source_fds.open_null(plan)?;
        let isolated = plan.strategy.engine == Engine::Isolated;
        let none = plan.source_fds.is_empty() && plan.opened.is_empty();
        if none && !isolated {
            return Ok(source_fds);
        }
        for n in 0..plan.source_fds.len() {
            source_fds.prepare_fd(plan, n, limit)?;
            source_fds.make_ruleset(plan, n)?;
        }
        let numbers = plan.source_fds.iter().map(|fd| fd.number);
        let end = numbers.max().map_or(3, |n| n.saturating_add(1));
        source_fds.source_end = source_fds.source_end.max(end);
        if isolated && !source_fds.choose_helper_fds(plan, limit) {
            if !plan.any_engine {
                return Err(Error::os(Step::Image, libc::EMFILE));
            }
            source_fds.no_helper = Some(("RLIMIT_NOFILE", libc::EMFILE));
            plan.strategy.engine = Engine::Copied;
        }
        let kept = kept_without_helper(plan).last().copied();
        source_fds.kept_end = kept.map_or(3, |n| n.saturating_add(1)).max(3);
        let [page, image] = plan.helper_fds;
        source_fds.helper_end = page.max(image).saturating_add(1);
        if let Some(index) = plan.program_fd {
            // `self` is the first thread's table, which may be another one.
            let own =
                if plan.strategy.in_place { "thread-self" } else { "self" };
            let path = format!("/proc/{own}/fd/{}", plan.child_fd(index));
            if let Ok(path) = plan.strings.put(&[path.as_bytes()]) {
                plan.proc_path = path;
            }
        }
        Ok(source_fds)
    }

    fn open_null(&mut self, plan: &Plan) -> Result<(), Error> {
        for op in plan.ops() {
            let Op::Dup { to, source: FdSource::Null } = op else { continue };
            let n = u8::try_from(to).unwrap_or_default();
            let mut options = OpenOptions::new();
            options.read(n == 0).write(n != 0);
            let null = options.open("/dev/null");
            let null = null.map_err(|e| Error::io(stdio_step(n), &e));
            let null = null.and_then(|file| {
                let null = self.move_off_targets(file.into());
                null.map_err(|e| os(stdio_step(n), e))
            });
            let null = null.map_err(|error| error.with("/dev/null"))?;
            let end = null.number().saturating_add(1);
            self.source_end = self.source_end.max(end);
            if let Some(slot) = self.null.get_mut(usize::from(n)) {
                *slot = Some(null);
            }
        }
        Ok(())
    }

    /// Chooses the numbers of the status page and the image in a helper: the
    /// highest that nothing else has and that a small table has room for, as
    /// this process opens its own files at the lowest. Returns whether there
    /// are any.
    fn choose_helper_fds(&mut self, plan: &mut Plan, limit: u64) -> bool {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let kept = kept_without_helper(plan);
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

    /// Copies a descriptor of the caller's, if necessary, or makes the
    /// program's sealed memfd.
    fn prepare_fd(
        &mut self,
        plan: &mut Plan,
        n: usize,
        limit: u64,
    ) -> Result<(), Error> {
        let program = plan.program_source.clone();
        let Some(source) = plan.source_fds.get_mut(n) else { return Ok(()) };
        let by = source.by;
        let fd = match (&source.arg, program) {
            (None, _) if by == Step::Landlock => None,
            (None, Some(program)) => {
                let memfd = program_memfd(&program, source.target)?;
                Some(self.move_off_targets(memfd).map_err(|e| os(by, e))?)
            }
            (None, None) => None,
            (Some(arg), _) => {
                let copy = self.copy(source, borrow(arg), limit)?;
                let program = by == Step::FromFd && source.target.is_none();
                if program && is_script(borrow(arg)) {
                    let error = Error::refused_as(by, libc::ENOENT, SCRIPT);
                    return Err(error.with(source.shown()));
                }
                copy
            }
        };
        if let Some(fd) = fd {
            source.number = fd.number();
            self.copies.push(fd);
        }
        Ok(())
    }

    /// Makes the ruleset of the plan's rules, if that is this descriptor.
    #[inline(never)]
    fn make_ruleset(
        &mut self,
        plan: &mut Plan,
        n: usize,
    ) -> Result<(), Error> {
        let rules = plan.landlock.as_ref();
        let source = plan.source_fds.get_mut(n);
        let source = source.filter(|source| source.by == Step::Landlock);
        let (Some((rules, abi)), Some(source)) = (rules, source) else {
            return Ok(());
        };
        let (ruleset, hides_root) = rules.create(*abi)?;
        let ruleset = self.move_off_targets(ruleset);
        let ruleset = ruleset.map_err(|e| os(Step::Landlock, e))?;
        source.number = ruleset.number();
        plan.hides_root = hides_root;
        self.copies.push(ruleset);
        Ok(())
    }

    /// Copies one of the caller's descriptors, if steps cannot read from it
    /// itself, or a reserved number makes the child's table smaller.
    fn copy(
        &self,
        source: &SourceFd,
        fd: BorrowedFd<'_>,
        limit: u64,
    ) -> Result<Option<ReservedFd>, Error> {
        // Open until exec, and not after it.
        let until_exec = source.target.is_none();
        let overwritten = self.targets.binary_search(&source.number).is_ok();
        let unfit = until_exec && (overwritten || !source.cloexec);
        if source.copied || unfit {
            let copy = dup_above(fd, 3);
            let copy = copy.and_then(|copy| self.move_off_targets(copy));
            let copy =
                copy.map_err(|e| os(source.by, e).with(source.shown()))?;
            return Ok(Some(copy));
        }
        let may = source.target.is_none_or(|to| u64::from(to) < limit);
        Ok(may.then(|| ReservedFd::acquire(fd, &self.targets)).flatten())
    }

    /// Moves a descriptor that steps read from to a number that no step
    /// writes over, if possible a reserved one.
    pub(super) fn move_off_targets(
        &self,
        fd: OwnedFd,
    ) -> Result<ReservedFd, Errno> {
        move_off(fd, &self.targets)
    }

    /// As `move_off_targets`, for a helper's status page or image.
    pub(super) fn move_off_helper_targets(
        &self,
        fd: OwnedFd,
    ) -> Result<ReservedFd, Errno> {
        move_off(fd, &self.helper_targets)
    }

    /// Records their files, so that other threads can use them: one system call
    /// for each.
    pub(super) fn record_files(&mut self, plan: &Plan) {
        let files = plan.source_fds.iter().map(|fd| Inode::at(fd.number));
        self.files.extend(files);
        let own = self.null.iter().flatten().chain(&self.copies);
        own.for_each(ReservedFd::record_file);
    }

    /// Checks that this thread's descriptor table has them: one system call
    /// for each.
    pub(super) fn check_fd_table(&self, plan: &Plan) -> Result<(), Error> {
        const WHY: &str = "it was prepared in another descriptor table, and \
                           is not open in this thread's own";
        for (source, file) in plan.source_fds.iter().zip(&self.files) {
            if file.is_some_and(|file| !file.is_at(source.number)) {
                let error = Error::explained(source.by, libc::EBADF, WHY);
                return Err(error.with(source.shown()));
            }
        }
        for (n, null) in (0u8..).zip(&self.null) {
            if null.as_ref().is_some_and(|null| !null.is_in_table()) {
                let error = Error::explained(stdio_step(n), libc::EBADF, WHY);
                return Err(error.with("/dev/null"));
            }
        }
        Ok(())
    }

    /// Returns the descriptor that a source is, or its copy.
    pub(super) fn file<'a>(
        &'a self,
        source: &'a SourceFd,
    ) -> Option<BorrowedFd<'a>> {
        let is = |copy: &&ReservedFd| copy.number() == source.number;
        let copy = self.copies.iter().find(is).and_then(ReservedFd::fd);
        copy.or_else(|| source.arg.as_ref().map(borrow))
    }

    /// Whether steps write over this number, if there is a helper.
    pub(super) fn is_helper_target(&self, number: u32) -> bool {
        self.helper_targets.binary_search(&number).is_ok()
    }

    /// Returns the number of `/dev/null` for one of 0 to 2.
    pub(super) fn null(&self, n: u8) -> Option<u32> {
        let null = self.null.get(usize::from(n))?.as_ref();
        null.map(ReservedFd::number)
    }

    /// Makes a descriptor at `source_end` or above from one of them.
    pub(super) fn new_probe_fd(&self, plan: &Plan) -> Option<OwnedFd> {
        let mut own = self.null.iter().flatten().chain(&self.copies);
        let mut args = plan.source_fds.iter().filter_map(|s| s.arg.as_ref());
        let fd = own
            .find_map(ReservedFd::fd)
            .or_else(|| args.next().map(borrow))?;
        dup_above(fd, i32::try_from(self.source_end).ok()?).ok()
    }
}

/// The numbers that stay open until exec, without those of a helper.
fn kept_without_helper(plan: &Plan) -> Vec<u32> {
    plan.kept(Strategy { engine: Engine::Suspended, ..plan.strategy })
}

/// Moves a descriptor to a number that is none of `taken`.
fn move_off(fd: OwnedFd, taken: &[u32]) -> Result<ReservedFd, Errno> {
    if let Some(fd) = ReservedFd::acquire(fd.as_fd(), taken) {
        return Ok(fd);
    }
    let mut moved = ReservedFd::from(fd);
    let mut least = 3;
    while taken.binary_search(&moved.number()).is_ok() {
        // The lowest free number may be a target too.
        least = outside(taken, least);
        let from = i32::try_from(least).map_err(|_| Errno::MFILE)?;
        let Some(fd) = moved.fd() else { break };
        moved = dup_above(fd, from)?.into();
        least = moved.number().saturating_add(1);
    }
    Ok(moved)
}

fn os(step: Step, e: Errno) -> Error {
    Error::os(step, e.raw_os_error())
}

/// Checks that the caller's descriptors are open, and finds out which of them
/// exec closes. Returns the limit on numbers, which the child's must be
/// below: otherwise dup3 would fail with EBADF there.
fn check_fds(plan: &mut Plan) -> Result<u64, Error> {
    let none = plan.source_fds.is_empty() && plan.opened.is_empty();
    if none && plan.strategy.engine != Engine::Isolated {
        return Ok(u64::MAX);
    }
    // If a filter rejects prlimit, dup3 reports the failure in the child.
    let limit = limit(Limit::Descriptors).unwrap_or(u64::MAX);
    let own = plan.file_limit.unwrap_or(limit);
    if let Some(to) = plan.opened.iter().find(|n| u64::from(**n) >= own) {
        let error = Error::refused_as(Step::OpenInChild, libc::EBADF, HIGH);
        return Err(error.with(to.to_string()));
    }
    for source in &mut plan.source_fds {
        if let Some(arg) = &source.arg {
            let flags = fcntl_getfd(borrow(arg)).map_err(|e| {
                let why = "that descriptor is not open here";
                let error = Error::explained(source.by, e.raw_os_error(), why);
                error.with(source.shown())
            })?;
            source.cloexec = flags.contains(FdFlags::CLOEXEC);
        }
        let Some(to) = source.target else { continue };
        if u64::from(to) >= limit && source.number != to {
            let shown = pair(source.arg.as_ref().map(FdArg::number), to);
            let error = Error::refused_as(source.by, libc::EBADF, HIGH);
            return Err(error.with(shown));
        }
    }
    Ok(limit)
}

fn program_memfd(
    program: &ProgramSource,
    target: Option<u32>,
) -> Result<OwnedFd, Error> {
    let fail = |e: io::Error| Error::io(program.step(), &e);
    match program {
        ProgramSource::Bytes(bytes)
            if target.is_none() && begins_a_script(bytes) =>
        {
            Err(Error::refused_as(program.step(), libc::ENOENT, SCRIPT))
        }
        ProgramSource::Bytes(bytes) => memfd_of_bytes(bytes).map_err(fail),
        ProgramSource::SelfExe | ProgramSource::Fd(_) => {
            memfd_of_self_exe().map_err(fail)
        }
    }
}

fn borrow(arg: &FdArg) -> BorrowedFd<'_> {
    match arg {
        FdArg::Owned(fd) => fd.as_fd(),
        // SAFETY: the caller who passed the number (`Command::raw_fd`, clause
        // 1) keeps it open until the spawns are done. A jobserver's number is
        // used for one call, which fails with EBADF if it is closed. -1 was
        // rejected when the plan was compiled.
        FdArg::Raw(number) => unsafe { BorrowedFd::borrow_raw(*number) },
    }
}
