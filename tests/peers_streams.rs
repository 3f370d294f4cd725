//! Peers' streams: the cases of the suite of `subprocess` for redirections,
//! input and output, and pipelines; the other cases are in `peers.rs`:
//!
//! | case | test |
//! | --- | --- |
//! | subprocess: output read by the caller | `a_child_can_be_written_to_and_read_from` |
//! | subprocess: input, output, or both are files | `a_program_goes_from_file_to_file` |
//! | subprocess: one file for both outputs, shared | `outputs_that_share_a_file_do_not_overwrite_each_other` |
//! | subprocess: written to, the output is a file | `what_is_written_to_a_child_reaches_the_file_it_writes` |
//! | subprocess: null input | `null_stdin_is_empty_and_null_stdout_discards` |
//! | subprocess: merged into a pipe, either way | `either_output_merges_into_the_pipe_of_the_other` |
//! | subprocess: merged into a file | `outputs_that_share_a_file_do_not_overwrite_each_other` |
//! | subprocess: both merged, and input merged | `outputs_that_merge_into_each_other_are_refused` |
//! | subprocess: a write to a child that does not read | `a_write_to_a_child_that_has_ended_is_a_broken_pipe` |
//! | subprocess: input communicated, output in a file | `what_is_written_to_a_child_reaches_the_file_it_writes` |
//! | subprocess: output; input and output; long ones; both ways | `both_outputs_and_the_input_are_larger_than_their_pipes`, `ten_mib_go_both_ways_in_every_engine` |
//! | subprocess: one pipe only, or none | `what_is_no_pipe_is_left_out_of_the_output` |
//! | subprocess: empty input, no output, a quick exit | `what_is_no_pipe_is_left_out_of_the_output` |
//! | subprocess: interleaved outputs; a failure with output | `each_output_keeps_its_order_and_a_failure_its_output` |
//! | subprocess: much on one output, without newlines | `much_without_a_newline_is_read_whole` |
//! | subprocess: input without a pipe for it | `limits_of_nothing_are_refused_and_the_child_goes_on` |
//! | subprocess: input that is not read | `a_child_that_does_not_read_its_input_is_no_error` |
//! | subprocess: input as text, bytes, owned or not | `input_is_anything_that_is_bytes` |
//! | subprocess: reads after the end | `a_second_exchange_reads_nothing_and_has_the_status` |
//! | subprocess: a time limit, what was read is kept | `a_deadline_keeps_the_output_and_leaves_no_child` |
//! | subprocess: a time limit of zero | `limits_of_nothing_are_refused_and_the_child_goes_on` |
//! | subprocess: a time limit, then more is read | `a_child_over_its_limit_is_not_read_again` |
//! | subprocess: a size limit, small, large, of both outputs | `more_bytes_than_the_limit_are_an_error_that_keeps_as_many` |
//! | subprocess: a size limit of zero | `limits_of_nothing_are_refused_and_the_child_goes_on` |
//! | subprocess: a size limit, then more is read | `a_child_over_its_limit_is_not_read_again` |
//! | subprocess: which pipes a capture makes | `output_pipes_only_what_was_not_set` |
//! | subprocess: a stream of one output, or the input | `a_child_can_be_written_to_and_read_from` |
//! | subprocess: two, and four programs in a pipeline | `programs_in_a_pipeline_pass_on_what_they_read` |
//! | subprocess: a pipeline's status is the last one's | `a_pipeline_has_the_statuses_of_all_its_programs` |
//! | subprocess: a pipeline with one missing program | `a_pipeline_whose_second_program_is_missing_ends_the_first` |
//! | subprocess: errors of all programs of a pipeline in one pipe or file | `a_pipeline_shares_one_pipe_for_errors` |
//! | subprocess: the directory of a pipeline | `the_child_starts_in_the_directory_asked_for` |
//! | subprocess: a time limit of a pipeline | `a_deadline_ends_a_pipeline_whose_first_program_is_silent` |
//! | subprocess: an empty pipeline | `one_command_can_be_there_many_times_or_not_at_all` |
//! | subprocess: a detached pipeline | `a_drop_neither_kills_nor_reaps_by_default` |

