//! Lowering: steps become rows of system calls. Pure, safe Rust.

use crate::call::{Call, Check, ROW, local, number, slot};
use crate::parent::plan::op::{Op, Role, Str};
use crate::parent::std::vec::Vec;
use crate::sys::abi::{FUTEX_WAITERS, ROBUST_HEAD_SIZE};
use crate::sys::bits;

use super::strategy::Strategy;
use super::strings::StringTable;
use super::{Plan, fds};
use crate::parent::command::method::Engine;

/// The highest descriptor number that `close_range` takes.
const LAST_FD: u64 = u32::MAX as u64;

/// `CLOSE_RANGE_UNSHARE`: first give the child a table of its own.
const UNSHARE: u64 = 2;

/// `CLOSE_RANGE_CLOEXEC` (Linux 5.11): close at exec.
const MARK: u64 = 4;

/// The places of the entries that close descriptors, or mark them; those of
/// the plan's hooks follow.
const CLOSER: u64 = 0;
const MARKER: u64 = 1;

/// The rows of a plan in one shape, in memory that is given. Addresses are
/// still places in the plan's words.
pub(crate) fn lower(
    plan: &Plan,
    strategy: Strategy,
    mut rows: Vec<Call>,
) -> Vec<Call> {
    let some = if strategy.engine == Engine::Isolated { 36 } else { 12 };
    rows.reserve(some);
    let mut rows = Rows { rows, free: slot::FREE, looked_for: (0, 0) };
    let last = plan.steps(strategy).last().map(|(n, _)| n);
    let mut files = 0;
    for (n, op) in plan.steps(strategy) {
        let from = rows.rows.len();
        match op {
            Op::Exec(path) => {
                if strategy.shell.is_some() {
                    files = plan.nth_candidate(n);
                }
                rows.exec((path, files), plan, strategy, last == Some(n));
                files += 1;
            }
            _ => rows.step(op, plan, strategy),
        }
        for row in rows.rows.iter_mut().skip(from) {
            row.step = u16::try_from(n).unwrap_or(u16::MAX);
        }
    }
    for (n, row) in (1usize..).zip(&mut rows.rows) {
        row.row = u16::try_from(n).unwrap_or_default();
    }
    rows.rows
}

/// Turns places into addresses.
pub(crate) fn bind(rows: &mut [Call], text: u64, lists: u64, callbacks: u64) {
    for row in rows {
        for (i, arg) in row.args.iter_mut().enumerate() {
            if row.texts & (1 << i) != 0 {
                *arg += text;
            } else if row.lists & (1 << i) != 0 {
                *arg += lists;
            } else if row.nr == local::CALLBACK && i == 0 {
                *arg = callbacks + 16 * *arg;
            }
        }
    }
}

pub(super) struct Rows {
    pub(super) rows: Vec<Call>,
    free: u8,
    /// The first slot of what is known of files before exec, and how many.
    pub(super) looked_for: (u8, u8),
}

impl Rows {
    pub(super) fn call(
        &mut self,
        nr: libc::c_long,
        args: &[u64],
    ) -> &mut Call {
        self.push(number(nr), args)
    }

