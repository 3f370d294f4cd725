//! Capabilities and securebits of the child, in every engine with memory of
//! its own.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::os::unix::fs::PermissionsExt;

use offshoot::{
    CapabilitySet, Command, Engine, Errno, Memory, Securebits, Step,
};
use util::attributes::attributes;
use util::clean::{assert_error, clean, command, refused, spawn};
use util::filter::{self, Action};
use util::{PRIVATE, alone, each_of, is_root, report, reporter_with};

const BIND: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// The five sets of a report: inheritable, permitted, effective, bounding and
/// ambient.
fn sets(command: &mut Command) -> [u64; 5] {
    let seen = report(command);
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(seen.attribute(name), 16).unwrap())
}

fn own(name: &str) -> u64 {
    // It opens files, which a test of another thread would see.
    let _alone = alone();
    let all = attributes();
    let pair = all.iter().find(|pair| pair.0 == name).unwrap();
    u64::from_str_radix(&pair.1, 16).unwrap()
}

fn root_only(name: &str) -> bool {
    let all = CapabilitySet::all().bits();
    if is_root() && own("CapEff") & all == own("CapBnd") & all {
        return true;
    }
    util::skip(name, "it takes root's capabilities");
    false
}

#[test]
fn an_ambient_capability_is_kept_through_a_change_of_user() {
    let name = "an_ambient_capability_is_kept_through_a_change_of_user";
    if !root_only(name) {
        return;
    }
    each_of(&PRIVATE, |engine| {
        let before = attributes();
        let mut reporter = reporter_with(engine);
        reporter.uid(65534).gid(65534).ambient_capabilities(BIND);
        let bind = BIND.bits();
        let bounding = own("CapBnd");
        let seen = sets(&mut reporter);
        assert_eq!(seen, [bind, bind, bind, bounding, bind], "{engine}");
        assert_eq!(attributes(), before);
        // Without it nothing is left.
        let mut reporter = reporter_with(engine);
        let seen = sets(reporter.uid(65534).gid(65534));
        assert_eq!(seen[1..3], [0, 0], "{engine}");
        assert_eq!(seen[4], 0, "{engine}");
    });
}

/// A server of an unprivileged user on a port below 1024, in a network of its
/// own.
#[test]
fn nobody_binds_port_80_with_one_capability() {
    let name = "nobody_binds_port_80_with_one_capability";
    if !root_only(name) || !util::inside(name, &["unshare", "-n"]) {
        return;
    }
    const SCRIPT: &str = "import socket, os\n\
        assert os.getuid() == 65534\n\
        socket.socket().bind(('', 80))\n";
    let python = Command::new("python3").arg("--version").status();
    if !python.is_ok_and(|status| status.success()) {
        return util::skip(name, "no python3");
    }
    each_of(&PRIVATE, |engine| {
        for (kept, success) in [(false, false), (true, true)] {
            let mut server = command("python3", engine);
            server.args(["-c", SCRIPT]).uid(65534).gid(65534);
            server.stderr(offshoot::Stdio::null());
            if kept {
                server.ambient_capabilities(BIND);
            }
            let status = server.status().unwrap();
            assert_eq!(status.success(), success, "{engine}: {status}");
        }
    });
}

#[test]
fn each_set_is_the_one_that_was_asked_for() {
    if !root_only("each_set_is_the_one_that_was_asked_for") {
        return;
    }
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        CapabilitySet::from_bits_truncate(seed)
    };
    let bounding = CapabilitySet::from_bits_truncate(own("CapBnd"));
    for _ in 0..12 {
        let bound = bounding & (next() | next());
        let inherited = bound & next();
        let ambient = bound & next() & next();
        let uid = if next().is_empty() { 0 } else { 1 + next().bits() % 2 };
        each_of(&PRIVATE, |engine| {
            let mut reporter = reporter_with(engine);
            reporter.bounding_capabilities(bound);
            reporter.inheritable_capabilities(inherited);
            reporter.ambient_capabilities(ambient);
            if uid == 1 {
                reporter.uid(65534).gid(65534);
            }
            let seen = sets(&mut reporter);
            let inheritable = inherited | ambient;
            // exec gives root what it inherits and what is in the bounding
            // set, and ambient capabilities to others.
            let permitted = match uid {
                1 => ambient,
                _ => inheritable | bound,
            };
            let want = [inheritable, permitted, permitted, bound, ambient];
            assert_eq!(seen, want.map(|set| set.bits()), "{engine}");
        });
    }
}

