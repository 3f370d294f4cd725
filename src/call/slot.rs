//! Slots: the numbers of the block's slots, and what they hold. The launch
//! fills those below [`FREE`].
//!
//! `X_ADDR` holds the address of slot `X`; no row may write it. A futex word,
//! its node of a robust list and the list's head are those of
//! [`set_robust_list(2)`]; a node is as far from its word as every other.
//!
//! [`set_robust_list(2)`]: https://man7.org/linux/man-pages/man2/set_robust_list.2.html

/// Takes results that no row reads.
pub(crate) const SINK: u8 = 0;
/// The probe descriptor: it must be closed once the child has unshared
/// its descriptor table and closed the rest.
pub(crate) const PROBE_FD: u8 = 1;
/// The child's pidfd, if the probe descriptor is another.
pub(crate) const PIDFD: u8 = 2;
/// The signal mask of the caller.
pub(crate) const SIGMASK: u8 = 3;
/// The first number above all descriptors that rows use as sources.
pub(crate) const SOURCE_END: u8 = 4;
/// The number before it, 0 if no source is above the targets.
pub(crate) const LAST_SOURCE: u8 = 5;
/// The descriptors that become 0, 1 and 2.
pub(crate) const STDIO: u8 = 6;
/// The futex word on the robust list: the kernel releases it at exec and
/// at death.
pub(crate) const ROBUST_FUTEX: u8 = 9;
/// Its node, and the head of the list (three words).
pub(crate) const ROBUST_NODE: u8 = 10;
pub(crate) const ROBUST_HEAD: u8 = 11;
pub(crate) const SIGMASK_ADDR: u8 = 14;
pub(crate) const ROBUST_HEAD_ADDR: u8 = 15;
pub(crate) const IDS_ADDR: u8 = 16;
pub(crate) const SCRATCH_ADDR: u8 = 19;
/// Real, effective and saved id, as the kernel returns them.
pub(crate) const IDS: u8 = 20;
/// The open `cgroup.procs` of the group that the child joins.
pub(crate) const CGROUP_PROCS: u8 = 23;
/// Where calls write what a later row of the same step reads, or that row
/// stores its result.
pub(crate) const SCRATCH: u8 = 24;
/// The last of these: a descriptor that a row has opened, where the next
/// call writes to the others.
pub(crate) const SCRATCH_FD: u8 = 39;
/// The address of the environment of this launch, if that is not in the lists.
pub(crate) const ENVIRON: u8 = 40;
/// Two slots that end in the name of its first variable and `=`. The
/// value follows: digits, then zeros.
pub(crate) const LISTEN_PID_NAME: u8 = 41;
pub(crate) const LISTEN_PID_DIGITS: u8 = 43;
/// The process name of the helper, until it execs the program: 16 bytes.
pub(crate) const COMM: u8 = 44;
pub(crate) const COMM_ADDR: u8 = 46;
/// The parent's capabilities, as `capget` returns them: 24 bytes.
pub(crate) const CAPS: u8 = 47;
pub(crate) const CAPS_ADDR: u8 = 50;
/// The descriptors of the helper image and of the status page.
pub(crate) const HELPER: u8 = 51;
pub(crate) const STATUS_PAGE: u8 = 52;
/// The futex word of the gate: a second one on the robust list, until the
/// child waits there.
pub(crate) const GATE: u8 = 53;
pub(crate) const GATE_NODE: u8 = 54;
pub(crate) const GATE_ADDR: u8 = 55;
/// The parent's process id, and what `getppid` returned in the child.
pub(crate) const PARENT_PID: u8 = 56;
pub(crate) const PARENT_PID_ADDR: u8 = 57;
pub(crate) const GETPPID: u8 = 58;
pub(crate) const GETPPID_ADDR: u8 = 59;
/// The personality that the helper is exec'd with, 0 for the caller's;
/// and the caller's, which the program gets.
pub(crate) const HELPER_PERSONALITY: u8 = 60;
pub(crate) const PERSONALITY: u8 = 61;
/// A copy of the child's pidfd at or above `SOURCE_END`, where the pidfd
/// is below.
pub(crate) const PROBE_COPY: u8 = 62;
/// The stop signal that was pending in the child and that it has taken
/// from its queue, or an errno.
pub(crate) const STOP_SIGNAL: u8 = 63;
pub(crate) const STOP_SIGNAL_ADDR: u8 = 64;
/// What `process_mrelease` of no process returned in the child: EBADF if
/// this kernel has the call and no filter rejects it. 1 if the child is
/// not to make the call.
pub(crate) const MRELEASE: u8 = 65;
/// Not 0: the helper execs in a second thread, which has a robust list of
/// its own. `THREAD_FUTEX` holds the thread's id, and the kernel releases
/// it at death only, as exec gives the thread the id of the first.
/// `EXEC_FUTEX` holds that id, and the kernel releases it at exec only.
/// `PENDING_FUTEX` stays 0; it is the pending operation of both threads'
/// lists, so the kernel wakes its waiters at both.
pub(crate) const EXEC_IN_THREAD: u8 = 66;
pub(crate) const EXEC_FUTEX: u8 = 67;
pub(crate) const EXEC_NODE: u8 = 68;
pub(crate) const PENDING_FUTEX: u8 = 69;
/// The id of the thread that reaches the first hook.
pub(crate) const HOOK_THREAD: u8 = 70;
/// The id of the thread that was the first to return from the last hook or
/// to fail in one, of the child and the forks that its hooks have made;
/// or `sys::claim::CLOSED`, once the parent has stopped waiting. Set by
/// `sys::claim` only, never by a row's store.
pub(crate) const CLAIM: u8 = 71;
pub(crate) const CLAIM_ADDR: u8 = 72;
/// Not 0 once that thread runs the rows after the hooks. In the engine
/// copied its id is in `ROBUST_FUTEX` by then.
pub(crate) const HOOKS_DONE: u8 = 73;
pub(crate) const THREAD_FUTEX: u8 = 74;
pub(crate) const THREAD_NODE: u8 = 75;
pub(crate) const THREAD_HEAD: u8 = 76;
pub(crate) const THREAD_HEAD_ADDR: u8 = 79;
/// 1 until the kernel clears it, as a thread no longer uses the memory: the
/// helper's second thread has ended, for which the first waits here
/// (`set_tid_address`), or the child of the engine concurrent has exec'd or
/// ended (`CLONE_CHILD_CLEARTID`).
pub(crate) const CLEAR_TID: u8 = 80;
pub(crate) const CLEAR_TID_ADDR: u8 = 81;
/// The number of the descriptor that notifies of the calls of the child's
/// filter, negative until there is one; and 1 once the parent has a copy.
pub(crate) const LISTENER: u8 = 82;
pub(crate) const LISTENER_TAKEN: u8 = 83;
pub(crate) const LISTENER_ADDR: u8 = 84;
pub(crate) const LISTENER_TAKEN_ADDR: u8 = 85;
/// The child's id, which the kernel writes once it has made the child, if
/// another thread watches the launch (`CLONE_PARENT_SETTID`).
pub(crate) const CHILD_TID: u8 = 86;
/// The first slot that lowering assigns.
pub(crate) const FREE: u8 = 87;
/// The number of slots.
pub(crate) const COUNT: u8 = 151;

