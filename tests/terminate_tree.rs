//! Ending a tree of processes: asked first, killed later.

#[path = "kill_tree/tree.rs"]
#[allow(dead_code, reason = "this file uses its part")]
mod tree;
mod util;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use offshoot::TreeKill;
use tree::{MANY, Tree, sh};
use util::{each_engine, inside, own_pids};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// Says so when it is asked to end.
const POLITE: &str = "trap 'echo bye; exit 0' TERM; echo here
                      while :; do sleep 0.01; done";

fn rest(tree: &mut Tree) -> String {
    let mut text = String::new();
    tree.out.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn all_of_a_tree_are_asked_to_end() {
    let name = "all_of_a_tree_are_asked_to_end";
    if !inside(name, &own_pids()) {
        return;
    }
    each_engine(|engine| {
        let script = format!(
            "trap : TERM; ({POLITE}) & setsid sh -c \"{POLITE}\" &
             wait; wait; wait; exit 7"
        );
        let mut sh = sh(&script);
        let (mut tree, _) = Tree::start(sh.engine(engine), 2);
        let killed = tree.child.terminate_tree(LONG).unwrap();
        assert_eq!(killed, TreeKill::BestEffort);
        assert_eq!(rest(&mut tree), "bye\nbye\n", "{engine}");
        assert_eq!(tree.child.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn what_does_not_end_is_killed_after_its_grace() {
    let name = "what_does_not_end_is_killed_after_its_grace";
    if !inside(name, &own_pids()) {
        return;
    }
    let script = format!("trap '' TERM; {MANY}");
    let (mut tree, _) = Tree::start(&mut sh(&script), 4);
    let began = Instant::now();
    let process = tree.child.process();
    let killed = process.terminate_tree(SHORT).unwrap();
    assert_eq!(killed, TreeKill::BestEffort);
    assert!(began.elapsed() >= SHORT && tree.is_gone());
    assert_eq!(tree.child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

/// Once its parent has ended, nothing tells whose it was.
#[test]
fn what_the_child_leaves_is_killed_after_its_end() {
    let name = "what_the_child_leaves_is_killed_after_its_end";
    if !inside(name, &own_pids()) {
        return;
    }
    let script = "(trap '' TERM; echo 1; while :; do sleep 1000; done) & wait";
    for reaps in [false, true] {
        let (mut tree, _) = Tree::start(&mut sh(script), 1);
        let process = tree.child.process();
        std::thread::scope(|scope| {
            // Another thread may reap the child meanwhile.
            scope.spawn(|| reaps.then(|| process.wait().unwrap()));
            let killed = tree.child.terminate_tree(SHORT).unwrap();
            assert_eq!(killed, TreeKill::BestEffort);
        });
        assert!(tree.is_gone(), "{reaps}");
        let status = tree.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }
}

/// It forks while it is asked.
#[test]
fn a_child_that_has_just_begun_loses_no_descendant() {
    let name = "a_child_that_has_just_begun_loses_no_descendant";
    if !inside(name, &own_pids()) {
        return;
    }
    for _ in 0..50 {
        let mut sh = sh("(sleep 1000) & (sleep 1000) & wait");
        let (mut tree, _) = Tree::start(&mut sh, 0);
        tree.child.terminate_tree(LONG).unwrap();
        assert_eq!(rest(&mut tree), "");
        let status = tree.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }
}

#[test]
fn a_stopped_tree_is_continued_and_ends() {
    let name = "a_stopped_tree_is_continued_and_ends";
    if !inside(name, &own_pids()) {
        return;
    }
    let script = "echo 1; kill -STOP $$; sleep 1000";
    let (mut tree, _) = Tree::start(&mut sh(script), 1);
    tree.child.terminate_tree(LONG).unwrap();
    assert_eq!(tree.child.wait().unwrap().signal(), Some(libc::SIGTERM));
    // Once more, and after the wait: nothing is left to be asked.
    for _ in 0..2 {
        let killed = tree.child.terminate_tree(LONG).unwrap();
        assert_eq!(killed, TreeKill::BestEffort);
    }
    assert!(tree.is_gone());
}
