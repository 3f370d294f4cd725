//! Environment: variables that commands share.
#![allow(unsafe_code, reason = "set_var is unsafe")]

mod util;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{process, thread};

use offshoot::{Command, Engine, Environment, Step};
use util::{alone, each_engine};

/// A command that prints its environment as the kernel has it.
fn cat(engine: Engine, environment: &Environment) -> Command {
    let mut cat = Command::new("/bin/cat");
    cat.arg("/proc/self/environ").engine(engine).environment(environment);
    cat
}

#[track_caller]
fn seen(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// `NAME=value` of each with its NUL.
fn entries(environment: &Environment) -> Vec<u8> {
    let entry = |(name, value): (&OsStr, &OsStr)| {
        [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat()
    };
    environment.iter().flat_map(entry).collect()
}

#[test]
fn the_child_has_exactly_these_variables() {
    each_engine(|engine| {
        let mut env = Environment::from([("B", "2"), ("A", "1="), ("C", "")]);
        let odd = OsStr::from_bytes(b"\xff\xfe");
        env.set(odd, odd).remove("nothing");
        let want = b"A=1=\0B=2\0C=\0\xff\xfe=\xff\xfe\0";
        assert_eq!(seen(&mut cat(engine, &env)), want, "{engine}");
        assert_eq!(entries(&env), want);
        assert_eq!(seen(&mut cat(engine, &Environment::new())), b"");
        let own = Environment::inherit();
        let vars: Vec<_> = std::env::vars_os().collect();
        let vars = vars.iter().map(|(name, value)| (&**name, &**value));
        assert!(own.len() > 2 && own.iter().eq(vars));
        assert_eq!(seen(&mut cat(engine, &own)), entries(&own), "{engine}");
    });
}

#[test]
fn a_prepared_command_keeps_its_environment_until_it_is_dropped() {
    each_engine(|engine| {
        let prepared = {
            let mut env = Environment::from([("A", "1")]);
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", "[ \"$A$B\" = 1 ]"]).engine(engine);
            let prepared = sh.environment(&env).prepare().unwrap();
            env.set("A", "2").set("B", "3");
            assert_eq!(sh.get_environment().unwrap().get("A").unwrap(), "1");
            prepared
        };
        // Memory that was freed would be used again.
        let other = Environment::from([("A", "4")]);
        assert_eq!(seen(&mut cat(engine, &other)), b"A=4\0");
        for _ in 0..3 {
            let status = prepared.spawn().unwrap().wait().unwrap();
            assert!(status.success(), "{engine}");
        }
    });
}

#[test]
fn a_change_of_a_clone_does_not_change_the_other() {
    each_engine(|engine| {
        let first = Environment::from([("A", "1"), ("B", "2")]);
        assert_eq!(seen(&mut cat(engine, &first)), b"A=1\0B=2\0");
        let mut second = first.clone();
        assert_eq!(second, first);
        second.set("A", "3").remove("B").extend([("C", "4")]);
        assert_ne!(second, first);
        assert_eq!(seen(&mut cat(engine, &second)), b"A=3\0C=4\0");
        assert_eq!(seen(&mut cat(engine, &first)), b"A=1\0B=2\0");
        second.set("A", "5");
        assert_eq!(seen(&mut cat(engine, &second)), b"A=5\0C=4\0", "again");
        assert!(second.get("B").is_none() && second.len() == 2);
    });
}

#[test]
fn changes_of_the_command_apply_on_top() {
    each_engine(|engine| {
        let env = Environment::from([("A", "1"), ("B", "2"), ("C", "3")]);
        let mut changed = cat(engine, &env);
        changed.env("B", "4").env_remove("A");
        assert_eq!(seen(&mut changed), b"C=3\0B=4\0", "{engine}");
        let mut before = Command::new("/bin/cat");
        before.arg("/proc/self/environ").engine(engine).env_clear();
        before.env("B", "4").environment(&env).env_remove("A");
        assert_eq!(seen(&mut before), b"C=3\0B=4\0", "in any order");
        assert_eq!(seen(before.env_clear().env("D", "5")), b"D=5\0");
        let other = Environment::from([("E", "6")]);
        assert_eq!(seen(before.environment(&other)), b"E=6\0D=5\0");
    });
}

#[test]
fn its_path_is_searched() {
    each_engine(|engine| {
        let mut found = Command::new("true");
        found.engine(engine);
        let none = Environment::new();
        assert!(found.environment(&none).status().unwrap().success());
        let mut env = Environment::from([("PATH", "/bin"), ("XPATH", "/no")]);
        assert!(found.environment(&env).status().unwrap().success());
        env.set("PATH", "/nope");
        let error = found.environment(&env).status().unwrap_err();
        assert_eq!(error.step(), Step::Exec, "{error}");
        assert_eq!(error.candidates()[0].path().as_os_str(), "/nope/true");
        let status = found.env("PATH", "/bin").status().unwrap();
        assert!(status.success(), "env is on top");
    });
}

#[test]
fn listening_sockets_replace_what_it_has_of_them() {
    each_engine(|engine| {
        let env = Environment::from([("A", "1"), ("LISTEN_FDNAMES", "x")]);
        let mut sh = Command::new("/bin/sh");
        let script =
            "[ $LISTEN_PID = $$ ] && echo $LISTEN_FDS$LISTEN_FDNAMES$A";
        sh.args(["-c", script]).engine(engine).environment(&env);
        sh.listen_fds([File::open("/dev/null").unwrap()]);
        assert_eq!(seen(&mut sh), b"11\n", "{engine}");
    });
}

#[test]
fn what_it_must_not_contain_is_refused_when_it_is_used() {
    let _alone = alone();
    let cases = [
        ("", "secret", "the name is empty"),
        ("A=", "secret", "contains '='"),
        ("=A", "secret", "contains '='"),
        ("A\0", "secret", "NUL"),
        ("A", "secret\0", "NUL"),
    ];
    for (name, value, why) in cases {
        let mut env = Environment::from([("B", "1")]);
        env.set(name, value);
        for change in [false, true] {
            let mut command = Command::new("/bin/true");
            command.environment(&env);
            if change {
                command.env("C", "");
            }
            let error = util::clean::clean(|| command.spawn().map(drop));
            assert_eq!(error.step(), Step::Env, "{error}");
            assert_eq!(error.operand().unwrap(), name);
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            assert!(command.plan().is_err() && command.prepare().is_err());
        }
        // The last setting counts.
        let valid = env.remove(name);
        assert!(cat(Engine::Suspended, valid).plan().is_ok());
    }
}

#[test]
fn an_exact_environment_cannot_be_combined_with_a_shared_one() {
    let env = Environment::from([("A", "1")]);
    let mut command = Command::new("/bin/true");
    let error = command.environment(&env).env_exact(["B=1"]).spawn();
    let error = error.unwrap_err();
    assert_eq!(error.step(), Step::EnvExact, "{error}");
    assert!(error.to_string().contains("environment sets"), "{error}");
    let error = Command::new("/bin/true")
        .best_effort(|own| own.environment(&env))
        .spawn()
        .unwrap_err();
    assert_eq!(error.step(), Step::BestEffort, "{error}");
    assert_eq!(error.operand().unwrap(), "environment");
}

#[test]
fn one_that_is_too_large_for_execve_is_named_in_the_error() {
    each_engine(|engine| {
        let long = "x".repeat(3 << 20);
        let mut env = Environment::from([("A", long.as_str())]);
        let many = (0..100_000).map(|n| (format!("NAME_{n}"), "x".repeat(80)));
        let many: Environment = many.collect();
        for large in [&env, &many] {
            let error = cat(engine, large).spawn().unwrap_err();
            assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{error}");
            let why = "the whole environment, is too long for execve";
            assert!(error.to_string().contains(why), "{error}");
        }
        let mut small = cat(engine, env.remove("A"));
        let error = small.arg(&long).spawn().unwrap_err();
        let why = "an argument, or all of them, are too long for execve";
        assert!(error.to_string().contains(why), "{error}");
    });
}

#[test]
fn values_are_not_shown() {
    let mut env = Environment::from([("A", "secret"), ("B-", "secret")]);
    assert_eq!(format!("{env:?}"), r#"{"A": .., "B-": ..}"#);
    let mut ls = Command::new("ls");
    ls.environment(&env).env("C", "1");
    let line = "env -i A=\"$A\" B-=... C=\"$C\" ls";
    assert_eq!(format!("{ls:?}"), line);
    let text = format!("{ls:#?}");
    assert!(text.contains("environment: ") && text.contains("\"B-\""));
    assert!(!text.contains("secret"), "{text}");
    let names: Vec<_> = ls.get_envs().map(|(name, _)| name).collect();
    assert_eq!(names, ["C"], "of the command only");
    assert!(!ls.get_env_clear());
    let line = "env -i A=secret B-=secret C=1 ls";
    assert_eq!(ls.to_shell_line(), line);
    env.set("D", "secret");
    let plan = ls.environment(&env).plan().unwrap();
    assert!(plan.to_string().contains("environment of 4"), "{plan}");
    for text in [format!("{plan:?}"), format!("{:?}", ls.prepare())] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn exec_in_place_passes_it_on() {
    let name = "exec_in_place_passes_it_on";
    if let Some(text) = util::outside(name, &[]) {
        assert!(text.contains("A=1 B= "), "{text}");
        return;
    }
    let env = Environment::from([("A", "1")]);
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", "echo \"A=$A B=$HOME \"; echo 1 passed"]);
    panic!("{}", sh.environment(&env).exec());
}

/// A generator of numbers below a bound, by xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn name(&mut self) -> OsString {
        let all: [&[u8]; 7] =
            [b"A", b"B", b"HOME", b"PATH", b"C C", b"\xff", b"LANG"];
        let name = all[usize::try_from(self.below(7)).unwrap()];
        OsString::from_vec(name.to_vec())
    }

    fn value(&mut self) -> OsString {
        let len = self.below(9);
        let bytes = (0..len).map(|_| self.below(255).to_le_bytes()[0] + 1);
        OsString::from_vec(bytes.collect())
    }
}

