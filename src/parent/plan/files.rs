//! Files: what is tried as the program, in order.

use super::PlanBuilder;
use super::emit::Emitted;
use super::path;
use crate::parent::command::path_search::PathSearch;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Op;
use crate::parent::std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    vec::Vec,
};

/// How many files are tried: each is a row, and all have to be counted in 16
/// bits.
const MOST: usize = 30_000;

/// `NAME_MAX`: libc looks for no longer name either.
const LONGEST_NAME: usize = 255;

pub(super) fn exec(builder: &mut PlanBuilder<'_>) -> Emitted {
    let options = builder.options;
    if builder.plan.program_fd.is_some() {
        if options.shell_fallback {
            let why = "a shell needs the program's path";
            return Err(Error::refused(Step::ShellFallback, why));
        }
        return Ok(());
    }
    match &options.candidates {
        None => builder.files(&options.program, Step::Program)?,
        Some(all) => candidates(builder, all)?,
    }
    // Steps before these name no file.
    if !builder.plan.ops.iter().any(|op| matches!(op, Op::Exec(_))) {
        let why = "there is no directory to look for it in";
        let error = Error::explained(Step::Exec, libc::ENOENT, why);
        return Err(error.with(&options.program));
    }
    Ok(())
}

/// Each of several names; a program sees the one that it was found by.
fn candidates(builder: &mut PlanBuilder<'_>, all: &[OsString]) -> Emitted {
    let named = builder.options.arg0.is_some();
    builder.plan.each = true;
    for (n, name) in all.iter().enumerate() {
        if name.is_empty() {
            let why = "one of them is empty";
            let error = Error::refused_as(Step::Candidates, libc::ENOENT, why);
            return Err(error.with(name));
        }
        let mut argv = 0;
        if n > 0 && !named {
            let at = builder.word(Step::Candidates, name)?;
            argv = builder.plan.strings.argv_of(at);
        }
        let before = builder.plan.ops.len();
        builder.files(name, Step::Candidates)?;
        let tried = builder.plan.argvs.len() + builder.plan.ops.len() - before;
        builder.plan.argvs.resize(tried, argv);
        if tried > MOST {
            return Err(too_many(Step::Candidates, name));
        }
    }
    Ok(())
}

fn too_many(by: Step, name: &OsStr) -> Error {
    let why = match by {
        Step::Candidates => "there are over 30,000 files to try",
        _ => "there are over 30,000 directories to look for it in",
    };
    Error::refused_as(by, libc::E2BIG, why).with(name)
}

impl PlanBuilder<'_> {
    /// The files that a name may be: itself, or one in each directory.
    fn files(&mut self, name: &OsStr, by: Step) -> Emitted {
        let search = &self.options.path_search;
        let slash = memchr::memchr(b'/', name.as_bytes()).is_some();
        let first = name == self.options.program;
        if slash && first && !matches!(search, PathSearch::Dirs(_)) {
            // Nothing is searched, and the text has the name already.
            return self.file(&[], name, by);
        }
        let path = self.plan.strings.path();
        let path = path.map(|at| Vec::from(self.plan.strings.bytes(at)));
        let path = search.path(path)?;
        if path.is_some() && !slash && name.len() > LONGEST_NAME {
            let why = "a file's name has 255 bytes at most";
            let error = Error::explained(Step::Exec, libc::ENAMETOOLONG, why);
            return Err(error.with(name));
        }
        let tried = path::candidates(name.as_bytes(), path.as_deref());
        if tried.len() > MOST {
            return Err(too_many(by, name));
        }
        tried.iter().try_for_each(|parts| self.file(parts, name, by))
    }

    /// One of them, made of parts; of none where it is the program's name.
    fn file(&mut self, parts: &[&[u8]], name: &OsStr, by: Step) -> Emitted {
        let strings = &mut self.plan.strings;
        let at = match parts {
            [] => self.plan.program,
            parts => strings.put(parts).map_err(|why| why.of(by, name))?,
        };
        if self.options.shell_fallback {
            // It would take a dash for an option.
            let dash = strings.bytes(at).starts_with(b"-");
            let dotted = dash.then(|| strings.put(&[b"./", name.as_bytes()]));
            let dotted = dotted.transpose().map_err(|why| why.of(by, name))?;
            strings.shell(dotted.unwrap_or(at));
        }
        self.push(Op::Exec(at));
        Ok(())
    }
}
