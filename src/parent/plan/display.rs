//! Show: a plan as text, for people and for golden files.

use crate::parent::command::hook::Hook;
use crate::parent::plan::op::{Op, Role};
use crate::parent::std::{fmt, format, string::String, vec::Vec};

use super::Plan;
use crate::parent::command::method::Engine;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = self.strategy;
        if strategy.in_place {
            writeln!(f, "here    no child: in this process")?;
        } else {
            let (name, flags) =
                (strategy.clone_call.name(), self.flags(strategy));
            let pipe = strategy.engine == Engine::Pipe;
            let signal = if pipe { "SIGCHLD" } else { "" };
            writeln!(
                f,
                "engine  {}: {name}({flags}{signal})",
                strategy.engine
            )?;
        }
        if let Some(cgroup) = &self.cgroup {
            let shown = cgroup.shown();
            let shown = shown.map_or("given".into(), |p| format!("{p:?}"));
            let how =
                if strategy.joins_cgroup { "joined" } else { "born in it" };
            writeln!(f, "cgroup  {shown}, {how}")?;
        }
        if !self.set_tid.is_empty() {
            writeln!(f, "set_tid {:?}", self.set_tid)?;
        }
        let mut steps = self.steps(strategy).map(|(_, op)| op).enumerate();
        while let Some((n, op)) = steps.next() {
            let (call, what, note) = self.line(op);
            if let Op::Exec(_) | Op::ExecFd(_) = op {
                let rest = steps.by_ref().map(|(_, op)| self.line(op).1);
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

type Line = (&'static str, String, String);

impl Plan {
    /// The call, what it is about, and what for.
    fn line(&self, op: Op) -> Line {
        match op {
            Op::CloseRange
            | Op::MarkRange
            | Op::Dup { .. }
            | Op::Close { .. }
            | Op::CloseGaps => self.descriptor_line(op),
            Op::RobustList
            | Op::PassHelperFds
            | Op::ExecHelper
            | Op::HelperInit
            | Op::Gate
            | Op::MarkHelper => private_line(op),
            Op::Chroot(dir) => {
                let note = "then chdir \"/\"";
                let what = format!("{:?}", self.strings.get(dir));
                ("chroot", what, note.into())
            }
            Op::ClearGroups { .. }
            | Op::Setgroups { .. }
            | Op::Setgid(_)
            | Op::Setuid(_) => self.identity_line(op),
            Op::JoinCgroup => {
                ("write", "\"0\" -> cgroup.procs".into(), "".into())
            }
            Op::Setsid => ("setsid", "".into(), "".into()),
            Op::Setpgid(group) => {
                let own = if group == 0 { "a group of its own" } else { "" };
                ("setpgid", format!("{group}"), own.into())
            }
            Op::Umask(mask) => ("umask", format!("{mask:#05o}"), "".into()),
            Op::Chdir(path) => {
                ("chdir", format!("{:?}", self.strings.get(path)), "".into())
            }
            Op::BlockSigsys | Op::ClearHandlers | Op::DefaultSignal(_) => {
                signal_line(op)
            }
            Op::Hook(n) => self.hook_line(n),
            Op::SignalMask => self.mask_line(),
            Op::Fchdir(_) => ("fchdir", "fd".into(), "current_dir_fd".into()),
            Op::ListenPid => {
                ("getpid", "LISTEN_PID".into(), "listen_fds".into())
            }
            Op::Exec(path) => (
                "execve",
                format!("{:?}", self.strings.get(path)),
                self.words_note(),
            ),
            Op::ExecFd(place) => {
                let given = self.given.get(usize::from(place));
                let by = given.map(|given| given.by);
                let what = by.map_or("".into(), |by| format!("{by}"));
                ("execveat", what, self.words_note())
            }
        }
    }

    fn mask_line(&self) -> Line {
        let takes = self.takes_stops(self.strategy);
        let note = if takes { "pending stops are taken first" } else { "" };
        ("sigprocmask", "the caller's".into(), note.into())
    }

    fn hook_line(&self, n: u16) -> Line {
        let hook = self.hooks.get(usize::from(n));
        let shared = hook.is_some_and(Hook::shared);
        let name = if shared { "pre_exec_shared" } else { "pre_exec" };
        ("call", name.into(), "the caller's function".into())
    }

    fn words_note(&self) -> String {
        let (argv, envc) = (self.strings.argv(), self.strings.envc());
        let each = if self.each { ", the next after any error" } else { "" };
        format!("argv {argv:?}, environment of {envc}{each}")
    }

    fn descriptor_line(&self, op: Op) -> Line {
        let strategy = self.strategy;
        match op {
            Op::CloseRange => {
                let kept = self.keeps(strategy);
                let from = if kept { "past kept" } else { "3.." };
                let own =
                    if self.shares(strategy) { " -> unshare" } else { "" };
                let note = "descriptors: nothing else, verified";
                ("close_range", format!("{from}{own}"), note.into())
            }
            Op::MarkRange => (
                "close_range",
                "3.. -> close-on-exec".into(),
                "descriptors: open until exec".into(),
            ),
            Op::Dup { to, role } => self.dup_line(to, role),
            Op::Close { to } => {
                let note = format!("{}: closed", name(to.into()));
                ("close", format!("{to}"), note)
            }
            _ => (
                "close_range",
                "3..kept".into(),
                "descriptors: the gaps".into(),
            ),
        }
    }

    fn identity_line(&self, op: Op) -> Line {
        match op {
            Op::Setgroups { list, .. } => {
                let list = self.strings.listed(list);
                let what = format!("{list:?}");
                ("setgroups", what, "groups, counted".into())
            }
            Op::Setgid(gid) => {
                ("setresgid", format!("{gid}"), "gid, read back".into())
            }
            Op::Setuid(uid) => {
                ("setresuid", format!("{uid}"), "uid, read back".into())
            }
            _ => (
                "setgroups",
                "[]".into(),
                "groups: none, as the ids change".into(),
            ),
        }
    }

    /// The caller's own: by the option that gave it.
    fn given_line(&self, to: u32, place: u16) -> Line {
        let given = self.given.get(usize::from(place));
        let by = given.map(|given| given.by);
        let by = by.map_or("".into(), |by| format!("{by}"));
        let copied = given.is_some_and(|given| given.copied);
        if !copied && self.number(place) == to {
            return ("fcntl", format!("{to}"), format!("{by}: stays open"));
        }
        let from = if copied { "copy" } else { "given" };
        let note = format!("{by}: a given descriptor");
        ("dup3", format!("{from} -> {to}"), note)
    }

    fn dup_line(&self, to: u32, role: Role) -> Line {
        let (from, note): (&str, String) = match role {
            Role::Null => ("null", "/dev/null".into()),
            Role::Pipe => ("pipe", "piped".into()),
            Role::Given(place) => return self.given_line(to, place),
            Role::Same(from) => {
                let note =
                    format!("{}: same as {}", name(to), name(from.into()));
                return ("dup3", format!("{from} -> {to}"), note);
            }
            Role::Path(path) => {
                ("file", format!("{:?}", self.strings.get(path)))
            }
        };
        let what = format!("{from} -> {to}");
        ("dup3", what, format!("{}: {note}", name(to)))
    }
}

/// What is only done in memory of the child's own.
fn private_line(op: Op) -> Line {
    let (call, what, note) = match op {
        Op::PassHelperFds => ("dup3", "page, image", "what the image needs"),
        Op::ExecHelper => {
            ("execveat", "image", "the rest, in memory of its own")
        }
        Op::Gate => {
            ("futex", "waits", "before_exec, and ends with the parent")
        }
        Op::RobustList | Op::HelperInit => (
            "set_robust_list",
            "one word",
            "the parent wakes at exec or death",
        ),
        _ => ("prctl", "PR_SET_DUMPABLE, NAME", "marks that exec takes away"),
    };
    (call, what.into(), note.into())
}

fn signal_line(op: Op) -> Line {
    let (call, what, note) = match op {
        Op::BlockSigsys => {
            ("sigprocmask", "SIGSYS".into(), "blocked, as there are handlers")
        }
        Op::DefaultSignal(signal) => {
            ("sigaction", signal_name(signal), "default")
        }
        _ => (
            "sigaction",
            "every signal".into(),
            "default, where there is a handler",
        ),
    };
    (call, what, note.into())
}

fn name(n: u32) -> &'static str {
    match n {
        0 => "stdin",
        1 => "stdout",
        2 => "stderr",
        _ => "fd",
    }
}

fn signal_name(signal: u8) -> String {
    match i32::from(signal) {
        libc::SIGPIPE => "SIGPIPE".into(),
        other => format!("signal {other}"),
    }
}
