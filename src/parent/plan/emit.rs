//! Emit: how wishes become each step, and which wishes are refused.

use super::Draft;
use super::given::{Given, Image};
use super::method::Engine;
use crate::op::Op;
use crate::parent::error::{Error, Step};
use crate::parent::identity::Wish;
use crate::parent::std::string::ToString;

pub(super) type Emitted = Result<(), Error>;

pub(super) fn block_sigsys(draft: &mut Draft<'_>) -> Emitted {
    draft.push(Op::BlockSigsys);
    Ok(())
}

pub(super) fn watch(draft: &mut Draft<'_>) -> Emitted {
    draft.push(Op::Watch);
    Ok(())
}

/// Whether descriptors stay open until exec: for functions that use them,
/// and for this process itself should its exec fail.
pub(super) fn marks(draft: &Draft<'_>) -> bool {
    draft.plan.shape.here || !draft.wishes.hooks.is_empty()
}

pub(super) fn close_range(draft: &mut Draft<'_>) -> Emitted {
    if !marks(draft) && !draft.wishes.unlisted {
        draft.push(Op::CloseRange);
    }
    Ok(())
}

pub(super) fn mark_range(draft: &mut Draft<'_>) -> Emitted {
    if marks(draft) && !draft.wishes.unlisted {
        draft.push(Op::MarkRange);
    }
    Ok(())
}

pub(super) fn join_cgroup(draft: &mut Draft<'_>) -> Emitted {
    if draft.wishes.cgroup.is_some() {
        draft.push(Op::JoinCgroup);
    }
    Ok(())
}

/// The steps that only an image makes, where a plan may be run by one.
pub(super) fn lend(draft: &mut Draft<'_>) -> Emitted {
    draft.in_image(Op::Lend);
    Ok(())
}

pub(super) fn enter(draft: &mut Draft<'_>) -> Emitted {
    draft.in_image(Op::Enter);
    Ok(())
}

pub(super) fn arrive(draft: &mut Draft<'_>) -> Emitted {
    draft.in_image(Op::Arrive);
    Ok(())
}

pub(super) fn name(draft: &mut Draft<'_>) -> Emitted {
    draft.in_image(Op::Name);
    Ok(())
}

impl Draft<'_> {
    fn in_image(&mut self, op: Op) {
        if self.plan.shape.engine == Engine::Isolated {
            self.push(op);
        }
    }
}

pub(super) fn chroot(draft: &mut Draft<'_>) -> Emitted {
    if let Some(dir) = &draft.wishes.chroot {
        let refuse = |errno, why| {
            let error = Error::refused_as(Step::Chroot, errno, why);
            Err(error.with(dir.as_os_str()))
        };
        if dir.as_os_str().is_empty() {
            return refuse(libc::ENOENT, "it is empty");
        }
        if draft.wishes.current_dir_fd.is_some() {
            return refuse(libc::EINVAL, "current_dir_fd leads out of it");
        }
        let dir = draft.word(Step::Chroot, dir.as_os_str())?;
        draft.push(Op::Chroot(dir));
    }
    Ok(())
}

pub(super) fn setsid(draft: &mut Draft<'_>) -> Emitted {
    if draft.wishes.setsid {
        if draft.wishes.process_group.is_some() {
            let why = "a session's leader cannot change its process group";
            let error = Error::refused(Step::Setsid, why);
            return Err(error.with("process_group"));
        }
        draft.push(Op::Setsid);
    }
    Ok(())
}

pub(super) fn setpgid(draft: &mut Draft<'_>) -> Emitted {
    if let Some(group) = draft.wishes.process_group {
        let Ok(wanted) = u32::try_from(group) else {
            let why = "a process group is 0 or above";
            let error = Error::refused(Step::ProcessGroup, why);
            return Err(error.with(group.to_string()));
        };
        draft.push(Op::Setpgid(wanted));
    }
    Ok(())
}

