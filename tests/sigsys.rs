//! SIGSYS: filters that trap. A sandbox's handler emulates calls of the
//! parent; a child that is killed by SIGSYS counts as a missing call.
#![allow(unsafe_code, reason = "tests do what sandboxes do")]

mod util;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use offshoot::{Command, Engine, Memory, Method, Step};
use util::clean::{clean, spawn};
use util::filter::{self, Action};
use util::{alone, each_engine, each_of, elf, fallbacks, program, scratch};

static PARENT: AtomicI32 = AtomicI32::new(0);
static IN_PARENT: AtomicUsize = AtomicUsize::new(0);
static IN_CHILD: AtomicUsize = AtomicUsize::new(0);

/// The `si_code` of a call that a filter has trapped.
const SYS_SECCOMP: libc::c_int = 1;

/// Sets the result of the call to ENOSYS.
fn set_enosys(context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel has given the handler a ucontext.
    let context = unsafe { &mut (*context).uc_mcontext };
    let result = -libc::ENOSYS;
    #[cfg(target_arch = "x86_64")]
    {
        context.gregs[libc::REG_RAX as usize] = result.into();
    }
    #[cfg(target_arch = "aarch64")]
    {
        context.regs[0] = i64::from(result).cast_unsigned();
    }
}

/// As the handlers of Chromium and Android.
extern "C" fn handler(
    _: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel has given this handler a siginfo.
    if unsafe { (*info).si_code } == SYS_SECCOMP {
        set_enosys(context);
    }
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::syscall(libc::SYS_getpid) };
    let here = i32::try_from(own) == Ok(PARENT.load(Ordering::SeqCst));
    let count = if here { &IN_PARENT } else { &IN_CHILD };
    count.fetch_add(1, Ordering::SeqCst);
}

fn install_handler() {
    PARENT.store(std::process::id().try_into().unwrap(), Ordering::SeqCst);
    // SAFETY: all zeros is a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    let none = std::ptr::null_mut();
    // SAFETY: reads one sigaction.
    let set = unsafe { libc::sigaction(libc::SIGSYS, &action, none) };
    assert_eq!(set, 0);
}

/// Runs a test in a thread in which these calls are trapped.
fn trapped<T: Send>(
    calls: &[libc::c_long],
    test: impl FnOnce() -> T + Send,
) -> T {
    let test = || {
        calls.iter().for_each(|nr| filter::install(*nr, Action::Trap));
        test()
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap())
}

#[test]
fn a_sandbox_that_emulates_trapped_calls_fails_no_spawn() {
    let name = "a_sandbox_that_emulates_trapped_calls_fails_no_spawn";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    install_handler();
    let seven = scratch("sigsys").join("seven");
    program(&seven, &elf::seven());
    let calls = [
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_pidfd_open,
        libc::SYS_waitid,
        libc::SYS_memfd_create,
        libc::SYS_execveat,
        libc::SYS_set_robust_list,
        libc::SYS_prctl,
        libc::SYS_capget,
        libc::SYS_personality,
        libc::SYS_process_mrelease,
        libc::SYS_prlimit64,
        libc::SYS_rt_sigtimedwait,
    ];
    let one = calls.iter().map(|nr| vec![*nr]);
    let pairs = calls.iter().skip(1).map(|nr| vec![libc::SYS_clone3, *nr]);
    for calls in one.chain(pairs) {
        for memory in [Memory::Auto, Memory::Private] {
            // The program has no libc, which would make some of the calls.
            let status = trapped(&calls, || {
                Command::new(&seven).memory(memory).status()
            });
            let status = status.unwrap_or_else(|e| panic!("{calls:?}: {e}"));
            assert_eq!(status.code(), Some(7), "{calls:?}");
        }
    }
    assert!(IN_PARENT.load(Ordering::SeqCst) > 0);
    assert_eq!(IN_CHILD.load(Ordering::SeqCst), 0, "never in a child");
}

#[test]
fn a_fallback_from_a_trapped_call_is_reported() {
    let name = "a_fallback_from_a_trapped_call_is_reported";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    install_handler();
    let both = [libc::SYS_clone3, libc::SYS_close_range];
    let launch = trapped(&both, || {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.launch().clone()
    });
    let enosys = Some(libc::ENOSYS);
    let want = [("clone3", enosys), ("close_range", enosys)];
    assert_eq!(fallbacks(&launch), want);
    // Without a handler the signal kills the child, with the same result.
    // SAFETY: restores the default action.
    unsafe { libc::signal(libc::SIGSYS, libc::SIG_DFL) };
    let launch = trapped(&both[1..], || {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.launch().clone()
    });
    assert_eq!(fallbacks(&launch), want[1..]);
}

#[test]
fn a_child_killed_by_sigsys_is_enosys_at_its_step() {
    let _alone = alone();
    each_engine(|engine| {
        let mut command = Command::new("/bin/true");
        command.current_dir("/").engine(engine);
        let trap =
            || filter::with(libc::SYS_chdir, Action::Trap, spawn(command));
        let error = clean(trap);
        assert_eq!(error.step(), Step::Chdir, "{engine}: {error}");
        assert_eq!(error.operand().unwrap(), "/");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
        assert_eq!(error.signal(), Some(libc::SIGSYS), "{error}");
        assert!(error.to_string().contains("SIGSYS"), "{error}");
    });
}

/// A call of the caller's own function has no fallback.
#[test]
fn a_hook_killed_by_sigsys_is_reported_by_its_signal() {
    let _alone = alone();
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine);
        // SAFETY: the hook makes one system call.
        unsafe { command.pre_exec(|context| context.chdir(c"/")) };
        let trap =
            || filter::with(libc::SYS_chdir, Action::Trap, spawn(command));
        let error = clean(trap);
        assert_eq!(error.step(), Step::PreExec, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), None, "{error}");
        assert_eq!(error.signal(), Some(libc::SIGSYS), "{error}");
    });
}

/// A SIGSYS of another process, not of a filter.
#[test]
fn a_sigsys_sent_by_kill_runs_no_handler_in_a_child() {
    let name = "a_sigsys_sent_by_kill_runs_no_handler_in_a_child";
    let _alone = alone();
    if !util::inside(name, &util::own_pids()) {
        return;
    }
    // SAFETY: this process leaves the process group of the test runner.
    assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
    install_handler();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_micros(50));
                // SAFETY: the group of this process, which has a handler; its
                // children are the test's.
                unsafe { libc::kill(0, libc::SIGSYS) };
            }
        });
        for engine in [Engine::Suspended, Engine::Copied] {
            let method = match engine {
                Engine::Suspended => Method::Vfork,
                _ => Method::Fork,
            };
            for _ in 0..400 {
                let mut command = Command::new("/bin/true");
                match command.method(method).spawn() {
                    Ok(mut child) => drop(child.wait()),
                    // The signal came before exec.
                    Err(error) => {
                        assert_eq!(error.signal(), Some(libc::SIGSYS));
                        assert_eq!(error.raw_os_error(), None, "{error}");
                    }
                }
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(IN_CHILD.load(Ordering::SeqCst), 0);
}
