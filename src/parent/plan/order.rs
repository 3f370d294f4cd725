//! The order of the child's steps: a table with a reason a row.

use super::{Draft, method::Engine, path};
use crate::op::Op;
use crate::parent::error::{Error, Step};
use crate::parent::std::{os::unix::ffi::OsStrExt, vec::Vec};

/// One row: which step, how wishes become it, and why it stands here.
pub(super) struct Row {
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests"))]
    pub(super) op: &'static str,
    pub(super) emit: fn(&mut Draft<'_>) -> Result<(), Error>,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people"))]
    pub(super) why: &'static str,
}

/// Every step a child can make, in the order it makes them.
pub(super) const ORDER: &[Row] = &[
    Row {
        op: "Watch",
        emit: watch,
        why: "before anything that can fail, so that the parent always wakes",
    },
    Row {
        op: "CloseRange",
        emit: close_range,
        why: "before any step that touches a descriptor: until it the table \
              may be the parent's",
    },
    Row {
        op: "Dup",
        emit: dup,
        why: "after the table is the child's own, before its gaps are closed",
    },
    Row {
        op: "CloseGaps",
        emit: close_gaps,
        why: "after the last step that needs a descriptor of the parent's",
    },
    Row {
        op: "Chdir",
        emit: chdir,
        why: "after descriptors and before exec, which a relative program \
              needs",
    },
    Row {
        op: "DefaultSignal",
        emit: default_signal,
        why: "while signals are still blocked",
    },
    Row {
        op: "SignalMask",
        emit: signal_mask,
        why: "last before exec: from here a signal can end the child",
    },
    Row { op: "Exec", emit: exec, why: "nothing comes after it" },
];

fn watch(draft: &mut Draft<'_>) -> Result<(), Error> {
    if draft.plan.engine == Engine::Copied {
        draft.push(Op::Watch);
    }
    Ok(())
}

fn close_range(draft: &mut Draft<'_>) -> Result<(), Error> {
    let share = draft.plan.engine == Engine::Suspended;
    let kept = draft.kept();
    draft.push(Op::CloseRange { share, kept });
    Ok(())
}

fn dup(draft: &mut Draft<'_>) -> Result<(), Error> {
    for to in 0..3 {
        if let Some(role) = draft.role(to)? {
            draft.push(Op::Dup { to, role });
        }
    }
    Ok(())
}

fn close_gaps(draft: &mut Draft<'_>) -> Result<(), Error> {
    if draft.kept() {
        draft.push(Op::CloseGaps);
    }
    Ok(())
}

fn chdir(draft: &mut Draft<'_>) -> Result<(), Error> {
    if let Some(dir) = &draft.wishes.current_dir {
        let dir = dir.as_os_str();
        if dir.is_empty() {
            let why = "it is empty";
            return Err(Error::refused(Step::CurrentDir, why).with(dir));
        }
        let dir = draft.word(Step::CurrentDir, dir)?;
        draft.push(Op::Chdir(dir));
    }
    Ok(())
}

/// Rust's runtime ignores SIGPIPE, and what is ignored stays so over exec;
/// std gives children the default back, and so do we.
fn default_signal(draft: &mut Draft<'_>) -> Result<(), Error> {
    let signal = libc::SIGPIPE.unsigned_abs();
    draft.push(Op::DefaultSignal(u8::try_from(signal).unwrap_or_default()));
    Ok(())
}

fn signal_mask(draft: &mut Draft<'_>) -> Result<(), Error> {
    draft.push(Op::SignalMask);
    Ok(())
}

fn exec(draft: &mut Draft<'_>) -> Result<(), Error> {
    let program = draft.wishes.program.as_os_str();
    let path = draft.plan.words.path();
    let path = path.map(|at| Vec::from(draft.plan.words.bytes(at)));
    let tried = path::candidates(program.as_bytes(), path.as_deref());
    if tried.is_empty() {
        return Err(Error::os(Step::Exec, libc::ENOENT).with(program));
    }
    for parts in tried {
        // The name and PATH passed the check for NUL on their way into argv
        // and the environment.
        let at = draft.plan.words.put(&parts).map_err(|nul| {
            Error::refused(Step::Program, nul.0).with(program)
        })?;
        draft.push(Op::Exec(at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ORDER;

    #[test]
    fn every_row_of_the_order_gives_its_reason_once() {
        for (n, row) in ORDER.iter().enumerate() {
            assert!(row.why.len() > 12, "{}", row.op);
            assert!(ORDER.iter().skip(n + 1).all(|r| r.op != row.op));
        }
    }
}
