//! `Hook`: a function of the caller that runs in the child before exec.
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

/// A hook of a command. Its address does not change while it lives.
#[derive(Clone)]
pub(crate) struct Hook {
    function: Arc<Box<Function>>,
    shared: bool,
}

/// The result of a hook that panicked. No system call returns it.
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

    /// Whether the hook runs in the parent's memory.
    pub(crate) fn shared(&self) -> bool {
        self.shared
    }

    /// Returns what the child calls, valid while this or a clone of it lives.
    pub(crate) fn callback(&self) -> Callback {
        let data: *const Box<Function> = Arc::as_ptr(&self.function);
        let run = if self.shared { run_shared } else { run_private };
        Callback { run, data: data.expose_provenance() as u64 }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shared { "pre_exec_shared" } else { "pre_exec" })
    }
}

/// [`run`], in the parent's memory.
///
/// # Safety
///
/// As [`run`].
unsafe extern "C" fn run_shared(data: u64, mask: u64, owner: u64) -> i64 {
    // SAFETY: the clauses of `run` are this function's.
    unsafe { run(data, mask, owner, true) }
}

/// [`run`], in memory of the child's own, or in place.
///
/// # Safety
///
/// As [`run`].
unsafe extern "C" fn run_private(data: u64, mask: u64, owner: u64) -> i64 {
    // SAFETY: the clauses of `run` are this function's.
    unsafe { run(data, mask, owner, false) }
}

/// The function that the child calls. It always returns: unwinding stops here,
/// which in shared memory restores the panic count.
///
/// # Safety
///
/// Clause 1: `data` is that of the callback of a live hook.
///
/// Clause 2: `mask` is the address of the launch's mask slot, which nothing
/// else uses meanwhile.
///
/// Clause 3: `owner` is the address of the launch's owner slot, or 0.
unsafe fn run(data: u64, mask: u64, owner: u64, shared: bool) -> i64 {
    let narrow = |n: u64| usize::try_from(n).unwrap_or_default();
    let data =
        core::ptr::with_exposed_provenance::<Box<Function>>(narrow(data));
    // SAFETY: clause 1: the hook owns the box at this address.
    let function = unsafe { &*data };
    let mask = core::ptr::with_exposed_provenance_mut::<u64>(narrow(mask));
    // SAFETY: clause 2: a slot is 8 aligned bytes.
    let mask = unsafe { &mut *mask };
    let mut context = HookContext { mask, shared, here: PhantomData };
    let failed =
        match catch_unwind(AssertUnwindSafe(|| function(&mut context))) {
            Ok(Ok(())) => return 0,
            Ok(Err(errno)) => -i64::from(errno.raw_os_error()),
            Err(payload) => {
                // Its drop could panic, lock or allocate.
                core::mem::forget(payload);
                PANICKED
            }
        };
    if owner != 0 {
        // If a fork has claimed the launch, this process exits here.
        // SAFETY: clause 3, and a slot is at least four aligned bytes.
        unsafe { claim_or_exit(owner, gettid(), CLOSED) };
    }
    failed
}

/// The system calls that a hook may make: async-signal-safe, without libc.
/// None allocates, takes a lock or accesses a thread-local.
///
/// Each returns the kernel's error number. The program inherits descriptors
/// that a hook opens unless they are close-on-exec; the parent's descriptors
/// are open until exec.
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
    /// Whether it runs in the parent's memory.
    pub(super) shared: bool,
    /// Makes the context neither `Send` nor `Sync`.
    here: PhantomData<*mut ()>,
}

