//! `spawn_all`: many programs, started by several threads, are the children
//! that the calling thread would have started.
#![allow(unsafe_code, reason = "tests change the calling thread")]

mod util;

use std::io::Read;
use std::{env, io, thread};

use offshoot::{
    Child, Command, Engine, ParentDeath, Prepared, Stdio, Step, spawn_all,
};
use util::{each_engine, has_children, inside, is_root, scratch, skip};

fn shell(engine: Engine, line: &str) -> Prepared {
    let mut sh = Command::new("/bin/sh");
    sh.engine(engine).args(["-c", line]).stdout(Stdio::piped());
    sh.prepare().unwrap()
}

fn text(child: &mut Child) -> String {
    io::read_to_string(child.stdout.take().unwrap()).unwrap()
}

#[test]
fn children_and_errors_have_the_order_of_the_commands() {
    each_engine(|engine| {
        let mut commands: Vec<Prepared> = Vec::new();
        for n in 0..30 {
            commands.push(shell(engine, &format!("echo {n}; exit {n}")));
        }
        let mut missing = Command::new("/no/such");
        let missing = missing.engine(engine).prepare().unwrap();
        commands.insert(7, missing);
        let mut children = spawn_all(&commands);
        assert_eq!(children.len(), 31);
        let error = children.remove(7).unwrap_err();
        assert_eq!(error.step(), Step::Exec);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        for (n, child) in children.into_iter().enumerate() {
            let mut child = child.unwrap();
            assert_eq!(child.launch().engine(), engine);
            assert_eq!(text(&mut child), format!("{n}\n"), "{engine}");
            let status = child.wait().unwrap();
            assert_eq!(status.code(), i32::try_from(n).ok(), "{engine}");
        }
        assert!(!has_children(), "{engine}");
    });
}

#[test]
fn one_command_can_be_there_many_times_or_not_at_all() {
    each_engine(|engine| {
        assert!(spawn_all([]).is_empty());
        let echo = shell(engine, "echo same");
        for child in spawn_all([&echo; 20]) {
            let mut child = child.unwrap();
            assert_eq!(text(&mut child), "same\n");
            assert!(child.wait().unwrap().success(), "{engine}");
        }
    });
}

#[test]
fn all_have_what_the_calling_thread_alone_has() {
    each_engine(|engine| {
        let dir = scratch("all-thread").canonicalize().unwrap();
        let own = dir.clone();
        let places = thread::spawn(move || {
            // SAFETY: the directory of this thread is its own from here on.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0);
            // SAFETY: as above, for its descriptor table.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            env::set_current_dir(&own).unwrap();
            let pwd = shell(engine, "pwd");
            let children = spawn_all([&pwd; 12]).into_iter();
            let place = |child: Result<Child, _>| {
                let mut child = child.unwrap();
                let place = text(&mut child);
                assert!(child.wait().unwrap().success());
                place
            };
            children.map(place).collect::<Vec<_>>()
        });
        let want = format!("{}\n", dir.display());
        let places = places.join().unwrap();
        assert!(places.iter().all(|place| *place == want), "{places:?}");
    });
}

/// A thread that ended would end them.
#[test]
fn those_that_end_with_their_thread_are_the_calling_ones() {
    each_engine(|engine| {
        let mut cat = Command::new("cat");
        cat.engine(engine).parent_death_signal(libc::SIGKILL);
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let cat = cat.prepare().unwrap();
        let other = shell(engine, "exit 0");
        let commands: Vec<&Prepared> =
            (0..16).map(|n| if n % 2 == 0 { &cat } else { &other }).collect();
        for (n, child) in spawn_all(commands).into_iter().enumerate() {
            let mut child = child.unwrap();
            let dies = child.launch().parent_death();
            assert_eq!(dies, (n % 2 == 0).then_some(ParentDeath::Thread));
            if n % 2 == 0 {
                drop(child.stdin.take());
                let mut rest = Vec::new();
                let out = child.stdout.take();
                out.unwrap().read_to_end(&mut rest).unwrap();
            }
            assert!(child.wait().unwrap().success(), "{engine} {n}");
        }
    });
}

#[test]
fn without_threads_the_calling_one_starts_all() {
    let name = "without_threads_the_calling_one_starts_all";
    if !inside(name, &[]) {
        return;
    }
    if !is_root() {
        return skip(name, "a PID namespace takes root");
    }
    // SAFETY: from here on this process can create no thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    // The first one is the init of the others.
    let cat = Command::new("cat").stdin(Stdio::piped()).prepare().unwrap();
    let children = spawn_all([&cat; 5]).into_iter();
    let mut children: Vec<Child> = children.map(Result::unwrap).collect();
    for child in children.iter_mut().rev() {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    let error = cat.spawn().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "the init has ended");
}
