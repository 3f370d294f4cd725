//! Show: a plan as text, for people and for golden files.

use crate::op::{Op, Role};
use crate::parent::std::{fmt, format, string::String, vec::Vec};
use crate::sys::CloneFlags;

use super::Plan;
use super::method::Engine;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = match self.engine {
            Engine::Suspended => CloneFlags::SUSPENDED,
            Engine::Copied => CloneFlags::COPIED,
        };
        let flags = own | self.flags();
        writeln!(f, "engine  {}: clone3({flags})", self.engine)?;
        let mut ops = self.ops.iter().copied().enumerate();
        while let Some((n, op)) = ops.next() {
            let (call, what, note) = self.line(op);
            if let Op::Exec(_) = op {
                let rest = ops.by_ref().map(|(_, op)| self.line(op).1);
                let all: Vec<String> =
                    [what].into_iter().chain(rest).collect();
                let all = all.join(" | ");
                writeln!(f, "{n:>3}  {call:<16} {all}")?;
                writeln!(f, "     {:<16} {note}", "")?;
            } else if note.is_empty() {
                writeln!(f, "{n:>3}  {call:<16} {what}")?;
            } else {
                writeln!(f, "{n:>3}  {call:<16} {what:<22} {note}")?;
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The call, what it is about, and what for.
    fn line(&self, op: Op) -> (&'static str, String, String) {
        match op {
            Op::Watch => (
                "set_robust_list",
                "one word".into(),
                "the parent wakes at exec or death".into(),
            ),
            Op::CloseRange { share, kept } => {
                let from = if kept { "past kept" } else { "3.." };
                let own = if share { " -> unshare" } else { "" };
                let note = "descriptors: nothing else, verified";
                ("close_range", format!("{from}{own}"), note.into())
            }
            Op::Dup { to, role } => self.dup_line(to, role),
            Op::CloseGaps => (
                "close_range",
                "3..kept".into(),
                "descriptors: the gaps".into(),
            ),
            Op::Chdir(path) => {
                ("chdir", format!("{:?}", self.words.get(path)), "".into())
            }
            Op::DefaultSignal(signal) => {
                ("sigaction", signal_name(signal), "default".into())
            }
            Op::SignalMask => {
                ("sigprocmask", "the caller's".into(), "".into())
            }
            Op::Exec(path) => {
                let (argv, envc) = (self.words.argv(), self.words.envc());
                let note = format!("argv {argv:?}, environment of {envc}");
                ("execve", format!("{:?}", self.words.get(path)), note)
            }
        }
    }

    fn dup_line(&self, to: u8, role: Role) -> (&'static str, String, String) {
        let (from, note): (&str, String) = match role {
            Role::Null => ("null", "/dev/null".into()),
            Role::Pipe => ("pipe", "piped".into()),
            Role::Given => ("given", "a given descriptor".into()),
            Role::Path(path) => {
                ("file", format!("{:?}", self.words.get(path)))
            }
        };
        let name = ["stdin", "stdout", "stderr"];
        let name = name.get(usize::from(to)).copied().unwrap_or("fd");
        ("dup3", format!("{from} -> {to}"), format!("{name}: {note}"))
    }
}

fn signal_name(signal: u8) -> String {
    match i32::from(signal) {
        libc::SIGPIPE => "SIGPIPE".into(),
        other => format!("signal {other}"),
    }
}