/// The slots below `FREE` that rows may write.
pub(crate) const WRITTEN: [u8; 16] = [
    SINK,
    SCRATCH,
    SCRATCH + 1,
    SCRATCH_FD,
    ROBUST_FUTEX,
    LISTEN_PID_DIGITS,
    GATE,
    GETPPID,
    PROBE_COPY,
    STOP_SIGNAL,
    MRELEASE,
    EXEC_FUTEX,
    HOOK_THREAD,
    HOOKS_DONE,
    THREAD_FUTEX,
    LISTENER,
];

const _: () = assert!(GATE_NODE - GATE == ROBUST_NODE - ROBUST_FUTEX);
const _: () = assert!(EXEC_NODE - EXEC_FUTEX == ROBUST_NODE - ROBUST_FUTEX);
const _: () =
    assert!(THREAD_NODE - THREAD_FUTEX == ROBUST_NODE - ROBUST_FUTEX);

/// Which slots hold the address of which, and how many bytes may be read
/// or written there.
pub(crate) const ADDRESSES: [(u8, u8, u64); 17] = [
    (SIGMASK_ADDR, SIGMASK, 8),
    (ROBUST_HEAD_ADDR, ROBUST_HEAD, 24),
    (IDS_ADDR, IDS, 24),
    (IDS_ADDR + 1, IDS + 1, 8),
    (IDS_ADDR + 2, IDS + 2, 8),
    (SCRATCH_ADDR, SCRATCH, 8 * (ENVIRON - SCRATCH) as u64),
    (COMM_ADDR, COMM, 8 * (COMM_ADDR - COMM) as u64),
    (CAPS_ADDR, CAPS, 8 * (CAPS_ADDR - CAPS) as u64),
    (GATE_ADDR, GATE, 8 * (GATE_ADDR - GATE) as u64),
    (PARENT_PID_ADDR, PARENT_PID, 8),
    (GETPPID_ADDR, GETPPID, 8),
    (STOP_SIGNAL_ADDR, STOP_SIGNAL, 8),
    (CLAIM_ADDR, CLAIM, 8),
    (THREAD_HEAD_ADDR, THREAD_HEAD, 24),
    (CLEAR_TID_ADDR, CLEAR_TID, 8 * (CLEAR_TID_ADDR - CLEAR_TID + 1) as u64),
    (LISTENER_ADDR, LISTENER, 16),
    (LISTENER_TAKEN_ADDR, LISTENER_TAKEN, 16),
];