pub(super) fn umask(draft: &mut Draft<'_>) -> Emitted {
    if let Some(mask) = draft.wishes.umask {
        if mask > 0o777 {
            let why = "a mask has nine bits, 0o777 at most";
            let error = Error::refused(Step::Umask, why);
            let shown = crate::parent::std::format!("{mask:#o}");
            return Err(error.with(shown));
        }
        draft.push(Op::Umask(mask));
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

pub(super) fn clear_groups(draft: &mut Draft<'_>) -> Emitted {
    let uid = id(Step::Uid, draft.wishes.uid)?;
    let gid = id(Step::Gid, draft.wishes.gid)?;
    let silent = draft.wishes.groups.0 == Wish::Silent;
    if silent && (uid.is_some() || gid.is_some()) {
        draft.push(Op::ClearGroups { uid, gid });
    }
    Ok(())
}

/// `NGROUPS_MAX`.
const MOST_GROUPS: usize = 65536;

pub(super) fn setgroups(draft: &mut Draft<'_>) -> Emitted {
    if let Wish::Set(list) = &draft.wishes.groups.0 {
        let mut list = list.clone();
        // As the kernel keeps them, each as often as it is there.
        list.sort_unstable();
        id(Step::Groups, list.last().copied())?;
        if list.len() > MOST_GROUPS {
            let why = "a process has 65536 groups at most";
            return Err(Error::refused(Step::Groups, why));
        }
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let list = draft.plan.words.numbers(&list);
        let list = list.map_err(|why| why.of(Step::Groups, ""))?;
        draft.push(Op::Setgroups { list, count });
    }
    Ok(())
}

pub(super) fn setgid(draft: &mut Draft<'_>) -> Emitted {
    draft.plan.ops.extend(draft.wishes.gid.map(Op::Setgid));
    Ok(())
}

pub(super) fn setuid(draft: &mut Draft<'_>) -> Emitted {
    draft.plan.ops.extend(draft.wishes.uid.map(Op::Setuid));
    Ok(())
}

pub(super) fn chdir(draft: &mut Draft<'_>) -> Emitted {
    if let Some(dir) = &draft.wishes.current_dir {
        if draft.wishes.current_dir_fd.is_some() {
            let why = "current_dir_fd names the directory too";
            return Err(Error::refused(Step::CurrentDir, why).with(dir));
        }
        let dir = dir.as_os_str();
        if dir.is_empty() {
            let why = "it is empty";
            let error = Error::refused_as(Step::CurrentDir, libc::ENOENT, why);
            return Err(error.with(dir));
        }
        let dir = draft.word(Step::CurrentDir, dir)?;
        draft.push(Op::Chdir(dir));
    }
    Ok(())
}

pub(super) fn fchdir(draft: &mut Draft<'_>) -> Emitted {
    if let Some(dir) = &draft.wishes.current_dir_fd {
        let place = draft.hold(Given::held(Step::CurrentDirFd, dir))?;
        draft.push(Op::Fchdir(place));
    }
    Ok(())
}

pub(super) fn clear_handlers(draft: &mut Draft<'_>) -> Emitted {
    draft.push(Op::ClearHandlers);
    Ok(())
}

/// Rust's runtime ignores SIGPIPE, and what is ignored stays so over exec;
/// std gives children the default back, and so do we.
pub(super) fn default_signal(draft: &mut Draft<'_>) -> Emitted {
    let signal = libc::SIGPIPE.unsigned_abs();
    draft.push(Op::DefaultSignal(u8::try_from(signal).unwrap_or_default()));
    Ok(())
}

pub(super) fn gate(draft: &mut Draft<'_>) -> Emitted {
    if !draft.wishes.before.is_empty() {
        if draft.plan.shape.here {
            let why = "no process is made";
            return Err(Error::refused(Step::BeforeExec, why));
        }
        draft.push(Op::Gate);
    }
    Ok(())
}

pub(super) fn hook(draft: &mut Draft<'_>) -> Emitted {
    let count = u16::try_from(draft.wishes.hooks.len());
    let count = count.map_err(|_| {
        let why = "there are over 65,535 of them";
        Error::refused_as(Step::PreExec, libc::E2BIG, why)
    })?;
    draft.plan.ops.extend((0..count).map(Op::Hook));
    Ok(())
}

pub(super) fn signal_mask(draft: &mut Draft<'_>) -> Emitted {
    draft.push(Op::SignalMask);
    Ok(())
}

pub(super) fn listen_pid(draft: &mut Draft<'_>) -> Emitted {
    if draft.wishes.listen.is_some() {
        draft.push(Op::ListenPid);
    }
    Ok(())
}

pub(super) fn exec_fd(draft: &mut Draft<'_>) -> Emitted {
    draft.plan.ops.extend(draft.plan.program_fd.map(Op::ExecFd));
    Ok(())
}

/// The program's descriptor, noted before the steps that must not close it.
pub(super) fn image(draft: &mut Draft<'_>) -> Emitted {
    let Some(image) = &draft.wishes.image else { return Ok(()) };
    let by = image.step();
    let given = match image {
        Image::Fd(fd) => Given::held(by, fd),
        Image::Bytes(_) | Image::Own => Given::new(0, None, by),
    };
    draft.plan.program_fd = Some(draft.hold(given)?);
    Ok(())
}
