//! Chroot: a new root in every engine, and what is refused.
#![allow(unsafe_code, reason = "the tests ask for their uid")]

mod util;

use std::fs::{self, File};
use std::io;

use offshoot::{Command, Step};
use util::clean::{assert_error, clean};
use util::{each_engine, elf, is_root, scratch};

#[test]
fn chroot_hides_everything_outside_the_new_root() {
    let name = "chroot_hides_everything_outside_the_new_root";
    if !is_root() {
        return util::skip(name, "chroot needs CAP_SYS_CHROOT");
    }
    let jail = scratch("jail");
    util::program(&jail.join("census"), &elf::census());
    fs::create_dir(jail.join("sub")).unwrap();
    let null = || File::open("/dev/null").unwrap();
    each_engine(|engine| {
        // By its path below the new root, and relative to the directory,
        // which is below the new root with and without `current_dir`.
        for (program, dir) in [
            ("/census", None),
            ("./census", None),
            ("../census", Some("/sub")),
            ("../../../census", Some("sub")),
        ] {
            let mut command = Command::new(program);
            command.engine(engine).chroot(&jail).fd(5, null());
            if let Some(dir) = dir {
                command.current_dir(dir);
            }
            let mut child = command.spawn().unwrap();
            assert!(child.wait().unwrap().success(), "{engine} {program}");
        }
        let mut outside = Command::new("/bin/true");
        outside.engine(engine).chroot(&jail);
        let error = clean(|| outside.spawn().map(drop));
        assert_error(&error, Step::Exec, Some("/bin/true"), libc::ENOENT);
    });
}

#[test]
fn a_root_that_cannot_be_entered_is_named() {
    each_engine(|engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine).chroot("/nope");
        let error = clean(|| command.spawn().map(drop));
        // Without CAP_SYS_CHROOT an existing directory is EPERM, and a missing
        // one ENOENT.
        assert_error(&error, Step::Chroot, Some("/nope"), libc::ENOENT);
        command.chroot("/");
        if !is_root() {
            let error = clean(|| command.spawn().map(drop));
            assert_error(&error, Step::Chroot, Some("/"), libc::EPERM);
        }
    });
    let dir = File::open("/").unwrap();
    let mut both = Command::new("/bin/true");
    both.chroot("/").current_dir_fd(dir);
    for mut command in [both, Command::new("/x").chroot("").clone()] {
        let error = command.spawn().unwrap_err();
        assert_eq!(error.step(), Step::Chroot, "{error}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
