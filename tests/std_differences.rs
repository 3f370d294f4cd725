//! Differences from std: each row of docs/compare.md, done through std and
//! through offshoot. What both do alike is in tests/oracle.rs.
#![allow(unsafe_code, reason = "wraps posix_spawn and replaces environ")]

mod util;

use std::error::Error as _;
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, io, mem, process, ptr};

use offshoot::{Command, Error, Groups, Step};
use util::reporter::{ASK, Report, descriptors};
use util::{alone, inside, is_root, program, scratch};

/// The same calls on both builders, and the reports of their children.
macro_rules! reports {
    (|$c:ident| $body:expr) => {{
        let exe = env::current_exe().unwrap();
        let mut $c = process::Command::new(&exe);
        $c.args([ASK, "-"]);
        let _ = $body;
        let std = Report::parse(&$c.output().unwrap().stdout);
        let mut $c = Command::new(&exe);
        $c.args([ASK, "-"]);
        let _ = $body;
        (std, Report::parse(&$c.output().unwrap().stdout))
    }};
}

/// The same calls on both builders, and their errors.
macro_rules! errors {
    ($program:expr, |$c:ident| $body:expr) => {{
        let mut $c = process::Command::new($program);
        let _ = $body;
        let std = $c.spawn().map(drop).unwrap_err();
        let mut $c = Command::new($program);
        let _ = $body;
        (std, $c.spawn().map(drop).unwrap_err())
    }};
}

#[test]
fn the_errno_of_an_error_converted_to_io_error_is_inside_it() {
    fn spawn(directory: &str) -> io::Result<()> {
        Command::new("/bin/true").current_dir(directory).spawn()?;
        Ok(())
    }
    let (std, _) = errors!("/bin/true", |c| c.current_dir("/nope"));
    let ours = spawn("/nope").unwrap_err();
    assert_eq!(std.kind(), ours.kind());
    assert_eq!(std.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(
        ours.raw_os_error(),
        None,
        "io::Error has an errno or an error"
    );
    let inside = ours.get_ref().and_then(|e| e.downcast_ref::<Error>());
    let inside = inside.expect("our own error");
    assert_eq!(inside.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(inside.step(), Step::Chdir);
    assert_eq!(inside.to_string(), ours.to_string());
    // io::Error::source is the source of the inner error, not that error.
    assert!(ours.source().is_none() && inside.source().is_none());
}

#[test]
fn an_empty_program_or_directory_is_refused_where_std_gives_enoent() {
    for case in ["program", "directory"] {
        let (std, ours) = match case {
            "program" => errors!("", |c| &mut c),
            _ => errors!("/bin/true", |c| c.current_dir("")),
        };
        assert_eq!(std.raw_os_error(), Some(libc::ENOENT), "{case}");
        assert_eq!(ours.kind(), io::ErrorKind::InvalidInput, "{ours}");
        assert_eq!(ours.raw_os_error(), None, "{ours}");
    }
}

#[test]
fn a_user_id_of_all_ones_is_refused_by_name_where_std_gives_einval() {
    let (std, ours) = errors!("/bin/true", |c| c.uid(u32::MAX));
    assert_eq!(std.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(ours.kind(), std.kind());
    assert_eq!(ours.step(), Step::Uid);
    let (std, ours) = errors!("/bin/true", |c| c.gid(u32::MAX));
    assert_eq!(std.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(ours.kind(), std.kind());
    assert_eq!(ours.step(), Step::Gid);
}

/// std calls execvp where it forks, and execvp runs a file without a format
/// by a shell.
#[test]
fn a_file_without_a_format_is_not_run_by_a_shell_by_default() {
    let _alone = alone();
    let path = scratch("no-format").join("script");
    program(&path, b"exit 7\n");
    let hook = || Ok(());
    let (std, ours) = errors!(&path, |c| &mut c);
    assert_eq!(std.raw_os_error(), Some(libc::ENOEXEC));
    assert_eq!(ours.raw_os_error(), Some(libc::ENOEXEC));
    let mut forked = process::Command::new(&path);
    // SAFETY: the hook does nothing.
    unsafe { forked.pre_exec(hook) };
    assert_eq!(forked.status().unwrap().code(), Some(7));
    let mut hooked = Command::new(&path);
    // SAFETY: the hook does nothing.
    unsafe { hooked.pre_exec(|_| Ok(())) };
    let error = hooked.spawn().map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC), "{error}");
    assert_eq!(hooked.shell_fallback(true).status().unwrap().code(), Some(7));
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::geteuid() };
    let mut forked = process::Command::new(&path);
    assert_eq!(forked.uid(own).status().unwrap().code(), Some(7));
    let error = Command::new(&path).uid(own).spawn().map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC), "{error}");
    let error = Command::new(&path).exec();
    assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC), "{error}");
    const STD: &str = "OFFSHOOT_EXEC_BY_STD";
    let name = "a_file_without_a_format_is_not_run_by_a_shell_by_default";
    if env::var_os(STD).is_some() {
        panic!("{}", process::Command::new(&path).exec());
    }
    let mut again = process::Command::new(env::current_exe().unwrap());
    let again = again.args(["--exact", name]).env(STD, "1");
    let again = again.env("TMPDIR", scratch("exec-by-std")).output().unwrap();
    assert_eq!(again.status.code(), Some(7), "{again:?}");
}

