//! Shell line: bash runs what `{:?}` of a command prints, and the program sees
//! the same as when the command runs.
#![allow(unsafe_code, reason = "a reporter that runs before main")]

mod util;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Std;
use std::{env, fs};

use offshoot::{Command, Stdio};
use util::alone;

/// The first argument that makes this binary write its arguments, environment
/// and directory, with lengths.
const ASK: &str = "offshoot-words";

#[used]
#[unsafe(link_section = ".init_array")]
static REPORTER: extern "C" fn() = reporter;

extern "C" fn reporter() {
    let line = fs::read("/proc/self/cmdline").unwrap_or_default();
    let asked = line.split(|byte| *byte == 0).nth(1) == Some(ASK.as_bytes());
    if !asked {
        return;
    }
    let environ = fs::read("/proc/self/environ").unwrap_or_default();
    let cwd = fs::read_link("/proc/self/cwd").unwrap_or_default();
    let mut all = Vec::new();
    for part in [&line, &environ, cwd.as_os_str().as_bytes()] {
        all.extend_from_slice(&part.len().to_le_bytes());
        all.extend_from_slice(part);
    }
    // SAFETY: writes the report's own bytes.
    unsafe { libc::write(1, all.as_ptr().cast(), all.len()) };
    // SAFETY: ends the process, which has no threads yet.
    unsafe { libc::_exit(0) };
}

/// What a program saw: its arguments, environment and directory.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    argv: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
}

/// Variables that bash sets for every program.
const BASH: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];

impl Seen {
    fn parse(text: &[u8]) -> Option<Seen> {
        let mut rest = text;
        let mut part = || {
            let (len, more) = rest.split_first_chunk()?;
            let (part, more) = more.split_at(usize::from_le_bytes(*len));
            rest = more;
            Some(part.to_vec())
        };
        let (line, environ, cwd) = (part()?, part()?, part()?);
        let words = |all: &[u8]| -> Vec<OsString> {
            let all = all.strip_suffix(b"\0").unwrap_or(all);
            all.split(|byte| *byte == 0)
                .map(|word| OsString::from_vec(word.into()))
                .collect()
        };
        let pair = |word: &OsString| {
            let word = word.as_bytes();
            let at = word.iter().position(|byte| *byte == b'=')?;
            let key = OsStr::from_bytes(&word[..at]);
            let value = OsStr::from_bytes(&word[at + 1..]);
            let ours = !BASH.iter().any(|name| key == *name);
            ours.then(|| (key.to_owned(), value.to_owned()))
        };
        Some(Seen {
            argv: words(&line),
            env: words(&environ).iter().filter_map(pair).collect(),
            cwd: OsString::from_vec(cwd).into(),
        })
    }

    fn names(&self) -> Vec<&OsString> {
        self.env.keys().collect()
    }
}

