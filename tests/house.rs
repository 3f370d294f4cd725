//! Rules of the source tree: this test reads the source and fails where it
//! breaks one.
//!
//! Which directory may import from which, cycles of imports, where std is
//! used, captions, sizes, safety comments, and that every step has a plan and
//! tests.

#[path = "house/documents.rs"]
mod documents;
#[path = "house/features.rs"]
mod features;
#[path = "house/imports.rs"]
mod imports;

#[path = "util/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{files, root, steps};

use imports::{cycles, imports, paths};

/// The directories, and the files at the top, that each may import from, beside
/// itself. `model` and `fd_model` are models of the walker and of a descriptor
/// table, compiled for tests only.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    (
        "lib",
        &["call", "child", "fd_model", "launch", "model", "parent", "sys"],
    ),
    ("fd_model", &["parent/plan"]),
    ("sys", &[]),
    ("call", &["sys"]),
    ("child", &["call", "sys"]),
    ("launch", &["call", "child", "sys"]),
    ("model", &["call", "child", "launch", "sys"]),
    ("parent", &[]),
    ("parent/error", &["call", "sys"]),
    ("parent/pty", &["parent/error"]),
    ("parent/support", &["sys"]),
    ("parent/fd_table", &["sys"]),
    ("parent/sealed_memfd", &["sys"]),
    ("parent/reserve", &["parent/error", "parent/fd_table", "sys"]),
    ("parent/command", &["call", "parent/error", "sys"]),
    ("parent/plan", &["call", "parent/command", "parent/error", "sys"]),
    (
        "parent/options",
        &["call", "parent/command", "parent/error", "parent/plan", "sys"],
    ),
    (
        "parent/order",
        &["parent/command", "parent/error", "parent/options", "parent/plan"],
    ),
    ("parent/handle", &["parent/command", "parent/error", "sys"]),
    (
        "parent/tokio",
        &["parent/command", "parent/error", "parent/handle", "parent/spawn"],
    ),
    (
        "parent/spawn",
        &[
            "call",
            "launch",
            "parent/command",
            "parent/error",
            "parent/fd_table",
            "parent/handle",
            "parent/order",
            "parent/plan",
            "parent/reserve",
            "parent/sealed_memfd",
            "parent/support",
            "sys",
        ],
    ),
];

/// The most lines that a file may have.
const MAX_LINES: usize = 450;

struct Source {
    path: PathBuf,
    /// The whole file.
    text: String,
    /// Without comments, strings and test modules.
    code: String,
}

fn sources(dir: &str) -> Vec<Source> {
    let mut paths = files(dir);
    paths.retain(|path| path.extension().is_some_and(|end| end == "rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = code_of(&text);
        Source { path, text, code }
    };
    paths.into_iter().map(read).collect()
}

/// Removes comments, the contents of strings, and `#[cfg(test)] mod tests`.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut code = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        let mut inside = false;
        for (n, part) in line.split('"').enumerate() {
            inside = n % 2 == 1;
            if !inside {
                code.push_str(part.split(" // ").next().unwrap());
            }
        }
        code.push_str(if inside { " " } else { "\n" });
    }
    code
}

/// Returns the directory of a module path: `parent::plan::strings` is in
/// `parent/plan`.
fn directory(modules: &[&str]) -> String {
    match modules {
        ["parent", "std", ..] | ["parent", "alloc", ..] => "std".into(),
        ["parent", next, ..] => format!("parent/{next}"),
        [first, ..] => (*first).into(),
        [] => "lib".into(),
    }
}

/// Returns the module path of a file: that of `src/parent/plan/mod.rs` is
/// `parent::plan`.
fn modules(path: &Path) -> Vec<String> {
    let path = path.strip_prefix(root().join("src")).unwrap();
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_string());
    names.filter(|name| name != "mod" && name != "lib").collect()
}

/// Returns the imports of one file that are not allowed.
fn forbidden_imports(own: &[String], code: &str) -> BTreeSet<String> {
    let words: Vec<&str> = own.iter().map(String::as_str).collect();
    let from = directory(&words);
    let allowed = ALLOWED_IMPORTS.iter().find(|(name, _)| *name == from);
    let Some((_, allowed)) = allowed else {
        return BTreeSet::from([format!("{from} is not in ALLOWED_IMPORTS")]);
    };
    let mut wrong = BTreeSet::new();
    for path in paths(code, own) {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let to = directory(&words);
        let item = to.chars().any(char::is_uppercase);
        let inside = to == from || (to == "std" && from.starts_with("parent"));
        if !inside && !item && !allowed.contains(&to.as_str()) {
            wrong.insert(format!("{from} -> {to}"));
        }
    }
    wrong
}

#[test]
fn directories_import_only_what_is_allowed() {
    for source in sources("src") {
        let wrong = forbidden_imports(&modules(&source.path), &source.code);
        assert!(wrong.is_empty(), "{}: {wrong:?}", source.path.display());
    }
}

