//! Hooks: functions that run in the child before exec, in private and shared
//! memory, and each way in which one can fail.
#![allow(unsafe_code, reason = "adding a hook is unsafe")]

mod util;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use offshoot::{
    Command, Disposition, Engine, Errno, Error, HookContext, MaskChange,
    Memory, Step,
};
use util::clean::{clean, command, spawn};
use util::reporter::Report;
use util::{alone, each_of, report, reporter_with, scratch};

type Hook = fn(&mut HookContext<'_>) -> Result<(), Errno>;

/// Adds a hook of the kind that the engine runs.
fn add<F>(command: &mut Command, engine: Engine, hook: F)
where
    F: Fn(&mut HookContext<'_>) -> Result<(), Errno> + Send + Sync + 'static,
{
    match engine {
        // SAFETY: the hooks make system calls through their context, or break
        // the contract on purpose.
        Engine::Suspended => unsafe { command.pre_exec_shared(hook) },
        // SAFETY: as above.
        _ => unsafe { command.pre_exec(hook) },
    };
}

fn each(test: impl Fn(Engine)) {
    each_of(&util::WITHOUT_HELPER, test);
}

#[test]
fn hooks_run_in_order_after_everything_else() {
    each(|engine| {
        let mut command = reporter_with(engine);
        command.umask(0o001).current_dir("/tmp");
        add(&mut command, engine, |context| {
            assert_eq!(context.umask(0o022), 0o001, "umask came first");
            context.chdir(c"/")
        });
        add(&mut command, engine, |context| {
            let before = context.umask(0o033);
            if before == 0o022 { Ok(()) } else { Err(errno(libc::EDOM)) }
        });
        let mut child = command.clone();
        let seen = report(&mut command);
        assert_eq!(seen.one("Umask"), "0033");
        assert_eq!(seen.one("cwd"), "/");
        let mut child = child.stdout(offshoot::Stdio::null()).spawn().unwrap();
        assert_eq!(child.launch().engine(), engine);
        child.wait().unwrap();
    });
}

fn errno(number: i32) -> Errno {
    Errno::from_raw_os_error(number)
}

/// The most frequent use of a hook: a descriptor at a chosen number.
#[test]
fn a_hook_can_use_the_parents_descriptors_and_pass_one_on() {
    each(|engine| {
        let path = scratch("hook-fd").join("file");
        std::fs::write(&path, "through the hook").unwrap();
        let file = File::open(&path).unwrap();
        let number = file.as_raw_fd();
        let mut command = reporter_with(engine);
        add(&mut command, engine, move |context| {
            let mut bytes = [0; 7];
            if context.read(number, &mut bytes)? != 7 || &bytes != b"through" {
                return Err(errno(libc::EIO));
            }
            context.dup2(number, 60)?;
            context.dup2(60, 60)?;
            let own = context.open(c"/dev/null", libc::O_RDWR, 0)?;
            context.write(own, b"x")?;
            context.close(own)
        });
        let seen = report(&mut command);
        assert_eq!(seen.fds(), [0, 1, 2, 60]);
        let passed = format!("60 {}", path.display());
        assert!(seen.all("fd").contains(&passed.as_str()));
    });
}

#[test]
fn calls_of_a_hook_take_effect_in_the_program() {
    each(|engine| {
        let mut command = reporter_with(engine);
        add(&mut command, engine, |context| {
            context.setsid()?;
            context.sigaction(libc::SIGUSR1, Disposition::Ignore)?;
            let mask = 1 << (libc::SIGUSR2 - 1);
            context.sigprocmask(MaskChange::Block(mask));
            context.setrlimit(libc::RLIMIT_CORE, 0, 0)?;
            context.prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
            let fd = context.dup(2)?;
            context.ioctl(fd, libc::FIOCLEX, 0)?;
            let dir = context_dir(context)?;
            context.fchdir(dir)?;
            if context.id() == 0 { Err(errno(libc::ESRCH)) } else { Ok(()) }
        });
        let seen = report(&mut command);
        let hex = |key| u64::from_str_radix(seen.one(key), 16).unwrap();
        assert_eq!(seen.one("session"), "own");
        assert_ne!(hex("SigIgn") & 1 << (libc::SIGUSR1 - 1), 0);
        assert_ne!(hex("SigBlk") & 1 << (libc::SIGUSR2 - 1), 0);
        assert_eq!(seen.one("NoNewPrivs"), "1");
        assert_eq!(seen.one("cwd"), "/dev");
        let core = |line: &&&str| line.starts_with("Max core");
        let limits = seen.all("limit");
        let core = limits.iter().find(core).unwrap();
        let words: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{core}");
        assert_eq!(seen.fds(), [0, 1, 2]);
    });
}

fn context_dir(context: &mut HookContext<'_>) -> Result<i32, Errno> {
    let flags = libc::O_DIRECTORY | libc::O_CLOEXEC;
    context.open(c"/dev", flags, 0)
}

#[test]
fn hook_context_refuses_requests_with_an_address() {
    let _alone = alone();
    let mut command = Command::new("/bin/true");
    add(&mut command, Engine::Copied, |context| {
        let all = [
            context.ioctl(0, libc::TIOCGWINSZ, 64),
            context.prctl(libc::PR_SET_NAME, 64),
            context.prctl(libc::PR_SET_DUMPABLE, 1),
            context.prctl(libc::PR_SET_MM, 1),
        ];
        let refused = |r: &Result<(), Errno>| *r == Err(errno(libc::EINVAL));
        if all.iter().all(refused) { Ok(()) } else { Err(errno(libc::EDOM)) }
    });
    assert!(command.status().unwrap().success());
}

/// Each way to fail, and the error of spawn.
#[test]
fn a_hook_that_fails_is_an_error_at_pre_exec() {
    let _alone = alone();
    let raise: Hook = |_| {
        // SAFETY: kills this child.
        unsafe { libc::syscall(libc::SYS_kill, own_pid(), libc::SIGKILL) };
        Ok(())
    };
    let exit: Hook = |_| {
        // SAFETY: ends this child, against the contract of a hook.
        unsafe { libc::_exit(0) }
    };
    each(|engine| {
        let failing = |hook: Hook| {
            let mut command = command("/bin/true", engine);
            add(&mut command, engine, hook);
            let error: Error = clean(spawn(command));
            assert_eq!(error.step(), Step::PreExec, "{error}");
            error
        };
        let error = failing(|_| Err(errno(libc::EXDEV)));
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
        let error = failing(|context| context.chdir(c"/nope"));
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = failing(raise);
        assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
        let error = failing(exit);
        assert_eq!(error.raw_os_error(), None);
        assert!(error.to_string().contains("exited with 0"), "{error}");
    });
}

fn own_pid() -> libc::c_long {
    // SAFETY: returns a number and writes no memory.
    unsafe { libc::syscall(libc::SYS_getpid) }
}

/// In its own process: a panic prints, and takes locks.
#[test]
fn a_panic_in_a_hook_is_an_error_and_the_parent_does_not_panic() {
    let _alone = alone();
    let name = "a_panic_in_a_hook_is_an_error_and_the_parent_does_not_panic";
    if !util::inside(name, &[]) {
        return;
    }
    each(|engine| {
        let mut command = command("/bin/true", engine);
        add(&mut command, engine, |_| panic!("in a hook"));
        let error = command.spawn().map(drop).unwrap_err();
        assert_eq!(error.step(), Step::PreExec, "{error}");
        assert!(error.to_string().contains("panicked"), "{error}");
        // In shared memory the panic count is the parent's.
        assert!(!std::thread::panicking());
        assert!(!util::has_children());
        let caught = std::panic::catch_unwind(|| panic!("in the parent"));
        assert!(caught.is_err());
    });
}

#[test]
fn hooks_run_in_the_memory_their_name_says() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let _alone = alone();
    let count = |command: &mut Command, engine| {
        add(command, engine, |_| {
            COUNT.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(command.status().unwrap().success());
    };
    let mut shared = Command::new("/bin/true");
    count(&mut shared, Engine::Suspended);
    assert_eq!(COUNT.load(Ordering::SeqCst), 1);
    let mut private = Command::new("/bin/true");
    count(&mut private, Engine::Copied);
    assert_eq!(COUNT.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hook_is_refused_with_the_other_kind_of_memory() {
    let mut cases = Vec::new();
    let make = |engine, set: fn(&mut Command) -> &mut Command| {
        let mut command = Command::new("/bin/true");
        add(&mut command, engine, |_| Ok(()));
        set(&mut command);
        command
    };
    let shared = Engine::Suspended;
    cases.push((
        "pre_exec",
        make(Engine::Copied, |c| c.memory(Memory::Shared)),
    ));
    cases.push((
        "pre_exec",
        make(Engine::Copied, |c| c.engine(Engine::Suspended)),
    ));
    cases.push((
        "pre_exec_shared",
        make(shared, |c| c.memory(Memory::Private)),
    ));
    cases.push(("pre_exec_shared", make(shared, |c| c.engine(Engine::Pipe))));
    cases.push(("uid", make(shared, |c| c.uid(1))));
    let mut both = make(shared, |c| c);
    add(&mut both, Engine::Copied, |_| Ok(()));
    cases.push(("pre_exec", both));
    for (option, mut command) in cases {
        let error = command.spawn().unwrap_err();
        assert_eq!(error.step(), Step::Memory, "{error}");
        assert_eq!(error.operand().unwrap(), option, "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

/// The hook runs in this process, and sets the mask of the new program.
#[test]
fn a_hook_runs_before_an_exec_in_place() {
    let name = "a_hook_runs_before_an_exec_in_place";
    let _alone = alone();
    const OUT: &str = "OFFSHOOT_HOOK_OUT";
    if let Some(out) = std::env::var_os(OUT) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(util::reporter::ASK).arg(out);
        add(&mut command, Engine::Copied, |context| {
            let mask = 1 << (libc::SIGUSR2 - 1);
            context.sigprocmask(MaskChange::Set(mask));
            context.umask(0o70);
            Ok(())
        });
        panic!("{}", command.exec());
    }
    let out = scratch("hook-exec").join("report");
    let exe = std::env::current_exe().unwrap();
    let status = Command::new(exe)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(OUT, &out)
        .stdout(offshoot::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let seen = Report::parse(&std::fs::read(&out).unwrap());
    assert_eq!(seen.one("Umask"), "0070");
    let mask = u64::from_str_radix(seen.one("SigBlk"), 16).unwrap();
    assert_eq!(mask, 1 << (libc::SIGUSR2 - 1));
}

/// A hook may call execve itself: the child runs, and is returned.
#[test]
fn a_hook_that_execs_itself_leaves_a_child_to_wait_for() {
    let _alone = alone();
    each(|engine| {
        let mut command = Command::new("/no/such/program");
        command.engine(engine);
        add(&mut command, engine, |_| {
            let path = c"/bin/sh".as_ptr();
            let script = c"sleep 0.1; exit 7".as_ptr();
            let argv = [path, c"-c".as_ptr(), script, std::ptr::null()];
            let envp = [std::ptr::null()];
            // SAFETY: a path and two lists that end in NULL.
            unsafe { libc::execve(path, argv.as_ptr(), envp.as_ptr()) };
            Err(errno(libc::EDOM))
        });
        let mut child = command.spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "{engine}");
        assert!(!util::has_children(), "{engine}");
    });
}

/// In shared memory they would make the parent undumpable for life.
#[test]
fn a_hook_changes_ids_in_private_memory_only() {
    let root = util::is_root();
    each(|engine| {
        let mut cat = util::clean::command("cat", engine);
        cat.arg("/proc/self/status");
        add(&mut cat, engine, |context| {
            let [uid, euid, gid, egid] = context.ids();
            let flag = context.prctl_get(libc::PR_GET_NO_NEW_PRIVS, 0)?;
            let other = context.prctl_get(libc::PR_GET_NAME, 64);
            let known = flag < 2 && other == Err(errno(libc::EINVAL));
            if !known || context.parent_id() == context.id() {
                return Err(errno(libc::EDOM));
            }
            if uid != 0 {
                return context.setresuid(uid, euid, u32::MAX);
            }
            context.setgroups(&[5])?;
            context.setresgid(gid + 7, egid + 7, 7)?;
            context.setresuid(8, 8, 8)
        });
        let before = util::dumpable();
        let output = cat.output();
        assert_eq!(util::dumpable(), before);
        if engine == Engine::Suspended {
            let error = output.unwrap_err();
            assert_eq!(error.step(), offshoot::Step::PreExec, "{error}");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            return;
        }
        let status = String::from_utf8(output.unwrap().stdout).unwrap();
        if root {
            for line in ["Uid:\t8\t8\t8\t8", "Gid:\t7\t7\t7\t7", "Groups:\t5"]
            {
                assert!(status.contains(line), "{engine}: {status}");
            }
        }
    });
}