/// Runs a line by bash.
fn through_bash(line: &str) -> Option<Seen> {
    let output = Std::new("bash").args(["-c", "--", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("syntax error"), "{line}\n{errors}");
    Seen::parse(&output.stdout)
}

/// Compares both lines of a command, run by bash, with the command.
#[track_caller]
fn same(command: &mut Command) -> bool {
    let own = command.stderr(Stdio::null()).output();
    let own = own.ok().and_then(|output| Seen::parse(&output.stdout));
    let (shown, full) = (format!("{command:?}"), command.to_shell_line());
    assert!(!shown.contains('\n'), "{shown}");
    assert_eq!(own, through_bash(&full), "{full}");
    let seen = through_bash(&shown);
    // `{:?}` takes the values from the shell's environment.
    let part = |seen: &Option<Seen>| {
        seen.as_ref().map(|seen| {
            let names = seen.names().into_iter().cloned().collect::<Vec<_>>();
            (seen.argv.clone(), names, seen.cwd.clone())
        })
    };
    assert_eq!(part(&own), part(&seen), "{shown}");
    own.is_some()
}

/// Names of programs that a shell or env would interpret otherwise.
const ODD: [&str; 24] = [
    "-", "-x", "--", "a=b", "=x", "%1", "if", "cd", "exit", "time", "wait",
    "it's", "a b", "!", "~", "[[", "é", "$x", "*", "{", "#x", "plain", "\n",
    "exec",
];

const DIRS: [&str; 10] =
    ["-x", "-", "a b", "é", "bin", "link/..", "~", "a'b", "\n", "+1"];

/// Runs this test again in a new directory that has those directories, with
/// those programs in PATH and another `bin` in CDPATH.
fn inside(test: &str) -> bool {
    const DIR: &str = "OFFSHOOT_LINES";
    if let Some(dir) = env::var_os(DIR) {
        env::set_current_dir(dir).unwrap();
        return true;
    }
    if Std::new("bash").arg("--version").output().is_err() {
        util::skip(test, "no bash");
        return false;
    }
    let dir = util::scratch(test);
    let path = dir.join("path");
    fs::create_dir(&path).unwrap();
    for name in ODD {
        symlink(env::current_exe().unwrap(), path.join(name)).unwrap();
    }
    symlink("/usr/bin", dir.join("link")).unwrap();
    for name in DIRS.iter().filter(|name| !name.contains("..")) {
        fs::create_dir(dir.join(name)).unwrap();
        symlink(env::current_exe().unwrap(), dir.join(name).join("own"))
            .unwrap();
    }
    let old = env::var("PATH").unwrap();
    let path = format!("PATH={}:{old}", path.display());
    let own = format!("{DIR}={}", dir.display());
    let wrap = ["env", &path, &own, "CDPATH=/usr", "GONE=1", "KEPT=2"];
    assert!(!util::inside(test, &wrap));
    fs::remove_dir_all(dir).unwrap();
    false
}

fn exe() -> PathBuf {
    env::current_exe().unwrap()
}

fn asking(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg(ASK);
    command
}

type Change = fn(&mut Command) -> &mut Command;

const CHANGES: [Change; 9] = [
    |c| c,
    |c| c.env("A", "1 2"),
    |c| c.env_remove("GONE"),
    |c| c.env("A", "it's").env("B", "").env_remove("GONE"),
    |c| c.env_clear(),
    |c| c.env_clear().env("A", "\n").env("PATH", env::var_os("PATH").unwrap()),
    |c| c.env_clear().env("-n", "v").env_remove("GONE"),
    |c| c.env("a b", "$A").env_remove("-g").env("UID", "77"),
    |c| c.env("SHLVL", "4").env("é", "é").env_remove("not there"),
];

/// Every change of the environment with every kind of argument 0, program and
/// directory.
#[test]
fn the_shell_line_does_in_bash_what_the_command_does() {
    let name = "the_shell_line_does_in_bash_what_the_command_does";
    if !inside(name) {
        return;
    }
    let _alone = alone();
    let exe = exe();
    let exe = exe.to_str().unwrap();
    let mut ran = 0;
    for change in CHANGES {
        for arg0 in [None, Some("zz"), Some(""), Some("-zz"), Some("a'b\n")] {
            for (program, dir) in [
                (exe, None),
                ("plain", Some("/usr")),
                ("-x", Some("-x")),
                ("./own", Some("a b")),
                ("a=b", Some("bin")),
            ] {
                let mut command = asking(program);
                if let Some(arg0) = arg0 {
                    command.arg0(arg0);
                }
                if let Some(dir) = dir {
                    command.current_dir(dir);
                }
                ran += u32::from(same(change(command.arg("x y"))));
            }
        }
    }
    // All except those with an invalid variable name, and those that are not
    // found once PATH is cleared.
    assert!(ran >= 140, "{ran}");
}

#[test]
fn the_shell_line_works_for_any_program_and_directory() {
    let name = "the_shell_line_works_for_any_program_and_directory";
    if !inside(name) {
        return;
    }
    let _alone = alone();
    for program in ODD {
        assert!(same(&mut asking(program)), "{program}");
        assert!(same(asking(program).env("A", "1")), "{program}");
        assert!(same(asking(program).env_remove("GONE")), "{program}");
        assert!(same(asking(program).arg0("zz")), "{program}");
    }
    for dir in DIRS {
        assert!(same(asking(exe()).current_dir(dir)), "{dir}");
        let path = Path::new(".").join(dir);
        assert!(same(asking(exe()).current_dir(path)), "./{dir}");
    }
    for dir in [".", "..", "./-x", "../.", "/", "/usr/bin/.."] {
        assert!(same(asking(exe()).current_dir(dir)), "{dir}");
    }
}

/// A deterministic random number generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    /// Bytes that are special to shells, and any others but NUL.
    fn word(&mut self) -> OsString {
        const SPECIAL: &[u8] = b"'\"\\$`!*?[]{}()<>|&;#~=%^-+, \t\n\x1b\x7f";
        let len = self.below(6);
        let mut word = Vec::new();
        for _ in 0..len {
            let byte = match self.below(4) {
                0 => u8::try_from(1 + self.below(255)).unwrap(),
                1 => b"aA0_"[self.below(4)],
                _ => SPECIAL[self.below(SPECIAL.len())],
            };
            word.push(byte);
        }
        OsString::from_vec(word)
    }

    /// A valid name of a variable.
    fn name(&mut self) -> OsString {
        let mut name = self.word().into_vec();
        name.retain(|byte| *byte != b'=');
        name.push(b'A');
        OsString::from_vec(name)
    }
}

