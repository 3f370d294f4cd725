//! Seccomp: filters of a command apply to its program and to exec, and to
//! nothing before.
#![allow(unsafe_code, reason = "tests make calls that std does not offer")]

mod util;

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;

use offshoot::{Command, Engine, Groups, Memory, SeccompFilter, Step};
use util::clean::{clean, command, refused, spawn};
use util::{alone, each_engine, each_of, elf, fallbacks, program, scratch};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const RETURN: u16 = 0x06;
const MOST: usize = 4096;

type Row = (u16, u8, u8, u32);

fn errno(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

/// A filter with this action for some calls, which allows all others.
fn filter(calls: &[libc::c_long], action: u32) -> Vec<Row> {
    let mut all = vec![(0x20, 0, 0, 0)];
    for nr in calls {
        all.push((0x15, 0, 1, u32::try_from(*nr).unwrap()));
        all.push((RETURN, 0, 0, action));
    }
    all.push((RETURN, 0, 0, ALLOW));
    all
}

const EXEC: [libc::c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];
const EXIT: [libc::c_long; 2] = [libc::SYS_exit_group, libc::SYS_exit];

/// Filters take no privilege in a thread that has this flag. Its children
/// write no core files.
fn no_new_privs() {
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    util::limit(libc::RLIMIT_CORE, 0, 0);
}

/// Runs a test in a process of its own, which may install filters.
fn inside(name: &str) -> bool {
    let inside = util::inside(name, &[]);
    if inside {
        no_new_privs();
    }
    inside
}

/// The value of a line of a status file, as a number; 0 if it has none.
fn field(status: &str, name: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| {
        value.trim_start_matches(':').trim().parse().unwrap()
    })
}

fn own_status() -> String {
    fs::read_to_string("/proc/thread-self/status").unwrap()
}

#[test]
fn the_program_has_the_filters_and_the_parent_has_not() {
    let name = "the_program_has_the_filters_and_the_parent_has_not";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let own = |name| field(&own_status(), name);
    let before = (own("Seccomp"), own("Seccomp_filters"));
    each_engine(|engine| {
        let mut cat = command("cat", engine);
        cat.arg("/proc/self/status").seccomp([(RETURN, 0, 0, ALLOW)]);
        cat.seccomp(SeccompFilter::from([(RETURN, 0, 0, ALLOW)]).log(true));
        let filter = SeccompFilter::from([(RETURN, 0, 0, ALLOW)]);
        cat.seccomp(filter.allow_speculation(true));
        let output = cat.output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        assert_eq!(field(&status, "Seccomp"), 2, "{engine}: {status}");
        let filters = field(&status, "Seccomp_filters");
        let known = status.contains("Seccomp_filters");
        assert!(!known || filters == before.1 + 3, "{engine}: {status}");
        assert_eq!((own("Seccomp"), own("Seccomp_filters")), before);
    });
}

/// Each launch gets its own copy of the addresses, wherever it runs.
#[test]
fn a_prepared_command_installs_its_filter_each_time() {
    let name = "a_prepared_command_installs_its_filter_each_time";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    each_engine(|engine| {
        let mut killed = command("/bin/true", engine);
        killed.arg("a").env("A", "b").seccomp(filter(&EXIT, KILL));
        killed.seccomp([(RETURN, 0, 0, ALLOW)]);
        let prepared = killed.prepare().unwrap();
        for _ in 0..3 {
            let status = prepared.spawn().unwrap().wait().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{engine}");
        }
    });
}

#[test]
fn the_calls_of_the_program_are_decided_by_the_filter() {
    let name = "the_calls_of_the_program_are_decided_by_the_filter";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let dir = scratch("seccomp-program");
    each_engine(|engine| {
        #[cfg(target_arch = "x86_64")]
        let calls = [libc::SYS_mkdir, libc::SYS_mkdirat];
        #[cfg(target_arch = "aarch64")]
        let calls = [libc::SYS_mkdirat];
        let mut mkdir = command("mkdir", engine);
        mkdir.arg(dir.join("new")).env("LC_ALL", "C");
        mkdir.seccomp(filter(&calls, errno(libc::EROFS)));
        let output = mkdir.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("Read-only file system"), "{engine}: {text}");
        // A program that cannot even exit is killed: its exec succeeded.
        let mut killed = command("true", engine);
        killed.seccomp(filter(&EXIT, KILL));
        let status = killed.status().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{engine}");
    });
}

