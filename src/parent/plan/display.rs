//! Display: a plan as text, for people and for golden files.

use super::Plan;
use super::op::{FdSource, Op};
use super::source_fd::stdio_step;
use super::step::{Detail, Operand, StepRecord};
use crate::parent::command::Engine;
use crate::parent::std::{
    fmt, format,
    string::{String, ToString},
    vec::Vec,
};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        let calls = self.steps(self.strategy).map(|(_, record)| record.call);
        let width = calls.map(str::len).max().unwrap_or_default().max(16);
        let mut steps = self.steps(self.strategy).enumerate();
        while let Some((n, (_, record))) = steps.next() {
            let Line { call, what, note } = self.line(record);
            if let Some(Op::Exec(_) | Op::ExecFd(_)) = record.op() {
                let rest = steps.by_ref();
                let rest = rest.map(|(_, (_, file))| self.line(file).what);
                let all: Vec<String> =
                    [what].into_iter().chain(rest).collect();
                let all = all.join(" | ");
                writeln!(f, "{n:>3}  {call:<width$} {all}")?;
                writeln!(f, "     {:<width$} {note}", "")?;
            } else if note.is_empty() {
                writeln!(f, "{n:>3}  {call:<width$} {what}")?;
            } else {
                writeln!(f, "{n:>3}  {call:<width$} {what:<24} {note}")?;
            }
        }
        Ok(())
    }
}

/// What follows an operand.
fn shown_detail(detail: Detail) -> String {
    let limit = |n: u64| match n {
        u64::MAX => "unlimited".into(),
        n => n.to_string(),
    };
    match detail {
        Detail::None => String::new(),
        Detail::Number(n) => format!(" {n}"),
        Detail::Target(n) => format!(" -> {n}"),
        Detail::Limits(soft, hard) if soft == hard => {
            format!(" {}", limit(soft))
        }
        Detail::Limits(soft, hard) => {
            format!(" {}, hard {}", limit(soft), limit(hard))
        }
        Detail::Times([runtime, deadline, period]) => {
            format!(" {runtime:?} in {deadline:?} of {period:?}")
        }
        Detail::Personality(flags) => flag_names(flags),
        Detail::Securebits(bits) => flag_names(bits),
        Detail::Rules(1) => ", 1 rule".into(),
        Detail::Rules(n) => format!(", {n} rules"),
    }
}

/// The names of flags, as " A | B".
fn flag_names<F: bitflags::Flags>(flags: F) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" {}", names.join(" | ")),
    }
}

/// One step: the call, what it is about, and what for.
struct Line {
    call: String,
    what: String,
    note: String,
}

