//! Signals: the mask and the dispositions that the program starts with,
//! compared with a model, and those of the parent afterwards.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;

use offshoot::{Command, Engine, Method, SignalSet, Step};
use util::clean::{assert_error, clean, command, refused, spawn};
use util::filter::{self, Action};
use util::reporter::Report;
use util::{alone, each_engine, report, reporter, reporter_with};

/// `SIGKILL` and `SIGSTOP`, which have no other disposition.
const FIXED: [i32; 2] = [libc::SIGKILL, libc::SIGSTOP];

fn set(report: &Report, key: &str) -> SignalSet {
    let bits = u64::from_str_radix(report.one(key), 16).unwrap();
    SignalSet::from_bits(bits)
}

/// The sets of this thread, by their names in /proc.
fn own() -> Vec<(String, String)> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let keys = ["SigBlk", "SigIgn", "SigCgt"];
    let own = lines.filter(|(key, _)| keys.contains(key));
    own.map(|(key, value)| (key.into(), value.into())).collect()
}

fn own_set(key: &str) -> SignalSet {
    let all = own();
    let (_, bits) = all.iter().find(|(own, _)| own == key).unwrap();
    SignalSet::from_bits(u64::from_str_radix(bits, 16).unwrap())
}

/// By a raw call, as libc's refuses 32 and 33.
fn act(signal: i32, handler: usize) {
    let action = [handler, 0, 0, 0];
    let (at, none) = (action.as_ptr(), std::ptr::null::<u8>());
    // SAFETY: reads one kernel sigaction, whose handler is no function or
    // never called.
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, at, none, 8) };
    assert_eq!(done, 0, "{signal}");
}

fn block(mask: u64) {
    let (how, none) = (libc::SIG_SETMASK, std::ptr::null::<u8>());
    // SAFETY: reads the 8 bytes of the mask.
    let done = unsafe {
        let at = &raw const mask;
        libc::syscall(libc::SYS_rt_sigprocmask, how, at, none, 8)
    };
    assert_eq!(done, 0);
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn signal(&mut self) -> i32 {
        loop {
            let signal = i32::try_from(1 + self.below(64)).unwrap();
            if !FIXED.contains(&signal) {
                return signal;
            }
        }
    }
}

/// What the program must have: the mask, and what it ignores.
struct Model {
    mask: SignalSet,
    ignored: SignalSet,
}

/// Sets random options, and does the same to the model.
fn options(random: &mut Random, command: &mut Command, model: &mut Model) {
    let inherited = model.ignored;
    let (mut keep, mut named) = (false, SignalSet::empty());
    for _ in 0..random.below(8) {
        let signal = random.signal();
        match random.below(12) {
            0..4 => {
                command.default_signal(signal);
                model.ignored.remove(signal);
                named.add(signal);
            }
            4..8 => {
                command.ignore_signal(signal);
                model.ignored.add(signal);
                named.add(signal);
            }
            8 => {
                command.reset_signals();
                model.ignored = SignalSet::empty();
                named = SignalSet::all();
            }
            9 => {
                keep = random.below(2) == 0;
                command.keep_sigpipe(keep);
            }
            _ => {
                let mask = SignalSet::from_bits(random.next());
                command.signal_mask(mask);
                model.mask = mask;
            }
        }
    }
    if !named.contains(libc::SIGPIPE) {
        let inherited = inherited.contains(libc::SIGPIPE);
        match keep && inherited {
            true => model.ignored.add(libc::SIGPIPE),
            false => model.ignored.remove(libc::SIGPIPE),
        };
    }
    for signal in FIXED {
        model.mask.remove(signal);
    }
}

/// The parent ignores some signals, has handlers for others and blocks some.
fn change_parent(random: &mut Random) {
    extern "C" fn handler(_: libc::c_int) {}
    let handler = handler as extern "C" fn(libc::c_int) as usize;
    for signal in (1..=64).filter(|n| !FIXED.contains(n)) {
        // Children are waited for, and send it.
        let sent = signal == libc::SIGCHLD;
        match random.below(4) {
            0 if !sent => act(signal, libc::SIG_IGN),
            1 if !sent => act(signal, handler),
            _ => act(signal, libc::SIG_DFL),
        }
    }
    block(random.next() & random.next());
}

