//! Features: the table of docs/compare.md that compares what libraries can
//! do. What it says of this crate has a test.

use std::fs;

use super::all_text;
use super::source::root;

/// Families of which this crate has every feature.
const COMPLETE: [&str; 7] = [
    "fds",
    "Signals",
    "Session/tty",
    "Credentials",
    "Resources",
    "Exec",
    "Hooks / policy",
];

/// A family and the cells of each of its features.
type Family<'a> = (&'a str, Vec<Vec<&'a str>>);

fn families(text: &str) -> Vec<Family<'_>> {
    let table = text.split("\n## Features").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut families: Vec<Family<'_>> = Vec::new();
    for row in rows.filter(|row| !row.starts_with("| ---")) {
        let row = row.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap();
        let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
        match cells[0].strip_prefix("**") {
            Some(name) => {
                let name = name.split("**").next().unwrap();
                families.push((name, Vec::new()));
            }
            None => families.last_mut().unwrap().1.push(cells),
        }
    }
    families
}

/// The rows that are not right: a feature that is there, in whole or in part,
/// names tests that exist; another one names none.
fn faults(families: &[Family<'_>], tests: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (family, features) in families {
        for cells in features {
            let [name, ours, .., test] = cells.as_slice() else {
                faults.push(format!("{cells:?}"));
                continue;
            };
            let all = test.split(", ").map(|test| test.trim_matches('`'));
            let exist = all
                .clone()
                .all(|test| tests.contains(&format!("fn {test}()")));
            let right = match *ours {
                "Y" => exist,
                "P" => exist && !COMPLETE.contains(family),
                "N" | "-" => test.is_empty() && !COMPLETE.contains(family),
                _ => false,
            };
            if !right || cells.len() != 10 {
                faults.push(format!("{family}: {name}: {ours}, {test:?}"));
            }
        }
    }
    faults
}

#[test]
fn every_feature_that_is_claimed_names_a_test() {
    let text = fs::read_to_string(root().join("docs/compare.md")).unwrap();
    let families = families(&text);
    let names: Vec<&str> = families.iter().map(|family| family.0).collect();
    for family in COMPLETE {
        assert!(names.contains(&family), "{names:?}");
    }
    let count: usize = families.iter().map(|family| family.1.len()).sum();
    assert!(count >= 95, "{count} features");
    let tests = all_text("tests") + &all_text("src");
    let faults = faults(&families, &tests);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_feature_without_a_test_is_found() {
    let text = "\n## Features\n\n| feature | offshoot |\n| --- | --- |\n\
                | **fds** | | |\n\
                | one | Y | N | N | N | N | N | N | N | `is_there` |\n\
                | two | Y | N | N | N | N | N | N | N | `is_not` |\n\
                | three | Y | N | N | N | N | N | N | N |  |\n\
                | four | N | N | N | N | N | N | N | N |  |\n\
                | **Handles** | | |\n\
                | five | N | N | N | N | N | N | N | N |  |\n\
                | six | P | N | N | N | N | N | N | N | `is_there` |\n";
    let families = families(text);
    let faults = faults(&families, "fn is_there() {}");
    assert_eq!(faults.len(), 3, "{faults:?}");
    for (fault, name) in faults.iter().zip(["two", "three", "four"]) {
        assert!(fault.contains(name), "{fault}");
    }
}