#[test]
fn the_shell_line_quotes_any_bytes() {
    let name = "the_shell_line_quotes_any_bytes";
    if !inside(name) {
        return;
    }
    let _alone = alone();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..150 {
        let mut command = asking(exe());
        for _ in 0..numbers.below(4) {
            command.arg(numbers.word());
        }
        if numbers.below(3) == 0 {
            command.arg0(numbers.word());
        }
        if numbers.below(6) == 0 {
            command.env_clear();
        }
        for _ in 0..numbers.below(3) {
            let (name, value) = (numbers.name(), numbers.word());
            command.env(name, value);
        }
        if numbers.below(4) == 0 {
            command.env_remove(numbers.name());
        }
        assert!(same(&mut command), "{command:?}");
    }
}

/// A command that is refused has a line too, which bash can parse.
#[test]
fn a_refused_command_has_a_shell_line_too() {
    let name = "a_refused_command_has_a_shell_line_too";
    if !inside(name) {
        return;
    }
    let _alone = alone();
    let bad: [Change; 6] = [
        |c| c.arg("a\0b"),
        |c| c.env("", "x"),
        |c| c.env("a=b", "x").env_remove("").env_remove("c=d"),
        |c| c.env("A", "\0").current_dir("a\0b"),
        |c| c.arg0("\0"),
        |c| c.current_dir(""),
    ];
    for change in bad {
        let mut command = asking("/no/such/program");
        let line = format!("{:?}", change(&mut command));
        let bash = Std::new("bash").args(["-n", "-c", "--", &line]).output();
        let bash = bash.unwrap();
        assert!(bash.status.success(), "{line}");
        assert_eq!(bash.stderr, b"", "{line}");
    }
    assert_eq!(format!("{:?}", Command::new("")), "''");
}

/// No builtin or keyword of the installed bash is run instead of a program.
#[test]
fn the_shell_line_runs_no_builtin_or_keyword_of_bash() {
    let name = "the_shell_line_runs_no_builtin_or_keyword_of_bash";
    if !inside(name) {
        return;
    }
    // Builtins that do the same as the programs of their names.
    let same = ["echo", "printf", "true", "false", "test", "pwd", "kill"];
    let list = Std::new("bash").args(["-c", "compgen -bk"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().count() > 60, "{list}");
    for word in list.lines().filter(|word| !same.contains(word)) {
        let line = format!("{:?}", Command::new(word));
        // A quoted word is no keyword; `[` does the same as `test`.
        let right = [format!("env {word}"), format!("'{word}'")];
        assert!(right.contains(&line), "{line}");
    }
}
