//! Locks: std's names for those of loom, also in a `static`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::sync::{
    LockResult, Mutex as Plain, MutexGuard as PlainGuard, TryLockError,
    TryLockResult,
};

use crate::explore::run;

/// An object of loom that is made anew in each run: in a `static`, a run would
/// find that of the one before. It is leaked.
struct EachRun<T: 'static>(Plain<Option<(u64, &'static T)>>);

impl<T> EachRun<T> {
    const fn new() -> EachRun<T> {
        EachRun(Plain::new(None))
    }

    fn get(&self, make: impl FnOnce() -> T) -> &'static T {
        let mut made = self.0.lock().unwrap();
        match *made {
            Some((of, object)) if of == run() => object,
            _ => {
                let object = Box::leak(Box::new(make()));
                *made = Some((run(), object));
                object
            }
        }
    }
}

pub(crate) struct Mutex<T> {
    order: EachRun<loom::sync::Mutex<()>>,
    data: Plain<T>,
}

pub(crate) struct MutexGuard<'a, T> {
    // Dropped in this order.
    data: PlainGuard<'a, T>,
    order: loom::sync::MutexGuard<'static, ()>,
    of: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex { order: EachRun::new(), data: Plain::new(value) }
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let order = self.order.get(|| loom::sync::Mutex::new(()));
        Ok(self.with(order.lock().unwrap()))
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let order = self.order.get(|| loom::sync::Mutex::new(()));
        match order.try_lock() {
            Ok(order) => Ok(self.with(order)),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    fn with(
        &self,
        order: loom::sync::MutexGuard<'static, ()>,
    ) -> MutexGuard<'_, T> {
        let data = self.data.try_lock().expect("loom's lock is held");
        MutexGuard { data, order, of: self }
    }

    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        self.data.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    #[track_caller]
    pub(crate) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        let MutexGuard { data, order, of } = guard;
        drop(data);
        Ok(of.with(self.0.wait(order).unwrap()))
    }

    #[track_caller]
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub(crate) struct AtomicBool {
    order: EachRun<loom::sync::atomic::AtomicBool>,
    first: bool,
}

impl AtomicBool {
    pub(crate) const fn new(first: bool) -> AtomicBool {
        AtomicBool { order: EachRun::new(), first }
    }

    fn get(&self) -> &'static loom::sync::atomic::AtomicBool {
        self.order.get(|| loom::sync::atomic::AtomicBool::new(self.first))
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.get().load(order)
    }

    #[track_caller]
    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.get().store(value, order);
    }
}
