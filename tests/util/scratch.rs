//! Scratch: directories of a test's own, which are gone when its process is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

/// What holds all that this process writes, and the process.
static ROOT: OnceLock<(PathBuf, u32)> = OnceLock::new();

/// A fresh directory of this test's own. It is removed when the process
/// ends, whatever became of the test; a process that is killed, or becomes
/// another program, leaves it to the one that ran it (`util::outside`).
pub fn scratch(name: &str) -> PathBuf {
    let dir = root().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every user may write there: tests drop privileges.
fn root() -> &'static Path {
    let make = || {
        let id = process::id();
        let root = env::temp_dir().join(format!("offshoot-{id}"));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).unwrap();
        let everybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&root, everybody).unwrap();
        // SAFETY: the function does not unwind.
        assert_eq!(unsafe { libc::atexit(remove) }, 0);
        (root, id)
    };
    &ROOT.get_or_init(make).0
}

extern "C" fn remove() {
    // A fork that exits leaves its parent's files alone.
    let own = ROOT.get().filter(|(_, id)| *id == process::id());
    if let Some((root, _)) = own {
        let _ = fs::remove_dir_all(root);
    }
}