/// An environ as some launchers build it.
#[test]
fn malformed_environ_entries_are_passed_on_as_std_reads_them() {
    let name = "malformed_environ_entries_are_passed_on_as_std_reads_them";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    unsafe extern "C" {
        static mut environ: *const *const c_char;
    }
    let entries = [c"A=1".as_ptr(), c"odd".as_ptr(), c"A=2".as_ptr()];
    let list = [entries[0], entries[1], entries[2], ptr::null()];
    // SAFETY: no other thread of this process changes its environment.
    let before = unsafe { environ };
    // SAFETY: no other thread reads its environment; the list outlives this.
    unsafe { environ = list.as_ptr() };
    let (std, ours) = reports!(|c| &mut c);
    assert_eq!(std.all("env"), ["A=1", "odd", "A=2"], "environ, unchanged");
    assert_eq!(ours.all("env"), ["A=1", "A=2"], "what std reads of it");
    // With a change, std builds a map of what it reads.
    let (std, ours) = reports!(|c| c.env("B", "3"));
    assert_eq!(std.all("env"), ["A=2", "B=3"]);
    assert_eq!(ours.all("env"), ["A=1", "A=2", "B=3"]);
    let (std, ours) = reports!(|c| c.env("A", "3"));
    assert_eq!((std.all("env"), ours.all("env")), (vec!["A=3"], vec!["A=3"]));
    // SAFETY: as above; the first list lives as long as the process.
    unsafe { environ = before };
}

#[test]
fn each_child_holds_a_pidfd_until_it_is_dropped() {
    let name = "each_child_holds_a_pidfd_until_it_is_dropped";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let before = descriptors().len();
    let mut std = process::Command::new("/bin/true").spawn().unwrap();
    assert_eq!(descriptors().len(), before);
    let mut ours = Command::new("/bin/true").spawn().unwrap();
    assert_eq!(descriptors().len(), before + 1);
    assert!(ours.wait().unwrap().success() && std.wait().unwrap().success());
    assert_eq!(descriptors().len(), before + 1, "after the wait too");
    drop(ours);
    assert_eq!(descriptors().len(), before);
}

static WRAPPED: AtomicUsize = AtomicUsize::new(0);
static FORKS: AtomicUsize = AtomicUsize::new(0);

type Spawn = unsafe extern "C" fn(
    *mut libc::pid_t,
    *const c_char,
    *const c_void,
    *const c_void,
    *const *mut c_char,
    *const *mut c_char,
) -> c_int;

/// Replaces libc's function, as an LD_PRELOAD library does.
///
/// # Safety
///
/// As `posix_spawnp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_spawnp(
    pid: *mut libc::pid_t,
    file: *const c_char,
    actions: *const c_void,
    attr: *const c_void,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
) -> c_int {
    WRAPPED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: asks the linker for libc's own.
    let next =
        unsafe { libc::dlsym(libc::RTLD_NEXT, c"posix_spawnp".as_ptr()) };
    assert!(!next.is_null());
    // SAFETY: libc's function of this name has this type.
    let next = unsafe { mem::transmute::<*mut c_void, Spawn>(next) };
    // SAFETY: the arguments that this function was called with.
    unsafe { next(pid, file, actions, attr, argv, envp) }
}

