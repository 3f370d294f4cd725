//! Fd collisions: targets that equal descriptors of the parent's own, and
//! maps while system calls are missing or blocked.

mod util;

use std::fs::File;
use std::os::fd::OwnedFd;

use offshoot::{Command, Memory, Stdio};
use util::filter::{self, Action};
use util::reporter::ASK;
use util::{alone, each_engine, reporter_with, run};

fn open(path: &str) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Pipes, `/dev/null`, the directory, a helper image and its status page:
/// the number of each may be a target.
#[test]
fn descriptors_that_the_parent_opens_can_be_targets() {
    each_engine(|engine| {
        for target in 3..70 {
            let mut command = reporter_with(engine);
            command.fd(target, open("/dev/zero")).stdin(Stdio::piped());
            command.current_dir_fd(open("/")).stderr(Stdio::null());
            if target != 3 {
                command.fd(3, open("/dev/zero"));
            }
            let report = run(&mut command).0;
            let mut want = vec![0, 1, 2, 3, target.unsigned_abs()];
            want.dedup();
            assert_eq!(report.fds(), want, "{engine}");
            let zeros = report.all("fd");
            let zeros = zeros.iter().filter(|fd| fd.ends_with("/dev/zero"));
            assert_eq!(zeros.count(), want.len() - 3, "{engine} {target}");
            assert_eq!(report.one("cwd"), "/", "{engine} {target}");
        }
    });
}

#[test]
fn fd_maps_are_the_same_when_calls_are_blocked() {
    let _alone = alone();
    let calls = [
        libc::SYS_close_range,
        libc::SYS_clone3,
        libc::SYS_execveat,
        libc::SYS_memfd_create,
    ];
    let exe = std::env::current_exe().unwrap();
    let test = |memory: Memory| {
        let mut command = Command::new(&exe);
        command.args([ASK, "-"]).memory(memory);
        for target in [100, 3, 4, 1000] {
            command.fd(target, open("/dev/zero"));
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let report = run(command.current_dir_fd(open("/"))).0;
        assert_eq!(report.fds(), [0, 1, 2, 3, 4, 100, 1000]);
        assert_eq!(report.one("cwd"), "/");
        let mut command = Command::from_fd(File::open(&exe).unwrap());
        command.args([ASK, "-"]).memory(memory).fd(9, open("/dev/zero"));
        command.listen_fds([open("/dev/zero"), open("/dev/zero")]);
        let report = run(&mut command).0;
        assert_eq!(report.fds(), [0, 1, 2, 3, 4, 9]);
        let is_pid = |env: &&str| {
            let pid = env.strip_prefix("LISTEN_PID=");
            pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
        };
        assert_eq!(report.all("env").iter().filter(|e| is_pid(e)).count(), 1);
    };
    for nr in calls {
        for errno in [libc::ENOSYS, libc::EPERM] {
            let action = Action::errno(errno);
            filter::with(nr, action, || {
                test(Memory::Auto);
                test(Memory::Private);
            });
        }
    }
}
