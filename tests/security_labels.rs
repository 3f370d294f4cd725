//! Security labels and the session keyring: what the kernel is given, and what
//! is refused.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::{fs, io, thread};

use offshoot::{Command, Step};
use util::clean::{assert_error, clean, command, refused};
use util::filter::{self, Action};
use util::notify::{self, Answer};
use util::reporter::session_keyring;
use util::{PRIVATE, alone, dumpable, each_engine, each_of, is_root};
use util::{report, reporter_with};

/// The serial number and the description of a reported keyring.
fn keyring(text: &str) -> (&str, Vec<&str>) {
    let (id, description) = text.split_once(' ').unwrap();
    (id, description.split(';').collect())
}

/// Whether this thread has a session keyring.
fn has_keyrings(test: &str) -> bool {
    let own = session_keyring();
    let has = own.contains(";");
    if !has {
        util::skip(test, "keyctl is not available");
    }
    has
}

/// In shared memory too: the parent's keyring and its dumpable flag stay.
#[test]
fn a_session_keyring_is_the_childs_only() {
    if !has_keyrings("a_session_keyring_is_the_childs_only") {
        return;
    }
    each_engine(|engine| {
        let (before, flag) = (session_keyring(), dumpable());
        let inherited = report(&mut reporter_with(engine));
        assert_eq!(inherited.one("keyring"), before);
        let mut child = reporter_with(engine);
        let seen = report(child.new_session_keyring(true));
        let (id, description) = keyring(seen.one("keyring"));
        assert_ne!(id, keyring(&before).0);
        assert_eq!(description.last(), Some(&"_ses"));
        let again = report(&mut child);
        assert_ne!(keyring(again.one("keyring")).0, id, "a new one each time");
        let mut child = reporter_with(engine);
        let seen = report(child.session_keyring("offshoot test"));
        let (_, description) = keyring(seen.one("keyring"));
        assert_eq!(description.last(), Some(&"offshoot test"));
        child.new_session_keyring(false);
        assert_eq!(report(&mut child).one("keyring"), before);
        assert_eq!((session_keyring(), dumpable()), (before, flag));
    });
}

#[test]
fn a_session_keyring_belongs_to_the_programs_user() {
    let name = "a_session_keyring_belongs_to_the_programs_user";
    if !has_keyrings(name) {
        return;
    }
    if !is_root() {
        return util::skip(name, "only root has other ids to change to");
    }
    let _alone = alone();
    // The reporter is in a directory that every user can search.
    let program = util::scratch("keyring").join("reporter");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    each_of(&PRIVATE, |engine| {
        let mut child = Command::new(&program);
        child.arg(util::reporter::ASK).arg("-").engine(engine);
        child.uid(65534).gid(65534).new_session_keyring(true);
        let seen = report(&mut child);
        let (_, description) = keyring(seen.one("keyring"));
        assert_eq!(description[1..3], ["65534", "65534"]);
    });
}

#[test]
fn a_session_keyring_that_cannot_be_joined_says_why() {
    each_engine(|engine| {
        for (name, why) in [
            ("", "the name is empty"),
            (".system", "begin with a dot"),
            ("a\0b", "NUL"),
        ] {
            let mut child = command("/bin/true", engine);
            let error = clean(|| child.session_keyring(name).plan().map(drop));
            refused(&error, Step::SessionKeyring, Some(name), why);
        }
        let mut child = command("/bin/true", engine);
        child.session_keyring("x".repeat(4001));
        let error = clean(|| child.spawn().map(drop));
        refused(&error, Step::SessionKeyring, None, "over 4,000 bytes");
        let eperm = Action::errno(libc::EPERM);
        filter::with(libc::SYS_keyctl, eperm, || {
            let mut child = command("/bin/true", engine);
            child.new_session_keyring(true);
            let error = child.spawn().unwrap_err();
            assert_error(&error, Step::SessionKeyring, None, libc::EPERM);
            let text = error.to_string();
            assert!(text.contains("a filter rejects keyctl"), "{text}");
        });
        // A call without effect returns 0, which is no keyring.
        filter::with(libc::SYS_keyctl, Action::Errno(0), || {
            let mut child = command("/bin/true", engine);
            child.new_session_keyring(true);
            let error = child.spawn().unwrap_err();
            assert_eq!(error.step(), Step::SessionKeyring, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        });
    });
}

/// Acts as a kernel with the security module: the first write of `len` bytes
/// of a child of the thread is not made and succeeds. Returns the file and the
/// bytes.
fn written_by(len: u32, mut child: Command) -> (String, Vec<u8>) {
    let (sent, received) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            sent.send(notify_writes(len)).unwrap();
            assert!(child.status().unwrap().success());
        });
        let listener = received.recv().unwrap();
        let notice = notify::receive(&listener).unwrap();
        let (pid, fd) = (notice.pid, notice.args[0]);
        let file = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        let mut bytes = vec![0; len as usize];
        let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        memory.read_exact_at(&mut bytes, notice.args[1]).unwrap();
        notify::answer(&listener, &notice, Answer::Value(len.into()));
        drop(listener);
        let file = file.to_str().unwrap().replace(&pid.to_string(), "PID");
        (file, bytes)
    })
}