#[test]
fn the_same_random_changes_give_the_variables_that_std_gives() {
    let _alone = alone();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..60 {
        let mut std = process::Command::new("/bin/cat");
        std.arg("/proc/self/environ");
        let mut env = Environment::inherit();
        if random.below(3) == 0 {
            env = Environment::new();
            std.env_clear();
        }
        for _ in 0..random.below(8) {
            let name = random.name();
            if random.below(3) == 0 {
                std.env_remove(&name);
                env.remove(&name);
            } else {
                let value = random.value();
                std.env(&name, &value);
                env.set(&name, &value);
            }
            if random.below(4) == 0 {
                env.clone().set("not", "seen");
                let _ = cat(Engine::Suspended, &env).plan().unwrap();
            }
        }
        let engine = util::ENGINES[round % util::ENGINES.len()];
        let mut ours = cat(engine, &env);
        for _ in 0..random.below(5) {
            let (name, value) = (random.name(), random.value());
            match random.below(7) {
                0 => (std.env_clear(), ours.env_clear()),
                1..3 => (std.env_remove(&name), ours.env_remove(&name)),
                _ => (std.env(&name, &value), ours.env(&name, &value)),
            };
        }
        let sorted = |text: &[u8]| -> BTreeSet<Vec<u8>> {
            text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
        };
        let want = std.output().unwrap().stdout;
        let text = seen(&mut ours);
        assert_eq!(text.len(), want.len(), "round {round}");
        assert_eq!(sorted(&text), sorted(&want), "round {round}: {ours:?}");
    }
}