mod util;

use std::fs::{File, read_to_string, write};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use offshoot::{
    Child, Command, Engine, Limits, OutputLimit, OutputText, Stdio, Step,
};
use util::clean::{assert_error, command, refused};
use util::no_pidfd::with_and_without;
use util::{each_engine, scratch};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn sh(engine: Engine, script: &str) -> Command {
    let mut sh = command("/bin/sh", engine);
    sh.args(["-c", script]);
    sh
}

fn shell(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]);
    sh
}

fn file(path: &Path) -> File {
    File::create(path).unwrap()
}

#[test]
fn a_program_goes_from_file_to_file() {
    let dir = scratch("a_program_goes_from_file_to_file");
    let [from, to] = ["from", "to"].map(|name| dir.join(name));
    write(&from, "text of the file").unwrap();
    each_engine(|engine| {
        let mut cat = command("/bin/cat", engine);
        cat.stdin(File::open(&from).unwrap()).stdout(file(&to));
        assert!(cat.status().unwrap().success());
        assert_eq!(read_to_string(&to).unwrap(), "text of the file");
        // One of the two is a pipe.
        let mut cat = command("/bin/cat", engine);
        let output = cat.stdin(File::open(&from).unwrap()).output().unwrap();
        assert_eq!(output.stdout_lossy(), "text of the file", "{engine}");
        let mut printf = sh(engine, "printf other");
        assert!(printf.stdout(file(&to)).status().unwrap().success());
        assert_eq!(read_to_string(&to).unwrap(), "other", "{engine}");
    });
}

/// The offset belongs to the open file, of which both have a descriptor.
#[test]
fn outputs_that_share_a_file_do_not_overwrite_each_other() {
    let dir = scratch("outputs_that_share_a_file_do_not_overwrite_each_other");
    let path = dir.join("both");
    let script = "printf one; printf two >&2; printf three";
    each_engine(|engine| {
        let shared = file(&path);
        let mut both = sh(engine, script);
        both.stdout(shared.try_clone().unwrap()).stderr(shared);
        assert!(both.status().unwrap().success());
        assert_eq!(read_to_string(&path).unwrap(), "onetwothree", "{engine}");
        let mut merged = sh(engine, script);
        merged.stdout(file(&path)).stderr(Stdio::same_as(1));
        assert!(merged.status().unwrap().success());
        assert_eq!(read_to_string(&path).unwrap(), "onetwothree", "{engine}");
    });
}

#[test]
fn what_is_written_to_a_child_reaches_the_file_it_writes() {
    let dir = scratch("what_is_written_to_a_child_reaches_the_file_it_writes");
    let path = dir.join("out");
    each_engine(|engine| {
        let mut cat = command("/bin/cat", engine);
        cat.stdin(Stdio::piped()).stdout(file(&path));
        let mut child = cat.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"by hand").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(read_to_string(&path).unwrap(), "by hand", "{engine}");
        cat.stdout(file(&path));
        let output = cat.spawn().unwrap().communicate("by it").unwrap();
        assert!(output.status.success() && output.stdout.is_empty());
        assert_eq!(read_to_string(&path).unwrap(), "by it", "{engine}");
    });
}

#[test]
fn either_output_merges_into_the_pipe_of_the_other() {
    let script = "echo one; echo two >&2; echo three";
    let all = b"one\ntwo\nthree\n";
    each_engine(|engine| {
        let mut merged = sh(engine, script);
        merged.stdout(Stdio::piped()).stderr(Stdio::same_as(1));
        let mut child = merged.spawn().unwrap();
        let output = child.communicate("").unwrap();
        assert_eq!((&output.stdout[..], output.stderr.len()), (&all[..], 0));
        merged.stdout(Stdio::same_as(2)).stderr(Stdio::piped());
        let mut child = merged.spawn().unwrap();
        assert!(child.stdout.is_none());
        let output = child.communicate("").unwrap();
        assert_eq!((output.stdout.len(), &output.stderr[..]), (0, &all[..]));
    });
}

