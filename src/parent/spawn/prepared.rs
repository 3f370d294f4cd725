//! `Prepared`: a plan with its rows and its open descriptors.

use super::compiled_plan::CompiledPlan;
use super::helper_image;
use super::source_fds::SourceFds;
use super::status_page::{self, StatusPage};
use crate::call::{Table, VerifyError};
use crate::launch::{Environ, Outcome};
use crate::parent::command::Engine;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::fd_table::thread_id;
use crate::parent::plan::Plan;
use crate::parent::reserve::{ReservedFd, top_fd};
use crate::parent::std::{
    boxed::Box, cell::Cell, fmt, os::fd::AsRawFd, sync::Mutex, vec::Vec,
};

/// A compiled command, to be spawned any number of times, from several
/// threads at once if need be. It does not change, and
/// [`spawn`](Prepared::spawn) does not allocate memory (except for the
/// environment of [`Command::listen_fds`](crate::Command::listen_fds), the
/// errors of [`Command::best_effort`](crate::Command::best_effort), the name
/// of the group of [`Command::own_cgroup`](crate::Command::own_cgroup), the
/// [`fallbacks`](crate::Launch::fallbacks) of a launch that has any, and the
/// thread of [`Command::die_with_parent`](crate::Command::die_with_parent)).
///
/// # Descriptor tables
///
/// It has open descriptors: `/dev/null`, those that options name, and those
/// of the engine. They belong to the descriptor table of the thread that
/// prepared it. Another thread that has called `unshare(CLONE_FILES)` can
/// spawn it while its own table still has them. Otherwise `spawn` fails with
/// EBADF and the option's step, and no file is passed on. The thread that
/// prepared it is not checked.
///
/// Dropping it in a thread whose table has other files at these numbers does
/// not close them; except that a descriptor passed by value is closed by its
/// number, as any `OwnedFd` is.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Stdio};
///
/// let echo = Command::new("echo").arg("hi").stdout(Stdio::piped()).prepare()?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let output = echo.spawn()?.wait_with_output()?;
///             assert_eq!(output.stdout, b"hi\n");
///             Ok::<(), offshoot::Error>(())
///         });
///     }
/// });
/// # Ok::<(), offshoot::Error>(())
/// ```
#[must_use = "it does nothing until it is spawned"]
pub struct Prepared {
    pub(super) plan: Box<Plan>,
    pub(super) compiled: CompiledPlan,
    pub(super) source_fds: Box<SourceFds>,
    /// A probe descriptor, above the source descriptors.
    probe_fd: Option<ReservedFd>,
    /// The thread that made it.
    thread: u64,
    /// Whether it is spawned more than once, and other threads may use it.
    reusable: bool,
    /// A status page that no launch uses.
    idle_page: Mutex<Option<StatusPage>>,
}

