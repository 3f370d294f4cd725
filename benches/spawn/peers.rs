//! Peers: the rows, one program started and waited for in many ways, and two
//! floors.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, ptr};

use offshoot::{Command, Engine, Environment, Method, Prepared};

use crate::elf::elf;
use crate::floor::{self, Call};
use crate::options;

/// The program that every row starts, in the form that each needs.
pub(crate) struct Peers {
    path: PathBuf,
    words: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    prepared: Prepared,
    /// The variables, for builders that share them.
    env: Environment,
    copied: Prepared,
    /// By the legacy clone, which resets handlers one by one.
    vfork: Prepared,
    /// With the session, group and mask options; with a hook in shared
    /// memory.
    options: Prepared,
    /// Every option that runs in shared memory, and the calls of its child.
    shared_options: Prepared,
    calls: Vec<Call>,
    memory: Box<options::Memory>,
    hook_shared: Prepared,
    /// With another user, group, groups, root and directory: by the isolated
    /// engine and by the copied one.
    drop: Prepared,
    copied_drop: Prepared,
}

pub(crate) type Run = fn(&Peers);

/// The rows, floors first.
const ROWS: [(&str, Run); 21] = [
    ("floor", |peers| peers.floor(0)),
    ("floor_pidfd", |peers| peers.floor(0x1000)),
    ("prepared", |peers| ours(peers.prepared.spawn())),
    ("builder", |peers| ours(Command::new(&peers.path).spawn())),
    ("builder_env", Peers::builder_env),
    ("fork_exec", Peers::fork_exec),
    ("vfork_exec", Peers::vfork_exec),
    ("posix_spawn", Peers::posix_spawn),
    ("std", |peers| theirs(&mut process::Command::new(&peers.path))),
    ("std_with_hook", Peers::std_with_hook),
    ("copied", |peers| ours(peers.copied.spawn())),
    ("vfork", |peers| ours(peers.vfork.spawn())),
    ("options", |peers| ours(peers.options.spawn())),
    ("floor_options", Peers::floor_options),
    ("shared_options", |peers| ours(peers.shared_options.spawn())),
    ("hook_shared", |peers| ours(peers.hook_shared.spawn())),
    ("drop", |peers| ours(peers.drop.spawn())),
    ("drop_builder", |peers| ours(drop(&peers.path).spawn())),
    (OTHERS, |peers| ours(another_drop(&peers.path).spawn())),
    ("copied_drop", |peers| ours(peers.copied_drop.spawn())),
    ("std_ids", Peers::std_ids),
];

/// The ids that every user may set.
fn own_ids() -> (u32, u32) {
    // SAFETY: returns a number and writes no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    (uid, unsafe { libc::getegid() })
}

/// The usual drop of privileges; without root, what an unprivileged user may
/// set.
pub(crate) fn drop(path: &Path) -> Command {
    let (uid, gid) = own_ids();
    let mut command = Command::new(path);
    command.uid(uid).gid(gid).current_dir("/");
    if uid == 0 {
        command.groups([gid]).chroot("/");
    }
    command
}

/// The row that runs another command each time, so that no helper is cached
/// for it.
pub(crate) const OTHERS: &str = "drop_others";

/// As `drop`, with a command that was not run before.
fn another_drop(path: &Path) -> Command {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut command = drop(path);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    command.env("VARIABLE_1", format!("value {n}"));
    command
}

fn ours(child: Result<offshoot::Child, offshoot::Error>) {
    assert!(child.unwrap().wait().unwrap().success());
}

fn theirs(command: &mut process::Command) {
    assert!(command.status().unwrap().success());
}

/// exit_group(0), the smallest program.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[0x31, 0xFF, 0xB8, 0xE7, 0, 0, 0, 0x0F, 0x05];
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[0, 0, 0x80, 0xD2, 0xC8, 0x0B, 0x80, 0xD2, 1, 0, 0, 0xD4];

impl Peers {
    pub(crate) fn new() -> Peers {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("tiny");
        fs::write(&path, elf(CODE)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let bytes = path.as_os_str().as_bytes();
        let mut words = vec![CString::new(bytes).unwrap()];
        for (key, value) in env::vars_os() {
            let pair = [key.as_bytes(), b"=", value.as_bytes()].concat();
            words.push(CString::new(pair).unwrap());
        }
        assert_eq!(words.len(), 41);
        let null = [ptr::null()];
        let envp = words.iter().skip(1).map(|word| word.as_ptr());
        let envp: Vec<_> = envp.chain(null).collect();
        let argv = vec![words[0].as_ptr(), ptr::null()];
        let command = Command::new(&path);
        let prepared = command.prepare().unwrap();
        let new = || Command::new(&path);
        let copied = new().engine(Engine::Copied).prepare().unwrap();
        let vfork = new().method(Method::Vfork).prepare().unwrap();
        let mut options = new();
        let options = options.setsid(true).umask(0o22).current_dir("/");
        let options = options.prepare().unwrap();
        let shared_options = options::command(&path).prepare().unwrap();
        let mut hook = new();
        // SAFETY: the hook makes one call through its context.
        unsafe { hook.pre_exec_shared(|context| context.setsid()) };
        let hook_shared = hook.prepare().unwrap();
        let isolated = drop(&path).prepare().unwrap();
        let copied_drop = drop(&path).engine(Engine::Copied).prepare();
        let copied_drop = copied_drop.unwrap();
        let mut peers = Peers {
            path,
            words,
            argv,
            envp,
            prepared,
            env: Environment::inherit(),
            copied,
            vfork,
            options,
            shared_options,
            calls: Vec::new(),
            memory: options::Memory::new(),
            hook_shared,
            drop: isolated,
            copied_drop,
        };
        peers.calls = peers.memory.calls();
        peers.calls.push(peers.exec());
        peers
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.env
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the row of this name once.
    pub(crate) fn run(&self, name: &str) {
        let row = ROWS.iter().find(|row| row.0 == name);
        row.expect("a row's name").1(self);
    }

    pub(crate) fn rows(&self) -> &'static [(&'static str, Run)] {
        &ROWS
    }

