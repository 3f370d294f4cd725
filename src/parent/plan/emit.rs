//! Emit: how wishes become each step, and which wishes are refused.

use super::PlanBuilder;
use super::source_fd::SourceFd;
use crate::parent::command::groups::Setting;
use crate::parent::command::method::Engine;
use crate::parent::command::program_source::ProgramSource;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Op;
use crate::parent::std::string::ToString;

pub(super) type Emitted = Result<(), Error>;

pub(super) fn block_sigsys(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.push(Op::BlockSigsys);
    Ok(())
}

pub(super) fn watch(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.push(Op::RobustList);
    Ok(())
}

/// Whether descriptors stay open until exec: for functions that use them,
/// and for this process itself should its exec fail.
pub(super) fn marks(builder: &PlanBuilder<'_>) -> bool {
    builder.plan.strategy.in_place || !builder.options.hooks.is_empty()
}

pub(super) fn close_range(builder: &mut PlanBuilder<'_>) -> Emitted {
    if !marks(builder) && !builder.options.unlisted {
        builder.push(Op::CloseRange);
    }
    Ok(())
}

pub(super) fn mark_range(builder: &mut PlanBuilder<'_>) -> Emitted {
    if marks(builder) && !builder.options.unlisted {
        builder.push(Op::MarkRange);
    }
    Ok(())
}

pub(super) fn join_cgroup(builder: &mut PlanBuilder<'_>) -> Emitted {
    if builder.options.cgroup.is_some() {
        builder.push(Op::JoinCgroup);
    }
    Ok(())
}

/// The steps that only an image makes, where a plan may be run by one.
pub(super) fn lend(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.in_image(Op::PassHelperFds);
    Ok(())
}

pub(super) fn enter(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.in_image(Op::ExecHelper);
    Ok(())
}

pub(super) fn arrive(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.in_image(Op::HelperInit);
    Ok(())
}

pub(super) fn name(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.in_image(Op::MarkHelper);
    Ok(())
}

impl PlanBuilder<'_> {
    fn in_image(&mut self, op: Op) {
        if self.plan.strategy.engine == Engine::Isolated {
            self.push(op);
        }
    }
}

pub(super) fn chroot(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Some(dir) = &builder.options.chroot {
        let refuse = |errno, why| {
            let error = Error::refused_as(Step::Chroot, errno, why);
            Err(error.with(dir.as_os_str()))
        };
        if dir.as_os_str().is_empty() {
            return refuse(libc::ENOENT, "it is empty");
        }
        if builder.options.current_dir_fd.is_some() {
            return refuse(libc::EINVAL, "current_dir_fd leads out of it");
        }
        let dir = builder.word(Step::Chroot, dir.as_os_str())?;
        builder.push(Op::Chroot(dir));
    }
    Ok(())
}

pub(super) fn setsid(builder: &mut PlanBuilder<'_>) -> Emitted {
    if builder.options.setsid {
        if builder.options.process_group.is_some() {
            let why = "a session's leader cannot change its process group";
            let error = Error::refused(Step::Setsid, why);
            return Err(error.with("process_group"));
        }
        builder.push(Op::Setsid);
    }
    Ok(())
}

pub(super) fn setpgid(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Some(group) = builder.options.process_group {
        let Ok(wanted) = u32::try_from(group) else {
            let why = "a process group is 0 or above";
            let error = Error::refused(Step::ProcessGroup, why);
            return Err(error.with(group.to_string()));
        };
        builder.push(Op::Setpgid(wanted));
    }
    Ok(())
}

pub(super) fn umask(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Some(mask) = builder.options.umask {
        if mask > 0o777 {
            let why = "a mask has nine bits, 0o777 at most";
            let error = Error::refused(Step::Umask, why);
            let shown = crate::parent::std::format!("{mask:#o}");
            return Err(error.with(shown));
        }
        builder.push(Op::Umask(mask));
    }
    Ok(())
}

/// -1 means "leave it" to the kernel: as a user it would be whoever we are.
fn id(step: Step, id: Option<u32>) -> Result<Option<u32>, Error> {
    if id == Some(u32::MAX) {
        let why = "the kernel takes 4294967295 (-1) for \"no change\"";
        return Err(Error::refused(step, why).with("4294967295"));
    }
    Ok(id)
}

