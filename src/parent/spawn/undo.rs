//! Undo: what the steps of an exec in place change of this process's
//! descriptors, and how it is put back after one that failed.
//!
//! Other threads open and close files meanwhile. A number that steps write
//! over has a backup at a number of its own; where nothing was open it is
//! taken first, so that no other thread is given it. Afterwards only what
//! the steps have put there is replaced.

use rustix::io::Errno;

use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use super::{helper_image, status_page};
use crate::parent::error::{Error, Step};
use crate::parent::plan::fds::outside;
use crate::parent::plan::op::{Op, Role};
use crate::parent::plan::source_fd::stdio_step;
use crate::parent::reserve;
use crate::parent::std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    string::{String, ToString},
    vec::Vec,
};
use crate::sys::abi::Limit;
use crate::sys::call::{Action, limit, set_signal_mask, signal_mask};
use crate::sys::fds::{Inode, close, copy, is_cloexec, put, set_cloexec};

/// What a process was, before steps ran in it. Puts it back when dropped.
pub(super) struct Undo {
    places: Vec<Place>,
    marks: Vec<Mark>,
    mask: u64,
    pipe: Option<Action>,
    /// No other thread uses a number that is reserved or kept, which steps
    /// may write over, until all is as it was.
    _reserved: reserve::Lock,
    _page: status_page::CacheLock,
    _image: helper_image::CacheLock,
}

/// A number that steps write over.
struct Place {
    number: u32,
    /// What is open there, and whether exec closes it; `None`: nothing is.
    was: Option<(OwnedFd, bool)>,
    /// The file that is there before the steps, and the one they put there.
    files: [Option<Inode>; 2],
}

/// A number that stays open on the same file.
struct Mark {
    number: u32,
    cloexec: bool,
    file: Option<Inode>,
}

/// How often a number is looked at that another thread opens and closes.
const LOOKS: u32 = 100;

impl Undo {
    /// Looks at all that steps will write over, and makes the backups.
    ///
    /// # Errors
    ///
    /// EMFILE, of the option that names the number: nothing is changed.
    pub(super) fn new(
        prepared: &Prepared,
        pipes: &StdioPipes,
    ) -> Result<Undo, Error> {
        let plan = &prepared.plan;
        let mut undo = Undo {
            places: Vec::new(),
            marks: Vec::new(),
            mask: signal_mask(),
            pipe: Action::of(libc::SIGPIPE),
            _reserved: reserve::lock_caches(),
            _page: status_page::lock_cache(),
            _image: helper_image::lock_cache(),
        };
        let targets = plan.targets();
        for op in plan.ops() {
            let done = match op {
                Op::Close { to } => {
                    undo.mark(to.into());
                    Ok(())
                }
                Op::Dup { to, role } => {
                    let from = match role {
                        Role::SourceFd(place) => plan.number(place),
                        Role::SameAs(from) => from.into(),
                        _ => pipes.number(to),
                    };
                    undo.place(to, from, &targets)
                }
                _ => Ok(()),
            };
            done.map_err(|e| prepared.no_room(op, e))?;
        }
        if plan.has(Op::MarkRange) {
            undo.inherited();
        }
        Ok(undo)
    }

    fn mark(&mut self, number: u32) {
        if let Ok(cloexec) = is_cloexec(number) {
            let file = Inode::at(number);
            self.marks.push(Mark { number, cloexec, file });
        }
    }

    /// Makes the backup of one number, or takes it where it is free.
    fn place(
        &mut self,
        to: u32,
        from: u32,
        targets: &[u32],
    ) -> Result<(), Errno> {
        if to == from {
            self.mark(to);
            return Ok(());
        }
        // The same as another of 0 to 2, which is made before.
        let made = self.places.iter().find(|place| place.number == from);
        let gets = match made {
            Some(place) => place.files[1],
            None => Inode::at(from),
        };
        for _ in 0..LOOKS {
            let was = match is_cloexec(to) {
                Ok(cloexec) => Some((backup(to, targets)?, cloexec)),
                Err(_) => {
                    let taken = copy(from, to)?;
                    if taken.as_raw_fd().unsigned_abs() != to {
                        // Another thread was first.
                        continue;
                    }
                    // Until the steps replace it, or it is put back.
                    core::mem::forget(taken);
                    None
                }
            };
            let files = [Inode::at(to), gets];
            self.places.push(Place { number: to, was, files });
            return Ok(());
        }
        Err(Errno::BUSY)
    }

    /// Notes what exec would leave open above 2, which steps mark.
    fn inherited(&mut self) {
        let all = listed().unwrap_or_else(asked);
        for number in all.into_iter().filter(|number| *number > 2) {
            if is_cloexec(number) == Ok(false) {
                self.mark(number);
            }
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.places.iter().for_each(Place::put_back);
        for Mark { number, cloexec, file } in &self.marks {
            let other = self.places.iter().any(|p| p.number == *number);
            if !other && Inode::at(*number) == *file {
                let _ = set_cloexec(*number, *cloexec);
            }
        }
        let now = Action::of(libc::SIGPIPE);
        if let (Some(was), true) =
            (self.pipe, now.is_some_and(Action::is_default))
        {
            was.set(libc::SIGPIPE);
        }
        set_signal_mask(self.mask);
    }
}

impl Place {
    /// Another thread may have closed it meanwhile, or closed it and opened
    /// something else: then it is that thread's.
    fn put_back(&self) {
        let open = is_cloexec(self.number).is_ok();
        if !open || !self.files.contains(&Inode::at(self.number)) {
            return;
        }
        match &self.was {
            Some((was, cloexec)) => {
                let put = put(was.as_fd(), self.number, *cloexec);
                // Where dup3 is refused it was to the steps too.
                let flag = || set_cloexec(self.number, *cloexec);
                let _ = put.or_else(|_| flag());
            }
            None => close(self.number),
        }
    }
}

impl Prepared {
    /// No descriptor is free for a backup.
    fn no_room(&self, op: Op, e: Errno) -> Error {
        let (by, shown) = match op {
            Op::Dup { role: Role::SourceFd(place), .. } => {
                let given = self.plan.source_fds.get(usize::from(place));
                let by = given.map_or(Step::Dup, |given| given.by);
                (by, given.map(|given| given.shown()).unwrap_or_default())
            }
            Op::Dup { to, .. } => {
                let n = u8::try_from(to).unwrap_or_default();
                (stdio_step(n), to.to_string())
            }
            _ => (Step::Dup, String::new()),
        };
        let why = "what exec writes over is kept until it has succeeded";
        Error::explained(by, e.raw_os_error(), why).with(shown)
    }
}

/// A copy at a number that no step writes over.
fn backup(number: u32, targets: &[u32]) -> Result<OwnedFd, Errno> {
    let mut least = 3;
    loop {
        least = outside(targets, least);
        let made = copy(number, least)?;
        let at = made.as_raw_fd().unsigned_abs();
        if targets.binary_search(&at).is_err() {
            return Ok(made);
        }
        least = at + 1;
    }
}

/// What this thread has open. `/proc/self` is the first thread's table,
/// which may be another one.
fn listed() -> Option<Vec<u32>> {
    let all = fs::read_dir("/proc/thread-self/fd").ok()?;
    let number =
        |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Some(all.filter_map(|entry| number(entry.ok()?)).collect())
}

/// Without `/proc`, or without a descriptor for it: as many numbers as are
/// asked for one by one in some milliseconds.
fn asked() -> Vec<u32> {
    const MOST: u64 = 65_536;
    let limit = limit(Limit::Descriptors).unwrap_or(MOST).min(MOST);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    (3..limit).collect()
}
