//! Undo: what the steps of an exec in place change of this process's
//! descriptors and signals, and how that is restored if they fail.
//!
//! Other threads open and close files meanwhile. A number that steps write
//! over is backed up at another; if no file is open there, it is taken first,
//! so that no other thread gets it. Afterwards a number is restored only if
//! it still has the file that the steps put there.

use core::{iter, mem};

use rustix::io::Errno;

use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use super::{helper_image, status_page};
use crate::parent::error::{Error, Step};
use crate::parent::plan::fds::outside;
use crate::parent::plan::{FdSource, Op, Plan, stdio_step};
use crate::parent::reserve;
use crate::parent::std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::net::UnixDatagram,
    string::ToString,
    vec::Vec,
};
use crate::sys::abi::Limit;
use crate::sys::call::{
    Action, death_signal, limit, set_death_signal, set_signal_mask,
    signal_mask,
};
use crate::sys::fds::{Inode, close, copy, is_cloexec, put, set_cloexec};
use crate::sys::safe::Disposition;

/// The state before the steps, which is restored on drop.
pub(super) struct Undo {
    overwritten: Vec<Overwritten>,
    flags: Vec<FdFlag>,
    mask: u64,
    actions: Vec<(i32, Disposition, Action)>,
    death_signal: Option<i32>,
    /// Until the state is restored no other thread uses a reserved or cached
    /// descriptor, which steps may write over.
    _reserved: reserve::Lock,
    _page: status_page::CacheLock,
    _image: helper_image::CacheLock,
}

/// A number that steps write over.
struct Overwritten {
    number: u32,
    /// A copy of what is open there, and its close-on-exec flag.
    backup: Option<(OwnedFd, bool)>,
    /// The file before the steps, and the one they put there.
    files: [Option<Inode>; 2],
    /// Whether the steps open the file, which is not known then.
    opened: bool,
}

/// A number whose file stays; steps may change the flag.
struct FdFlag {
    number: u32,
    cloexec: bool,
    file: Option<Inode>,
}

/// How often a number is tried that other threads open and close.
const MAX_TRIES: u32 = 100;

impl Undo {
    /// Makes the backups.
    ///
    /// # Errors
    ///
    /// EMFILE, with the step of the option that names the number. Nothing is
    /// changed then.
    pub(super) fn new(
        prepared: &Prepared,
        pipes: &StdioPipes,
    ) -> Result<Undo, Error> {
        let plan = &prepared.plan;
        let mut undo = Undo {
            overwritten: Vec::new(),
            flags: Vec::new(),
            mask: signal_mask(),
            actions: actions(plan),
            death_signal: plan.parent_death.and_then(|_| death_signal()),
            _reserved: reserve::lock(),
            _page: status_page::lock_cache(),
            _image: helper_image::lock_cache(),
        };
        let targets = plan.targets();
        for op in plan.ops() {
            match op {
                Op::Close { to } => undo.save_flag(to.into()),
                Op::Dup { to, source } => {
                    let from = match source {
                        FdSource::Fd(index) => plan.number(index),
                        FdSource::SameAs(from) => from.into(),
                        _ => pipes.number(to),
                    };
                    undo.save(to, from, &targets)
                        .map_err(|e| prepared.backup_error(to, source, e))?;
                }
                _ => {}
            }
        }
        for to in &plan.opened {
            undo.save_opened(*to, &targets).map_err(|e| {
                let error = Error::os(Step::OpenInChild, e.raw_os_error());
                error.with(to.to_string())
            })?;
        }
        if plan.has(Op::MarkRange) {
            undo.save_inherited_flags();
        }
        Ok(undo)
    }

    fn save_flag(&mut self, number: u32) {
        if let Ok(cloexec) = is_cloexec(number) {
            let file = Inode::at(number);
            self.flags.push(FdFlag { number, cloexec, file });
        }
    }

    /// Backs up one number, or takes it if no file is open there.
    fn save(
        &mut self,
        to: u32,
        from: u32,
        targets: &[u32],
    ) -> Result<(), Errno> {
        if to == from {
            self.save_flag(to);
            return Ok(());
        }
        // The same as another of 0 to 2, which is made before it.
        let earlier = self.overwritten.iter().find(|it| it.number == from);
        let after = match earlier {
            Some(earlier) => earlier.files[1],
            None => Inode::at(from),
        };
        for _ in 0..MAX_TRIES {
            let backup = match is_cloexec(to) {
                Ok(cloexec) => Some((backup(to, targets)?, cloexec)),
                Err(_) => {
                    let taken = copy(from, to)?;
                    if taken.as_raw_fd().unsigned_abs() != to {
                        // Another thread has opened a file at the number.
                        continue;
                    }
                    // It stays open until the steps replace it, or until it
                    // is restored.
                    mem::forget(taken);
                    None
                }
            };
            let files = [Inode::at(to), after];
            let opened = false;
            let number = to;
            self.overwritten.push(Overwritten {
                number,
                backup,
                files,
                opened,
            });
            return Ok(());
        }
        Err(Errno::BUSY)
    }

