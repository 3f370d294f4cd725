//! Program files: the files that exec tries, in order.

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::path_search;
use crate::parent::command::{PathSearch, ProgramSource};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::{Op, Operand, PlanBuilder, SourceFd};
use crate::parent::std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
    vec::Vec,
};

/// The most files that are tried: each is a row, and rows are counted in 16
/// bits.
const MOST: usize = 30_000;

/// `NAME_MAX`: as in libc, no longer name is searched for.
const LONGEST_NAME: usize = 255;

/// `execve` of each file to try.
pub(crate) fn exec(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = plan.options();
    if plan.plan.program_fd.is_some() {
        if options.program.shell_fallback {
            let why = "a shell needs the program's path";
            return Err(Error::refused(Step::ShellFallback, why));
        }
        return Ok(());
    }
    let first = plan.plan.steps.len();
    match &options.program.candidates {
        None => search(plan, &options.program.name, Step::Program)?,
        Some(all) => candidates(plan, all)?,
    }
    if plan.plan.steps.len() == first {
        let why = "no directory to search for it";
        let error = Error::explained(Step::Exec, libc::ENOENT, why);
        return Err(error.with(&options.program.name));
    }
    Ok(())
}

/// The files of several names; argument 0 is the name that was found.
fn candidates(
    plan: &mut PlanBuilder<'_>,
    all: &[OsString],
) -> Result<(), Error> {
    let named = plan.options().program.arg0.is_some();
    plan.plan.tries_all = true;
    for (n, name) in all.iter().enumerate() {
        if name.is_empty() {
            let why = "a candidate is empty";
            let error = Error::refused_as(Step::Candidates, libc::ENOENT, why);
            return Err(error.with(name));
        }
        let mut argv = 0;
        if n > 0 && !named {
            let at = plan.text(Step::Candidates, name)?;
            argv = plan.plan.strings.argv_of(at);
        }
        let before = plan.plan.steps.len();
        search(plan, name, Step::Candidates)?;
        let files = plan.plan.steps.len() - before;
        let tried = plan.plan.argvs.len() + files;
        plan.plan.argvs.resize(tried, argv);
        if tried > MOST {
            return Err(too_many(Step::Candidates, name));
        }
    }
    Ok(())
}

fn too_many(by: Step, name: &OsStr) -> Error {
    let why = match by {
        Step::Candidates => "more than 30,000 files to try",
        _ => "more than 30,000 directories to search for it",
    };
    Error::refused_as(by, libc::E2BIG, why).with(name)
}

/// Records the files for a name: itself, or one in each directory.
fn search(
    plan: &mut PlanBuilder<'_>,
    name: &OsStr,
    by: Step,
) -> Result<(), Error> {
    let search = &plan.options().program.path_search;
    let slash = memchr::memchr(b'/', name.as_bytes()).is_some();
    let first = name == plan.options().program.name;
    if slash && first && !matches!(search, PathSearch::Dirs(_)) {
        // No search, and the string table contains the name already.
        return file(plan, &[], name, by);
    }
    let path = plan.plan.strings.path();
    let path = path.map(Vec::from);
    let path = search.path(path)?;
    if path.is_some() && !slash && name.len() > LONGEST_NAME {
        let why = "a file name has at most 255 bytes";
        let error = Error::explained(Step::Exec, libc::ENAMETOOLONG, why);
        return Err(error.with(name));
    }
    let files = path_search::files(name.as_bytes(), path.as_deref());
    if files.len() > MOST {
        return Err(too_many(by, name));
    }
    if plan.options().program.resolve && !slash {
        if plan.options().directory.chroot.is_some() {
            let error =
                Error::new(Step::PathSearch, Cause::Conflict("chroot"));
            return Err(error.with("resolve_program"));
        }
        if let Some(parts) = files.iter().find(|file| is_program(*file)) {
            return file(plan, parts, name, by);
        }
    }
    files.iter().try_for_each(|parts| file(plan, parts, name, by))
}

/// Whether this process may execute a file, as far as can be told without.
fn is_program(parts: &[&[u8]]) -> bool {
    let path = parts.concat();
    let path = Path::new(OsStr::from_bytes(&path));
    path.is_file()
        && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Records one file, given as parts; without parts the program's name.
fn file(
    plan: &mut PlanBuilder<'_>,
    parts: &[&[u8]],
    name: &OsStr,
    by: Step,
) -> Result<(), Error> {
    let options = plan.options();
    let strings = &mut plan.plan.strings;
    let at = match parts {
        [] => plan.plan.program,
        parts => strings.put(parts).map_err(|why| why.of(by, name))?,
    };
    if options.program.shell_fallback {
        // The shell takes a leading dash for an option.
        let dash = strings.bytes(at).starts_with(b"-");
        let dotted = dash.then(|| strings.put(&[b"./", name.as_bytes()]));
        let dotted = dotted.transpose().map_err(|why| why.of(by, name))?;
        strings.shell(dotted.unwrap_or(at));
    }
    if plan.options().program.source.is_none() && names_itself(name) {
        plan.needs.copy("program", "there it would be the helper image");
    }
    plan.op(Step::Exec, Operand::Text(plan.plan.program), Op::Exec(at));
    Ok(())
}

/// Whether a name refers to the program that the calling process runs.
fn names_itself(name: &OsStr) -> bool {
    ["/proc/self/exe", "/proc/thread-self/exe"].iter().any(|own| name == *own)
}

/// Records the descriptor of a program that is not a path, before the steps
/// that must not close it.
pub(crate) fn program_fd(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let Some(source) = &plan.options().program.source else {
        return Ok(());
    };
    let by = source.step();
    let fd = match source {
        ProgramSource::Fd(fd) => SourceFd::open_until_exec(by, fd),
        ProgramSource::Bytes(_) | ProgramSource::SelfExe => {
            SourceFd::new(0, None, by)
        }
    };
    plan.plan.program_fd = Some(plan.keep_fd(fd)?);
    Ok(())
}

/// `execveat(fd)`.
pub(crate) fn exec_fd(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if let Some(index) = plan.plan.program_fd {
        let program = Operand::Text(plan.plan.program);
        plan.op(Step::Exec, program, Op::ExecFd(index)).shown_as("execveat");
    }
    Ok(())
}