fn random_sets_are_those_of_the_model(seed: u64, make: impl Fn() -> Command) {
    let mut random = Random(seed);
    for round in 0..40 {
        change_parent(&mut random);
        let mut model =
            Model { mask: own_set("SigBlk"), ignored: own_set("SigIgn") };
        let before = own();
        let mut command = make();
        options(&mut random, &mut command, &mut model);
        let report = report(&mut command);
        let what = format!("seed {seed}, round {round}: {command:#?}");
        assert_eq!(set(&report, "SigBlk"), model.mask, "{what}");
        assert_eq!(set(&report, "SigIgn"), model.ignored, "{what}");
        assert!(set(&report, "SigCgt").is_empty(), "{what}");
        assert!(set(&report, "SigPnd").is_empty(), "{what}");
        assert_eq!(own(), before, "the parent's: {what}");
    }
}

#[test]
fn random_signal_options_have_the_effect_of_a_model_in_every_engine() {
    let name =
        "random_signal_options_have_the_effect_of_a_model_in_every_engine";
    if !util::inside(name, &[]) {
        return;
    }
    each_engine(|engine| {
        let seed = 0x9e37_79b9_7f4a_7c15 + engine as u64;
        random_sets_are_those_of_the_model(seed, || reporter_with(engine));
    });
    for method in [Method::Vfork, Method::Fork] {
        let seed = 0x1234_5678_9abc_def1 + method as u64;
        random_sets_are_those_of_the_model(seed, || {
            let mut command = reporter();
            command.method(method);
            command
        });
    }
}