#[test]
fn posix_spawn_wrappers_and_atfork_handlers_do_not_see_a_spawn() {
    let name = "posix_spawn_wrappers_and_atfork_handlers_do_not_see_a_spawn";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::SeqCst);
    }
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> c_int;
    }
    // SAFETY: the function adds to an atomic.
    let done = unsafe { pthread_atfork(Some(forked), None, None) };
    assert_eq!(done, 0);
    let seen = || {
        let wrapped = WRAPPED.swap(0, Ordering::SeqCst);
        (wrapped, FORKS.swap(0, Ordering::SeqCst))
    };
    assert!(process::Command::new("/bin/true").status().unwrap().success());
    assert_eq!(seen(), (1, 0), "std calls posix_spawnp");
    let mut forks = process::Command::new("/bin/true");
    // SAFETY: the hook does nothing.
    unsafe { forks.pre_exec(|| Ok(())) };
    assert!(forks.status().unwrap().success());
    assert_eq!(seen(), (0, 1), "and forks where there is a hook");
    let mut ours = Command::new("/bin/true");
    assert!(ours.status().unwrap().success());
    // SAFETY: the hook does nothing.
    unsafe { ours.pre_exec(|_| Ok(())) };
    assert!(ours.status().unwrap().success());
    assert_eq!(seen(), (0, 0));
}

/// A thread with three different user ids: setuid(2), which std calls,
/// changes only the effective one without privilege.
#[test]
fn uid_sets_the_real_effective_and_saved_user_id() {
    let name = "uid_sets_the_real_effective_and_saved_user_id";
    let _alone = alone();
    if !is_root() {
        return util::skip(name, "only root has other ids to change to");
    }
    let words = ["Uid", "/proc/self/status"];
    let ids = |text: Vec<u8>| -> Vec<u32> {
        let text = String::from_utf8(text).unwrap();
        text.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect()
    };
    let thread = move || {
        // SAFETY: changes this thread's ids only.
        let done =
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 2000, 3000) };
        assert_eq!(done, 0);
        let mut std = process::Command::new("/bin/grep");
        let std = std.args(words).uid(3000).output().unwrap();
        assert_eq!(ids(std.stdout), [1000, 3000, 3000, 3000]);
        let mut ours = Command::new("/bin/grep");
        ours.args(words).uid(3000).groups(Groups::keep());
        assert_eq!(ids(ours.output().unwrap().stdout), [3000; 4]);
    };
    std::thread::spawn(thread).join().unwrap();
}

/// A refusal before the clone has a kind, and no errno of the kernel.
#[test]
fn invalid_values_are_refused_before_the_clone() {
    let (std, ours) = errors!("/bin/true", |c| c.process_group(-1));
    assert_eq!(std.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(ours.kind(), std.kind());
    assert_eq!(ours.step(), Step::ProcessGroup);
}

#[test]
fn a_changed_environment_keeps_its_order_where_std_sorts_it() {
    let name = "a_changed_environment_keeps_its_order_where_std_sorts_it";
    if !inside(name, &[]) {
        return;
    }
    let (std, ours) = reports!(|c| c.env("B", "4"));
    let names = |report: &Report| -> Vec<String> {
        let all = report.all("env");
        let name = |pair: &&str| pair.split('=').next().unwrap().to_string();
        all.iter().map(name).collect()
    };
    let (std, ours) = (names(&std), names(&ours));
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(std, sorted(std.clone()), "std sorts");
    assert_eq!(sorted(std), sorted(ours.clone()), "the same variables");
    let own: Vec<String> = env::vars().map(|(name, _)| name).collect();
    let kept: Vec<&String> = ours.iter().filter(|n| *n != "B").collect();
    assert_eq!(kept, own.iter().collect::<Vec<_>>(), "the parent's order");
}

#[test]
fn proc_self_fd_of_a_parents_descriptor_is_enoent() {
    let file = std::fs::File::open("/bin/true").unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert!(process::Command::new(&path).status().unwrap().success());
    let error = Command::new(&path).spawn().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
    let status = Command::from_fd(file).status().unwrap();
    assert!(status.success(), "from_fd is the option for this");
}

#[test]
fn env_remove_refuses_invalid_names_that_std_ignores() {
    for name in ["A=B", ""] {
        let mut std = process::Command::new("/bin/true");
        assert!(std.env_remove(name).status().unwrap().success());
        let error = Command::new("/bin/true").env_remove(name).spawn();
        assert_eq!(error.unwrap_err().step(), Step::Env);
    }
    // A NUL in a value that is then replaced: std still fails.
    let mut std = process::Command::new("/bin/true");
    let error = std.current_dir("a\0b").current_dir("/").status();
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let mut ours = Command::new("/bin/true");
    ours.current_dir("a\0b").current_dir("/");
    assert!(ours.status().unwrap().success());
}
