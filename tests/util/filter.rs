//! A seccomp filter for the calling thread, which its children inherit: one
//! system call, and what becomes of it. Needs no privilege.

/// What becomes of the call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It fails with this errno; 0 makes it a call without effect.
    Errno(u16),
    /// The process that makes it is killed (SIGSYS).
    Kill,
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

#[allow(clippy::cast_possible_truncation, reason = "16-bit codes")]
fn install(nr: libc::c_long, fate: Fate) {
    let fate = match fate {
        Fate::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Fate::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let ret = (libc::BPF_RET | libc::BPF_K) as u16;
    let row = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut rows = [
        row(load, 0, 0, 0),
        row(equal, 0, 1, u32::try_from(nr).unwrap()),
        row(ret, 0, 0, fate),
        row(ret, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program =
        libc::sock_fprog { len: rows.len() as u16, filter: rows.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