#[test]
fn securebits_are_set_and_lock_out_root() {
    if !root_only("securebits_are_set_and_lock_out_root") {
        return;
    }
    each_of(&PRIVATE, |engine| {
        let bits = Securebits::NOROOT | Securebits::NOROOT_LOCKED;
        let mut reporter = reporter_with(engine);
        let seen = report(reporter.securebits(bits));
        assert_eq!(seen.attribute("securebits"), bits.bits().to_string());
        assert_eq!(seen.attribute("CapEff"), "0000000000000000", "{engine}");
        // Beside a change of user, with ambient capabilities that cannot be
        // raised afterwards.
        let bits = Securebits::NO_CAP_AMBIENT_RAISE;
        let mut reporter = reporter_with(engine);
        reporter.uid(65534).gid(65534).securebits(bits);
        let seen = report(reporter.ambient_capabilities(BIND));
        assert_eq!(seen.attribute("securebits"), bits.bits().to_string());
        let bind = format!("{:016x}", BIND.bits());
        assert_eq!(seen.attribute("CapPrm"), bind, "{engine}");
        assert_eq!(seen.attribute("CapAmb"), bind, "{engine}");
    });
}

/// The helper of the isolated engine is executed, which changes capabilities
/// of an unprivileged caller, so its memory is copied.
#[test]
fn an_unprivileged_caller_passes_on_what_it_has() {
    let name = "an_unprivileged_caller_passes_on_what_it_has";
    if !util::is_inside(name) && !root_only(name) {
        return;
    }
    let caps = "+net_bind_service";
    let wrap = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps",
        caps,
        "--ambient-caps",
        caps,
    ];
    let bind = BIND.bits();
    if !util::inside(name, &wrap) {
        return;
    }
    assert_eq!(own("CapEff"), bind);
    let _alone = alone();
    let mut auto = util::reporter();
    let seen = sets(auto.memory(Memory::Private).ambient_capabilities(BIND));
    assert_eq!([seen[0], seen[1], seen[4]], [bind; 3]);
    for engine in [Engine::Copied, Engine::Pipe] {
        let mut reporter = reporter_with(engine);
        let seen = sets(reporter.ambient_capabilities(BIND));
        assert_eq!([seen[0], seen[1], seen[4]], [bind; 3], "{engine}");
        let mut more = command("/bin/true", engine);
        more.ambient_capabilities(CapabilitySet::SYS_ADMIN);
        let error = more.spawn().unwrap_err();
        let missing = Some("cap_sys_admin");
        assert_error(&error, Step::Capabilities, missing, libc::EPERM);
        assert!(error.to_string().contains("does not have"), "{error}");
    }
}

/// What is permitted and effective before execve decides whether a file may be
/// executed; `CAP_DAC_OVERRIDE` permits it.
#[test]
fn the_permitted_capabilities_are_those_of_the_exec() {
    let name = "the_permitted_capabilities_are_those_of_the_exec";
    if !root_only(name) {
        return;
    }
    let dir = util::scratch("permitted");
    let path = dir.join("program");
    util::program(&path, &util::elf::seven());
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&path, mode).unwrap();
    std::os::unix::fs::chown(&path, Some(1), Some(1)).unwrap();
    let other = CapabilitySet::KILL;
    each_of(&PRIVATE, |engine| {
        for uid in [0, 65534] {
            let with = |set: CapabilitySet| {
                let mut seven = command(&path, engine);
                seven.uid(uid).gid(uid).permitted_capabilities(set);
                seven.status()
            };
            let ran = with(CapabilitySet::DAC_OVERRIDE | other).unwrap();
            assert_eq!(ran.code(), Some(7), "{engine}");
            let error = with(other).unwrap_err();
            let path = path.to_str();
            assert_error(&error, Step::Exec, path, libc::EACCES);
        }
    });
}

/// `CAP_SETPCAP` is there for the securebits and gone after them, unless it
/// was asked for.
#[test]
fn the_capability_for_securebits_is_dropped_after_them() {
    let name = "the_capability_for_securebits_is_dropped_after_them";
    if !root_only(name) {
        return;
    }
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let kill = CapabilitySet::KILL;
        for set in [kill, kill | CapabilitySet::SETPCAP] {
            let mut cat = command("cat", engine);
            cat.uid(65534).gid(65534).permitted_capabilities(set);
            cat.securebits(Securebits::NO_SETUID_FIXUP);
            let bits = set.bits();
            // SAFETY: the hook makes system calls and allocates nothing.
            unsafe {
                cat.pre_exec(move |_| match permitted() == bits {
                    true => Ok(()),
                    false => Err(Errno::from_raw_os_error(99)),
                });
            }
            let mut child =
                cat.stdin(offshoot::Stdio::null()).spawn().unwrap();
            assert!(child.wait().unwrap().success());
        }
    });
}

/// The low half of the permitted capabilities of this thread.
fn permitted() -> u64 {
    let (header, mut all) = ([0x2008_0522u32, 0], [0u32; 6]);
    let (header, at) = (header.as_ptr(), all.as_mut_ptr());
    // SAFETY: reads a header and writes two sets of three words.
    unsafe { libc::syscall(libc::SYS_capget, header, at) };
    all[1].into()
}

