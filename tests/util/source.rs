//! Source: where this checkout is, and the files in it.
#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a directory of the package, sorted; there are some.
pub fn files(dir: &str) -> Vec<PathBuf> {
    let (mut all, mut dirs) = (Vec::new(), vec![root().join(dir)]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() { &mut dirs } else { &mut all };
            list.push(path);
        }
    }
    assert!(!all.is_empty(), "{dir} is not read");
    all.sort();
    all
}

/// The names of the steps in the order table, src/parent/order.rs. Each is
/// there once, with a reason.
pub fn steps() -> Vec<String> {
    let order = fs::read_to_string(root().join("src/parent/order.rs"));
    let order = order.unwrap();
    let table = order.split("\norder! {\n").nth(1).unwrap();
    let table = table.split("\n}").next().unwrap();
    let mut steps: Vec<String> = Vec::new();
    for row in table.split("\",\n") {
        let (function, why) = row.split_once(":\n").unwrap();
        let step = function.rsplit_once("::").unwrap().1.to_string();
        assert!(why.trim().len() > 20, "{step} has no reason");
        assert!(!steps.contains(&step), "{step} is there twice");
        steps.push(step);
    }
    assert!(steps.len() >= 30, "{steps:?}");
    steps
}
