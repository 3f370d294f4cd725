//! The API of std: one source text, compiled once for `std::process` and once
//! for this crate, has the same results; and conversions beyond std's.
#![allow(unsafe_code, reason = "from_raw_fd is unsafe")]

mod util;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use offshoot::{Command, Errno, Groups, PidFd, Prepared, Stdio, Step};
use util::alone;

/// A program written for std. Only the import differs.
macro_rules! program {
    ($name:ident: $($import:tt)*) => {
        mod $name {
            use std::ffi::{OsStr, OsString};
            use std::fs::File;
            use std::io::{Read, Write};
            use std::net::{TcpListener, TcpStream, UdpSocket};
            use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
            use std::os::unix::process::ExitStatusExt;
            use std::path::{Path, PathBuf};

            $($import)*

            /// Type parameters by name.
            pub(super) fn turbofish() -> Vec<u8> {
                let mut sh = Command::new::<&str>("sh");
                sh.arg::<&OsStr>("-c".as_ref())
                    .args::<[String; 2], String>([
                        "echo $0 $A $B $C".into(),
                        "zero".into(),
                    ])
                    .env::<&str, OsString>("A", "1".into())
                    .envs::<Vec<(String, &str)>, String, &str>(vec![(
                        "B".into(),
                        "2",
                    )])
                    .env::<String, &str>("C".into(), "3")
                    .env_remove::<&String>(&"C".into())
                    .current_dir::<PathBuf>("/".into())
                    .stdin::<Stdio>(Stdio::null())
                    .stdout::<Stdio>(Stdio::piped())
                    .stderr::<OwnedFd>(
                        File::open("/dev/null").unwrap().into(),
                    );
                sh.current_dir::<&Path>("/usr".as_ref());
                sh.output().unwrap().stdout
            }

            /// A generic function over the argument types of std.
            fn add<S: AsRef<OsStr>>(command: &mut Command, list: &[S]) {
                for arg in list {
                    command.arg(arg);
                }
                command.args(list).env("K", OsStr::new("v"));
            }

            type Variables = Vec<(OsString, Option<OsString>)>;

            pub(super) fn generic() -> (Vec<OsString>, Variables) {
                let mut command = Command::new(OsString::from("echo"));
                add(&mut command, &["a", "b"]);
                command.env_remove("Z");
                let args: CommandArgs<'_> = command.get_args();
                let envs: CommandEnvs<'_> = command.get_envs();
                let sizes = (ExactSizeIterator::len(&args), envs.len());
                assert_eq!(sizes, (4, 2));
                let text = format!("{args:?}");
                assert!(text.contains(r#"["a", "b", "a", "b"]"#), "{text}");
                assert!(format!("{envs:?}").contains("\"K\""));
                let own = |word: &OsStr| word.to_os_string();
                let pair = |(k, v): (&OsStr, Option<&OsStr>)| {
                    (own(k), v.map(own))
                };
                (args.map(own).collect(), envs.map(pair).collect())
            }

            /// Everything that std converts to `Stdio`.
            pub(super) fn conversions() -> Vec<String> {
                let mut seen = Vec::new();
                let line = "readlink /proc/self/fd/0 | sed s/:.*//";
                let sh = || {
                    let mut command = Command::new("sh");
                    command.arg("-c").arg(line);
                    command
                };
                let mut say = |output: Output| {
                    assert!(output.status.success());
                    seen.push(String::from_utf8(output.stdout).unwrap());
                };
                let file = File::open("/etc/passwd").unwrap();
                say(sh().stdin(file).output().unwrap());
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let to = listener.local_addr().unwrap();
                let stream = TcpStream::connect(to).unwrap();
                say(sh().stdin(OwnedFd::from(stream)).output().unwrap());
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                say(sh().stdin(OwnedFd::from(udp)).output().unwrap());
                let number = File::open("/dev/null").unwrap().into_raw_fd();
                // SAFETY: the descriptor has no other owner.
                let stdio = unsafe { Stdio::from_raw_fd(number) };
                say(sh().stdin(stdio).output().unwrap());
                let mut first = Command::new("echo");
                let mut first =
                    first.arg("x").stdout(Stdio::piped()).spawn().unwrap();
                let out: ChildStdout = first.stdout.take().unwrap();
                say(sh().stdin(out).output().unwrap());
                assert!(first.wait().unwrap().success());
                let mut sink = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let to: ChildStdin = sink.stdin.take().unwrap();
                let mut echo = Command::new("echo");
                let status = echo.arg("through").stdout(to).status();
                assert!(status.unwrap().success());
                drop(echo);
                say(sink.wait_with_output().unwrap());
                let mut sh = Command::new("sh");
                sh.args(["-c", "echo err >&2; kill -9 $$"]);
                sh.stderr(Stdio::piped());
                let mut child: Child = sh.spawn().unwrap();
                let mut err: ChildStderr = child.stderr.take().unwrap();
                let mut text = String::new();
                err.read_to_string(&mut text).unwrap();
                let status: ExitStatus = child.wait().unwrap();
                let (signal, code) = (status.signal(), status.code());
                seen.push(format!("{text} {status} {signal:?} {code:?}"));
                seen
            }

            /// As `>&2` and `2>&1` in a shell.
            pub(super) fn swapped() -> bool {
                let mut sh = Command::new("sh");
                sh.args(["-c", "test /proc/$PPID/fd/2 -ef /proc/self/fd/1 && \
                                test /proc/$PPID/fd/1 -ef /proc/self/fd/2"]);
                sh.stdout(std::io::stderr()).stderr(std::io::stdout());
                sh.status().unwrap().success()
            }

            pub(super) fn pretty_debug() -> Vec<String> {
                let mut command = Command::new("ls");
                command.arg("x y").env_remove("B").env_clear();
                command.current_dir("/");
                let text = format!("{command:#?}");
                let lines = text.lines().map(str::trim);
                let own = |line: &&str| !line.starts_with("create_pidfd");
                lines.filter(own).map(String::from).collect()
            }

            pub(super) fn write_and_read() -> Vec<u8> {
                let mut cat = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                cat.stdin.as_mut().unwrap().write_all(b"write_and_read").unwrap();
                assert!(cat.stdin.as_ref().unwrap().as_raw_fd() > 2);
                assert!(cat.id() > 0);
                assert!(cat.try_wait().unwrap().is_none());
                cat.wait_with_output().unwrap().stdout
            }
        }
    };
}

program!(with_std: use std::process::{
    Child, ChildStderr, ChildStdin, ChildStdout, Command, CommandArgs,
    CommandEnvs, ExitStatus, Output, Stdio,
};);
program!(with_ours: use offshoot::{
    Child, ChildStderr, ChildStdin, ChildStdout, Command, CommandArgs,
    CommandEnvs, ExitStatus, Output, Stdio,
};);

#[test]
fn a_program_written_for_std_compiles_with_the_import_swapped() {
    let _alone = alone();
    assert_eq!(with_std::turbofish(), b"zero 1 2\n");
    assert_eq!(with_ours::turbofish(), b"zero 1 2\n");
    assert_eq!(with_std::generic(), with_ours::generic());
    let seen = with_std::conversions();
    let start =
        ["/etc/passwd\n", "socket\n", "socket\n", "/dev/null\n", "pipe\n"];
    assert_eq!(seen[..5], start);
    assert_eq!(seen, with_ours::conversions());
    assert!(with_std::swapped());
    assert!(with_ours::swapped());
    assert_eq!(with_std::pretty_debug(), with_ours::pretty_debug());
    assert_eq!(with_std::write_and_read(), with_ours::write_and_read());
}

/// The kind of file that a child has as standard input.
fn kind(stdio: impl Into<Stdio>) -> String {
    let mut sh = Command::new("sh");
    sh.args(["-c", "readlink /proc/self/fd/0"]).stdin(stdio);
    let output = sh.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(':').next().unwrap().trim().into()
}

#[test]
fn anything_with_a_descriptor_can_be_standard_input() {
    let _alone = alone();
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(kind(reader), "pipe");
    assert_eq!(kind(writer), "pipe");
    let (stream, other) = UnixStream::pair().unwrap();
    assert_eq!(kind(stream), "socket");
    assert_eq!(kind(UnixDatagram::unbound().unwrap()), "socket");
    let dir = util::scratch("std-surface");
    assert_eq!(kind(UnixListener::bind(dir.join("s")).unwrap()), "socket");
    std::fs::remove_dir_all(dir).unwrap();
    // In an `Arc`, as a `'static` reference, and a pidfd.
    let shared = std::sync::Arc::new(other);
    assert_eq!(kind(shared.clone()), "socket");
    assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    let file = File::open("/dev/null").unwrap();
    let file: &'static File = Box::leak(Box::new(file));
    assert_eq!(kind(file), "/dev/null");
    let own = std::fs::read_link("/proc/self/fd/0").unwrap();
    let own = own.to_str().unwrap().split(':').next().unwrap();
    assert_eq!(kind(io::stdin()), own);
    assert_eq!(kind(Stdio::from(io::stdin())), own);
    let mut child = Command::new("/bin/true").spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let pidfd = kind(child.into_pidfd().unwrap());
    assert!(["anon_inode", "pidfd"].contains(&&pidfd[..]), "{pidfd}");
}

#[test]
fn a_given_handle_is_open_until_the_command_is_dropped() {
    let _alone = alone();
    let (mut reader, writer) = io::pipe().unwrap();
    let mut echo = Command::new("echo");
    echo.arg("twice").stdout(writer);
    for _ in 0..2 {
        assert!(echo.status().unwrap().success());
    }
    drop(echo);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "twice\ntwice\n");
}

#[test]
fn a_pidfd_converts_like_any_owned_descriptor() {
    let _alone = alone();
    let mut cat = Command::new("cat");
    let child = cat.stdin(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let pidfd: PidFd = child.into_pidfd().unwrap();
    let number = pidfd.as_raw_fd();
    assert_eq!(pidfd.into_raw_fd(), number);
    // SAFETY: the line above gave up ownership.
    let pidfd = unsafe { PidFd::from_raw_fd(number) };
    let owned: OwnedFd = pidfd.into();
    let pidfd = PidFd::from(owned);
    let info = format!("/proc/self/fdinfo/{number}");
    let info = std::fs::read_to_string(info).unwrap();
    assert!(info.contains(&format!("Pid:\t{id}\n")), "{info}");
    // `into_pidfd` closed the pipe of its standard input.
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let how = WaitIdOptions::EXITED;
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), how).unwrap().unwrap();
    assert_eq!(ended.exit_status(), Some(0));
    assert!(!util::has_children());
}

