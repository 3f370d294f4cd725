//! Credentials: memory is copied where the exec of a helper would change the
//! credentials of the child, so that its program has the same ones.
#![allow(unsafe_code, reason = "the tests change ids and capabilities")]

mod util;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::{env, fs, io, process, thread};

use offshoot::{CapabilitySet, Command, Engine, Groups, Memory, Stdio, Step};
use util::fork::forked;
use util::{alone, is_root, scratch};

type Set = fn(&mut Command) -> &mut Command;

/// Options that set what an exec recomputes. A caller may lack the privilege.
const OPTIONS: [Set; 6] = [
    |it| it,
    |it| it.groups(Groups::keep()).uid(65534),
    |it| it.gid(65534).uid(65534),
    |it| it.ambient_capabilities(CHOWN),
    |it| it.ambient_capabilities(CHOWN).groups(Groups::keep()).uid(65534),
    |it| it.permitted_capabilities(CHOWN).inheritable_capabilities(CHOWN),
];

const CHOWN: CapabilitySet = CapabilitySet::CHOWN;

/// The credentials of a child of this thread, and its engine; or the step that
/// failed.
fn credentials(
    command: &mut Command,
    set: Set,
) -> Result<(Engine, Vec<String>), (Step, Option<i32>)> {
    set(command.arg("/proc/self/status").stdout(Stdio::piped()));
    let child = command.spawn();
    let child = child.map_err(|it| (it.step(), it.raw_os_error()))?;
    let engine = child.launch().engine();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let keys = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs"];
    let own = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    let all: Vec<_> = text.lines().filter(own).map(String::from).collect();
    assert!(all.len() >= 9, "{text}");
    Ok((engine, all))
}

/// Runs `change` in a new thread, whose children must then have the same
/// credentials with private memory as in a copied child. Returns the engine.
fn engine_after(change: impl FnOnce() + Send) -> Engine {
    thread::scope(|scope| {
        let test = || {
            change();
            let of = |set: Set| {
                let mut auto = Command::new("/bin/cat");
                let seen = credentials(auto.memory(Memory::Private), set);
                let mut copied = Command::new("/bin/cat");
                let want = credentials(copied.engine(Engine::Copied), set);
                assert_eq!(
                    seen.as_ref().map(|it| &it.1),
                    want.as_ref().map(|it| &it.1)
                );
                seen
            };
            let all = OPTIONS.map(of);
            let without = all.into_iter().next().unwrap();
            without.unwrap().0
        };
        scope.spawn(test).join().unwrap()
    })
}

/// `capset` of the calling thread: `permitted` is effective too.
fn capset(permitted: u64, inheritable: u64) {
    let header = [0x2008_0522u32, 0];
    let half = |n: u64, high: bool| {
        u32::try_from(if high { n >> 32 } else { n & 0xFFFF_FFFF }).unwrap()
    };
    let part = |high| {
        let (p, i) = (half(permitted, high), half(inheritable, high));
        [p, p, i]
    };
    let data = [part(false), part(true)];
    let (header, data) = (header.as_ptr(), data.as_ptr());
    // SAFETY: reads one header and two sets of three words.
    let done = unsafe { libc::syscall(libc::SYS_capset, header, data) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The bits of `CapPrm`.
fn permitted() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap()
}

fn setresuid(ids: [i64; 3]) {
    let [r, e, s] = ids;
    // SAFETY: changes this thread's ids only.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) };
    assert_eq!(done, 0);
}

/// The exec of the helper recomputes credentials: where that would change
/// them, memory is copied instead.
#[test]
fn memory_is_copied_when_an_exec_would_change_credentials() {
    let name = "memory_is_copied_when_an_exec_would_change_credentials";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    assert_eq!(engine_after(|| ()), Engine::Isolated, "unchanged");
    let nnp = || {
        // SAFETY: changes this thread only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    };
    assert_eq!(engine_after(nnp), Engine::Isolated, "no_new_privs");
    if !is_root() {
        return;
    }
    let chown = 1u64;
    let less = || capset(permitted() & !chown, 0);
    assert_eq!(
        engine_after(less),
        Engine::Copied,
        "root without a capability"
    );
    let saved = || setresuid([1000, 1000, 0]);
    assert_eq!(engine_after(saved), Engine::Copied, "root in the saved id");
    let user = || {
        let all = permitted();
        // SAFETY: keeps this thread's capabilities over setresuid.
        unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
        setresuid([1000, 1000, 1000]);
        capset(all, 0);
    };
    assert_eq!(engine_after(user), Engine::Copied, "a user with capabilities");
    let ambient = || {
        user();
        capset(chown, chown);
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: raises one ambient capability of this thread.
        let done =
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, 0, 0, 0) };
        assert_eq!(done, 0);
    };
    assert_eq!(engine_after(ambient), Engine::Isolated, "exec keeps them");
    let plain = || setresuid([1000, 1000, 1000]);
    assert_eq!(engine_after(plain), Engine::Isolated, "an ordinary user");
    let noroot = || {
        const SECBIT_NOROOT: libc::c_int = 1;
        // SAFETY: changes this thread only.
        unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NOROOT) };
    };
    assert_eq!(engine_after(noroot), Engine::Copied, "SECBIT_NOROOT");
}