#[test]
fn what_takes_a_capability_is_an_error_of_its_step() {
    let name = "what_takes_a_capability_is_an_error_of_its_step";
    if !util::inside(name, &[]) {
        return;
    }
    if is_root() {
        // SAFETY: changes the ids of this process, which loses capabilities.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    each_of(&PRIVATE, |engine| {
        let mut kill = command("/bin/true", engine);
        kill.permitted_capabilities(CapabilitySet::KILL);
        let error = clean(spawn(kill));
        let operand = Some("cap_kill");
        assert_error(&error, Step::Capabilities, operand, libc::EPERM);
        let mut bits = command("/bin/true", engine);
        bits.securebits(Securebits::NOROOT);
        let error = clean(spawn(bits));
        assert_error(&error, Step::Securebits, Some("1"), libc::EPERM);
        assert!(error.to_string().contains("CAP_SETPCAP"), "{error}");
        let mut none = command("/bin/true", engine);
        none.bounding_capabilities(CapabilitySet::empty());
        let error = clean(spawn(none));
        let step = Step::BoundingCapabilities;
        assert_error(&error, step, Some(""), libc::EPERM);
    });
}

/// Success without effect, as a filter can make it.
#[test]
fn capabilities_without_effect_are_detected() {
    if !root_only("capabilities_without_effect_are_detected") {
        return;
    }
    each_of(&PRIVATE, |engine| {
        let set = |it: &mut Command| {
            it.uid(65534).gid(65534).ambient_capabilities(BIND);
            it.bounding_capabilities(BIND)
                .securebits(Securebits::NO_CAP_AMBIENT_RAISE);
        };
        let step_of = |filter: &dyn Fn() -> Step| filter();
        let run = move || {
            util::ENGINE.set(engine);
            let mut least = command("/bin/true", engine);
            set(&mut least);
            let error = clean(spawn(least));
            assert_eq!(error.raw_os_error(), None, "{error}");
            error.step()
        };
        let none = Action::Errno(0);
        let capset = || filter::with(libc::SYS_capset, none, run);
        assert_eq!(step_of(&capset), Step::Capabilities, "{engine}");
        for (option, step) in [
            (libc::PR_CAPBSET_DROP, Step::BoundingCapabilities),
            (libc::PR_SET_KEEPCAPS, Step::KeepCapabilities),
            (libc::PR_CAP_AMBIENT, Step::AmbientCapabilities),
            (libc::PR_SET_SECUREBITS, Step::Securebits),
        ] {
            let option = option.unsigned_abs();
            let prctl =
                || filter::with_first(libc::SYS_prctl, option, none, run);
            assert_eq!(step_of(&prctl), step, "{engine}");
        }
    });
}

#[test]
fn sets_that_exclude_each_other_are_refused_by_name() {
    let mut least = Command::new("/bin/true");
    least
        .ambient_capabilities(BIND)
        .permitted_capabilities(CapabilitySet::KILL);
    let bind = Some("cap_net_bind_service");
    let error = least.plan().unwrap_err();
    refused(&error, Step::Capabilities, bind, "permitted_capabilities");
    let mut least = Command::new("/bin/true");
    least.inheritable_capabilities(BIND);
    least.bounding_capabilities(CapabilitySet::empty());
    let error = least.plan().unwrap_err();
    refused(&error, Step::Capabilities, bind, "bounding_capabilities");
    let mut least = Command::new("/bin/true");
    let future = CapabilitySet::from_bits_retain(1 << 63);
    let error = least.ambient_capabilities(future).plan().unwrap_err();
    refused(&error, Step::Capabilities, Some("cap_63"), "no such capability");
    let mut least = Command::new("/bin/true");
    let error = least.bounding_capabilities(future | BIND).plan().unwrap_err();
    refused(&error, Step::Capabilities, Some("cap_63"), "no such capability");
    let error = Command::new("/bin/true").ambient_capabilities(BIND).exec();
    refused(&error, Step::Capabilities, Some("exec"), "one thread");
    for (option, set) in [
        (
            "ambient_capabilities",
            (|it| it.ambient_capabilities(BIND))
                as fn(&mut Command) -> &mut Command,
        ),
        ("bounding_capabilities", |it| it.bounding_capabilities(BIND)),
        ("securebits", |it| it.securebits(Securebits::empty())),
    ] {
        let mut shared = command("/bin/true", Engine::Suspended);
        let error = set(&mut shared).plan().unwrap_err();
        refused(&error, Step::Memory, Some(option), "parent's memory");
        let mut best = Command::new("/bin/true");
        let error = best.best_effort(set).plan().unwrap_err();
        refused(&error, Step::BestEffort, Some(option), "without it");
    }
}
