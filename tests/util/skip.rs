//! Skip: how a test says that it cannot run here.

use std::io::{self, Write};
use std::{env, fs};

/// Says that a test cannot run here, so that it is counted. The line is seen
/// in a plain `cargo test` too: what a passing test prints is dropped, what
/// it writes to standard error is not.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIP {test}: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = env::var_os("OFFSHOOT_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        writeln!(file.expect("the list of skips"), "{test}").unwrap();
    }
}