/// Shows its plan: of the environment the names, never a value.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("plan", &self.plan)
            .field("source_fds", &self.source_fds)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    pub(super) fn new(mut plan: Box<Plan>) -> Result<Prepared, Error> {
        let source_fds = SourceFds::new(&mut plan)?;
        let mut prepared = Prepared::for_one_spawn(plan, source_fds)?;
        let Prepared { plan, compiled, source_fds, .. } = &prepared;
        let end = source_fds.source_end;
        let has_probe_fd =
            end == 3 || top_fd().is_some_and(|fd| fd.unsigned_abs() >= end);
        // A status page has a probe descriptor of its own. If none can be
        // made here, the first spawn fails with the reason.
        let shares = plan.shares(plan.strategy) && compiled.image.is_none();
        if shares && !has_probe_fd {
            prepared.probe_fd =
                source_fds.new_probe_fd(plan).map(ReservedFd::from);
        }
        prepared.reusable = true;
        prepared.source_fds.record_files(&prepared.plan);
        prepared.probe_fd.iter().for_each(ReservedFd::record_file);
        let image = prepared.compiled.image.iter();
        image.for_each(|image| image.record_file());
        Ok(prepared)
    }

    /// Relocates the strings and compiles the rows.
    pub(super) fn for_one_spawn(
        mut plan: Box<Plan>,
        mut source_fds: Box<SourceFds>,
    ) -> Result<Prepared, Error> {
        plan.strings.relocate();
        let compiled = CompiledPlan::new(&plan, plan.strategy, &source_fds);
        let compiled = match compiled {
            Err(error) if plan.any_engine && error.step() == Step::Image => {
                let errno = error.raw_os_error().unwrap_or_default();
                source_fds.no_helper = Some(("memfd_create", errno));
                plan.strategy.engine = Engine::Copied;
                CompiledPlan::new(&plan, plan.strategy, &source_fds)?
            }
            other => other?,
        };
        Ok(Prepared {
            plan,
            compiled,
            source_fds,
            probe_fd: None,
            thread: thread_id(),
            reusable: false,
            idle_page: Mutex::new(None),
        })
    }

    /// Removes the helper image, which takes a descriptor, where that leaves
    /// none for the pidfd.
    pub(super) fn without_helper(&mut self, errno: i32) {
        self.compiled.image = None;
        self.source_fds.no_helper = Some(("isolated", errno));
        self.plan.strategy.engine = Engine::Copied;
    }

    /// Returns the plan that each spawn runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether another thread made it: the calling one may have a descriptor
    /// table of its own.
    fn is_of_another_thread(&self) -> bool {
        self.thread != thread_id()
    }

    /// Checks that this thread's descriptor table has the source descriptors:
    /// one system call for each, if another thread made this.
    pub(super) fn check_fd_table(&self) -> Result<(), Error> {
        match self.is_of_another_thread() {
            true => self.source_fds.check_fd_table(&self.plan),
            false => Ok(()),
        }
    }

    /// Returns the probe descriptor that was made in advance, if it is at
    /// `source_end` or above.
    pub(super) fn probe_fd(&self, source_end: i32) -> Option<i32> {
        let strict = self.is_of_another_thread();
        let fd = self.probe_fd.as_ref();
        let fd = fd.filter(|fd| !strict || fd.is_in_table())?.fd()?;
        Some(fd.as_raw_fd()).filter(|fd| *fd >= source_end)
    }

    /// Returns memory for an environment of this launch, which only
    /// `listen_fds` needs.
    pub(super) fn environ_buffer(&self) -> Vec<Cell<u64>> {
        let len =
            if self.plan.listens { self.plan.strings.envc() + 1 } else { 0 };
        Vec::from_iter((0..len).map(|_| Cell::new(0)))
    }

    /// Returns the environment of a launch whose rows do not have it.
    pub(super) fn environ<'a>(
        &'a self,
        table: &Table<'a>,
        buffer: &'a [Cell<u64>],
    ) -> Result<Option<Environ<'a>>, Error> {
        let strings = &self.plan.strings;
        let environ = if let Some(shared) = strings.shared() {
            Environ::shared(shared.text(), shared.list())
        } else if self.plan.listens {
            Environ::new(table, strings.envp(), buffer)
        } else {
            return Ok(None);
        };
        let invalid = Cause::VerifyError(VerifyError::List);
        match environ {
            Some(environ) => Ok(Some(environ)),
            None => Err(Error::new(Step::Plan, invalid)),
        }
    }

    /// Returns a status page for a launch that needs one, used or new, and
    /// the number of the helper image.
    pub(super) fn status_page(
        &self,
        compiled: &CompiledPlan,
    ) -> Result<Option<(StatusPage, u32)>, Error> {
        let Some(image) = &compiled.image else { return Ok(None) };
        let strict = self.is_of_another_thread();
        if self.reusable && !image.is_usable(strict) {
            let why = "this thread has a table of descriptors of its own";
            return Err(Error::explained(Step::Image, libc::EBADF, why));
        }
        // Another thread's page is not waited for: a new one is made.
        let idle = self.idle_page.try_lock().ok();
        let page = idle.and_then(|mut idle| {
            StatusPage::take(&mut idle, |page| page.is_usable(strict))
        });
        let page = page.or_else(|| StatusPage::from_cache(&self.source_fds));
        let page =
            page.map_or_else(|| StatusPage::new(&self.source_fds), Ok)?;
        Ok(Some((page, image.number())))
    }

    /// Keeps a page for the next launch, unless this one's child may still
    /// write to it.
    pub(super) fn recycle_page(
        &self,
        page: Option<StatusPage>,
        source_end: i32,
        outcome: Outcome,
    ) {
        let in_use =
            matches!(outcome, Outcome::Running { confirmed: false, .. });
        let page = page.filter(|_| !in_use);
        let page = page.and_then(|page| page.for_reuse(source_end));
        let Some(page) = page.and_then(StatusPage::into_cache) else { return };
        if let Ok(mut idle) = self.idle_page.try_lock() {
            if self.reusable {
                page.record_file();
            }
            *idle = Some(page);
        }
    }

    /// Closes cached descriptors that this launch does not need.
    pub(super) fn release_cached(&self) {
        if let Ok(mut idle) = self.idle_page.try_lock() {
            idle.take_if(|page| page.is_usable(true));
        }
        status_page::drop_cache();
        helper_image::drop_cache();
    }
}