    /// A row of [`local`].
    pub(super) fn push(&mut self, nr: u32, args: &[u64]) -> &mut Call {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(args) {
            *to = *from;
        }
        self.rows.push(Call::new(nr, all));
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// Slots for so many results, or as many as there are: the first, and how
    /// many.
    pub(super) fn results(&mut self, count: usize) -> (u8, u8) {
        let (from, left) = (self.free, slot::COUNT - self.free);
        let count = u8::try_from(count).map_or(left, |n| n.min(left));
        self.free += count;
        (from, count)
    }

    /// A slot for a result that the parent reads; once they are used up,
    /// the one that nobody reads.
    pub(super) fn result(&mut self) -> u8 {
        let slot = self.free;
        if slot >= slot::COUNT {
            return slot::SINK;
        }
        self.free += 1;
        slot
    }

    fn step(&mut self, op: Op, plan: &Plan, strategy: Strategy) {
        match op {
            Op::BlockSigsys => self.block_sigsys(),
            Op::RobustList => self.watch(plan),
            Op::CloseRange if strategy.no_close_range => {
                let (kept, cut) = cut(plan, strategy);
                self.list(CLOSER, cut, LAST_FD).slots = kept << 1;
            }
            Op::CloseRange => self.close_range(plan, strategy),
            Op::MarkRange if strategy.no_close_range => {
                self.list(MARKER, 3, LAST_FD);
            }
            Op::MarkRange => {
                let args = [3, LAST_FD, MARK];
                self.call(libc::SYS_close_range, &args);
            }
            Op::JoinCgroup => self.join_cgroup(),
            Op::Dup { to, role } => self.dup(to, role, plan),
            Op::Close { to } => self.close(to.into(), strategy),
            Op::PassHelperFds => self.lend(plan),
            Op::CloseGaps => self.close_gaps(plan, strategy),
            Op::ExecHelper => self.enter(plan),
            Op::HelperInit => self.arrive(plan),
            Op::Setsid => drop(self.call(libc::SYS_setsid, &[])),
            Op::Setpgid(group) => {
                self.call(libc::SYS_setpgid, &[0, group.into()]);
            }
            Op::Umask(mask) => {
                self.call(libc::SYS_umask, &[mask.into()]);
            }
            Op::Chroot(dir) => self.chroot(dir, plan),
            Op::ClearGroups { uid, gid } => self.clear_groups(uid, gid),
            Op::Setgroups { list, count } => {
                self.setgroups(list, count, strategy.in_place);
            }
            Op::Setgid(gid) => self.setgid(gid),
            Op::Setuid(uid) => self.setuid(uid),
            Op::Chdir(path) => self.chdir(path),
            Op::Fchdir(place) => {
                let args = [u64::from(plan.place(place))];
                self.call(libc::SYS_fchdir, &args);
            }
            Op::ClearHandlers => self.clear_handlers(),
            Op::DefaultSignal(signal) => self.default_signal(signal),
            Op::Gate => self.gate(),
            Op::Hook(n) => self.hook(n, plan, strategy),
            Op::MarkHelper => self.name(plan),
            Op::SignalMask => self.signal_mask(plan, strategy),
            Op::ListenPid => self.listen_pid(),
            Op::ExecFd(place) => self.exec_fd(place, plan, strategy),
            // In `lower`, which knows what comes after.
            Op::Exec(_) => {}
        }
    }

    /// A walk over the list of open descriptors, where there is no
    /// `close_range` (before Linux 5.9, or refused).
    fn list(&mut self, callback: u64, from: u64, to: u64) -> &mut Call {
        self.push(local::CALLBACK, &[callback, from, to])
    }

    pub(super) fn watch(&mut self, plan: &Plan) {
        self.register();
        if !plan.before.is_empty() {
            self.hold_gate();
        }
    }

    /// The kernel wakes the parent at this process's exec or death.
    pub(super) fn register(&mut self) {
        let head = u64::from(slot::ROBUST_HEAD_ADDR);
        let args = [head, ROBUST_HEAD_SIZE];
        self.call(libc::SYS_set_robust_list, &args).slots = 0b1;
        let taken = self.call(libc::SYS_gettid, &[]);
        taken.store = slot::ROBUST_FUTEX;
        taken.or = FUTEX_WAITERS;
    }

    /// The second row proves the first (a filter can make it a call without
    /// effect, and then what follows would edit the parent's descriptors):
    /// a descriptor known to be open above the cut is no longer there.
    ///
    /// Where it is there, it may be the pidfd, at a number below the cut that
    /// was free in the parent: then a copy of it above the cut decides.
    fn close_range(&mut self, plan: &Plan, strategy: Strategy) {
        let flags = if plan.shares(strategy) { UNSHARE } else { 0 };
        let (kept, cut) = cut(plan, strategy);
        let args = [cut, LAST_FD, flags];
        let getfd = u64::from(libc::F_GETFD.unsigned_abs());
        let copy = u64::from(libc::F_DUPFD_CLOEXEC.unsigned_abs());
        let probe_fd = u64::from(slot::PROBE_FD);
        self.call(libc::SYS_close_range, &args).slots = kept;
        let proof = self.call(libc::SYS_fcntl, &[probe_fd, getfd]);
        proof.slots = 0b1;
        proof.check = Check::Skip;
        proof.want = bits(-i64::from(libc::EBADF));
        proof.skip = 3 * ROW;
        let copied = self.call(libc::SYS_fcntl, &[probe_fd, copy, cut]);
        copied.slots = 0b1 | kept << 2;
        copied.store = slot::PROBE_COPY;
        self.call(libc::SYS_close_range, &args).slots = kept;
        let probe = u64::from(slot::PROBE_COPY);
        let proof = self.call(libc::SYS_fcntl, &[probe, getfd]);
        proof.slots = 0b1;
        proof.check = Check::Equal;
        proof.want = bits(-i64::from(libc::EBADF));
    }

    /// "0" is the writer itself.
    fn join_cgroup(&mut self) {
        let group = u64::from(slot::CGROUP_PROCS);
        let zero = u64::from(StringTable::ZERO.start);
        let row = self.call(libc::SYS_write, &[group, zero, 1]);
        row.slots = 0b1;
        row.texts = 0b10;
    }

    fn dup(&mut self, to: u32, role: Role, plan: &Plan) {
        let to_ = u64::from(to);
        let from = match role {
            Role::Same(from) => u64::from(from),
            Role::Given(place) => u64::from(plan.number(place)),
            Role::Null | Role::Pipe | Role::Path(_) => {
                let from = u64::from(slot::STDIO) + to_;
                self.call(libc::SYS_dup3, &[from, to_, 0]).slots = 0b1;
                return;
            }
        };
        if from == to_ {
            let setfd = u64::from(libc::F_SETFD.unsigned_abs());
            self.call(libc::SYS_fcntl, &[to_, setfd, 0]);
        } else {
            self.call(libc::SYS_dup3, &[from, to_, 0]);
        }
    }

    /// In place exec closes it, and this process has it still if that fails.
    /// It may be closed already.
    fn close(&mut self, to: u64, strategy: Strategy) {
        let row = if strategy.in_place {
            let setfd = u64::from(libc::F_SETFD.unsigned_abs());
            let cloexec = u64::from(libc::FD_CLOEXEC.unsigned_abs());
            self.call(libc::SYS_fcntl, &[to, setfd, cloexec])
        } else {
            self.call(libc::SYS_close, &[to])
        };
        row.check = Check::May;
    }

    fn close_gaps(&mut self, plan: &Plan, strategy: Strategy) {
        for (from, to) in fds::gaps(&plan.kept(strategy)) {
            let from = u64::from(from);
            let last = to.is_none();
            let to = u64::from(to.unwrap_or(slot::LAST_SOURCE.into()));
            if last {
                // Nothing is there, most often.
                let some =
                    self.push(local::VALUE, &[slot::LAST_SOURCE.into()]);
                some.slots = 0b1;
                some.check = Check::Skip;
                some.skip = ROW;
            }
            if strategy.no_close_range {
                let slots = if last { 0b100 } else { 0 };
                self.list(CLOSER, from, to).slots = slots;
            } else {
                let slots = if last { 0b10 } else { 0 };
                let args = [from, to, 0];
                self.call(libc::SYS_close_range, &args).slots = slots;
            }
        }
    }

    /// Whoever has the right to it can leave a root whose outside is still
    /// the directory. Only ids change before the caller's own directory is
    /// entered; a relative one begins at the root.
    fn chroot(&mut self, dir: Str, plan: &Plan) {
        let args = [u64::from(dir.start)];
        self.call(libc::SYS_chroot, &args).texts = 0b1;
        let enters = |op: &Op| match *op {
            Op::Chdir(dir) => {
                plan.strings.get(dir).as_encoded_bytes().starts_with(b"/")
            }
            _ => false,
        };
        // This process may go on, if that fails.
        if plan.strategy.in_place || !plan.ops.iter().any(enters) {
            self.chdir(StringTable::ROOT);
        }
    }

    fn chdir(&mut self, path: Str) {
        let args = [u64::from(path.start)];
        self.call(libc::SYS_chdir, &args).texts = 0b1;
    }

    /// The child's own id, as digits behind "LISTEN_PID=".
    fn listen_pid(&mut self) {
        let pid = self.result();
        self.call(libc::SYS_getpid, &[]).store = pid;
        let digits = self.push(local::DECIMAL, &[pid.into()]);
        digits.slots = 0b1;
        digits.store = slot::LISTEN_PID_DIGITS;
        digits.check = Check::May;
    }
}

/// Where descriptors begin that no step needs: the mask for a slot, and the
/// slot or the number.
fn cut(plan: &Plan, strategy: Strategy) -> (u8, u64) {
    if plan.keeps(strategy) {
        (0b1, u64::from(slot::SOURCE_END))
    } else {
        (0, 3)
    }
}