    /// Backs up a number at which the steps open a file. If nothing is open
    /// there, a socket takes it.
    fn save_opened(&mut self, to: u32, targets: &[u32]) -> Result<(), Errno> {
        let socket = {
            let socket = UnixDatagram::unbound();
            let errno = |e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE);
            let socket = OwnedFd::from(socket.map_err(errno)?);
            // It may be at that number itself.
            backup(socket.as_raw_fd().unsigned_abs(), targets)?
        };
        let from = socket.as_raw_fd().unsigned_abs();
        self.save(to, from, targets)?;
        let saved = self.overwritten.last_mut();
        saved.into_iter().for_each(|saved| saved.opened = true);
        Ok(())
    }

    /// Saves the flags of what exec would leave open above 2.
    fn save_inherited_flags(&mut self) {
        let numbers = open_numbers().unwrap_or_else(possible_numbers);
        for number in numbers.into_iter().filter(|number| *number > 2) {
            if is_cloexec(number) == Ok(false) {
                self.save_flag(number);
            }
        }
    }
}

impl Undo {
    /// The signal mask before the steps.
    pub(super) fn mask(&self) -> u64 {
        self.mask
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.overwritten.iter().for_each(Overwritten::restore);
        for FdFlag { number, cloexec, file } in &self.flags {
            let other = self.overwritten.iter().any(|it| it.number == *number);
            if !other && Inode::at(*number) == *file {
                let _ = set_cloexec(*number, *cloexec);
            }
        }
        for (signal, set, before) in &self.actions {
            // Unless the step has not run, or another thread has set one since.
            if Action::of(*signal).is_some_and(|now| now.is(*set)) {
                before.set(*signal);
            }
        }
        if let Some(signal) = self.death_signal {
            set_death_signal(signal);
        }
        set_signal_mask(self.mask);
    }
}

impl Overwritten {
    /// Restores the number, unless another thread has closed it or opened
    /// another file there.
    fn restore(&self) {
        let open = is_cloexec(self.number).is_ok();
        let own = || self.files.contains(&Inode::at(self.number));
        if !open || !self.opened && !own() {
            return;
        }
        match &self.backup {
            Some((backup, cloexec)) => {
                // If a filter rejects dup3, the steps could not use it either.
                let flag = |_| set_cloexec(self.number, *cloexec);
                let put = put(backup.as_fd(), self.number, *cloexec);
                let _ = put.or_else(flag);
            }
            None => close(self.number),
        }
    }
}

impl Prepared {
    /// No descriptor is free for a backup.
    fn backup_error(&self, to: u32, source: FdSource, e: Errno) -> Error {
        let (by, shown) = match source {
            FdSource::Fd(index) => {
                let source = self.plan.source_fds.get(usize::from(index));
                let by = source.map_or(Step::Dup, |source| source.by);
                let shown = source.map(|source| source.shown());
                (by, shown.unwrap_or_default())
            }
            _ => {
                let n = u8::try_from(to).unwrap_or_default();
                (stdio_step(n), to.to_string())
            }
        };
        let why = "no descriptor is free for a copy of what is open there";
        Error::explained(by, e.raw_os_error(), why).with(shown)
    }
}

/// The actions of the signals that steps set.
fn actions(plan: &Plan) -> Vec<(i32, Disposition, Action)> {
    let default = plan.defaults.iter().zip(iter::repeat(Disposition::Default));
    let ignored = plan.ignored.iter().zip(iter::repeat(Disposition::Ignore));
    let with_action = |(signal, set)| Some((signal, set, Action::of(signal)?));
    default.chain(ignored).filter_map(with_action).collect()
}

/// Copies a descriptor to a number that no step writes over.
fn backup(number: u32, targets: &[u32]) -> Result<OwnedFd, Errno> {
    let mut least = 3;
    loop {
        least = outside(targets, least);
        let copy = copy(number, least)?;
        let at = copy.as_raw_fd().unsigned_abs();
        if targets.binary_search(&at).is_err() {
            return Ok(copy);
        }
        least = at + 1;
    }
}

/// The descriptors of this thread's table: `/proc/self` has the table of the
/// process's first thread.
fn open_numbers() -> Option<Vec<u32>> {
    let all = fs::read_dir("/proc/thread-self/fd").ok()?;
    let number =
        |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Some(all.filter_map(|entry| number(entry.ok()?)).collect())
}

/// Without `/proc`, or a free descriptor to list it: all numbers there can
/// be, as far as they can be checked in some milliseconds.
fn possible_numbers() -> Vec<u32> {
    const MOST: u64 = 65_536;
    let limit = limit(Limit::Descriptors).unwrap_or(MOST).min(MOST);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    (3..limit).collect()
}
