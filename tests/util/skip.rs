//! Skip: how a test reports that it cannot run here.

use std::io::{self, Write};
use std::{env, fs};

/// Reports that a test cannot run here, so that CI counts it. A plain
/// `cargo test` shows the line too: it captures what a passing test prints,
/// but not what is written to standard error directly.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIP {test}: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = env::var_os("OFFSHOOT_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        // In one call: tests of other threads add to the list too.
        let line = format!("{test}\n");
        file.expect("the list of skips").write_all(line.as_bytes()).unwrap();
    }
}
