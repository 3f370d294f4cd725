//! Secrets: no text of a command, a plan, a child or an error contains the
//! value of a variable; it may contain the name.

mod util;

use std::fmt::{Debug, Display};
use std::fs;

use offshoot::{Command, Engine, Error, Stdio};
use util::{ENGINES, alone};

const SET: &str = "hunter2-set";
const INHERITED: &str = "hunter2-inherited";

/// The secret as text, and as `{:?}` of bytes prints it.
fn forms(secret: &str) -> [String; 3] {
    let bytes = format!("{:?}", secret.as_bytes());
    let lines = format!("{:#?}", secret.as_bytes());
    let bare = |text: &str| text.trim_matches(['[', ']', '\n']).to_string();
    [secret.into(), bare(&bytes), bare(&lines)]
}

#[track_caller]
fn assert_no_secret(text: &str) {
    // Nested fields are indented further.
    let flat: String = text.split_whitespace().collect();
    for secret in [SET, INHERITED] {
        for form in forms(secret) {
            let form: String = form.split_whitespace().collect();
            assert!(!flat.contains(form.trim_end_matches(',')), "{text}");
        }
    }
}

#[track_caller]
fn debug(value: &impl Debug) -> String {
    let (line, lines) = (format!("{value:?}"), format!("{value:#?}"));
    assert_no_secret(&line);
    assert_no_secret(&lines);
    line + &lines
}

#[track_caller]
fn display(value: &impl Display) {
    assert_no_secret(&value.to_string());
}

#[track_caller]
fn error(error: &Error) {
    debug(error);
    display(error);
    debug(&error.operand());
}

fn of(program: &str, engine: Option<Engine>) -> Command {
    let mut command = Command::new(program);
    command.arg("shown").env("OFFSHOOT_PASSWORD", SET).env_remove("GONE");
    if let Some(engine) = engine {
        command.engine(engine);
    }
    command
}

#[test]
fn values_of_variables_are_in_no_text_of_the_crate() {
    let name = "values_of_variables_are_in_no_text_of_the_crate";
    let token = format!("OFFSHOOT_TOKEN={INHERITED}");
    if !util::inside(name, &["env", &token]) {
        return;
    }
    let _alone = alone();
    assert_eq!(std::env::var("OFFSHOOT_TOKEN").unwrap(), INHERITED);
    for engine in ENGINES.map(Some).into_iter().chain([None]) {
        let mut command = of("/bin/true", engine);
        let text = debug(&command);
        for shown in ["OFFSHOOT_PASSWORD", "GONE", "shown"] {
            assert!(text.contains(shown), "{text}");
        }
        debug(&command.get_envs());
        let plan = command.plan().unwrap();
        let text = debug(&plan);
        display(&plan);
        for name in ["OFFSHOOT_PASSWORD", "OFFSHOOT_TOKEN", "shown"] {
            assert!(text.contains(name), "{text}");
        }
        let prepared = command.prepare().unwrap();
        debug(&prepared);
        display(prepared.plan());
        let mut child = prepared.spawn().unwrap();
        // Including what was created for the launch.
        let text = debug(&prepared);
        assert!(text.contains("OFFSHOOT_PASSWORD"), "{text}");
        debug(&child);
        debug(child.launch());
        display(child.launch());
        assert!(child.wait().unwrap().success());
        command.listen_fds([fs::File::open("/dev/null").unwrap()]);
        debug(&command.prepare().unwrap());
    }
    debug(&Stdio::piped());
}

#[test]
fn values_of_variables_are_in_no_error() {
    let _alone = alone();
    for engine in ENGINES {
        error(&of("/no/such", Some(engine)).spawn().unwrap_err());
        error(&of("no-such-name", Some(engine)).spawn().unwrap_err());
        let mut command = of("/bin/true", Some(engine));
        error(&command.current_dir("/nope").spawn().unwrap_err());
        let mut command = of("/bin/true", Some(engine));
        // A value that is refused, and one that is too long for the kernel.
        let value = format!("{SET}\0");
        error(&command.env("BAD", value).spawn().unwrap_err());
        let value = format!("{SET}{}", "x".repeat(131_072));
        error(&command.env("BAD", value).spawn().unwrap_err());
        let mut command = of("/bin/true", Some(engine));
        command.env("LISTEN_FDS", SET).listen_fds(NONE);
        error(&command.spawn().unwrap_err());
    }
}

const NONE: [std::os::fd::OwnedFd; 0] = [];

/// The bytes of a program are not printed either.
#[test]
fn a_program_from_bytes_is_shown_by_its_length() {
    let _alone = alone();
    let script = format!("#!/bin/sh\n: {SET}\n");
    let mut command = Command::from_bytes(script.clone());
    command.script_fd(3);
    debug(&command);
    let plan = command.plan().unwrap();
    let text = debug(&plan);
    assert!(text.contains(&format!("{} bytes", script.len())), "{text}");
    debug(&command.prepare().unwrap());
}

/// Strings and lists may contain the environment: a struct with bytes needs a
/// `Debug` that is written by hand.
#[test]
fn no_struct_with_bytes_derives_debug() {
    let mut looked = 0;
    for path in util::source::files("src") {
        let text = fs::read_to_string(&path).unwrap();
        for item in text.split("#[derive(").skip(1) {
            let (derived, rest) = item.split_once(")]").unwrap();
            // Braces, or a line's end: fields, however they are written.
            let ends = ["\n}", ";\n"].map(|end| rest.find(end));
            let end = ends.into_iter().flatten().min();
            let body = &rest[..end.unwrap_or(rest.len())];
            looked += 1;
            let bytes = ["[u8]", "Vec<u8>", "Vec<OsString>", "Map<OsString"]
                .iter()
                .any(|kind| body.contains(kind));
            let tests = path.ends_with("model.rs");
            let shown = derived.contains("Debug") && bytes && !tests;
            assert!(!shown, "{}: {body}", path.display());
        }
    }
    assert!(looked > 30, "{looked}");
}