impl Plan {
    /// How the child is made.
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = self.strategy;
        if strategy.in_place {
            writeln!(f, "in place: no child, the steps run in this process")?;
        } else {
            let call = strategy.clone_call.name();
            let flags = self.flags(strategy);
            let pipe = strategy.engine == Engine::Pipe;
            let signal = if pipe { "SIGCHLD" } else { "" };
            let engine = strategy.engine;
            writeln!(f, "engine  {engine}: {call}({flags}{signal})")?;
        }
        write!(f, "{}", self.parentage)?;
        if let Some(cgroup) = &self.cgroup {
            let shown = cgroup.shown();
            let shown = shown.map_or("given".into(), |p| format!("{p:?}"));
            let how = match strategy.joins_cgroup {
                true => "joined before exec",
                false => "created in it",
            };
            let new = if self.owns_cgroup { "a new one in " } else { "" };
            writeln!(f, "cgroup  {new}{shown}, {how}")?;
        }
        if !self.set_tid.is_empty() {
            writeln!(f, "set_tid {:?}", self.set_tid)?;
        }
        Ok(())
    }

    fn line(&self, record: &StepRecord) -> Line {
        let call = match record.call {
            "" => record.step.to_string(),
            call => call.to_string(),
        };
        let what = self.shown(record.operand);
        let what = format!("{what}{}", shown_detail(record.detail));
        let what = what.trim_start().to_string();
        let note = match (record.optional, record.note) {
            (false, note) => note.to_string(),
            (true, "") => "best effort".into(),
            (true, note) => format!("{note}; best effort"),
        };
        let line = Line { call, what, note };
        match record.op() {
            Some(Op::CloseRange) => self.close_range_line(line),
            Some(Op::Dup { to, source }) => self.dup_line(line, to, source),
            Some(Op::SignalMask) if self.takes_stops(self.strategy) => {
                let note = "pending stops are taken first".into();
                Line { note, ..line }
            }
            Some(Op::Exec(path)) => {
                let what = format!("{:?}", self.strings.get(path));
                Line { what, note: self.argv_note(), ..line }
            }
            Some(Op::ExecFd(index)) => {
                let fd = self.source_fds.get(usize::from(index));
                let what = fd.map_or("".into(), |fd| fd.by.to_string());
                Line { what, note: self.argv_note(), ..line }
            }
            _ => line,
        }
    }

    pub(crate) fn shown(&self, operand: Operand) -> String {
        match operand {
            Operand::None => String::new(),
            Operand::Label(text) | Operand::Name(text) => text.into(),
            Operand::Text(text) => format!("{:?}", self.strings.get(text)),
            Operand::Number(number) => number.to_string(),
            Operand::Stdio(number) => number.to_string(),
            Operand::Octal(number) => format!("{number:#05o}"),
            Operand::Ids(list) => format!("{:?}", self.strings.listed(list)),
            Operand::EmptyList => "[]".into(),
            Operand::Filter(1) => "1 instruction".into(),
            Operand::Filter(len) => format!("{len} instructions"),
            Operand::Signals(set) => set.to_string(),
            Operand::Fd(_) => "fd".into(),
            Operand::Cgroup => "\"0\" -> cgroup.procs".into(),
        }
    }

    fn argv_note(&self) -> String {
        let (argv, envc) = (self.strings.argv(), self.strings.envc());
        let all = self.tries_all;
        let all = if all { ", the next after any error" } else { "" };
        format!("argv {argv:?}, environment of {envc}{all}")
    }

    fn close_range_line(&self, line: Line) -> Line {
        let kept = self.keeps(self.strategy);
        let (from, note) = match kept {
            true => ("above sources", "closes what no step reads, verified"),
            false => ("3..", "closes all others, verified"),
        };
        let shares = self.shares(self.strategy);
        let own = if shares { ", UNSHARE" } else { "" };
        let what = format!("{from}{own}");
        Line { what, note: note.into(), ..line }
    }

    fn dup_line(&self, line: Line, to: u32, source: FdSource) -> Line {
        let (from, note) = match source {
            FdSource::Null => ("null".into(), "/dev/null".into()),
            FdSource::Pipe => ("pipe".into(), "piped".into()),
            FdSource::Fd(index) => return self.source_line(line, to, index),
            FdSource::SameAs(from) => {
                (from.to_string(), format!("same as {}", stdio_step(from)))
            }
            FdSource::Path(path) => {
                ("file".into(), format!("{:?}", self.strings.get(path)))
            }
        };
        // The others are descriptors 0 to 2.
        let option = stdio_step(u8::try_from(to).unwrap_or_default());
        let note = format!("{option}: {note}");
        Line { what: format!("{from} -> {to}"), note, ..line }
    }

    /// One of the caller's: by the option that gave it.
    fn source_line(&self, line: Line, to: u32, index: u16) -> Line {
        let fd = self.source_fds.get(usize::from(index));
        let by = fd.map_or("".into(), |fd| fd.by.to_string());
        let copied = fd.is_some_and(|fd| fd.copied);
        if !copied && self.number(index) == to {
            let note = format!("{by}: stays open");
            return Line { call: "fcntl".into(), what: to.to_string(), note };
        }
        let from = if copied { "copy" } else { "source" };
        let note = format!("{by}: a descriptor of the caller");
        Line { what: format!("{from} -> {to}"), note, ..line }
    }
}