#[test]
fn an_errno_from_an_io_error_is_its_number_or_einval() {
    for number in [1, 2, 22, 4095] {
        let error = io::Error::from_raw_os_error(number);
        assert_eq!(Errno::from(error), Errno::from_raw_os_error(number));
    }
    let none = [
        io::Error::other("a text"),
        io::ErrorKind::NotFound.into(),
        io::Error::from_raw_os_error(0),
        io::Error::from_raw_os_error(-5),
        io::Error::from_raw_os_error(5000),
    ];
    for error in none {
        assert_eq!(Errno::from(error).raw_os_error(), libc::EINVAL);
    }
}

/// A hook that is written with `io::Error`, as for std.
#[test]
fn a_hook_may_use_the_question_mark_on_io_errors() {
    let _alone = alone();
    fn work() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    }
    let mut command = Command::new("/bin/true");
    // SAFETY: the hook only creates an error, without an allocation.
    unsafe { command.pre_exec(|_| Ok(work()?)) };
    let error = command.spawn().unwrap_err();
    assert_eq!(error.step(), Step::PreExec);
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}

#[test]
fn groups_come_from_any_list_of_numbers() {
    let list = vec![27, 1000];
    let want = Groups::from(list.clone());
    assert_eq!(Groups::from(&list), want);
    assert_eq!(Groups::from(&[27, 1000]), want);
    assert_eq!(Groups::from([27, 1000]), want);
    assert_eq!(Groups::from(&list[..]), want);
    assert_eq!(Groups::from(&[0; 0]), Groups::clear());
    let mut command = Command::new("id");
    let two = &[1, 2];
    command.groups(&list).groups(two).groups(&list[..1]);
}