    fn builder_env(&self) {
        ours(Command::new(&self.path).environment(&self.env).spawn());
    }

    /// clone3(VM | VFORK), execve and wait, without which there is no spawn.
    fn floor(&self, flags: u64) {
        let mut pidfd = -1i64;
        let mut args = [0u64; 8];
        args[0] = 0x4100 | flags;
        args[1] = (&raw mut pidfd) as u64;
        args[4] = 17;
        // SAFETY: the kernel reads 64 bytes of `args`, which live here.
        let pid = unsafe { self.enter(435, args.as_ptr() as u64, 64) };
        reap(pid);
        if flags != 0 {
            let fd = (pidfd & 0xFFFF_FFFF) as i32;
            // SAFETY: the new pidfd, which has no other owner.
            unsafe { libc::close(fd) };
        }
    }

    /// The calls of `shared_options` in parent and child: signals are blocked
    /// around the clone, and exec is told from death by a second wait.
    fn floor_options(&self) {
        const FLAGS: u64 = 0x1_0000_5500;
        let (mut pidfd, mut args) = (-1i64, [0u64; 8]);
        args[0] = FLAGS;
        args[1] = (&raw mut pidfd) as u64;
        let (all, mut old) = ([u64::MAX], [0u64]);
        // SAFETY: reads and writes 8 bytes of this frame.
        let mask = |set: *const u64, to: *mut u64| unsafe {
            let how = libc::SIG_SETMASK;
            libc::syscall(libc::SYS_rt_sigprocmask, how, set, to, 8)
        };
        mask(all.as_ptr(), old.as_mut_ptr());
        // SAFETY: the kernel reads 64 bytes of `args`; the calls are those of
        // a child that has its own descriptors before it changes any.
        let pid = unsafe {
            floor::enter(435, args.as_ptr() as u64, 64, &self.calls)
        };
        mask(old.as_ptr(), ptr::null_mut());
        let id = libc::id_t::try_from(pid).unwrap();
        let how = libc::WEXITED | libc::WNOHANG | libc::__WCLONE;
        // SAFETY: waits for our own child and writes nothing.
        unsafe { libc::waitid(libc::P_PID, id, ptr::null_mut(), how) };
        reap(pid);
        // SAFETY: the new pidfd, which has no other owner.
        unsafe { libc::close((pidfd & 0xFFFF_FFFF) as i32) };
    }

    /// clone(VM | VFORK | SIGCHLD), as a libc's vfork does.
    fn vfork_exec(&self) {
        let nr = libc::SYS_clone.unsigned_abs();
        // SAFETY: no argument of this call is an address.
        reap(unsafe { self.enter(nr, 0x4111, 0) });
    }

    /// Clones by a call of two arguments; the child calls execve at once.
    ///
    /// # Safety
    ///
    /// The call is clone or clone3 with VM and VFORK, its arguments valid.
    unsafe fn enter(&self, nr: u64, one: u64, two: u64) -> i64 {
        // SAFETY: as this function's; execve leaves our memory as it is.
        unsafe { floor::enter(nr, one, two, &[self.exec()]) }
    }

    /// The execve of the program.
    fn exec(&self) -> Call {
        let path = self.words[0].as_ptr() as u64;
        let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
        Call::new(libc::SYS_execve, &[path, argv as u64, envp as u64])
    }

    fn fork_exec(&self) {
        // SAFETY: the child makes two system calls and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let path = self.words[0].as_ptr();
            let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
            // SAFETY: terminated arrays of C strings that live in `self`.
            unsafe { libc::execve(path, argv, envp) };
            // SAFETY: ends the child without running exit handlers.
            unsafe { libc::_exit(127) };
        }
        reap(i64::from(pid));
    }

    fn posix_spawn(&self) {
        reap(self.posix_spawn_only());
    }

    /// Starts the program by posix_spawn and returns its process id.
    pub(crate) fn posix_spawn_only(&self) -> i64 {
        let mut pid = 0;
        // SAFETY: as for execve above; no actions, no attributes.
        let errno = unsafe {
            libc::posix_spawn(
                &mut pid,
                self.words[0].as_ptr(),
                ptr::null(),
                ptr::null(),
                self.argv.as_ptr().cast(),
                self.envp.as_ptr().cast(),
            )
        };
        assert_eq!(errno, 0);
        i64::from(pid)
    }

    fn std_ids(&self) {
        let (uid, gid) = own_ids();
        theirs(process::Command::new(&self.path).uid(uid).gid(gid));
    }

    fn std_with_hook(&self) {
        let mut command = process::Command::new(&self.path);
        // SAFETY: a hook that does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
        theirs(&mut command);
    }
}

pub(crate) fn reap(pid: i64) {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).unwrap();
    let mut status = -1;
    // SAFETY: waits for our own child, and writes one int.
    let reaped = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!((reaped, status), (pid, 0));
}
