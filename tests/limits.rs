//! Resource limits of the child, in every engine.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use offshoot::{ChildOpenOptions, Command, Engine, Resource, Rlimit, Step};
use util::attributes::attributes;
use util::clean::{assert_error, clean, command, refused, spawn};
use util::{alone, each_engine, report, reporter_with};

/// The resources, and the kernel's names in `/proc/self/limits`.
const ALL: [(Resource, &str); 16] = [
    (Resource::Cpu, "Max cpu time"),
    (Resource::FileSize, "Max file size"),
    (Resource::Data, "Max data size"),
    (Resource::Stack, "Max stack size"),
    (Resource::Core, "Max core file size"),
    (Resource::Rss, "Max resident set"),
    (Resource::NProc, "Max processes"),
    (Resource::NoFile, "Max open files"),
    (Resource::MemLock, "Max locked memory"),
    (Resource::AddressSpace, "Max address space"),
    (Resource::Locks, "Max file locks"),
    (Resource::SigPending, "Max pending signals"),
    (Resource::MsgQueue, "Max msgqueue size"),
    (Resource::Nice, "Max nice priority"),
    (Resource::RtPrio, "Max realtime priority"),
    (Resource::RtTime, "Max realtime timeout"),
];

/// The limit of this process.
fn own(resource: Resource) -> Rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let done = unsafe { libc::getrlimit(resource as u32, &raw mut limit) };
    assert_eq!(done, 0);
    Rlimit::new(limit.rlim_cur, limit.rlim_max)
}

/// A limit that an unprivileged process may set, and that the child survives.
fn lower(resource: Resource) -> Rlimit {
    let own = own(resource);
    let some = match resource {
        Resource::Nice | Resource::RtPrio => 0,
        Resource::Cpu => 1000,
        Resource::NoFile => 200,
        Resource::NProc | Resource::SigPending => 5000,
        Resource::Data | Resource::AddressSpace => 1 << 40,
        Resource::RtTime => 1 << 30,
        _ => 16 << 20,
    };
    let hard = own.hard.min(some + 8);
    Rlimit::new(hard.min(some), hard)
}

#[test]
fn every_limit_is_set_in_the_child_only() {
    let shown = |n| match n {
        Rlimit::INFINITY => "unlimited".to_string(),
        n => n.to_string(),
    };
    each_engine(|engine| {
        let before = attributes();
        let mut reporter = reporter_with(engine);
        for (resource, _) in ALL {
            reporter.rlimit(resource, lower(resource));
        }
        let seen = report(&mut reporter);
        for (resource, name) in ALL {
            let line = seen.attribute(name);
            let mut words = line.split_whitespace();
            let Rlimit { soft, hard } = lower(resource);
            assert_eq!(words.next().unwrap(), shown(soft), "{name}: {line}");
            assert_eq!(words.next().unwrap(), shown(hard), "{name}: {line}");
        }
        assert_eq!(attributes(), before);
    });
}

#[test]
fn a_hard_limit_above_the_inherited_one_takes_a_capability() {
    let name = "a_hard_limit_above_the_inherited_one_takes_a_capability";
    if !util::inside(name, &[]) {
        return;
    }
    util::limit(libc::RLIMIT_CORE, 0, 0);
    if util::is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    each_engine(|engine| {
        let mut core = command("/bin/true", engine);
        core.rlimit(Resource::Core, Rlimit::new(0, 1));
        let error = clean(spawn(core));
        let operand = Some("RLIMIT_CORE");
        assert_error(&error, Step::Rlimit, operand, libc::EPERM);
        assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
        // With best effort the program runs without it.
        let mut core = command("/bin/true", engine);
        core.best_effort(|it| it.rlimit(Resource::Core, 1));
        let mut child = core.spawn().unwrap();
        let refused = child
            .launch()
            .refused()
            .map(|error| (error.step(), error.raw_os_error().unwrap()));
        assert!(refused.eq([(Step::Rlimit, libc::EPERM)]));
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn limits_that_exclude_each_other_or_an_option_are_refused_by_name() {
    let mut command = Command::new("/bin/true");
    let mut read = ChildOpenOptions::new();
    command.open_in_child(8, "/dev/null", read.read(true));
    command.rlimit(Resource::NoFile, Rlimit::new(8, 9));
    let error = command.plan().unwrap_err();
    let name = Some("RLIMIT_NOFILE");
    refused(&error, Step::Rlimit, name, "open_in_child");
    command.rlimit(Resource::NoFile, Rlimit::new(9, 9));
    assert!(command.plan().is_ok());
    let mut command = Command::new("/bin/true");
    command.rlimit(Resource::NoFile, Rlimit::new(9, 8));
    let error = command.plan().unwrap_err();
    let name = Some("RLIMIT_NOFILE");
    refused(&error, Step::Rlimit, name, "the soft limit is above");
    // The last setting of a resource counts.
    command.rlimit(Resource::NoFile, 64);
    assert!(command.plan().unwrap().to_string().contains("RLIMIT_NOFILE"));
}

/// exec puts arguments and environment on the stack.
#[test]
fn a_stack_that_is_too_small_for_exec_is_an_error_at_exec() {
    let _alone = alone();
    for engine in util::ENGINES {
        util::ENGINE.set(engine);
        let mut large = command("/bin/true", engine);
        large.rlimit(Resource::Stack, 256 << 10);
        large.args(vec!["x".repeat(100_000); 3]);
        let error = clean(spawn(large));
        let (step, errno) = (error.step(), error.raw_os_error());
        assert_eq!((step, errno), (Step::Exec, Some(libc::E2BIG)), "{error}");
    }
    util::ENGINE.set(Engine::Suspended);
}

/// Descriptors above the limit that the child is given stay open.
#[test]
fn a_limit_of_descriptors_below_one_that_is_passed_keeps_it() {
    each_engine(|engine| {
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut reporter = reporter_with(engine);
        reporter.fd(50, null).rlimit(Resource::NoFile, 20);
        let seen = report(&mut reporter);
        assert!(seen.fds().contains(&50), "{:?}", seen.fds());
    });
}
