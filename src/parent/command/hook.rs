//! Hooks: functions of the user's that run in the child before exec.
#![allow(unsafe_code, reason = "the child calls the function by its address")]

use core::marker::PhantomData;

use crate::call::Callback;
use crate::parent::std::{
    boxed::Box,
    ffi::CStr,
    fmt,
    os::fd::RawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use crate::sys::Errno;
use crate::sys::claim::{CLOSED, claim_or_exit, gettid};
use crate::sys::safe::{self, Disposition, MaskChange};

type Function =
    dyn Fn(&mut HookContext<'_>) -> Result<(), Errno> + Send + Sync;

/// A hook of a command. Its address stays the same as long as it lives.
#[derive(Clone)]
pub(crate) struct Hook {
    function: Arc<Box<Function>>,
    shared: bool,
}

/// What a row is given by a hook that panicked: no kernel says this.
pub(crate) const PANICKED: i64 = i64::MIN;

impl Hook {
    pub(crate) fn new(
        function: impl Fn(&mut HookContext<'_>) -> Result<(), Errno>
        + Send
        + Sync
        + 'static,
        shared: bool,
    ) -> Hook {
        Hook { function: Arc::new(Box::new(function)), shared }
    }

    /// Whether it runs in the parent's memory.
    pub(crate) fn shared(&self) -> bool {
        self.shared
    }

    /// How the child calls it, as long as this or a clone of it lives.
    pub(crate) fn callback(&self) -> Callback {
        let data: *const Box<Function> = Arc::as_ptr(&self.function);
        Callback { run, data: data.expose_provenance() as u64 }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shared { "pre_exec_shared" } else { "pre_exec" })
    }
}

/// What the child calls. Whatever happens, it returns: unwinding ends here,
/// and in shared memory the count of panics is right again.
///
/// # Safety
///
/// `data` is that of an entry of a live hook, `mask` the address of the
/// launch's mask slot, and nobody else uses that slot; `owner` is that of its
/// owner slot, or 0.
unsafe extern "C" fn run(data: u64, mask: u64, owner: u64) -> i64 {
    let narrow = |n: u64| usize::try_from(n).unwrap_or_default();
    let data =
        core::ptr::with_exposed_provenance::<Box<Function>>(narrow(data));
    // SAFETY: the caller's word: a hook owns the box behind this address.
    let function = unsafe { &*data };
    let mask = core::ptr::with_exposed_provenance_mut::<u64>(narrow(mask));
    // SAFETY: the caller's word: 8 aligned bytes, for this call only.
    let mask = unsafe { &mut *mask };
    let mut context = HookContext { mask, here: PhantomData };
    let failed =
        match catch_unwind(AssertUnwindSafe(|| function(&mut context))) {
            Ok(Ok(())) => return 0,
            Ok(Err(errno)) => -i64::from(errno.raw_os_error()),
            Err(payload) => {
                // Dropping it could run anything.
                core::mem::forget(payload);
                PANICKED
            }
        };
    if owner != 0 {
        // The program runs in another process by now, or never will.
        // SAFETY: the caller's word.
        unsafe { claim_or_exit(owner, gettid(), CLOSED) };
    }
    failed
}

/// What a hook may use: the async-signal-safe calls, made without libc. None
/// allocates, takes a lock or touches a thread-local.
///
/// Each gives the kernel's error number. Descriptors that a hook makes are
/// inherited by the program unless made close-on-exec; those that the parent
/// had are open until exec.
///
/// # Examples
///
/// ```
/// use offshoot::Command;
///
/// let mut sh = Command::new("sh");
/// sh.args(["-c", "umask"]);
/// // SAFETY: the hook makes one system call.
/// unsafe {
///     sh.pre_exec(|context| {
///         context.umask(0o077);
///         Ok(())
///     });
/// }
/// assert_eq!(sh.output()?.stdout, b"0077\n");
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
pub struct HookContext<'a> {
    mask: &'a mut u64,
    /// Neither sent to nor shared with another thread.
    here: PhantomData<*mut ()>,
}

impl HookContext<'_> {
    /// The child's process id, in its own PID namespace ([`getpid(2)`]).
    ///
    /// [`getpid(2)`]: https://man7.org/linux/man-pages/man2/getpid.2.html
    #[must_use]
    pub fn id(&self) -> u32 {
        safe::getpid()
    }

    /// A copy of a descriptor, at the lowest free number, inherited by the
    /// program ([`dup(2)`]).
    ///
    /// # Errors
    ///
    /// EBADF, EMFILE.
    ///
    /// [`dup(2)`]: https://man7.org/linux/man-pages/man2/dup.2.html
    pub fn dup(&mut self, fd: RawFd) -> Result<RawFd, Errno> {
        safe::dup(fd)
    }

    /// Makes `to` a copy of `from`, inherited by the program; also where the
    /// two are the same, when the close-on-exec flag goes ([`dup2(2)`]).
    ///
    /// # Errors
    ///
    /// EBADF.
    ///
    /// [`dup2(2)`]: https://man7.org/linux/man-pages/man2/dup.2.html
    pub fn dup2(&mut self, from: RawFd, to: RawFd) -> Result<(), Errno> {
        safe::dup2(from, to)
    }

    /// Opens a file ([`open(2)`]); `flags` and `mode` are libc's `O_*` and
    /// permission bits.
    ///
    /// # Errors
    ///
    /// ENOENT, EACCES, EMFILE and what else open gives.
    ///
    /// [`open(2)`]: https://man7.org/linux/man-pages/man2/open.2.html
    pub fn open(
        &mut self,
        path: &CStr,
        flags: i32,
        mode: u32,
    ) -> Result<RawFd, Errno> {
        safe::open(path, flags, mode)
    }

    /// Closes a descriptor ([`close(2)`]). It is not tried again.
    ///
    /// # Errors
    ///
    /// EBADF; EIO and ENOSPC, when it is closed all the same.
    ///
    /// [`close(2)`]: https://man7.org/linux/man-pages/man2/close.2.html
    pub fn close(&mut self, fd: RawFd) -> Result<(), Errno> {
        safe::close(fd)
    }

    /// Reads once ([`read(2)`]); 0 is the end.
    ///
    /// # Errors
    ///
    /// EBADF, EAGAIN, EIO.
    ///
    /// [`read(2)`]: https://man7.org/linux/man-pages/man2/read.2.html
    pub fn read(
        &mut self,
        fd: RawFd,
        bytes: &mut [u8],
    ) -> Result<usize, Errno> {
        safe::read(fd, bytes)
    }

    /// Writes once ([`write(2)`]); fewer bytes may be taken than given.
    ///
    /// # Errors
    ///
    /// EBADF, EAGAIN, EPIPE (SIGPIPE is blocked), ENOSPC.
    ///
    /// [`write(2)`]: https://man7.org/linux/man-pages/man2/write.2.html
    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        safe::write(fd, bytes)
    }

    /// Changes the directory ([`chdir(2)`]).
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, EACCES.
    ///
    /// [`chdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    pub fn chdir(&mut self, path: &CStr) -> Result<(), Errno> {
        safe::chdir(path)
    }

    /// Changes the directory to an open one ([`fchdir(2)`]).
    ///
    /// # Errors
    ///
    /// EBADF, ENOTDIR, EACCES.
    ///
    /// [`fchdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    pub fn fchdir(&mut self, fd: RawFd) -> Result<(), Errno> {
        safe::fchdir(fd)
    }

    /// Begins a session ([`setsid(2)`]).
    ///
    /// # Errors
    ///
    /// EPERM, if the child leads a process group already.
    ///
    /// [`setsid(2)`]: https://man7.org/linux/man-pages/man2/setsid.2.html
    pub fn setsid(&mut self) -> Result<(), Errno> {
        safe::setsid()
    }

    /// Puts the child into a process group, 0 for one of its own
    /// ([`setpgid(2)`]).
    ///
    /// # Errors
    ///
    /// EPERM, if the group is in another session or the child leads one.
    ///
    /// [`setpgid(2)`]: https://man7.org/linux/man-pages/man2/setpgid.2.html
    pub fn setpgid(&mut self, group: u32) -> Result<(), Errno> {
        safe::setpgid(group)
    }

    /// Sets the file mode creation mask and returns the one before
    /// ([`umask(2)`]).
    ///
    /// [`umask(2)`]: https://man7.org/linux/man-pages/man2/umask.2.html
    pub fn umask(&mut self, mask: u32) -> u32 {
        safe::umask(mask)
    }

    /// Calls [`ioctl(2)`] with a number: `TIOCSCTTY`, `TIOCNOTTY`,
    /// `TIOCSPGRP` (the number is the group), `FIOCLEX`, `FIONCLEX`,
    /// `FIONBIO`.
    ///
    /// # Errors
    ///
    /// EINVAL for any other request: it could take the number for an
    /// address. Else what the request gives (ENOTTY, EPERM).
    ///
    /// [`ioctl(2)`]: https://man7.org/linux/man-pages/man2/ioctl.2.html
    pub fn ioctl(
        &mut self,
        fd: RawFd,
        request: u64,
        number: i32,
    ) -> Result<(), Errno> {
        safe::ioctl(fd, request, number)
    }

    /// Calls [`prctl(2)`] with a number: `PR_SET_PDEATHSIG`,
    /// `PR_SET_NO_NEW_PRIVS`, `PR_SET_KEEPCAPS`, `PR_SET_CHILD_SUBREAPER`,
    /// `PR_SET_TIMERSLACK`, `PR_SET_SECUREBITS`, `PR_CAPBSET_DROP`.
    ///
    /// # Errors
    ///
    /// EINVAL for any other option: it could take the number for an
    /// address, or change the memory that a hook may share. Else what the
    /// option gives.
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/prctl.2.html
    pub fn prctl(&mut self, option: i32, number: u64) -> Result<(), Errno> {
        safe::prctl(option, number)
    }

    /// Sets what a signal does: by default, or nothing ([`sigaction(2)`]).
    ///
    /// # Errors
    ///
    /// EINVAL, for SIGKILL, SIGSTOP and what is no signal.
    ///
    /// [`sigaction(2)`]: https://man7.org/linux/man-pages/man2/sigaction.2.html
    pub fn sigaction(
        &mut self,
        signal: i32,
        disposition: Disposition,
    ) -> Result<(), Errno> {
        safe::sigaction(signal, disposition)
    }

    /// Changes the signal mask that the program starts with and returns the
    /// one before: signal `n` is bit `n - 1`. While hooks run all signals
    /// are blocked.
    pub fn sigprocmask(&mut self, change: MaskChange) -> u64 {
        let before = *self.mask;
        *self.mask = match change {
            MaskChange::Block(set) => before | set,
            MaskChange::Unblock(set) => before & !set,
            MaskChange::Set(set) => set,
        };
        before
    }

    /// Sets a resource's soft and hard limit, in the resource's own unit;
    /// `resource` is libc's `RLIMIT_*` ([`setrlimit(2)`]).
    ///
    /// # Errors
    ///
    /// EINVAL, if soft is above hard; EPERM, to raise the hard one.
    ///
    /// [`setrlimit(2)`]: https://man7.org/linux/man-pages/man2/setrlimit.2.html
    pub fn setrlimit(
        &mut self,
        resource: u32,
        soft: u64,
        hard: u64,
    ) -> Result<(), Errno> {
        safe::setrlimit(resource, soft, hard)
    }
}