#[test]
fn a_forbidden_import_is_found() {
    let own = |path: &str| -> Vec<String> {
        path.split("::").map(Into::into).collect()
    };
    let cases = [
        ("child", "use crate::parent::plan::Plan;", 1),
        ("child", "use crate::{call::Call, launch::{self, Outcome}};", 1),
        ("sys::call", "use super::super::child::enter;", 1),
        ("sys::call", "use super::{Errno, abi::{A, B}};", 0),
        ("parent::plan::lower", "fn f() { crate::launch::go() }", 1),
        ("parent::plan::lower", "use super::strings::StringTable;", 0),
        ("parent::handle", "use super::spawn::verbs::X;", 1),
        ("launch::copied", "use crate::parent::std::vec::Vec;", 1),
        ("unknown", "", 1),
    ];
    for (path, code, wrong) in cases {
        let found = forbidden_imports(&own(path), code);
        assert_eq!(found.len(), wrong, "{path}: {code} {found:?}");
    }
}

#[test]
fn no_files_import_from_each_other_in_a_cycle() {
    let sources = sources("src");
    let files: Vec<_> = sources
        .iter()
        .map(|source| (modules(&source.path), source.code.as_str()))
        .collect();
    let found = cycles(&imports(&files));
    assert!(found.is_empty(), "cycles of imports: {found:#?}");
}

#[test]
fn a_cycle_of_imports_is_found() {
    let tree = |files: &[(&str, &'static str)]| {
        let own = |name: &str| name.split("::").map(Into::into).collect();
        let files: Vec<(Vec<String>, &str)> =
            files.iter().map(|(name, code)| (own(name), *code)).collect();
        cycles(&imports(&files)).into_iter().collect::<Vec<_>>()
    };
    let two = tree(&[
        ("a", "pub mod b; pub mod c;"),
        ("a::b", "use super::c::{X, Y};"),
        ("a::c", "fn f() { crate::a::b::g() }"),
    ]);
    assert_eq!(two, [["a::b", "a::c"]]);
    let three = tree(&[
        ("a", "use crate::b::X;"),
        ("b", "use super::{c::Y, d};"),
        ("c", "use super::a;"),
        ("d", ""),
    ]);
    assert_eq!(three, [["a", "b", "c"]]);
    let parent = "mod b;\nuse b::{X, Y};\nstruct Z(X);";
    assert_eq!(tree(&[("a", parent), ("a::b", "use super::Z;")]).len(), 1);
    let used = "mod b;\npub(crate) use b::X;\nstruct Z(X);";
    assert_eq!(tree(&[("a", used), ("a::b", "use super::Z;")]).len(), 1);
    let index = "mod b;\npub(crate) use b::{X, Y};\nstruct Z;";
    let child = ("a::b", "use super::Z;");
    assert_eq!(tree(&[("a", index), child]).len(), 0);
    let through_reexport = tree(&[
        ("a", "mod b;\nmod c;\npub use b::X;"),
        ("a::b", "use super::c::Y;"),
        ("a::c", "use super::X;"),
    ]);
    assert_eq!(through_reexport, [["a::b", "a::c"]]);
    // The function has the name of its file.
    let same_name = tree(&[
        ("a", "mod b;\nmod c;\npub use b::b;"),
        ("a::b", "mod d;\nuse super::c::Y;"),
        ("a::b::d", ""),
        ("a::c", "use super::b;"),
    ]);
    assert_eq!(same_name, [["a::b", "a::c"]]);
    let below = [
        ("a", "mod b;\nmod c;\npub use b::b;"),
        ("a::b", "use super::c::Y;"),
        ("a::b::d", ""),
        ("a::c", "use super::b::d::Z;"),
    ];
    assert_eq!(tree(&below).len(), 0);
    let globs =
        tree(&[("a", "mod b;\npub use b::*;"), ("a::b", "pub use super::*;")]);
    assert_eq!(globs, [["a", "a::b"]]);
}

#[test]
fn std_is_used_in_parent_only() {
    for source in sources("src") {
        let words = modules(&source.path);
        let first = words.first().map(String::as_str);
        if matches!(first, Some("parent" | "model" | "fd_model")) {
            continue;
        }
        for name in ["std::", "alloc::", "extern crate"] {
            let bare = |(at, _): (usize, &str)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            };
            let found = source.code.match_indices(name).any(bare);
            assert!(!found, "{} names {name}", source.path.display());
        }
    }
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.contains("#![no_std]"));
    let crates: Vec<String> = sources("src")
        .iter()
        .filter(|source| source.code.contains("extern crate"))
        .map(|source| modules(&source.path).join("::"))
        .collect();
    assert_eq!(crates, ["fd_model", "model", "parent"]);
}