/// Every step comes before the filter, but for exec.
#[test]
fn no_step_but_exec_is_subject_to_the_filter() {
    let name = "no_step_but_exec_is_subject_to_the_filter";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let seven = scratch("seccomp-seven").join("seven");
    program(&seven, &elf::seven());
    // Allows what the program and exec need, and nothing else.
    let mut only = vec![(0x20, 0, 0, 0)];
    for nr in [EXEC[0], EXEC[1], EXIT[0]] {
        only.push((0x15, 0, 1, u32::try_from(nr).unwrap()));
        only.push((RETURN, 0, 0, ALLOW));
    }
    only.push((RETURN, 0, 0, KILL));
    each_engine(|engine| {
        let mut all = command(&seven, engine);
        all.umask(0o22).setsid(true).current_dir("/").nice(19);
        all.stdin(offshoot::Stdio::null()).stdout(offshoot::Stdio::piped());
        all.listen_fds([File::open("/dev/null").unwrap()]);
        all.seccomp(only.clone());
        let child = all.spawn().unwrap();
        let launch = child.launch().clone();
        assert_eq!(launch.engine(), engine);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{engine}");
        let mut fd = Command::from_fd(File::open(&seven).unwrap());
        fd.engine(engine).seccomp(only.clone());
        assert_eq!(fd.status().unwrap().code(), Some(7), "{engine}");
    });
    each_of(&util::PRIVATE, |engine| {
        let mut gate = command(&seven, engine);
        gate.before_exec(|_, _| Ok(())).seccomp(only.clone());
        if util::is_root() {
            gate.uid(65534).gid(65534).groups(Groups::clear());
        }
        assert_eq!(gate.status().unwrap().code(), Some(7), "{engine}");
    });
    each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let mut hook = command(&seven, engine);
        hook.seccomp(only.clone());
        // SAFETY: the hook makes one system call.
        unsafe { hook.pre_exec(|context| context.chdir(c"/")) };
        assert_eq!(hook.status().unwrap().code(), Some(7), "{engine}");
    });
}

