//! Documents: docs/architecture.md names files and functions that exist.

use std::fs;

use super::source::root;

/// In the second half of docs/architecture.md: a path in backquotes, then the
/// names in backquotes that stand in that file.
fn wrong_names(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut code = String::new();
    let mut file = "";
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_path = quoted.ends_with(".rs") || quoted.ends_with(".s");
        if is_path && quoted.contains('/') {
            file = quoted;
            let path = root().join("src").join(quoted);
            code = fs::read_to_string(path).unwrap_or_default();
            if code.is_empty() {
                wrong.push(format!("no file {file}"));
            }
            continue;
        }
        let Some((_, name)) = quoted.rsplit_once("::") else { continue };
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let is_there = code.contains(&format!("fn {name}"))
            || code.contains(&format!("const {name}"))
            || code.contains(&format!("struct {name}"));
        if is_name && !is_there {
            wrong.push(format!("{file}: no {quoted}"));
        }
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
    let none = "`parent/order.rs`: `Plan::no_such`, `parent/none.rs`";
    assert_eq!(wrong_names(none).len(), 2);
}