/// Makes writes of `len` bytes of this thread and its children wait for an
/// answer from the listener that is returned.
fn notify_writes(len: u32) -> OwnedFd {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const NEW_LISTENER: libc::c_ulong = 1 << 3;
    const USER_NOTIF: u32 = 0x7FC0_0000;
    let row = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let write = u32::try_from(libc::SYS_write).unwrap();
    let mut rows = [
        row(LOAD, 0, 0, 0),
        row(EQUAL, 0, 3, write),
        row(LOAD, 0, 0, 32),
        row(EQUAL, 0, 1, len),
        row(RETURN, 0, 0, USER_NOTIF),
        row(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 6, filter: rows.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, mode, NEW_LISTENER, &program)
    };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) }
}

const CONTEXT: &str = "offshoot_u:offshoot_r:offshoot_t:s0:c0.c1023";

/// This kernel may have neither module: the files exist where it was built
/// with SELinux or AppArmor, and the answer to the write is an emulated one.
#[test]
fn a_label_is_written_to_the_file_of_its_module() {
    let name = "a_label_is_written_to_the_file_of_its_module";
    let modules = [
        ("attr/exec", CONTEXT.to_string()),
        ("attr/apparmor/exec", "exec a-rather-long-profile//name".into()),
    ];
    let here =
        |file: &str| fs::exists(format!("/proc/thread-self/{file}")).unwrap();
    if !modules.iter().any(|(file, _)| here(file)) {
        return util::skip(name, "the kernel has no security modules");
    }
    for (file, bytes) in modules.iter().filter(|(file, _)| here(file)) {
        each_engine(|engine| {
            let mut child = command("/bin/true", engine);
            match bytes.strip_prefix("exec ") {
                Some(profile) => child.apparmor_profile(profile),
                None => child.selinux_context(CONTEXT),
            };
            let len = u32::try_from(bytes.len()).unwrap();
            let (to, seen) = written_by(len, child);
            assert_eq!(to, format!("/proc/PID/task/PID/{file}"), "{engine}");
            assert_eq!(seen, bytes.as_bytes(), "{engine}");
        });
    }
}

/// A real transition: every kernel with AppArmor in use has this profile, and
/// an unconfined process may change to it.
#[test]
fn the_profile_unconfined_is_entered_where_apparmor_is_in_use() {
    let name = "the_profile_unconfined_is_entered_where_apparmor_is_in_use";
    let current = "/proc/self/attr/apparmor/current";
    let own = fs::read_to_string(current).unwrap_or_default();
    if own.trim_end() != "unconfined" {
        return util::skip(name, "AppArmor is not in use");
    }
    each_engine(|engine| {
        let mut cat = command("cat", engine);
        let output = cat.arg(current).apparmor_profile("unconfined").output();
        assert_eq!(output.unwrap().stdout, b"unconfined\n", "{engine}");
        let mut child = command("/bin/true", engine);
        let error = child.apparmor_profile("no-such-profile").spawn();
        let error = error.map(drop).unwrap_err();
        let label = Some("no-such-profile");
        assert_error(&error, Step::ApparmorProfile, label, libc::ENOENT);
    });
}

