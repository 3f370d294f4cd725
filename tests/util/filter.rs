//! A seccomp filter for the calling thread, which its children inherit: one
//! system call, and what becomes of it. Needs no privilege.

/// What becomes of the call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It fails with this errno; 0 makes it a call without effect.
    Errno(u16),
    /// The process that makes it is killed (SIGSYS).
    Kill,
    /// It does not happen, and its thread gets SIGSYS.
    Trap,
}

/// Runs `test` in a thread of its own in which system call `nr` meets its
/// fate, for that thread and the children it makes.
pub fn with<T: Send>(
    nr: libc::c_long,
    fate: Fate,
    test: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let test = || {
            install(nr, fate);
            test()
        };
        match scope.spawn(test).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// As a kernel that knows a clone3 of this size at most (E2BIG beyond): it
/// plays Linux 5.3 to 5.6.
pub fn with_clone3_of<T: Send>(
    size: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let nr = u32::try_from(libc::SYS_clone3).unwrap();
    let fate = libc::SECCOMP_RET_ERRNO | libc::E2BIG.unsigned_abs();
    // The low half of the second argument of the call.
    const SECOND: u32 = 24;
    let rows = [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 3, nr),
        row(LOAD, 0, 0, SECOND),
        row(ABOVE, 0, 1, size),
        row(RETURN, 0, 0, fate),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let test = move || {
        load(rows);
        test()
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap())
}

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
        Fate::Trap => libc::SECCOMP_RET_TRAP,
    };
    load([
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 1, u32::try_from(nr).unwrap()),
        row(RETURN, 0, 0, fate),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

fn load<const N: usize>(mut rows: [libc::sock_filter; N]) {
    let len = u16::try_from(N).unwrap();
    let program = libc::sock_fprog { len, filter: rows.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
