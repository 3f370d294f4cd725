//! Counts: the system calls and allocations of a spawn, asserted.
#![allow(unsafe_code, reason = "counts by an allocator and marks by a call")]

mod util;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::process;

use offshoot::{Command, Engine, Environment, Prepared, Stdio};
use util::{alone, each_engine, scratch};

struct Counting;

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator, and counts in a
// thread-local without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's layout, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: from `alloc` above with the same layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u32 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

fn prepared(engine: Engine, stdio: impl Fn() -> [Stdio; 3]) -> Prepared {
    let [stdin, stdout, stderr] = stdio();
    let mut command = Command::new("true");
    command.stdin(stdin).stdout(stdout).stderr(stderr).engine(engine);
    command.prepare().unwrap()
}

#[test]
fn a_prepared_spawn_and_its_wait_allocate_nothing() {
    let _alone = alone();
    let read = OpenOptions::new().read(true).clone();
    let open = || Stdio::open("/dev/null", &read);
    each_engine(|engine| {
        let all: [&dyn Fn() -> [Stdio; 3]; 3] = [
            &|| [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()],
            &|| [Stdio::piped(), Stdio::piped(), Stdio::piped()],
            &|| [Stdio::null(), Stdio::null(), open()],
        ];
        for stdio in all {
            let prepared = prepared(engine, stdio);
            let count = allocations(|| {
                let mut child = prepared.spawn().unwrap();
                assert!(child.wait().unwrap().success());
            });
            assert_eq!(count, 0, "{engine} {}", prepared.plan());
        }
    });
    assert_ne!(allocations(|| drop(Box::new(7))), 0, "the counter counts");
}

#[test]
fn a_prepared_detach_allocates_nothing() {
    let _alone = alone();
    for engine in [Engine::Suspended, Engine::Isolated, Engine::Copied] {
        let mut command = Command::new("true");
        command.stdin(Stdio::null()).setsid(true).engine(engine);
        let prepared = command.prepare().unwrap();
        let count = allocations(|| drop(prepared.detach().unwrap()));
        assert_eq!(count, 0, "{engine}");
    }
}

#[test]
fn a_builder_allocates_nothing_for_a_shared_environment() {
    let _alone = alone();
    let vars = |n: usize| (0..n).map(|n| (format!("NAME_{n}"), "value"));
    let none = Environment::new();
    let many: Environment = vars(1000).collect();
    for engine in [Engine::Suspended, Engine::Copied, Engine::Pipe] {
        let count = |env: &Environment| {
            let mut command = Command::new("/bin/true");
            command.engine(engine).environment(env);
            // The first use lays it out.
            command.status().unwrap();
            allocations(|| assert!(command.status().unwrap().success()))
        };
        assert_eq!(count(&many), count(&none), "{engine}");
        let mut command = Command::new("/bin/true");
        let prepared = command.engine(engine).environment(&many).prepare();
        let prepared = prepared.unwrap();
        let count = allocations(|| {
            assert!(prepared.spawn().unwrap().wait().unwrap().success());
        });
        assert_eq!(count, 0, "{engine}");
    }
    let copy = allocations(|| drop(many.clone()));
    assert_eq!(copy, 0, "a clone shares");
}

/// Marks a position in the trace by a call that no other code makes.
fn mark() {
    // SAFETY: asks for the group of a pid that cannot exist.
    unsafe { libc::syscall(libc::SYS_getpgid, -4711) };
}

/// The names of the calls between two marks: the caller's, and those of the
/// child until its program runs.
fn between_marks(trace: &str) -> (Vec<&str>, Vec<&str>) {
    let lines = trace.lines().filter_map(|line| {
        let (pid, rest) = line.split_once(' ')?;
        let (name, args) = rest.trim_start().split_once('(')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(())?;
        Some((pid, name, args))
    });
    let (mut parent, mut child, mut own) = (Vec::new(), Vec::new(), None);
    let mut marks = 0;
    let mut running = false;
    for (pid, name, args) in lines {
        if name == "getpgid" && args.starts_with("-4711") {
            marks += 1;
            own = Some(pid);
        } else if marks == 1 && own == Some(pid) {
            parent.push(name);
        } else if marks == 1 && !running {
            child.push(name);
            running = name == "execve";
        }
    }
    assert_eq!(marks, 2, "{trace}");
    (parent, child)
}

fn traced(name: &str, work: impl FnOnce()) -> Option<(String, String)> {
    let path = scratch(name).join("trace");
    let there = process::Command::new("strace").arg("-V").output();
    if !there.is_ok_and(|output| output.status.success()) {
        util::skip(name, "no strace");
        return None;
    }
    let file = path.to_str().unwrap();
    let strace = ["strace", "-f", "-q", "-s0", "-o", file];
    if util::inside(name, &strace) {
        work();
        return None;
    }
    let trace = fs::read_to_string(&path).unwrap();
    let (parent, child) = between_marks(&trace);
    // With debug assertions std asks whether a descriptor is open before it
    // closes it; .ci/run counts without them too.
    let parent = parent.join(" ").replace("fcntl close", "close");
    Some((parent, child.join(" ")))
}

#[test]
fn a_default_spawn_and_wait_takes_six_calls_in_parent_and_child() {
    let name = "a_default_spawn_and_wait_takes_six_calls_in_parent_and_child";
    let counted = traced(name, || {
        let prepared = Command::new("/bin/true").prepare().unwrap();
        // The first spawn of a thread makes one call more: it asks whether
        // the child will be an init.
        prepared.spawn().unwrap().wait().unwrap();
        mark();
        let mut child = prepared.spawn().unwrap();
        child.wait().unwrap();
        drop(child);
        mark();
    });
    if let Some((parent, child)) = counted {
        let want = "rt_sigprocmask clone3 rt_sigprocmask waitid waitid close";
        assert_eq!(parent, want);
        let want = "close_range fcntl rt_sigaction rt_sigtimedwait rt_sigprocmask execve";
        assert_eq!(child, want);
    }
}

#[test]
fn a_builder_makes_no_more_calls_than_a_prepared_one() {
    let name = "a_builder_makes_no_more_calls_than_a_prepared_one";
    let counted = traced(name, || {
        let mut command = Command::new("/bin/true");
        // The allocator may ask for memory the first time.
        command.status().unwrap();
        mark();
        command.status().unwrap();
        mark();
    });
    if let Some((parent, child)) = counted {
        let want = "rt_sigprocmask clone3 rt_sigprocmask waitid waitid close";
        assert_eq!(parent, want);
        assert_eq!(child.split(' ').count(), 6);
    }
}
