//! Stack: how much stack a spawn uses, measured in a thread whose stack is
//! filled with a pattern.
#![allow(unsafe_code, reason = "pthread_attr_setstack sets the stack")]

mod util;

use std::ffi::c_void;
use std::{hint, mem, ptr};

use offshoot::{Command, Engine, Stdio};
use util::alone;

const SIZE: usize = 512 << 10;
const PATTERN: u64 = 0xA5A5_5A5A_A5A5_5A5A;

type Work = fn();

extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `used` has put a `Work` there, which outlives the thread.
    let work = unsafe { *work.cast::<Work>() };
    work();
    ptr::null_mut()
}

/// The bytes of stack used by a thread that runs `work`, including what the
/// thread itself needs.
fn depth(mut work: Work) -> usize {
    let words = SIZE / 8;
    let mut stack = vec![PATTERN; words + 512];
    let skew = stack.as_ptr().align_offset(4096);
    let from = stack[skew..].as_mut_ptr();
    // SAFETY: all zeros is a pthread_attr_t before its init.
    let mut attr: libc::pthread_attr_t = unsafe { mem::zeroed() };
    let mut thread = 0;
    // SAFETY: writes the attributes.
    assert_eq!(unsafe { libc::pthread_attr_init(&raw mut attr) }, 0);
    // SAFETY: the memory is writable, and lives until the thread is joined.
    let done = unsafe {
        libc::pthread_attr_setstack(&raw mut attr, from.cast(), SIZE)
    };
    assert_eq!(done, 0);
    let at = (&raw mut work).cast();
    // SAFETY: `run` takes what it is given for a `Work`.
    let done =
        unsafe { libc::pthread_create(&raw mut thread, &attr, run, at) };
    assert_eq!(done, 0);
    // SAFETY: the thread is joined once.
    let done = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    assert_eq!(done, 0);
    // SAFETY: as above.
    unsafe { libc::pthread_attr_destroy(&raw mut attr) };
    let stack = hint::black_box(&stack);
    let untouched = stack[skew..].iter().position(|word| *word != PATTERN);
    SIZE - 8 * untouched.unwrap()
}

/// The bytes used beyond those of an empty thread. The first run fills caches.
fn used(work: Work) -> usize {
    depth(work);
    depth(work).saturating_sub(depth(|| ()))
}

fn ids(engine: Engine) {
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::geteuid() };
    let mut command = Command::new("/bin/true");
    command.uid(own).engine(engine);
    assert!(command.status().unwrap().success());
}

/// Limits in bytes, of a build with optimizations and of one without. std's
/// builder uses 2,000.
const ROWS: [(&str, [usize; 2], Work); 8] = [
    ("builder", [8 << 10, 20 << 10], || {
        assert!(Command::new("true").status().unwrap().success());
    }),
    ("builder, output", [8 << 10, 22 << 10], || {
        assert!(Command::new("true").output().unwrap().status.success());
    }),
    ("prepared", [8 << 10, 20 << 10], || {
        let prepared = Command::new("/bin/true").prepare().unwrap();
        assert!(prepared.spawn().unwrap().wait().unwrap().success());
    }),
    ("pipes", [8 << 10, 22 << 10], || {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        let child = cat.spawn().unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
    }),
    ("not found", [8 << 10, 20 << 10], || {
        let mut command = Command::new("no-such-program");
        command.spawn().map(drop).unwrap_err();
    }),
    ("isolated", [10 << 10, 24 << 10], || ids(Engine::Isolated)),
    ("copied", [10 << 10, 28 << 10], || ids(Engine::Copied)),
    ("pipe", [10 << 10, 28 << 10], || ids(Engine::Pipe)),
];

#[test]
fn a_spawn_fits_into_eight_kib_of_stack() {
    let _alone = alone();
    // Control: a large frame is measured.
    let large = used(|| {
        hint::black_box([0u8; 40 << 10]);
    });
    assert!(large > 36 << 10, "{large}");
    for (name, limits, work) in ROWS {
        let limit = limits[usize::from(cfg!(debug_assertions))];
        let used = used(work);
        println!("{name}: {used} of {limit}");
        assert!(used <= limit, "{name}: {used} of {limit}");
    }
}
