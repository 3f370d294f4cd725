//! Namespaces: hooks in them, and errors of a clone that they are the cause of,
//! or look like it.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io;

use offshoot::{Command, Engine, Method, Namespaces, Step};
use util::clean::{clean, command, spawn};
use util::filter::{self, Action};
use util::{alone, each_engine, each_of, inside, is_root, own_pids, skip};

const KINDS: [(Namespaces, &str); 6] = [
    (Namespaces::MOUNT, "NEWNS"),
    (Namespaces::UTS, "NEWUTS"),
    (Namespaces::IPC, "NEWIPC"),
    (Namespaces::PID, "NEWPID"),
    (Namespaces::NET, "NEWNET"),
    (Namespaces::CGROUP, "CGROUP"),
];

#[test]
fn an_ordinary_user_is_told_what_each_namespace_takes() {
    let name = "an_ordinary_user_is_told_what_each_namespace_takes";
    if !inside(name, &[]) {
        return;
    }
    if is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    each_engine(|engine| {
        for (kind, shown) in KINDS {
            let mut one = command("/bin/true", engine);
            one.namespaces(kind);
            let error = clean(spawn(one));
            assert_eq!(error.step(), Step::Namespaces, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            let text = error.to_string();
            assert!(text.contains("CAP_SYS_ADMIN"), "{engine}: {text}");
            assert!(text.contains(shown), "{engine}: {text}");
        }
    });
}

#[test]
fn a_filter_of_clone3_is_not_taken_for_a_missing_privilege() {
    let _alone = alone();
    let mut uts = Command::new("true");
    uts.namespaces(Namespaces::UTS).method(Method::Clone3);
    let action = Action::errno(libc::EPERM);
    let error = clean(|| filter::with(libc::SYS_clone3, action, spawn(uts)));
    assert_eq!(error.step(), Step::Clone, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    assert!(!error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
}

#[test]
fn a_kernel_that_lacks_a_namespace_is_an_error_of_the_option() {
    let _alone = alone();
    let calls = [libc::SYS_clone3, libc::SYS_clone];
    let calls = calls.map(|nr| (nr, Action::errno(libc::EINVAL)));
    let mut uts = Command::new("true");
    uts.namespaces(Namespaces::UTS);
    let error = clean(|| filter::with_each(&calls, spawn(uts)));
    assert_eq!(error.step(), Step::Namespaces, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    assert!(error.to_string().contains("lacks one"), "{error}");
}

/// This process goes into a namespace in which its first child has ended.
#[test]
fn a_pid_namespace_whose_init_has_ended_is_named_as_a_cause() {
    let name = "a_pid_namespace_whose_init_has_ended_is_named_as_a_cause";
    let _alone = alone();
    let outer = own_pids();
    if outer.is_empty() {
        return skip(name, "this user may not create a PID namespace");
    }
    if !inside(name, &outer) {
        return;
    }
    // SAFETY: changes the namespace of this thread's children.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    assert!(Command::new("true").status().unwrap().success());
    for engine in [Engine::Suspended, Engine::Copied, Engine::Pipe] {
        let error = command("true", engine).spawn().unwrap_err();
        assert_eq!(error.step(), Step::Clone, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
        assert!(error.to_string().contains("PID namespace"), "{error}");
    }
}

#[test]
fn hooks_run_in_the_new_namespaces() {
    let name = "hooks_run_in_the_new_namespaces";
    let _alone = alone();
    if !is_root() {
        return skip(name, "only root has CAP_SYS_ADMIN");
    }
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let mut uname = command("uname", engine);
        uname.arg("-n").namespaces(Namespaces::UTS);
        let hook = || {
            // SAFETY: reads six bytes of a string.
            let done = unsafe { libc::sethostname(c"inside".as_ptr(), 6) };
            match done {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error().into()),
            }
        };
        // SAFETY: the hook makes one system call.
        unsafe { uname.pre_exec(move |_| hook()) };
        assert_eq!(uname.output().unwrap().stdout, b"inside\n");
        let own = command("uname", engine).arg("-n").output().unwrap();
        assert_ne!(own.stdout, b"inside\n");
    });
}