#[test]
fn outputs_that_merge_into_each_other_are_refused() {
    each_engine(|engine| {
        let mut both = command("/bin/true", engine);
        both.stdout(Stdio::same_as(2)).stderr(Stdio::same_as(1));
        let error = both.spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!([Step::Stdout, Step::Stderr].contains(&error.step()));
        let mut itself = command("/bin/true", engine);
        let error = itself.stdin(Stdio::same_as(0)).spawn().unwrap_err();
        refused(&error, Step::Stdin, Some("0"), "");
    });
}

/// Rust programs ignore SIGPIPE.
#[test]
fn a_write_to_a_child_that_has_ended_is_a_broken_pipe() {
    let name = "a_write_to_a_child_that_has_ended_is_a_broken_pipe";
    with_and_without(name, |spawn| {
        let mut program = Command::new("true");
        program.stdin(Stdio::piped());
        let mut child = spawn(program);
        let mut stdin = child.stdin.take().unwrap();
        assert!(child.wait().unwrap().success());
        let error = stdin.write_all(&[0; 100_000]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        // Larger than a pipe, and it ends between two writes.
        let mut program = shell("head -c 1 >/dev/null");
        program.stdin(Stdio::piped());
        let mut child = spawn(program);
        let mut stdin = child.stdin.take().unwrap();
        let error = stdin.write_all(&[0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn what_is_no_pipe_is_left_out_of_the_output() {
    let name = "what_is_no_pipe_is_left_out_of_the_output";
    with_and_without(name, |spawn| {
        for pipes in 0..8 {
            let [has_in, has_out, has_err] =
                [1, 2, 4].map(|pipe| pipes & pipe != 0);
            let stdio = |piped| {
                if piped { Stdio::piped() } else { Stdio::null() }
            };
            for (input, script) in
                [("word", "cat; echo err >&2; exit 3"), ("", "exit 3")]
            {
                let mut program = shell(script);
                program.stdin(stdio(has_in)).stdout(stdio(has_out));
                program.stderr(stdio(has_err));
                let input = if has_in { input } else { "" };
                let output = spawn(program).communicate(input).unwrap();
                assert_eq!(output.status.code(), Some(3));
                let out = if has_out { input } else { "" };
                assert_eq!(output.stdout_lossy(), out);
                let writes = has_err && script.contains("err");
                let err = if writes { "err\n" } else { "" };
                assert_eq!(output.stderr_lossy(), err);
            }
        }
    });
}

#[test]
fn each_output_keeps_its_order_and_a_failure_its_output() {
    let script = "for n in 1 2 3; do echo o$n; echo e$n >&2; done; exit 42";
    each_engine(|engine| {
        let output = sh(engine, script).output_with(Limits::new()).unwrap();
        assert_eq!(output.status.code(), Some(42));
        assert_eq!(output.stdout, b"o1\no2\no3\n", "{engine}");
        assert_eq!(output.stderr, b"e1\ne2\ne3\n", "{engine}");
    });
}

#[test]
fn much_without_a_newline_is_read_whole() {
    each_engine(|engine| {
        for (to, first) in [("", true), (" >&2", false)] {
            let script = format!("printf '%300000s' x{to}");
            let output = sh(engine, &script).output_with(Limits::new());
            let output = output.unwrap();
            let (long, none) = if first {
                (output.stdout, output.stderr)
            } else {
                (output.stderr, output.stdout)
            };
            assert!(none.is_empty() && long.len() == 300_000, "{engine}");
            let (last, blanks) = long.split_last().unwrap();
            assert!(*last == b'x' && blanks.iter().all(|&byte| byte == b' '));
        }
    });
}

#[test]
fn input_is_anything_that_is_bytes() {
    fn echoed(input: impl AsRef<[u8]>) -> Vec<u8> {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        cat.spawn().unwrap().communicate(input).unwrap().stdout
    }
    assert_eq!(echoed("text"), b"text");
    assert_eq!(echoed(String::from("owned")), b"owned");
    assert_eq!(echoed(b"array"), b"array");
    assert_eq!(echoed([0, 255, 10]), [0, 255, 10]);
    assert_eq!(echoed(&b"slice"[..]), b"slice");
    assert_eq!(echoed(vec![128; 3]), [128; 3]);
    assert_eq!(echoed(Box::<[u8]>::from([7])), [7]);
}

#[test]
fn a_second_exchange_reads_nothing_and_has_the_status() {
    let name = "a_second_exchange_reads_nothing_and_has_the_status";
    with_and_without(name, |spawn| {
        let mut program = shell("cat; exit 5");
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(program);
        let first = child.communicate("once").unwrap();
        assert_eq!(first.stdout, b"once");
        for _ in 0..2 {
            let again = child.communicate("").unwrap();
            assert_eq!(again.status, first.status);
            assert!(again.stdout.is_empty() && again.stderr.is_empty());
        }
        // There is no pipe for it any more.
        let error = child.communicate("twice").unwrap_err();
        refused(error.error(), Step::Stdin, None, "not a pipe, or was taken");
    });
}

/// `subprocess` reads on, with another limit. Here the child is killed, as it
/// would be blocked by its full pipe; what it wrote is in the error.
#[test]
fn a_child_over_its_limit_is_not_read_again() {
    let name = "a_child_over_its_limit_is_not_read_again";
    with_and_without(name, |spawn| {
        let (hold, writer) = io::pipe().unwrap();
        let (mut ready, told) = io::pipe().unwrap();
        let script = "printf abcdef; echo >&2; read x; printf ghi";
        let mut slow = shell(script);
        slow.stdin(OwnedFd::from(hold)).stdout(Stdio::piped());
        slow.stderr(OwnedFd::from(told));
        let mut child = spawn(slow);
        ready.read_exact(&mut [0]).unwrap();
        let limits = Limits::new().timeout(SHORT);
        let error = child.communicate_with("", limits).unwrap_err();
        assert_eq!(error.limit(), Some(OutputLimit::Deadline));
        assert_eq!(error.stdout(), b"abcdef");
        killed_and_empty(&mut child);
        drop(writer);
        let mut much = shell("printf abcdef; exec sleep 1000");
        much.stdout(Stdio::piped());
        let mut child = spawn(much);
        let limits = Limits::new().bytes(3);
        let error = child.communicate_with("", limits).unwrap_err();
        assert_eq!(error.limit(), Some(OutputLimit::Bytes));
        assert_eq!(error.stdout(), b"abc");
        killed_and_empty(&mut child);
    });
}

#[track_caller]
fn killed_and_empty(child: &mut Child) {
    let output = child.communicate("").unwrap();
    assert_eq!(output.status.signal(), Some(9));
    assert!(output.stdout.is_empty());
}

#[test]
fn output_pipes_only_what_was_not_set() {
    let dir = scratch("output_pipes_only_what_was_not_set");
    let path = dir.join("err");
    each_engine(|engine| {
        let mut both = sh(engine, "echo out; echo err >&2");
        let output = both.output().unwrap();
        assert_eq!(output.stdout, b"out\n", "{engine}");
        assert_eq!(output.stderr, b"err\n", "{engine}");
        let output = both.stderr(file(&path)).output().unwrap();
        assert_eq!(output.stdout, b"out\n", "{engine}");
        assert!(output.stderr.is_empty(), "{engine}");
        assert_eq!(read_to_string(&path).unwrap(), "err\n", "{engine}");
    });
}

/// Starts each program with the output of the one before it.
fn pipeline(mut commands: Vec<Command>) -> Vec<Child> {
    let mut children: Vec<Child> = Vec::new();
    for command in &mut commands {
        let before = children.last_mut().map(|child| child.stdout.take());
        if let Some(before) = before {
            command.stdin(before.unwrap());
        } else {
            command.stdin(Stdio::piped());
        }
        children.push(command.stdout(Stdio::piped()).spawn().unwrap());
    }
    children
}

fn text(child: &mut Child) -> String {
    io::read_to_string(child.stdout.take().unwrap()).unwrap()
}

#[test]
fn programs_in_a_pipeline_pass_on_what_they_read() {
    each_engine(|engine| {
        let stages = |scripts: &[&str]| {
            pipeline(scripts.iter().map(|text| sh(engine, text)).collect())
        };
        let mut two = stages(&["printf 'a\\nb\\nc\\n'", "wc -l"]);
        assert_eq!(text(&mut two[1]).trim(), "3", "{engine}");
        let mut four = stages(&["cat", "sort", "uniq", "wc -l"]);
        let mut stdin = four[0].stdin.take().unwrap();
        stdin.write_all(b"x\ny\nx\ny\nz\n").unwrap();
        drop(stdin);
        assert_eq!(text(&mut four[3]).trim(), "3", "{engine}");
        for mut child in two.into_iter().chain(four) {
            assert!(child.wait().unwrap().success(), "{engine}");
        }
    });
}

#[test]
fn a_pipeline_has_the_statuses_of_all_its_programs() {
    each_engine(|engine| {
        for codes in [[0, 0], [1, 0], [0, 1]] {
            let exits = codes.map(|code| sh(engine, &format!("exit {code}")));
            let children = pipeline(exits.into());
            for (mut child, code) in children.into_iter().zip(codes) {
                assert_eq!(child.wait().unwrap().code(), Some(code));
            }
        }
    });
}

/// The first one has nothing that reads its output, once the command that did
/// not start is dropped.
#[test]
fn a_pipeline_whose_second_program_is_missing_ends_the_first() {
    each_engine(|engine| {
        let mut yes = sh(engine, "exec yes");
        let mut yes = yes.stdout(Stdio::piped()).spawn().unwrap();
        let path = "/no/such/program";
        let mut missing = command(path, engine);
        missing.stdin(yes.stdout.take().unwrap());
        let error = missing.spawn().unwrap_err();
        assert_error(&error, Step::Exec, Some(path), libc::ENOENT);
        assert!(yes.try_wait().unwrap().is_none(), "{engine}");
        drop(missing);
        assert_eq!(yes.wait().unwrap().signal(), Some(libc::SIGPIPE));
    });
}

#[test]
fn a_pipeline_shares_one_pipe_for_errors() {
    each_engine(|engine| {
        let (mut errors, write) = io::pipe().unwrap();
        let mut first = sh(engine, "echo one >&2; printf 'a\\nb\\n'");
        first.stderr(OwnedFd::from(write.try_clone().unwrap()));
        // It writes after the first one, whose output it has read.
        let mut second = sh(engine, "cat; echo two >&2");
        second.stderr(OwnedFd::from(write));
        let mut children = pipeline(vec![first, second]);
        assert_eq!(text(&mut children[1]), "a\nb\n", "{engine}");
        let mut all = String::new();
        errors.read_to_string(&mut all).unwrap();
        assert_eq!(all, "one\ntwo\n", "{engine}");
        for mut child in children {
            assert!(child.wait().unwrap().success(), "{engine}");
        }
    });
}

#[test]
fn a_deadline_ends_a_pipeline_whose_first_program_is_silent() {
    each_engine(|engine| {
        let mut sleep = sh(engine, "exec sleep 1000");
        sleep.stderr(Stdio::null());
        let cat = command("/bin/cat", engine);
        let mut children = pipeline(vec![sleep, cat]);
        let mut last = children.pop().unwrap();
        let limits = Limits::new().timeout(SHORT);
        let error = last.communicate_with("", limits).unwrap_err();
        assert_eq!(error.limit(), Some(OutputLimit::Deadline), "{engine}");
        assert!(error.killed());
        let first = children[0].terminate(LONG).unwrap();
        assert_eq!(first.signal(), Some(libc::SIGTERM), "{engine}");
    });
}