impl HookContext<'_> {
    /// Returns the child's process id in its own PID namespace
    /// ([`getpid(2)`](https://man7.org/linux/man-pages/man2/getpid.2.html)).
    #[must_use]
    pub fn id(&self) -> u32 {
        safe::getpid()
    }

    /// Duplicates a descriptor to the lowest free number, inherited by the
    /// program ([`dup(2)`](https://man7.org/linux/man-pages/man2/dup.2.html)).
    ///
    /// # Errors
    ///
    /// EBADF, EMFILE.
    pub fn dup(&mut self, fd: RawFd) -> Result<RawFd, Errno> {
        safe::dup(fd)
    }

    /// Makes `to` a copy of `from`, inherited by the program. If the two are
    /// equal, clears the close-on-exec flag
    /// ([`dup2(2)`](https://man7.org/linux/man-pages/man2/dup.2.html)).
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn dup2(&mut self, from: RawFd, to: RawFd) -> Result<(), Errno> {
        safe::dup2(from, to)
    }

    /// Opens a file
    /// ([`open(2)`](https://man7.org/linux/man-pages/man2/open.2.html)).
    /// `flags` and `mode` are libc's `O_*` and permission bits.
    ///
    /// # Errors
    ///
    /// ENOENT, EACCES, EMFILE and other errors of open.
    pub fn open(
        &mut self,
        path: &CStr,
        flags: i32,
        mode: u32,
    ) -> Result<RawFd, Errno> {
        safe::open(path, flags, mode)
    }

    /// Closes a descriptor
    /// ([`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)),
    /// without a retry.
    ///
    /// # Errors
    ///
    /// EBADF; EIO and ENOSPC, after which the descriptor is closed too.
    pub fn close(&mut self, fd: RawFd) -> Result<(), Errno> {
        safe::close(fd)
    }

    /// Reads once
    /// ([`read(2)`](https://man7.org/linux/man-pages/man2/read.2.html)) and
    /// returns the number of bytes, 0 at end of file.
    ///
    /// # Errors
    ///
    /// EBADF, EAGAIN, EIO.
    pub fn read(
        &mut self,
        fd: RawFd,
        bytes: &mut [u8],
    ) -> Result<usize, Errno> {
        safe::read(fd, bytes)
    }

    /// Writes once
    /// ([`write(2)`](https://man7.org/linux/man-pages/man2/write.2.html)) and
    /// returns the number of bytes written, which may be fewer than `bytes`
    /// has.
    ///
    /// # Errors
    ///
    /// EBADF, EAGAIN, EPIPE (SIGPIPE is blocked), ENOSPC.
    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        safe::write(fd, bytes)
    }

    /// Changes the working directory
    /// ([`chdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html)).
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, EACCES.
    pub fn chdir(&mut self, path: &CStr) -> Result<(), Errno> {
        safe::chdir(path)
    }

    /// Changes the working directory to an open directory
    /// ([`fchdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html)).
    ///
    /// # Errors
    ///
    /// EBADF, ENOTDIR, EACCES.
    pub fn fchdir(&mut self, fd: RawFd) -> Result<(), Errno> {
        safe::fchdir(fd)
    }

    /// Creates a session
    /// ([`setsid(2)`](https://man7.org/linux/man-pages/man2/setsid.2.html)).
    ///
    /// # Errors
    ///
    /// EPERM if the child leads a process group already.
    pub fn setsid(&mut self) -> Result<(), Errno> {
        safe::setsid()
    }

    /// Moves the child to a process group; 0 creates one
    /// ([`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)).
    ///
    /// # Errors
    ///
    /// EPERM if the group is in another session or the child leads a session.
    pub fn setpgid(&mut self, group: u32) -> Result<(), Errno> {
        safe::setpgid(group)
    }

    /// Sets the file mode creation mask and returns the previous one
    /// ([`umask(2)`](https://man7.org/linux/man-pages/man2/umask.2.html)).
    pub fn umask(&mut self, mask: u32) -> u32 {
        safe::umask(mask)
    }

    /// Calls [`ioctl(2)`](https://man7.org/linux/man-pages/man2/ioctl.2.html)
    /// for a request whose argument is a number: `TIOCSCTTY`, `TIOCNOTTY`,
    /// `TIOCSPGRP` (the group), `FIOCLEX`, `FIONCLEX`, `FIONBIO`.
    ///
    /// # Errors
    ///
    /// EINVAL for any other request, which could take the number for an
    /// address; else the error of the request (ENOTTY, EPERM).
    pub fn ioctl(
        &mut self,
        fd: RawFd,
        request: u64,
        number: i32,
    ) -> Result<(), Errno> {
        safe::ioctl(fd, request, number)
    }

    /// Calls [`prctl(2)`](https://man7.org/linux/man-pages/man2/prctl.2.html)
    /// for an option whose argument is a number: `PR_SET_PDEATHSIG`,
    /// `PR_SET_NO_NEW_PRIVS`, `PR_SET_KEEPCAPS`, `PR_SET_CHILD_SUBREAPER`,
    /// `PR_SET_TIMERSLACK`, `PR_SET_SECUREBITS`, `PR_CAPBSET_DROP`.
    ///
    /// # Errors
    ///
    /// EINVAL for any other option, which could take the number for an address
    /// or change memory that a hook shares; else the error of the option.
    pub fn prctl(&mut self, option: i32, number: u64) -> Result<(), Errno> {
        safe::prctl(option, number)
    }

    /// Sets the disposition of a signal
    /// ([`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)).
    ///
    /// # Errors
    ///
    /// EINVAL for SIGKILL, SIGSTOP and numbers that are not signals.
    pub fn sigaction(
        &mut self,
        signal: i32,
        disposition: Disposition,
    ) -> Result<(), Errno> {
        safe::sigaction(signal, disposition)
    }

    /// Changes the signal mask that the program starts with and returns the
    /// previous one: signal `n` is bit `n - 1`. All signals are blocked while
    /// hooks run.
    pub fn sigprocmask(&mut self, change: MaskChange) -> u64 {
        let before = *self.mask;
        *self.mask = match change {
            MaskChange::Block(set) => before | set,
            MaskChange::Unblock(set) => before & !set,
            MaskChange::Set(set) => set,
        };
        before
    }

    /// Sets the soft and hard limit of a resource, in the resource's own unit;
    /// `resource` is libc's `RLIMIT_*`
    /// ([`setrlimit(2)`](https://man7.org/linux/man-pages/man2/setrlimit.2.html)).
    ///
    /// # Errors
    ///
    /// EINVAL if the soft limit is above the hard one; EPERM to raise the hard
    /// limit without CAP_SYS_RESOURCE.
    pub fn setrlimit(
        &mut self,
        resource: u32,
        soft: u64,
        hard: u64,
    ) -> Result<(), Errno> {
        safe::setrlimit(resource, soft, hard)
    }
}