pub(super) fn clear_groups(builder: &mut PlanBuilder<'_>) -> Emitted {
    let uid = id(Step::Uid, builder.options.uid)?;
    let gid = id(Step::Gid, builder.options.gid)?;
    let silent = builder.options.groups.0 == Setting::Silent;
    if silent && (uid.is_some() || gid.is_some()) {
        builder.push(Op::ClearGroups { uid, gid });
    }
    Ok(())
}

/// `NGROUPS_MAX`.
const MOST_GROUPS: usize = 65536;

pub(super) fn setgroups(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Setting::Set(list) = &builder.options.groups.0 {
        let mut list = list.clone();
        // As the kernel keeps them, each as often as it is there.
        list.sort_unstable();
        id(Step::Groups, list.last().copied())?;
        if list.len() > MOST_GROUPS {
            let why = "a process has 65536 groups at most";
            return Err(Error::refused(Step::Groups, why));
        }
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let list = builder.plan.strings.numbers(&list);
        let list = list.map_err(|why| why.of(Step::Groups, ""))?;
        builder.push(Op::Setgroups { list, count });
    }
    Ok(())
}

pub(super) fn setgid(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.plan.ops.extend(builder.options.gid.map(Op::Setgid));
    Ok(())
}

pub(super) fn setuid(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.plan.ops.extend(builder.options.uid.map(Op::Setuid));
    Ok(())
}

pub(super) fn chdir(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Some(dir) = &builder.options.current_dir {
        if builder.options.current_dir_fd.is_some() {
            let why = "current_dir_fd names the directory too";
            return Err(Error::refused(Step::CurrentDir, why).with(dir));
        }
        let dir = dir.as_os_str();
        if dir.is_empty() {
            let why = "it is empty";
            let error = Error::refused_as(Step::CurrentDir, libc::ENOENT, why);
            return Err(error.with(dir));
        }
        let dir = builder.word(Step::CurrentDir, dir)?;
        builder.push(Op::Chdir(dir));
    }
    Ok(())
}

pub(super) fn fchdir(builder: &mut PlanBuilder<'_>) -> Emitted {
    if let Some(dir) = &builder.options.current_dir_fd {
        let place =
            builder.lock_caches(SourceFd::held(Step::CurrentDirFd, dir))?;
        builder.push(Op::Fchdir(place));
    }
    Ok(())
}

pub(super) fn clear_handlers(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.push(Op::ClearHandlers);
    Ok(())
}

/// Rust's runtime ignores SIGPIPE, and what is ignored stays so over exec;
/// std gives children the default back, and so do we.
pub(super) fn default_signal(builder: &mut PlanBuilder<'_>) -> Emitted {
    let signal = libc::SIGPIPE.unsigned_abs();
    builder.push(Op::DefaultSignal(u8::try_from(signal).unwrap_or_default()));
    Ok(())
}

pub(super) fn gate(builder: &mut PlanBuilder<'_>) -> Emitted {
    if !builder.options.before.is_empty() {
        if builder.plan.strategy.in_place {
            let why = "no process is made";
            return Err(Error::refused(Step::BeforeExec, why));
        }
        builder.push(Op::Gate);
    }
    Ok(())
}

pub(super) fn hook(builder: &mut PlanBuilder<'_>) -> Emitted {
    let count = u16::try_from(builder.options.hooks.len());
    let count = count.map_err(|_| {
        let why = "there are over 65,535 of them";
        Error::refused_as(Step::PreExec, libc::E2BIG, why)
    })?;
    builder.plan.ops.extend((0..count).map(Op::Hook));
    Ok(())
}

pub(super) fn signal_mask(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.push(Op::SignalMask);
    Ok(())
}

pub(super) fn listen_pid(builder: &mut PlanBuilder<'_>) -> Emitted {
    if builder.options.listen.is_some() {
        builder.push(Op::ListenPid);
    }
    Ok(())
}

pub(super) fn exec_fd(builder: &mut PlanBuilder<'_>) -> Emitted {
    builder.plan.ops.extend(builder.plan.program_fd.map(Op::ExecFd));
    Ok(())
}

/// The program's descriptor, noted before the steps that must not close it.
pub(super) fn image(builder: &mut PlanBuilder<'_>) -> Emitted {
    let Some(image) = &builder.options.image else { return Ok(()) };
    let by = image.step();
    let given = match image {
        ProgramSource::Fd(fd) => SourceFd::held(by, fd),
        ProgramSource::Bytes(_) | ProgramSource::Own => {
            SourceFd::new(0, None, by)
        }
    };
    builder.plan.program_fd = Some(builder.lock_caches(given)?);
    Ok(())
}