/// `setcap cap_chown+ep`, as an extended attribute.
fn setcap(path: &Path) -> io::Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let words = [REVISION_2_EFFECTIVE, 1, 0, 0, 0].map(u32::to_le_bytes);
    let (value, name) = (words.concat(), c"security.capability");
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let (path, name) = (path.as_ptr(), name.as_ptr());
    let (at, len) = (value.as_ptr().cast(), value.len());
    // SAFETY: two C strings and a slice, all alive to the end of the body.
    let done = unsafe { libc::setxattr(path, name, at, len, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The capability comes from the file: an exec of another file drops it.
#[test]
fn memory_is_copied_for_a_parent_with_file_capabilities() {
    const INSIDE: &str = "OFFSHOOT_FILE_CAPABILITIES";
    let name = "memory_is_copied_for_a_parent_with_file_capabilities";
    if env::var_os(INSIDE).is_some() {
        assert_eq!(permitted(), 1, "as in the file");
        assert_eq!(engine_after(|| ()), Engine::Copied);
        return;
    }
    let _alone = alone();
    if !is_root() {
        return util::skip(name, "file capabilities need CAP_SETFCAP");
    }
    let dir = scratch("file-capabilities");
    let copy = dir.join("program");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    if let Err(error) = setcap(&copy) {
        return util::skip(name, &format!("no file capabilities: {error}"));
    }
    let output = process::Command::new(&copy)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

/// A process has all capabilities there, and an unmapped id: an exec drops
/// them all.
#[test]
fn memory_is_copied_in_a_user_namespace_without_id_maps() {
    let name = "memory_is_copied_in_a_user_namespace_without_id_maps";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let status = forked(|| {
        // SAFETY: changes the child, which has one thread.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0;
        let engine = || std::panic::catch_unwind(|| engine_after(|| ()));
        match unshared {
            true if engine().is_ok_and(|it| it == Engine::Copied) => 0,
            true => 1,
            false => 77,
        }
    });
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 77 {
        return util::skip(name, "user namespaces are not allowed");
    }
    assert_eq!(status, 0);
}

/// The label applies to the next exec, which would be that of the helper. Two
/// files mounted over those of this thread in /proc act as a security module.
#[test]
fn memory_is_copied_when_a_security_label_is_set_for_exec() {
    let name = "memory_is_copied_when_a_security_label_is_set_for_exec";
    let _alone = alone();
    if !is_root() {
        return util::skip(name, "a mount needs CAP_SYS_ADMIN");
    }
    let wrap = ["unshare", "--mount", "--propagation", "private"];
    if !util::inside(name, &wrap) {
        return;
    }
    let dir = scratch("label");
    let mount_label = |file: &str, label: &str| {
        let from = dir.join(file);
        fs::write(&from, label).unwrap();
        let text = |path: &Path| {
            std::ffi::CString::new(path.to_str().unwrap()).unwrap()
        };
        let to = fs::canonicalize("/proc/thread-self/attr").unwrap();
        let (from, to) = (text(&from), text(&to.join(file)));
        let (none, bind) = (std::ptr::null(), libc::MS_BIND);
        let (from, to) = (from.as_ptr(), to.as_ptr());
        // SAFETY: two C strings, alive to the end of the body.
        let done = unsafe { libc::mount(from, to, none, bind, none.cast()) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    };
    let engine = || {
        let mut command = Command::new("/bin/true");
        let mut child = command.memory(Memory::Private).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        let why = child.launch().fallbacks().map(|f| f.instead()).next();
        (child.launch().engine(), why)
    };
    mount_label("current", "a label\n");
    mount_label("exec", "");
    assert_eq!(engine(), (Engine::Isolated, None));
    mount_label("exec", "another\0");
    let why = "copied, as exec consumes the security label";
    assert_eq!(engine(), (Engine::Copied, Some(why)));
}
