//! Search: directories for a PATH search, and the errno of each candidate.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use offshoot::Error;

use super::{program, scratch};

/// The name of the program that is searched for.
pub const X: &str = "offshoot-x";

/// Directories with different kinds of files of that name. `none` does not
/// exist; `file` is not a directory.
pub fn fixture(name: &str) -> PathBuf {
    let dir = scratch(name);
    for name in ["plain", "dir", "loop", "format", "lost", "good"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("file"), b"").unwrap();
    fs::write(dir.join("plain").join(X), b"#!/bin/sh\nexit 1\n").unwrap();
    fs::create_dir(dir.join("dir").join(X)).unwrap();
    symlink(X, dir.join("loop").join(X)).unwrap();
    program(&dir.join("format").join(X), b"exit 77\n");
    program(&dir.join("lost").join(X), b"#!/nope/sh\n");
    program(&dir.join("good").join(X), b"#!/bin/sh\nexit 9\n");
    dir
}

pub fn path(dir: &Path, names: &[&str]) -> String {
    let one = |name: &&str| dir.join(name).to_str().unwrap().to_string();
    names.iter().map(one).collect::<Vec<_>>().join(":")
}

pub fn tried(error: &Error) -> Vec<Option<i32>> {
    error.candidates().iter().map(|c| c.raw_os_error()).collect()
}
