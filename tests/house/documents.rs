//! Documents: docs/architecture.md names files and functions that exist, and
//! words that were replaced by a term of the field do not come back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::ALLOWED_IMPORTS;
use super::source::{files, root};

/// Words, and what is written instead.
const REPLACED: &[(&str, &str)] = &[
    ("canary", "probe descriptor"),
    ("fellows", "the other options, or their names"),
    ("hostage", "a process that keeps a descriptor open"),
    ("hostages", "processes that keep a descriptor open"),
    ("lesser", "fallback"),
    ("lent", "passed"),
    ("lend", "pass"),
    ("lends", "passes"),
    ("thief", "another thread that waits"),
    ("thieves", "other threads that wait"),
    ("unimaged", "without a helper image"),
    ("somebody", "another process, or thread"),
    ("whoever", "the process, thread or caller that"),
    ("wish", "option"),
    ("wishes", "options"),
];

/// The files in which a word stands that was replaced.
fn replaced_words(name: &str, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let word = |c: char| !c.is_alphanumeric();
    let has = |old: &str| text.split(word).any(|word| word == old);
    let found = REPLACED.iter().filter(|(old, _)| has(old));
    found.map(|(old, new)| format!("{name}: {old} -> {new}")).collect()
}

#[test]
fn words_that_were_replaced_do_not_come_back() {
    let mut found = Vec::new();
    let dirs = ["src", "tests", "examples", "benches", "docs"];
    let all = dirs.into_iter().flat_map(files);
    for path in all.chain([root().join("README.md")]) {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !name.ends_with("house/documents.rs") {
            found.extend(replaced_words(&name, &text));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(replaced_words("x", "a Wish, and a cut_lent").len(), 2);
}

/// Whether a file defines something with this name.
fn defines(code: &str, name: &str) -> bool {
    let kinds = ["fn ", "const ", "struct ", "enum ", ".globl ", ".macro "];
    kinds.iter().any(|kind| {
        code.split(&format!("{kind}{name}")).skip(1).any(|rest| {
            !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    })
}

/// Names in backquotes that are not in the file whose path in backquotes
/// stands before them: all with `::`, and those in the list behind the path.
fn wrong_names(text: &str) -> Vec<String> {
    let (mut wrong, mut code, mut file) = (Vec::new(), String::new(), "");
    let mut in_list = false;
    let mut parts = text.split('`');
    let mut between = parts.next().unwrap_or_default();
    while let Some(quoted) = parts.next() {
        let is_path = quoted.ends_with(".rs") || quoted.ends_with(".s");
        if is_path && quoted.contains('/') {
            file = quoted;
            let path = root().join("src").join(quoted);
            code = fs::read_to_string(path).unwrap_or_default();
            if code.is_empty() {
                wrong.push(format!("no file {file}"));
            }
            in_list = true;
        } else {
            in_list &= [":", ","].contains(&between.trim());
            let name = quoted.rsplit("::").next().unwrap_or_default();
            let is_name =
                name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let listed = in_list || quoted.contains("::");
            if listed && is_name && !defines(&code, name) {
                wrong.push(format!("{file}: no {quoted}"));
            }
        }
        between = parts.next().unwrap_or_default();
    }
    wrong
}

#[test]
fn the_architecture_names_files_and_functions_that_exist() {
    let text = fs::read_to_string(root().join("docs/architecture.md"));
    let text = text.unwrap();
    let life = text.split("## The life of one spawn").nth(1).unwrap();
    let life = life.split("## How to add an option").next().unwrap();
    let wrong = wrong_names(life);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let names = life.matches("::").count();
    assert!(names > 20, "{names}");
    let none = "`parent/order.rs`: `comp`, `compile` and `Plan::no_such`, \
                `parent/none.rs`";
    assert_eq!(wrong_names(none).len(), 3);
}

/// The directories in backquotes of a table cell.
fn quoted(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_architecture_lists_the_imports_that_are_allowed() {
    let text = fs::read_to_string(root().join("docs/architecture.md"));
    let text = text.unwrap();
    let table = text.split("| directory | imports |\n").nth(1).unwrap();
    let mut listed = BTreeMap::new();
    for row in table.lines().take_while(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').collect();
        for directory in quoted(cells[1]) {
            listed.insert(directory, quoted(cells[2]));
        }
    }
    let is_test_code = |name: &str| ["model", "fd_model"].contains(&name);
    for (directory, imports) in ALLOWED_IMPORTS {
        if ["lib", "parent"].contains(directory) || is_test_code(directory) {
            continue;
        }
        let imports: BTreeSet<&str> = imports.iter().copied().collect();
        assert_eq!(listed.remove(directory), Some(imports), "{directory}");
    }
    assert!(listed.is_empty(), "{listed:?}");
}

/// The lines of a text, without the spaces around them.
fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn the_architecture_quotes_the_source_as_it_is() {
    let text = fs::read_to_string(root().join("docs/architecture.md"));
    let text = text.unwrap();
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let source: String = files("src").into_iter().map(read).collect();
    let source = trimmed(&source);
    let blocks = text.split("```rust,ignore\n").skip(1);
    let blocks: Vec<&str> =
        blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "{blocks:#?}");
    for block in blocks {
        let block = trimmed(block);
        assert!(source.contains(block.trim()), "not in src: {block}");
    }
}

/// The README has a row for every example, and for no other.
#[test]
fn every_example_is_a_row_of_the_readme() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let table = text.split("| `cargo run --example` |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with("| `"));
    let rows: BTreeSet<&str> =
        rows.filter_map(|row| row.split('`').nth(1)).collect();
    let stem = |path: &std::path::PathBuf| {
        path.file_stem().unwrap().to_str().unwrap().to_string()
    };
    let own: BTreeSet<String> = files("examples").iter().map(stem).collect();
    let own: BTreeSet<&str> = own.iter().map(String::as_str).collect();
    assert_eq!(rows, own);
}