#[test]
fn every_file_opens_with_a_caption_of_its_own() {
    let mut captions = BTreeMap::new();
    let dirs = ["src", "tests", "examples"];
    for source in dirs.into_iter().flat_map(sources) {
        let path = source.path.display().to_string();
        let caption = source.text.lines().next().unwrap_or_default();
        assert!(caption.starts_with("//! "), "{path} has no caption");
        let first = caption.chars().nth(4).unwrap();
        assert!(first.is_uppercase() || first == '`', "{path}: {caption}");
        let same = captions.insert(caption.to_string(), path.clone());
        assert_eq!(same, None, "{path}: {caption}");
    }
}

#[test]
fn no_file_has_more_than_450_lines() {
    for source in ["src", "tests", "examples"].into_iter().flat_map(sources) {
        let lines = source.text.lines().count();
        let path = source.path.display();
        assert!(lines <= MAX_LINES, "{path} has {lines} lines");
    }
}

#[test]
fn unsafe_code_is_in_listed_files_with_specific_reasons() {
    let listed = [
        "child",
        "child::closefrom_fallback",
        "child::claims",
        "launch::suspended",
        "launch::concurrent",
        "launch::copied",
        "launch::detached",
        "launch::gate",
        "launch::exec_in_place",
        "launch::isolated",
        "launch::listener",
        "launch::pipe",
        "launch::shared_block",
        "launch::watch",
        "sys::arch",
        "sys::call",
        "sys::claim",
        "sys::fds",
        "sys::fork_detection",
        "sys::ids",
        "sys::kill",
        "sys::landlock",
        "sys::pidfd",
        "sys::safe",
        "sys::seccomp",
        "sys::users",
        "sys::wait",
        "sys::waitid",
        "parent::options::descriptors",
        "parent::spawn::source_fds",
        "parent::spawn::launch_loop",
        "parent::spawn::progress",
        "parent::spawn::waiting_thread",
        "parent::options::hooks",
        "parent::options::raw_syscall",
        "call::raw",
        "parent::handle::pidfd",
        "parent::command::hook",
        "parent::command::stdio",
        "call",
        "model",
    ];
    for source in sources("src") {
        let name = modules(&source.path).join("::");
        let uses = source.code.contains("unsafe ");
        assert_eq!(uses, listed.contains(&name.as_str()), "{name}");
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for (n, line) in lines.iter().enumerate() {
            let Some(reason) = line.strip_prefix("// SAFETY: ") else {
                assert!(!line.starts_with("// safety"), "{name}:{n}");
                continue;
            };
            let vague = ["trivial", "safe to call", "same as above"];
            let reason = reason.to_lowercase();
            assert!(!vague.iter().any(|word| reason.contains(word)));
            assert!(reason.len() > 12, "{name}:{n}: {reason}");
        }
    }
}

fn all_text(dir: &str) -> String {
    sources(dir).into_iter().map(|source| source.text).collect()
}

#[test]
fn every_step_has_a_setter_a_golden_plan_a_live_test_and_a_refusal() {
    let table = fs::read_to_string(root().join("tests/steps.txt")).unwrap();
    let rows: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|row| (row[0], row))
        .collect();
    let setters =
        all_text("src/parent/command") + &all_text("src/parent/options");
    let tests = all_text("tests");
    let steps = steps();
    for step in &steps {
        let row = rows.get(step.as_str());
        let row = row.unwrap_or_else(|| panic!("{step} is not in steps.txt"));
        let [_, setter, golden, live, refusal] = row[..] else {
            panic!("{step}: five columns, not {row:?}");
        };
        let named = |kind: &str, end: char| {
            setters.contains(&format!("pub {kind} {setter}{end}"))
        };
        let setter =
            named("fn", '(') || named("fn", '<') || named("unsafe fn", '(');
        assert!(setter, "{step}: no setter");
        let golden = format!("tests/plans/{golden}.txt");
        assert!(root().join(&golden).exists(), "{step}: no {golden}");
        for test in [live, refusal] {
            let test = format!("#[test]\nfn {test}() ");
            assert!(tests.contains(&test), "{step}: no test {test}");
        }
    }
    assert_eq!(rows.len(), steps.len(), "steps.txt names a step that is gone");
}

#[test]
fn every_gotcha_has_all_its_parts_and_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/gotchas.md")).unwrap();
    let tests = all_text("tests") + &all_text("src");
    let mut gotchas = 0;
    for gotcha in text.split("\n## ").skip(1) {
        let title = gotcha.lines().next().unwrap();
        for part in ["What:", "Why", "Choice:", "Cost:", "Test: "] {
            assert!(gotcha.contains(part), "{title}: no {part}");
        }
        gotchas += 1;
        for named in
            gotcha.lines().filter_map(|line| line.strip_prefix("Test: "))
        {
            if named.starts_with("none yet; ") {
                continue;
            }
            let name = named.trim_matches('`');
            let test = tests.contains(&format!("#[test]\nfn {name}() "))
                || tests.contains(&format!("    #[test]\n    fn {name}() "));
            assert!(test, "{title}: no test {name}");
        }
    }
    assert!(gotchas >= 62, "{gotchas}");
}
