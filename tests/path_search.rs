//! PATH search: which errnos continue with the next directory, compared with
//! std where both do the same.

mod util;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use offshoot::{Engine, PathSearch, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::filter::{self, Action};
use util::search::{X, fixture, path, tried};
use util::{alone, each_engine, scratch};

/// An exit code, or an errno.
type Outcome = Result<Option<i32>, i32>;

fn std_s(name: &str, path: &str) -> Outcome {
    let mut theirs = std::process::Command::new(name);
    match theirs.env("PATH", path).status() {
        Ok(status) => Ok(status.code()),
        Err(error) => Err(error.raw_os_error().unwrap()),
    }
}

fn ours(name: &str, path: &str, engine: Engine) -> Outcome {
    match command(name, engine).env("PATH", path).status() {
        Ok(status) => Ok(status.code()),
        Err(error) => Err(error.raw_os_error().unwrap()),
    }
}

/// A path below a directory, with so many letters in components of 200.
fn deep(dir: &Path, letters: usize) -> String {
    let part = format!("/{}", "y".repeat(199));
    format!("{}{}", dir.display(), part.repeat(letters / 200))
}

#[test]
fn a_path_entry_that_is_too_long_is_skipped_as_std_does() {
    let _alone = alone();
    let dir = fixture("too-long");
    let long = deep(&dir, 5000);
    let one = |name: &str| match name {
        "long" => long.clone(),
        name => path(&dir, &[name]),
    };
    let lists: [&[&str]; 9] = [
        &["long", "good"],
        &["long", "long", "good"],
        &["none", "long", "good"],
        &["long", "none"],
        &["none", "long"],
        &["long", "file"],
        &["plain", "long"],
        &["long", "plain"],
        &["long", "loop", "good"],
    ];
    for names in lists {
        let list: Vec<String> = names.iter().map(|n| one(n)).collect();
        let list = list.join(":");
        let theirs = std_s(X, &list);
        each_engine(|engine| {
            assert_eq!(ours(X, &list, engine), theirs, "{engine} {names:?}");
        });
    }
    each_engine(|engine| {
        let mut nowhere = command(X, engine);
        nowhere.env("PATH", &long);
        let error = clean(spawn(nowhere));
        assert_error(&error, Step::Exec, Some(X), libc::ENAMETOOLONG);
        assert_eq!(tried(&error), [Some(libc::ENAMETOOLONG)]);
        let mut last = command(X, engine);
        last.env("PATH", format!("{}:{long}", one("none")));
        let error = clean(spawn(last));
        assert_error(&error, Step::Exec, Some(X), libc::ENOENT);
        let both = [Some(libc::ENOENT), Some(libc::ENAMETOOLONG)];
        assert_eq!(tried(&error), both);
    });
    fs::remove_dir_all(dir).unwrap();
}

/// libc checks the length of the entry only. Here the kernel returns
/// ENAMETOOLONG for the whole path or for a component, which ends libc's
/// search.
#[test]
fn a_path_entry_that_only_the_kernel_finds_too_long_is_skipped_too() {
    let _alone = alone();
    let dir = fixture("kernel-long");
    let good = path(&dir, &["good"]);
    let part = format!("{}/{}", dir.display(), "y".repeat(300));
    let room = 4090 - deep(&dir, 0).len();
    let full = format!("{}{}", deep(&dir, room), "/".repeat(room % 200));
    assert_eq!(full.len(), 4090);
    for entry in [part, full] {
        let list = format!("{entry}:{good}");
        assert_eq!(std_s(X, &list), Err(libc::ENAMETOOLONG));
        each_engine(|engine| {
            assert_eq!(ours(X, &list, engine), Ok(Some(9)), "{engine}");
        });
    }
    fs::remove_dir_all(dir).unwrap();
}

/// No file is tried: libc's limit on names is 255 on every file system.
#[test]
fn a_program_name_that_is_too_long_fails_as_with_std() {
    let _alone = alone();
    let dir = scratch("long-name");
    let list = format!("/bin:{}/none", dir.display());
    for len in [255, 256, 5000] {
        let name = "x".repeat(len);
        let theirs = std_s(&name, &list).unwrap_err();
        each_engine(|engine| {
            let mut search = command(&name, engine);
            let error = clean(spawn({
                search.env("PATH", &list);
                search
            }));
            assert_error(&error, Step::Exec, Some(&name), theirs);
            let count = if len == 255 { 2 } else { 0 };
            assert_eq!(error.candidates().len(), count);
        });
    }
    fs::remove_dir_all(dir).unwrap();
}

/// The limit on names does not apply to paths.
#[test]
fn a_program_path_may_be_longer_than_a_name() {
    let _alone = alone();
    let dir = fixture("long-path");
    let good = dir.join("good").display().to_string();
    let long = format!("{good}{}/{X}", "/.".repeat(200));
    let dirs = PathSearch::Dirs(vec!["/nope".into()]);
    each_engine(|engine| {
        for search in [dirs.clone(), PathSearch::Never, PathSearch::Parent] {
            let mut by_path = command(&long, engine);
            let status = by_path.path_search(search).status().unwrap();
            assert_eq!(status.code(), Some(9), "{engine}");
        }
    });
}

/// The errnos of execve that continue with the next directory.
const CONTINUE: [i32; 7] = [
    libc::ENOENT,
    libc::ENOTDIR,
    libc::EACCES,
    libc::ENODEV,
    libc::ESTALE,
    libc::ETIMEDOUT,
    libc::ENAMETOOLONG,
];

#[test]
fn every_errno_of_execve_continues_or_ends_the_search_as_with_std() {
    let _alone = alone();
    const LIST: &str = "/bin:/usr/bin";
    each_engine(|engine| {
        for errno in 1..=133u16 {
            let action = Action::Errno(errno);
            let number = i32::from(errno);
            // offshoot retries it for 30 ms.
            if number == libc::ETXTBSY {
                continue;
            }
            let both = || {
                let theirs = std_s("true", LIST);
                let mut command = command("true", engine);
                let ours = command.env("PATH", LIST).spawn().map(drop);
                (ours.unwrap_err(), theirs.unwrap_err())
            };
            let (ours, theirs) = filter::with(libc::SYS_execve, action, both);
            assert_eq!(ours.raw_os_error(), Some(number), "{engine} {ours}");
            assert_eq!(theirs, number, "{engine}");
            let on = CONTINUE.contains(&number);
            let second = on.then_some(number);
            assert_eq!(tried(&ours), [Some(number), second], "{engine}");
        }
    });
}

#[test]
fn a_program_that_the_parent_resolved_is_the_only_file_that_the_child_tries() {
    let dir = scratch("resolved");
    for (name, mode) in [("no", 0o644), ("yes", 0o755), ("later", 0o755)] {
        let dir = dir.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("tool"), "#!/bin/sh\nexit 3\n").unwrap();
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(dir.join("tool"), mode).unwrap();
    }
    fs::create_dir_all(dir.join("directory/tool")).unwrap();
    let names = ["absent", "directory", "no", "yes", "later"];
    let list = path(&dir, &names);
    each_engine(|engine| {
        let mut tool = command("tool", engine);
        tool.env("PATH", &list);
        let files = |plan: String| plan.matches("/tool\"").count();
        assert_eq!(files(tool.plan().unwrap().to_string()), 5);
        tool.resolve_program(true);
        let plan = tool.plan().unwrap().to_string();
        assert_eq!(files(plan.clone()), 1, "{plan}");
        assert!(plan.contains("/yes/tool\""), "{plan}");
        assert_eq!(tool.status().unwrap().code(), Some(3));
        // Nothing to resolve: the child's error lists what it tried.
        let mut lost = command("tool", engine);
        lost.env("PATH", path(&dir, &["absent", "none"]));
        let error = {
            lost.resolve_program(true);
            clean(spawn(lost))
        };
        assert_error(&error, Step::Exec, Some("tool"), libc::ENOENT);
        assert_eq!(error.candidates().len(), 2);
        // A path is not searched for.
        let path = dir.join("yes/tool");
        let mut direct = command(path.to_str().unwrap(), engine);
        let code = direct.resolve_program(true).status().unwrap().code();
        assert_eq!(code, Some(3));
    });
    let mut jail = offshoot::Command::new("tool");
    let error = jail.chroot("/").resolve_program(true).plan().unwrap_err();
    assert_eq!(error.step(), Step::PathSearch);
    assert!(error.to_string().contains("chroot"), "{error}");
}
