//! Tree: a child and its descendants, all of which have its output.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::ChildStdout;

use offshoot::{Child, Command, Stdio, TreeKill};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A child whose output every process of its tree has.
pub(crate) struct Tree {
    pub(crate) child: Child,
    pub(crate) out: ChildStdout,
}

impl Tree {
    /// Returns when it has written this many lines.
    pub(crate) fn start(
        command: &mut Command,
        lines: usize,
    ) -> (Tree, Vec<String>) {
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < lines {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            text.extend(byte);
        }
        let text = String::from_utf8(text).unwrap();
        (Tree { child, out }, text.lines().map(Into::into).collect())
    }

    /// Whether no process has the output any more.
    pub(crate) fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.out, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        fds[0].revents().contains(PollFlags::HUP)
    }

    #[track_caller]
    pub(crate) fn kill(&mut self, want: TreeKill) {
        assert!(!self.is_gone());
        assert_eq!(self.child.kill_tree().unwrap(), want);
        assert!(self.is_gone());
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }
}

/// A shell. What it leaves behind keeps no error output of the test open.
pub(crate) fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("exec 2>/dev/null; {script}")]);
    sh
}

/// Processes that ignore signals, are stopped, have a session of their own,
/// and whose children live on.
pub(crate) const MANY: &str = "
    (trap '' TERM INT HUP; echo 1; while :; do sleep 1000; done) &
    (sh -c 'echo 2; kill -STOP $$') &
    setsid sh -c '(sleep 1000 & echo 3; wait) & wait' &
    (sleep 1000 & sleep 1000 & (echo 4; sleep 1000); wait) &
    wait";
