//! Base: plans for fault injection with the steps of every spawn, and of the
//! options that std has too.

use std::fs::{File, OpenOptions};

use offshoot::{Command, Engine, Groups, Method, Stdio, Step};

use super::{Case, SHARED, none};
use crate::util::{ENGINES, PRIVATE, is_root};

pub(crate) const CASES: &[Case] = &[
    Case { name: "least", engines: &ENGINES, options: |c| c, own: none },
    Case {
        name: "descriptors",
        engines: &ENGINES,
        options: |c| {
            let mut write = OpenOptions::new();
            write.write(true);
            c.stdin(Stdio::piped()).stdout(Stdio::open("/dev/null", &write));
            c.stderr(Stdio::same_as(1))
        },
        own: none,
    },
    Case {
        name: "closed",
        engines: &ENGINES,
        options: |c| c.stdin(Stdio::closed()).stderr(Stdio::null()),
        own: none,
    },
    Case {
        name: "session",
        engines: &ENGINES,
        options: |c| c.setsid(true).umask(0o22).current_dir("/"),
        own: none,
    },
    Case {
        name: "group",
        engines: &ENGINES,
        options: |c| c.process_group(0),
        own: none,
    },
    Case {
        name: "nice",
        engines: &ENGINES,
        options: |c| c.nice(19),
        own: none,
    },
    Case {
        name: "best effort",
        engines: &ENGINES,
        options: |c| c.best_effort(|it| it.nice(19).current_dir("/tmp")),
        own: |nr, _| match nr {
            libc::SYS_setpriority => Some(Step::Nice),
            libc::SYS_chdir => Some(Step::Chdir),
            _ => None,
        },
    },
    Case {
        name: "ids",
        engines: &PRIVATE,
        options: |c| {
            // SAFETY: returns a number and writes no memory.
            let uid = unsafe { libc::geteuid() };
            // SAFETY: as above.
            let gid = unsafe { libc::getegid() };
            let change = u32::from(uid == 0);
            c.uid(uid + change).gid(gid + change)
        },
        own: none,
    },
    Case {
        name: "groups",
        engines: &PRIVATE,
        options: |c| {
            let root = is_root();
            c.groups(if root { Groups::from([3, 5]) } else { Groups::keep() })
        },
        own: none,
    },
    Case {
        name: "chroot",
        engines: &ENGINES,
        options: |c| {
            // chroot needs root.
            let root = is_root();
            if root { c.chroot("/").current_dir("tmp") } else { c }
        },
        own: none,
    },
    Case {
        // Without a call between them: chdir is relative to the old root.
        name: "root and directory",
        engines: &ENGINES,
        options: |c| {
            let root = is_root();
            if root { c.chroot("/").current_dir("/tmp") } else { c }
        },
        own: none,
    },
    Case {
        name: "gate",
        engines: &PRIVATE,
        options: |c| c.umask(0o22).before_exec(|_, _| Ok(())),
        own: none,
    },
    Case {
        name: "hook",
        engines: &[Engine::Copied, Engine::Pipe],
        options: |c| {
            // SAFETY: the hook makes one call through its context.
            unsafe { c.pre_exec(|context| context.chdir(c"/tmp")) }
        },
        own: none,
    },
    Case {
        name: "shared hook",
        engines: &SHARED,
        options: |c| {
            // SAFETY: the hook makes one call through its context.
            unsafe { c.pre_exec_shared(|context| context.chdir(c"/tmp")) }
        },
        own: none,
    },
    Case {
        name: "vfork",
        engines: &SHARED,
        options: |c| c.method(Method::Vfork),
        own: none,
    },
    Case {
        name: "fork",
        engines: &[Engine::Copied],
        options: |c| c.method(Method::Fork),
        own: none,
    },
    Case {
        name: "fds",
        engines: &ENGINES,
        options: |c| {
            let null = || File::open("/dev/null").unwrap();
            c.fd(7, null()).fd(40, null()).inherit_fd(null())
        },
        own: none,
    },
    Case {
        name: "directory fd",
        engines: &ENGINES,
        options: |c| c.current_dir_fd(File::open("/tmp").unwrap()),
        own: none,
    },
    Case {
        name: "from fd",
        engines: &ENGINES,
        options: |c| {
            *c = Command::from_fd(File::open("/bin/true").unwrap());
            c
        },
        own: none,
    },
    Case {
        name: "listen",
        engines: &ENGINES,
        options: |c| c.listen_fds([File::open("/dev/null").unwrap()]),
        own: none,
    },
    Case {
        name: "search",
        engines: &ENGINES,
        options: |c| {
            let mut search = Command::new("true");
            search.env("PATH", "/nope:/dev/null:/usr/bin:/bin");
            *c = search;
            c
        },
        own: none,
    },
];