/// No kernel has both modules in use, and none has these labels.
#[test]
fn a_label_that_no_module_knows_is_named() {
    each_engine(|engine| {
        for (step, label) in [
            (Step::SelinuxContext, CONTEXT),
            (Step::ApparmorProfile, "no-such-profile"),
        ] {
            let mut child = command("/bin/true", engine);
            match step {
                Step::SelinuxContext => child.selinux_context(label),
                _ => child.apparmor_profile(label),
            };
            let error = clean(|| child.spawn().map(drop));
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.operand(), Some(label.as_ref()), "{error}");
            let known = [libc::ENOENT, libc::EINVAL];
            assert!(known.contains(&error.raw_os_error().unwrap()), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("such") || text.contains("has no"),
                "{text}"
            );
        }
        for (label, operand, why) in [
            (String::new(), Some(""), "the label is empty"),
            ("a\0b".into(), Some("a\0b"), "NUL"),
            ("x".repeat(4001), None, "over 4,000 bytes"),
        ] {
            let mut child = command("/bin/true", engine);
            let error =
                clean(|| child.selinux_context(&label).plan().map(drop));
            refused(&error, Step::SelinuxContext, operand, why);
            let mut child = command("/bin/true", engine);
            let error =
                clean(|| child.apparmor_profile(&label).plan().map(drop));
            refused(&error, Step::ApparmorProfile, operand, why);
        }
    });
}

/// A write that a filter makes without effect is noticed by its count.
#[test]
fn a_label_that_is_not_written_is_an_error() {
    if !fs::exists("/proc/thread-self/attr/exec").unwrap() {
        let name = "a_label_that_is_not_written_is_an_error";
        return util::skip(name, "the kernel has no security modules");
    }
    // The helper image is written to a file.
    each_of(&util::WITHOUT_HELPER, |engine| {
        filter::with(libc::SYS_write, Action::Errno(0), || {
            let mut child = command("/bin/true", engine);
            let error = child.selinux_context(CONTEXT).spawn().unwrap_err();
            assert_eq!(error.step(), Step::SelinuxContext, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        });
    });
}

/// A container's image can bring files of its own to `/proc`: runc wrote its
/// labels to them (CVE-2019-16884).
#[test]
fn a_label_is_written_to_no_file_but_one_of_procfs() {
    let name = "a_label_is_written_to_no_file_but_one_of_procfs";
    let mounts = ["unshare", "--mount"];
    let mut may = std::process::Command::new(mounts[0]);
    let may = may.arg(mounts[1]).arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        return util::skip(name, "this user may not mount a file system");
    }
    if !util::inside(name, &mounts) {
        return;
    }
    each_engine(|engine| {
        let mut child = command("/bin/true", engine);
        let none = std::ptr::null();
        // SAFETY: the paths and the type are C strings; it changes the mount
        // namespace of this process, which no other has.
        let mounted = unsafe {
            let (from, to) = (c"none".as_ptr(), c"/proc".as_ptr());
            libc::mount(from, to, c"tmpfs".as_ptr(), 0, none)
        };
        assert_eq!(mounted, 0, "{}", io::Error::last_os_error());
        let attributes = "/proc/thread-self/attr/apparmor";
        fs::create_dir_all(attributes).unwrap();
        let file = format!("{attributes}/exec");
        fs::write(&file, "").unwrap();
        fs::create_dir_all("/proc/self").unwrap();
        fs::write("/proc/self/oom_score_adj", "").unwrap();
        let spawned = child.apparmor_profile("profile").spawn().map(drop);
        let mut scored = command("/bin/true", engine);
        let scored = scored.oom_score_adj(1000).spawn().map(drop);
        let text = fs::read_to_string(&file).unwrap()
            + &fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        // SAFETY: as above.
        let unmounted = unsafe { libc::umount(c"/proc".as_ptr()) };
        assert_eq!(unmounted, 0, "{}", io::Error::last_os_error());
        let error = spawned.unwrap_err();
        let step = Step::ApparmorProfile;
        assert_error(&error, step, Some("profile"), libc::EOPNOTSUPP);
        assert!(error.to_string().contains("procfs"), "{error}");
        let (error, step) = (scored.unwrap_err(), Step::OomScoreAdj);
        assert_error(&error, step, Some("1000"), libc::EOPNOTSUPP);
        assert_eq!(text, "");
    });
}