#[test]
fn the_candidates_of_a_search_are_tried_under_the_filter() {
    let name = "the_candidates_of_a_search_are_tried_under_the_filter";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let dir = scratch("seccomp-search");
    program(&dir.join("seven"), &elf::seven());
    let path = format!("/nope:/dev/null:{}:/bin", dir.display());
    each_engine(|engine| {
        let mut seven = command("seven", engine);
        seven.env("PATH", &path).seccomp(filter(&EXIT[1..], KILL));
        assert_eq!(seven.status().unwrap().code(), Some(7), "{engine}");
        let mut none = command("nope", engine);
        none.env("PATH", &path).seccomp(filter(&[], KILL));
        let error = clean(spawn(none));
        assert_eq!(error.step(), Step::Exec, "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
    });
}

#[test]
fn a_filter_that_rejects_exec_is_an_error_of_exec() {
    let name = "a_filter_that_rejects_exec_is_an_error_of_exec";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let errnos = [
        libc::EPERM,
        libc::ENOSYS,
        libc::EACCES,
        libc::ENOENT,
        libc::ENOEXEC,
        libc::ETXTBSY,
        libc::EINVAL,
    ];
    each_engine(|engine| {
        for number in errnos {
            for shell in [false, true] {
                let mut cat = command("/bin/cat", engine);
                cat.shell_fallback(shell);
                cat.seccomp(filter(&EXEC, errno(number)));
                let error = clean(spawn(cat));
                assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
                assert_eq!(error.raw_os_error(), Some(number), "{error}");
                assert_eq!(error.operand().unwrap(), "/bin/cat");
                let text = error.to_string();
                assert!(text.contains("filter of `seccomp`"), "{text}");
            }
        }
        // With the result 0 the call looks as if it had succeeded.
        let mut cat = command("/bin/cat", engine);
        cat.seccomp(filter(&EXEC, errno(0)));
        let error = clean(spawn(cat));
        assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
        assert!(error.to_string().contains("filter of `seccomp`"), "{error}");
        // No listener, no tracer.
        let notify = libc::SECCOMP_RET_USER_NOTIF;
        for action in [notify, libc::SECCOMP_RET_TRACE] {
            let mut cat = command("/bin/cat", engine);
            cat.seccomp(filter(&EXEC, action));
            let error = clean(spawn(cat));
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
            let text = error.to_string();
            assert!(text.contains("filter of `seccomp`"), "{text}");
        }
    });
}

#[test]
fn a_filter_that_kills_for_exec_is_an_error_of_exec() {
    let name = "a_filter_that_kills_for_exec_is_an_error_of_exec";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let actions =
        [KILL, libc::SECCOMP_RET_KILL_THREAD, libc::SECCOMP_RET_TRAP];
    each_engine(|engine| {
        for action in actions {
            let mut cat = command("/bin/cat", engine);
            cat.seccomp(filter(&EXEC, action));
            let error = clean(spawn(cat));
            assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
            assert_eq!(error.signal(), Some(libc::SIGSYS), "{error}");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            let text = error.to_string();
            assert!(text.contains("own filter killed it"), "{text}");
        }
    });
}

/// After exec has failed, the child cannot even end by a call.
#[test]
fn a_filter_that_forbids_exit_leaves_the_error_as_it_is() {
    let name = "a_filter_that_forbids_exit_leaves_the_error_as_it_is";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    each_engine(|engine| {
        for action in [errno(libc::EPERM), errno(0), KILL] {
            let mut none = command("/nope/true", engine);
            none.seccomp(filter(&EXIT, action));
            let error = clean(spawn(none));
            assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
            assert_eq!(error.operand().unwrap(), "/nope/true", "{error}");
        }
    });
}

/// Without a child the filter is the calling thread's. It stays, with its
/// consequences, if exec fails.
#[test]
fn exec_in_place_installs_the_filter_in_this_thread() {
    let name = "exec_in_place_installs_the_filter_in_this_thread";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let status = util::fork::forked(|| {
        let mut grep = Command::new("grep");
        grep.args(["-q", "Seccomp:.*2", "/proc/self/status"]);
        let _failed = grep.seccomp([(RETURN, 0, 0, ALLOW)]).exec();
        9
    });
    assert_eq!(status, 0);
    let status = util::fork::forked(|| {
        let mut cat = Command::new("/bin/cat");
        cat.seccomp(filter(&EXEC, errno(libc::EPERM)));
        let error = cat.exec();
        assert_eq!(error.step(), Step::Exec, "{error}");
        assert!(error.to_string().contains("filter of `seccomp`"), "{error}");
        assert_eq!(field(&own_status(), "Seccomp"), 2);
        0
    });
    assert_eq!(status, 0);
}

/// The fallback of this command is not one of the thread.
#[test]
fn a_filter_without_execveat_changes_this_spawn_only() {
    let name = "a_filter_without_execveat_changes_this_spawn_only";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    each_engine(|engine| {
        let run = |rows: Vec<Row>| {
            let mut fd = Command::from_fd(File::open("/bin/true").unwrap());
            fd.engine(engine).seccomp(rows);
            let mut child = fd.spawn().unwrap();
            assert!(child.wait().unwrap().success());
            fallbacks(child.launch())
        };
        let eperm = Some(libc::EPERM);
        let denied = run(filter(&EXEC[1..], errno(libc::EPERM)));
        assert_eq!(denied, [("execveat", eperm)], "{engine}");
        assert_eq!(run(filter(&[], KILL)), [], "{engine}");
    });
}

#[test]
fn a_filter_takes_a_capability_or_no_new_privs() {
    let name = "a_filter_takes_a_capability_or_no_new_privs";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    if util::is_root() {
        // SAFETY: changes the ids of this process.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    // SAFETY: reads a flag of this thread.
    let has = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    if has == 1 {
        return util::skip(name, "this process has no_new_privs");
    }
    each_engine(|engine| {
        let mut cat = command("/bin/true", engine);
        cat.seccomp([(RETURN, 0, 0, ALLOW)]);
        let error = clean(spawn(cat));
        let why = "as the child will not have CAP_SYS_ADMIN";
        refused(&error, Step::Seccomp, Some("no_new_privs"), why);
        // A hook may set it, but this one does not.
        if [Engine::Copied, Engine::Pipe].contains(&engine) {
            let mut hook = command("/bin/true", engine);
            hook.seccomp([(RETURN, 0, 0, ALLOW)]);
            // SAFETY: the hook does nothing.
            unsafe { hook.pre_exec(|_| Ok(())) };
            let error = clean(spawn(hook));
            assert_eq!(error.step(), Step::Seccomp, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
            let text = error.to_string();
            assert!(text.contains("no_new_privs or CAP_SYS_ADMIN"), "{text}");
        }
        let mut cat = command("cat", engine);
        cat.arg("/proc/self/status").no_new_privs(true);
        cat.seccomp([(RETURN, 0, 0, ALLOW)]);
        let status = cat.output().unwrap().stdout;
        let status = String::from_utf8(status).unwrap();
        assert_eq!(field(&status, "Seccomp"), 2, "{engine}: {status}");
    });
}

#[test]
fn a_filter_has_at_most_4096_instructions() {
    let name = "a_filter_has_at_most_4096_instructions";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let long = vec![(RETURN, 0, 0, ALLOW); MOST];
    each_engine(|engine| {
        let mut fits = command("/bin/true", engine);
        fits.seccomp(long.clone());
        assert!(fits.status().unwrap().success(), "{engine}");
        let mut many = command("/bin/true", engine);
        for _ in 0..8 {
            many.seccomp(long.clone());
        }
        let error = clean(spawn(many));
        assert_eq!(error.step(), Step::Seccomp, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
        assert_eq!(error.operand().unwrap(), "filter of 4096 instructions");
    });
}

/// Before Linux 5.16 a plan with a filter needs private memory.
#[test]
fn a_filter_shares_memory_where_a_core_dump_permits_it() {
    let mut command = Command::new("/bin/true");
    command.no_new_privs(true).memory(Memory::Shared);
    command.seccomp([(RETURN, 0, 0, ALLOW)]);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
    match command.plan() {
        Ok(_) => assert!(version >= (5, 16), "{release}"),
        Err(error) => {
            assert!(version < (5, 16), "{release}: {error}");
            refused(&error, Step::Memory, Some("seccomp"), "5.16");
        }
    }
}
