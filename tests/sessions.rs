//! Sessions: every combination of session, process group and terminal, in every
//! engine.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::File;

use offshoot::pty::{self, Terminal};
use offshoot::{Command, Step};
use util::clean::{clean, refused};
use util::place::{Place, Waits, file, lead, place, stat, take_back};
use util::{State, alone, each_engine};

/// What a child has that an option may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Same,
    New,
    Named,
    None,
    /// The terminal of the parent, or that of the option, in the foreground.
    Front,
    Acquired,
}

/// The terminals and the group that the options of a combination name.
struct Given {
    own: Terminal,
    other: Terminal,
    group: i32,
}

type Set = for<'a> fn(&'a mut Command, &Given) -> &'a mut Command;
type Combination = (Set, Has, Has, Has);

/// The options that are not refused, with session, group and terminal.
#[rustfmt::skip]
const COMBINATIONS: &[Combination] = &[
    (|c, _| c, Has::Same, Has::Same, Has::Same),
    (|c, _| c.process_group(0), Has::Same, Has::New, Has::Same),
    (|c, g| c.process_group(g.group), Has::Same, Has::Named, Has::Same),
    (|c, g| c.foreground(file(&g.own)), Has::Same, Has::New, Has::Front),
    (|c, g| c.process_group(0).foreground(file(&g.own)), Has::Same, Has::New, Has::Front),
    (|c, g| c.process_group(g.group).foreground(file(&g.own)), Has::Same, Has::Named, Has::Front),
    (|c, _| c.setsid(true), Has::New, Has::New, Has::None),
    (|c, g| c.controlling_terminal(file(&g.other)), Has::New, Has::New, Has::Acquired),
    (|c, g| c.setsid(true).controlling_terminal(file(&g.other)), Has::New, Has::New, Has::Acquired),
    (|c, g| c.controlling_terminal(file(&g.other)).foreground(file(&g.other)), Has::New, Has::New, Has::Acquired),
    (|c, g| c.setsid(true).controlling_terminal(file(&g.other)).foreground(file(&g.other)), Has::New, Has::New, Has::Acquired),
    (|c, _| c.detach_terminal(true), Has::Same, Has::Same, Has::None),
    (|c, _| c.detach_terminal(true).process_group(0), Has::Same, Has::New, Has::None),
    (|c, g| c.detach_terminal(true).process_group(g.group), Has::Same, Has::Named, Has::None),
    (|c, _| c.detach_terminal(true).setsid(true), Has::New, Has::New, Has::None),
];

#[test]
fn every_combination_of_session_group_and_terminal_is_as_documented() {
    let _alone = alone();
    let name =
        "every_combination_of_session_group_and_terminal_is_as_documented";
    if !util::inside(name, &[]) {
        return;
    }
    let (_controller, own) = lead();
    let waits = Waits::new();
    let (controller, other) = pty::open().unwrap();
    let given = Given { own, other, group: waits.1 };
    each_engine(|engine| {
        for (n, (set, session, group, terminal)) in (0..).zip(COMBINATIONS) {
            let before = (Place::own(), State::now());
            let mut all = stat(engine);
            set(&mut all, &given);
            let (seen, put) = place(&mut all);
            drop(all);
            let parent = before.0;
            let has = |has: &Has, new: i32, same: i32| match has {
                Has::Same => same,
                Has::Named => given.group,
                _ => new,
            };
            let place = (seen.session, seen.group);
            let want = (
                has(session, seen.pid, parent.session),
                has(group, seen.pid, parent.group),
            );
            assert_eq!(place, want, "{engine} {n}");
            let known = (*group != Has::Same).then_some(seen.group);
            assert_eq!(put, known, "{engine} {n}");
            let foreground = seen.foreground == seen.group;
            let terminal_is = match seen.terminal {
                0 => Has::None,
                it if it != parent.terminal => Has::Acquired,
                _ if foreground && *group != Has::Same => Has::Front,
                _ => Has::Same,
            };
            assert_eq!(terminal_is, *terminal, "{engine} {n}");
            let acquired = terminal_is == Has::Acquired;
            assert!(foreground || !acquired, "{engine} {n}");
            take_back(&given.own);
            assert_eq!((Place::own(), State::now()), before, "{engine} {n}");
        }
    });
    drop(controller);
}

#[test]
fn combinations_that_contradict_each_other_are_refused_by_name() {
    let _alone = alone();
    let null = || File::open("/dev/null").unwrap();
    let not = |step, operand: &str, why: &str, set: &dyn Fn(&mut Command)| {
        let fail = || {
            let mut all = Command::new("/bin/true");
            set(&mut all);
            all.spawn().map(drop)
        };
        refused(&clean(fail), step, Some(operand), why);
    };
    let leader = "session leader cannot change";
    let group = "process_group";
    let ctty = Step::ControllingTerminal;
    not(ctty, group, leader, &|c| {
        c.controlling_terminal(null()).process_group(0);
    });
    not(Step::Setsid, group, leader, &|c| {
        c.setsid(true).controlling_terminal(null()).process_group(9);
    });
    not(Step::Foreground, "setsid", "new session has no terminal", &|c| {
        c.setsid(true).foreground(null());
    });
    let none = "without a controlling terminal";
    not(Step::Foreground, "detach_terminal", none, &|c| {
        c.detach_terminal(true).foreground(null());
    });
    not(Step::DetachTerminal, "controlling_terminal", none, &|c| {
        c.detach_terminal(true).controlling_terminal(null());
    });
    not(Step::ProcessGroup, "-1", "not negative", &|c| {
        c.foreground(null()).process_group(-1);
    });
    not(ctty, group, leader, &|c| {
        let terminal = null();
        c.best_effort(|it| it.controlling_terminal(terminal));
        c.process_group(0);
    });
}
