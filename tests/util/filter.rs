//! A seccomp filter for the calling thread, which its children inherit: one
//! system call, and what becomes of it. Needs no privilege.

/// What becomes of the call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It fails with this errno; 0 makes it a call without effect.
    Errno(u16),
    /// The process that makes it is killed (SIGSYS).
    Kill,
    /// The thread that makes it is killed (SIGSYS), and no other one.
    Thread,
    /// It does not happen, and its thread gets SIGSYS.
    Trap,
}

impl Fate {
    /// It fails with this errno, by the name that libc has for it.
    pub fn errno(errno: i32) -> Fate {
        Fate::Errno(u16::try_from(errno).unwrap())
    }
}

/// Runs `test` in a thread of its own in which system call `nr` meets its
/// fate, for that thread and the children it makes.
pub fn with<T: Send>(
    nr: libc::c_long,
    fate: Fate,
    test: impl FnOnce() -> T + Send,
) -> T {
    with_each(&[(nr, fate)], test)
}

/// As `with`, for several calls.
pub fn with_each<T: Send>(
    calls: &[(libc::c_long, Fate)],
    test: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let test = || {
            for (nr, fate) in calls.iter().copied() {
                install(nr, fate);
            }
            test()
        };
        match scope.spawn(test).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// As `with`, only where the call's second argument is this, and ENOSYS.
pub fn without_second<T: Send>(
    nr: libc::c_long,
    second: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    with_second(nr, row(EQUAL, 0, 1, second), libc::ENOSYS, test)
}

/// What docker's default profile refuses whatever it is given.
const REFUSED: [libc::c_long; 41] = [
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

/// What docker's default profile refuses, as one filter: EPERM, but ENOSYS
/// for clone3, so that libc takes clone. What depends on a capability is as
/// for a container that has the usual fourteen.
pub fn docker() {
    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;
    const NAMESPACES: u32 = 0x7E02_0000;
    let (eperm, enosys) = (ERRNO | 1, ERRNO | libc::ENOSYS.unsigned_abs());
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap();
    let mut rows = vec![row(LOAD, 0, 0, 0)];
    for nr in REFUSED {
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
    // Five personalities, of which none fixes addresses.
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

/// As a kernel that knows a clone3 of this size at most (E2BIG beyond): it
/// plays Linux 5.3 to 5.6.
pub fn with_clone3_of<T: Send>(
    size: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let nr = libc::SYS_clone3;
    with_second(nr, row(ABOVE, 0, 1, size), libc::E2BIG, test)
}

/// As `with`, only where the low half of the call's second argument passes
/// that row.
fn with_second<T: Send>(
    nr: libc::c_long,
    second: libc::sock_filter,
    errno: i32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let fate = libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let mut rows = [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 3, u32::try_from(nr).unwrap()),
        row(LOAD, 0, 0, SECOND),
        second,
        row(RETURN, 0, 0, fate),
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

/// That of the second.
const SECOND: u32 = 24;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn row(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k }
}

/// Gives a call of this thread and the children it makes its fate, for good.
pub fn install(nr: libc::c_long, fate: Fate) {
    let fate = match fate {
        Fate::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Fate::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Fate::Thread => libc::SECCOMP_RET_KILL_THREAD,
        Fate::Trap => libc::SECCOMP_RET_TRAP,
    };
    load(&mut [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 1, u32::try_from(nr).unwrap()),
        row(RETURN, 0, 0, fate),
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