#[test]
fn signals_are_set_to_their_default_or_ignored() {
    let name = "signals_are_set_to_their_default_or_ignored";
    if !util::inside(name, &[]) {
        return;
    }
    // The one who runs the tests may ignore some.
    for signal in (1..=64).filter(|n| !FIXED.contains(n)) {
        let ignored = [libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE];
        let ignored = ignored.contains(&signal);
        act(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
    }
    each_engine(|engine| {
        let ignored = |set_options: &dyn Fn(&mut Command)| {
            let mut command = reporter_with(engine);
            set_options(&mut command);
            set(&report(&mut command), "SigIgn")
        };
        let inherited = SignalSet::from([libc::SIGHUP, libc::SIGQUIT]);
        assert_eq!(ignored(&|_| {}), inherited, "kept unless asked");
        let kept = SignalSet::from([1, 3, libc::SIGPIPE]);
        let all = |c: &mut Command| _ = c.keep_sigpipe(true);
        assert_eq!(ignored(&all), kept);
        let hup = |c: &mut Command| _ = c.default_signal(libc::SIGHUP);
        assert_eq!(ignored(&hup), SignalSet::from([libc::SIGQUIT]));
        let none = |c: &mut Command| _ = c.reset_signals();
        assert_eq!(ignored(&none), SignalSet::empty());
        let last = |c: &mut Command| {
            c.default_signal(2).ignore_signal(2);
            c.ignore_signal(1).default_signal(1);
            c.ignore_signal(64).reset_signals().ignore_signal(63);
        };
        assert_eq!(ignored(&last), SignalSet::from([63]));
        let mut pipe = Command::new("sh");
        pipe.args(["-c", "kill -PIPE $$; exit 42"]).engine(engine);
        assert_eq!(pipe.status().unwrap().to_string(), "signal: 13 (SIGPIPE)");
        let kept = pipe.keep_sigpipe(true).status().unwrap();
        assert_eq!(kept.code(), Some(42));
    });
}

/// A signal that is sent to the child before exec: the program has it, as a
/// pending one if it blocks it, or it was discarded, if it is ignored.
#[test]
fn a_signal_before_exec_is_delivered_blocked_or_ignored() {
    let engines = [Engine::Isolated, Engine::Copied, Engine::Pipe];
    util::each_of(&engines, |engine| {
        let make = || {
            let mut command = reporter_with(engine);
            command.before_exec(|pid, _| {
                let pid = i32::try_from(pid).unwrap();
                assert!(pid > 1);
                // SAFETY: the child, which waits for this function.
                assert_eq!(unsafe { libc::kill(pid, libc::SIGUSR1) }, 0);
                Ok(())
            });
            command
        };
        let one = SignalSet::from([libc::SIGUSR1]);
        let report = report(make().signal_mask(one));
        assert_eq!(set(&report, "SigBlk"), one);
        let shared = util::report(make().ignore_signal(libc::SIGUSR1));
        assert!(set(&shared, "SigIgn").contains(libc::SIGUSR1));
        // When its mask is set, which is before exec.
        let error = make().spawn().unwrap_err();
        assert_eq!(error.step(), Step::SignalMask, "{error}");
        assert_eq!(error.signal(), Some(libc::SIGUSR1));
    });
}

/// The mask that a hook sets has precedence, as everything that it does.
#[test]
fn a_hook_may_still_change_the_mask() {
    util::each_of(&[Engine::Copied, Engine::Pipe], |engine| {
        let mut command = reporter_with(engine);
        command.signal_mask(SignalSet::from([1, 2]));
        // SAFETY: the hook makes one call through its context.
        unsafe {
            command.pre_exec(|context| {
                context.sigprocmask(offshoot::MaskChange::Unblock(1));
                Ok(())
            });
        }
        let report = report(&mut command);
        assert_eq!(set(&report, "SigBlk"), SignalSet::from([2]));
    });
}

#[test]
fn what_is_no_signal_is_refused_by_name() {
    let _alone = alone();
    let range = "a signal is a number from 1 to 64";
    let fixed = "it cannot be caught or ignored";
    let cases =
        [(0, "0", range), (65, "65", range), (-1, "-1", range)].into_iter();
    let cases = cases.chain([(9, "SIGKILL", fixed), (19, "SIGSTOP", fixed)]);
    for (signal, shown, why) in cases {
        each_engine(|engine| {
            let refuse = |step, set: &dyn Fn(&mut Command)| {
                let mut command = command("/bin/true", engine);
                set(&mut command);
                // A clone would kill this process by SIGSYS.
                let nr = libc::SYS_clone3;
                let fail = || filter::with(nr, Action::Kill, spawn(command));
                refused(&clean(fail), step, Some(shown), why);
            };
            refuse(Step::DefaultSignal, &|c| _ = c.default_signal(signal));
            refuse(Step::IgnoreSignal, &|c| _ = c.ignore_signal(signal));
            let mask = SignalSet::from([3, signal]);
            if why == range {
                refuse(Step::SignalMask, &|c| _ = c.signal_mask(mask));
            } else {
                let mut command = command("/bin/true", engine);
                let status = command.signal_mask(mask).status().unwrap();
                assert!(status.success(), "the kernel ignores it");
            }
        });
    }
}

/// A filter that rejects the call for one signal: the error names it.
#[test]
fn a_signal_whose_disposition_cannot_be_set_is_named() {
    // A legacy clone makes the call for every signal.
    let clone3 = [Engine::Suspended, Engine::Isolated, Engine::Copied];
    util::each_of(&clone3, |engine| {
        let mut ignores = command("/bin/true", engine);
        ignores.ignore_signal(libc::SIGUSR2).keep_sigpipe(true);
        let nr = libc::SYS_rt_sigaction;
        let fail = || filter::with(nr, Action::Errno(1), spawn(ignores));
        let error = clean(fail);
        let step = Step::SignalAction;
        assert_error(&error, step, Some("SIGUSR2"), libc::EPERM);
    });
}

/// What exec in place has set is the program's; after a failure this process
/// has its own again, but for what a hook has set since.
#[test]
fn exec_in_place_sets_signals_and_a_failure_restores_them() {
    let name = "exec_in_place_sets_signals_and_a_failure_restores_them";
    if !util::inside(name, &[]) {
        return;
    }
    let mut random = Random(0x5eed);
    for _ in 0..20 {
        change_parent(&mut random);
        let before = own();
        let mut no_such = Command::new("/no/such/program");
        let mut model =
            Model { mask: own_set("SigBlk"), ignored: own_set("SigIgn") };
        options(&mut random, &mut no_such, &mut model);
        assert_eq!(no_such.exec().step(), Step::Exec);
        assert_eq!(own(), before, "{no_such:#?}");
    }
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
        act(signal, libc::SIG_IGN);
    }
    // A shell would change its mask.
    let mut awk = Command::new("awk");
    let check = "/^SigIgn:.0000000000004001$/ { ignored = 1 }
                 /^SigBlk:.0000000000000200$/ { blocked = 1 }
                 END { if (ignored && blocked)
                         print \"test result: ok. 1 passed\" }";
    awk.args([check, "/proc/self/status"]);
    awk.reset_signals().ignore_signal(1).ignore_signal(15);
    panic!("{}", awk.signal_mask(SignalSet::from([10])).exec());
}