#[test]
fn threads_share_one_environment() {
    let _alone = alone();
    let env = Environment::from([("A", "1")]);
    thread::scope(|scope| {
        for n in 0..4 {
            let mut own = env.clone();
            scope.spawn(move || {
                for _ in 0..8 {
                    let text = seen(&mut cat(Engine::Suspended, &own));
                    assert_eq!(text, entries(&own));
                }
                own.set("B", n.to_string());
                let text = seen(&mut cat(Engine::Suspended, &own));
                assert_eq!(text, format!("A=1\0B={n}\0").into_bytes());
            });
        }
    });
}

#[test]
fn inherit_beside_a_thread_that_sets_variables_gets_whole_values() {
    let name = "inherit_beside_a_thread_that_sets_variables_gets_whole_values";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let values = ["x".repeat(10), "y".repeat(2000)];
    // SAFETY: the threads of this process use std's functions only.
    unsafe { std::env::set_var("CHANGES", &values[0]) };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for value in values.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                // SAFETY: as above.
                unsafe { std::env::set_var("CHANGES", value) };
            }
        });
        for _ in 0..2000 {
            let env = Environment::inherit();
            let value = env.get("CHANGES").map(OsStr::to_str);
            let value = value.flatten().unwrap_or_default();
            let whole = values.iter().any(|whole| whole == value);
            if !whole {
                done.store(true, Ordering::Relaxed);
            }
            assert!(whole, "{value}");
        }
        done.store(true, Ordering::Relaxed);
    });
}
