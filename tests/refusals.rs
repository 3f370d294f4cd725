//! Refusals: invalid input is an error before the clone, and the kernel's
//! limits on arguments are reached to the byte.

mod util;

use std::fs::OpenOptions;
use std::io;

use offshoot::{Command, Error, Stdio, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::filter::{self, Action};
use util::{alone, each_engine};

#[test]
fn one_argument_may_have_131071_bytes_and_no_more() {
    let _alone = alone();
    each_engine(|engine| {
        let mut fits = command("/bin/true", engine);
        fits.arg("x".repeat(131_071));
        assert!(fits.status().unwrap().success());
        let mut long = command("/bin/true", engine);
        long.arg("x".repeat(131_072));
        let error = clean(spawn(long));
        assert_error(&error, Step::Exec, Some("/bin/true"), libc::E2BIG);
    });
}

/// All arguments together: the largest count that runs, found by bisection;
/// one more argument is E2BIG.
#[test]
fn all_arguments_together_are_e2big_at_the_kernels_limit_only() {
    let _alone = alone();
    each_engine(|engine| {
        let word = "y".repeat(100_000);
        let run = |n: usize| {
            let mut command = command("/bin/true", engine);
            command.args((0..n).map(|_| &word)).spawn()
        };
        let (mut low, mut high) = (1, 400);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            match run(middle) {
                Ok(mut child) => {
                    assert!(child.wait().unwrap().success());
                    low = middle;
                }
                Err(_) => high = middle,
            }
        }
        assert!(low >= 10, "{low}");
        let error = clean(|| run(high).map(drop));
        assert_error(&error, Step::Exec, Some("/bin/true"), libc::E2BIG);
    });
}

type Set = fn(&mut Command) -> &mut Command;

#[test]
fn bad_input_is_refused_by_name_before_anything_is_cloned() {
    let _alone = alone();
    each_engine(|engine| {
        let cases: [(Step, &str, Set); 8] = [
            (Step::Arg, "a\0b", |c| c.arg("a\0b")),
            (Step::Env, "A\0", |c| c.env("A\0", "1")),
            (Step::Env, "A", |c| c.env("A", "1\0")),
            (Step::Env, "A=B", |c| c.env("A=B", "1")),
            (Step::Env, "", |c| c.env("", "1")),
            (Step::Env, "A=", |c| c.env_remove("A=")),
            (Step::CurrentDir, "/\0", |c| c.current_dir("/\0")),
            (Step::CurrentDir, "", |c| c.current_dir("")),
        ];
        let mut all: Vec<(Step, &str, Command)> = Vec::new();
        for (step, operand, set) in cases {
            let mut command = command("/bin/true", engine);
            set(&mut command);
            all.push((step, operand, command));
        }
        all.push((Step::Program, "", command("", engine)));
        all.push((Step::Program, "a\0", command("a\0", engine)));
        let mut path = command("/bin/true", engine);
        let file = OpenOptions::new().read(true).clone();
        path.stdin(Stdio::open("/dev/null\0", &file));
        all.push((Step::Stdin, "/dev/null\0", path));
        for (step, operand, mut command) in all {
            // A clone would kill this process by SIGSYS.
            let nr = libc::SYS_clone3;
            let fail = || {
                filter::with(nr, Action::Kill, || {
                    let planned = command.plan().map(drop);
                    let prepared = command.prepare().map(drop);
                    let spawned = command.spawn().map(drop);
                    let text = |r: &Result<(), Error>| format!("{r:?}");
                    assert_eq!(text(&planned), text(&spawned));
                    assert_eq!(text(&prepared), text(&spawned));
                    spawned
                })
            };
            let error = clean(fail);
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.operand().unwrap().to_str().unwrap(), operand);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.starts_with(&step.to_string()), "{text}");
        }
    });
}
