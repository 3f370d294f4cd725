//! Seccomp filters for the calling thread, which its children inherit: a
//! system call and the action for it. They need no privilege.

/// The seccomp action for a call.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// The call fails with this errno; with 0 it has no effect.
    Errno(u16),
    /// The calling process is killed (SIGSYS).
    Kill,
    /// The calling thread is killed (SIGSYS), and no other one.
    Thread,
    /// The call is not made, and the calling thread gets SIGSYS.
    Trap,
}

impl Action {
    /// Returns the action that fails with this errno.
    pub fn errno(errno: i32) -> Action {
        Action::Errno(u16::try_from(errno).unwrap())
    }

    /// Returns what the filter returns for it.
    fn value(self) -> u32 {
        match self {
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Action::Kill => libc::SECCOMP_RET_KILL_PROCESS,
            Action::Thread => libc::SECCOMP_RET_KILL_THREAD,
            Action::Trap => libc::SECCOMP_RET_TRAP,
        }
    }
}

/// Runs `test` in a new thread that has this action for system call `nr`, as
/// have its children.
pub fn with<T: Send>(
    nr: libc::c_long,
    action: Action,
    test: impl FnOnce() -> T + Send,
) -> T {
    with_each(&[(nr, action)], test)
}

/// As `with`, for several calls.
pub fn with_each<T: Send>(
    calls: &[(libc::c_long, Action)],
    test: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let test = || {
            for (nr, action) in calls.iter().copied() {
                install(nr, action);
            }
            test()
        };
        match scope.spawn(test).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// As `with`, with ENOSYS for calls with this second argument only.
pub fn without_second<T: Send>(
    nr: libc::c_long,
    second: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    with_second(nr, row(EQUAL, 0, 1, second), libc::ENOSYS, test)
}

/// Calls that docker's default profile rejects with any arguments.
const REJECTED: [libc::c_long; 41] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    libc::SYS_kcmp,
];

/// Installs docker's default profile as one filter: EPERM, but ENOSYS for
/// clone3, so that libc falls back to clone. Calls that depend on a capability
/// are as in a container with the default fourteen.
pub fn docker() {
    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;
    const NAMESPACES: u32 = 0x7E02_0000;
    let (eperm, enosys) = (ERRNO | 1, ERRNO | libc::ENOSYS.unsigned_abs());
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap();
    let mut rows = vec![row(LOAD, 0, 0, 0)];
    for nr in REJECTED {
        rows.push(row(EQUAL, 0, 1, number(nr)));
        rows.push(row(RETURN, 0, 0, eperm));
    }
    rows.push(row(EQUAL, 0, 1, number(libc::SYS_clone3)));
    rows.push(row(RETURN, 0, 0, enosys));
    // No namespaces.
    rows.push(row(EQUAL, 0, 4, number(libc::SYS_clone)));
    rows.push(row(LOAD, 0, 0, FIRST));
    rows.push(row(libc::BPF_JMP | libc::BPF_JSET, 0, 1, NAMESPACES));
    rows.push(row(RETURN, 0, 0, eperm));
    rows.push(row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    // Five personalities, none of them with ADDR_NO_RANDOMIZE.
    let known = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];
    rows.push(row(EQUAL, 0, 7, number(libc::SYS_personality)));
    rows.push(row(LOAD, 0, 0, FIRST));
    for (jt, kind) in (0..5u8).rev().zip(known) {
        rows.push(row(EQUAL, jt + 1, 0, kind));
    }
    rows.push(row(RETURN, 0, 0, eperm));
    rows.push(row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    load(&mut rows);
}

/// Acts as a kernel whose `clone_args` has this size at most (E2BIG beyond),
/// as in Linux 5.3 to 5.6.
pub fn with_clone3_of<T: Send>(
    size: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let nr = libc::SYS_clone3;
    with_second(nr, row(ABOVE, 0, 1, size), libc::E2BIG, test)
}

/// As `with`, only for calls whose first argument has this low half.
pub fn with_first<T: Send>(
    nr: libc::c_long,
    first: u32,
    action: Action,
    test: impl FnOnce() -> T + Send,
) -> T {
    let mut rows = [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 3, u32::try_from(nr).unwrap()),
        row(LOAD, 0, 0, FIRST),
        row(EQUAL, 0, 1, first),
        row(RETURN, 0, 0, action.value()),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let test = move || {
        load(&mut rows);
        test()
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap())
}

/// As `with`, only where the low half of the call's second argument matches
/// the row.
fn with_second<T: Send>(
    nr: libc::c_long,
    second: libc::sock_filter,
    errno: i32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let action = libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let mut rows = [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 3, u32::try_from(nr).unwrap()),
        row(LOAD, 0, 0, SECOND),
        second,
        row(RETURN, 0, 0, action),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let test = move || {
        load(&mut rows);
        test()
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap())
}

/// The low half of the first argument of a call.
const FIRST: u32 = 16;

/// The low half of the second argument.
const SECOND: u32 = 24;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn row(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k }
}

/// Installs the action for a call of this thread and its future children.
pub fn install(nr: libc::c_long, action: Action) {
    load(&mut [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 1, u32::try_from(nr).unwrap()),
        row(RETURN, 0, 0, action.value()),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

fn load(rows: &mut [libc::sock_filter]) {
    let len = u16::try_from(rows.len()).unwrap();
    let program = libc::sock_fprog { len, filter: rows.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
