//! Scratch: temporary directories, removed when the process exits.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

/// The directory of all files that this process writes, and its pid.
static ROOT: OnceLock<(PathBuf, u32)> = OnceLock::new();

/// Creates an empty directory for a test. It is removed when the process
/// exits, passed or failed; a process that is killed or calls exec leaves it
/// to the one that ran it (`util::outside`).
pub fn scratch(name: &str) -> PathBuf {
    let dir = root().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every user may write there, as tests drop privileges.
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
    // A fork that exits does not remove its parent's files.
    let own = ROOT.get().filter(|(_, id)| *id == process::id());
    if let Some((root, _)) = own {
        let _ = fs::remove_dir_all(root);
    }
}