#[test]
fn a_prepared_command_has_output_and_status() {
    let _alone = alone();
    let mut sh = Command::new("sh");
    sh.args(["-c", "echo out; echo err >&2; exit 3"]).stderr(Stdio::null());
    let quiet: Prepared = sh.stdout(Stdio::null()).prepare().unwrap();
    assert_eq!(quiet.status().unwrap().code(), Some(3));
    let error = quiet.output().unwrap_err();
    assert_eq!(error.step(), Step::Stdout);
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let piped = sh.stdout(Stdio::piped()).prepare().unwrap();
    for _ in 0..2 {
        let output = piped.output().unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"");
        assert_eq!(output.status.code(), Some(3));
    }
    // One of the two is enough.
    let errors = sh.stdout(Stdio::null()).stderr(Stdio::piped());
    let output = errors.prepare().unwrap().output().unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b""[..], &b"err\n"[..])
    );
    assert!(!util::has_children());
}

#[test]
fn arguments_and_variables_can_be_read_from_both_ends() {
    let mut command = Command::new("ls");
    command.args(["a", "b", "c"]).env("X", "1").env_remove("Y");
    let args = command.get_args();
    assert!(args.clone().rev().eq(["c", "b", "a"]));
    assert_eq!(args.size_hint(), (3, Some(3)));
    assert_eq!(format!("{args:?}"), r#"["a", "b", "c"]"#);
    let mut envs = command.get_envs();
    assert_eq!(format!("{envs:?}"), r#"{"X": Some(..), "Y": None}"#);
    assert_eq!(envs.clone().next_back(), Some(("Y".as_ref(), None)));
    assert_eq!(envs.next(), Some(("X".as_ref(), Some("1".as_ref()))));
    assert_eq!(envs.len(), 1);
}

#[test]
fn stdio_is_unwind_safe_as_in_std() {
    fn safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    safe(&std::process::Stdio::null());
    safe(&offshoot::Stdio::null());
}
