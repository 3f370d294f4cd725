//! `rustix::event::epoll` in the model, for events that are shown once.

use std::mem::MaybeUninit;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::slice;

use crate::event::Timespec;
use crate::io::Errno;
use crate::kernel::{Fd, Watch, kernel};
use crate::resources::OwnedFd;

#[derive(Clone, Copy)]
pub(crate) struct CreateFlags;

impl CreateFlags {
    pub(crate) const CLOEXEC: CreateFlags = CreateFlags;
}

#[derive(Clone, Copy)]
pub(crate) struct EventfdFlags;

impl EventfdFlags {
    pub(crate) const CLOEXEC: EventfdFlags = EventfdFlags;
}

/// Whether it waits for an event.
#[derive(Clone, Copy)]
pub(crate) struct EventFlags(bool);

impl EventFlags {
    pub(crate) const IN: EventFlags = EventFlags(true);
    pub(crate) const ONESHOT: EventFlags = EventFlags(true);

    pub(crate) fn empty() -> EventFlags {
        EventFlags(false)
    }
}

impl BitOr for EventFlags {
    type Output = EventFlags;
    fn bitor(self, other: EventFlags) -> EventFlags {
        EventFlags(self.0 || other.0)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct EventData(u64);

impl EventData {
    pub(crate) fn new_u64(data: u64) -> EventData {
        EventData(data)
    }

    pub(crate) fn u64(self) -> u64 {
        self.0
    }
}

pub(crate) struct Event {
    pub(crate) data: EventData,
}

pub(crate) fn create(_: CreateFlags) -> Result<OwnedFd, Errno> {
    Ok(kernel().open(Fd::Epoll(Vec::new())))
}

/// A counter above 0, so that it is readable.
pub(crate) fn eventfd(_: u32, _: EventfdFlags) -> Result<OwnedFd, Errno> {
    Ok(kernel().open(Fd::Readable))
}

pub(crate) fn add(
    epoll: impl AsFd,
    fd: impl AsFd,
    data: EventData,
    flags: EventFlags,
) -> Result<(), Errno> {
    let (epoll, fd) = (number(epoll), number(fd));
    kernel().change(|state| {
        if !state.can_be_watched(fd) {
            return Err(Errno(libc::EPERM));
        }
        let watches = state.watches(epoll);
        if watches.iter().any(|watch| watch.fd == fd) {
            return Err(Errno(libc::EEXIST));
        }
        watches.push(Watch { fd, data: data.0, armed: flags.0 });
        Ok(())
    })
}

pub(crate) fn modify(
    epoll: impl AsFd,
    fd: impl AsFd,
    data: EventData,
    flags: EventFlags,
) -> Result<(), Errno> {
    let (epoll, fd) = (number(epoll), number(fd));
    kernel().change(|state| {
        let mut watches = state.watches(epoll).iter_mut();
        let watch = watches.find(|watch| watch.fd == fd);
        let watch = watch.ok_or(Errno(libc::ENOENT))?;
        (watch.data, watch.armed) = (data.0, flags.0);
        Ok(())
    })
}

pub(crate) fn delete(epoll: impl AsFd, fd: impl AsFd) -> Result<(), Errno> {
    let (epoll, fd) = (number(epoll), number(fd));
    kernel().change(|state| {
        let watches = state.watches(epoll);
        let at = watches.iter().position(|watch| watch.fd == fd);
        watches.remove(at.ok_or(Errno(libc::ENOENT))?);
        Ok(())
    })
}

fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

type Events<'a> = (&'a mut [Event], &'a mut [MaybeUninit<Event>]);

pub(crate) fn wait<'a>(
    epoll: impl AsFd,
    room: &'a mut [MaybeUninit<Event>; 1],
    limit: Option<&Timespec>,
) -> Result<Events<'a>, Errno> {
    let epoll = number(epoll);
    let limit = limit.map(Timespec::duration);
    let data = kernel().wait_until(limit, |state| state.next_event(epoll));
    match data {
        None => Ok((&mut [], room)),
        Some(data) => {
            let [event] = room;
            let event = event.write(Event { data: EventData(data) });
            Ok((slice::from_mut(event), &mut []))
        }
    }
}
