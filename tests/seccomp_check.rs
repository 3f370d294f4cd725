//! Seccomp check: a program that the kernel would reject is refused, and no
//! other.
#![allow(unsafe_code, reason = "tests make calls that std does not offer")]

mod util;

use offshoot::{Command, SeccompFilter, SockFilter, Step};
use util::alone;
use util::clean::refused;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const RETURN: u16 = 0x06;
const MOST: usize = 4096;

type Row = (u16, u8, u8, u32);

/// What is wrong, and the operand.
type Wrong<'a> = (SeccompFilter, &'a str, Option<&'a str>);

#[test]
fn a_program_that_the_kernel_would_reject_is_refused() {
    let _alone = alone();
    let of = |rows: &[Row]| rows.iter().copied().collect::<SeccompFilter>();
    let end = (RETURN, 0, 0, ALLOW);
    let all: [Wrong<'_>; 10] = [
        (of(&[]), "no instructions", Some("")),
        (of(&vec![end; MOST + 1]), "at most 4,096", Some("4097 instructions")),
        (
            SeccompFilter::from_bytes(&[6, 0, 0, 0, 0, 0, 0xFF, 0x7F, 6]),
            "no multiple of 8",
            Some("9 bytes"),
        ),
        (
            of(&[(0x15, 1, 0, 59), end]),
            "behind the last",
            Some("instruction 0: 0x15 1 0 0x3b"),
        ),
        (
            of(&[end, (0x05, 0, 0, 0)]),
            "behind the last",
            Some("instruction 1: 0x05 0 0 0x0"),
        ),
        (
            of(&[end, (0x20, 0, 0, 0)]),
            "not a return",
            Some("instruction 1: 0x20 0 0 0x0"),
        ),
        (
            of(&[(0x28, 0, 0, 0), end]),
            "cannot have this operation",
            Some("instruction 0: 0x28 0 0 0x0"),
        ),
        (
            of(&[(0x20, 0, 0, 64), end]),
            "outside seccomp_data",
            Some("instruction 0: 0x20 0 0 0x40"),
        ),
        (
            of(&[(0x34, 0, 0, 0), end]),
            "divides by zero",
            Some("instruction 0: 0x34 0 0 0x0"),
        ),
        (
            of(&[(0x60, 0, 0, 3), end]),
            "may not have been written",
            Some("instruction 0: 0x60 0 0 0x3"),
        ),
    ];
    for (program, why, operand) in all {
        let mut command = Command::new("/bin/true");
        command.seccomp(program);
        let error = command.plan().unwrap_err();
        refused(&error, Step::Seccomp, operand, why);
    }
}

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % end
    }

    fn row(&mut self) -> Row {
        let code = match self.below(8) {
            0..=4 => [
                0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x15,
                0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D, 0x05, 0x06, 0x16,
                0x07, 0x87, 0x84, 0x34, 0x64, 0x74,
            ][self.below(26) as usize],
            5..=6 => u16::try_from(self.below(0x100)).unwrap(),
            _ => u16::try_from(self.below(0x1_0000)).unwrap(),
        };
        let jump = |n| u8::try_from(n).unwrap();
        let (jt, jf) = (jump(self.below(3)), jump(self.below(3)));
        let k = match self.below(4) {
            0 => 4 * self.below(18),
            1 => self.below(4),
            2 => self.below(70),
            _ => [0x7FFF_0000, u32::MAX, 31, 32][self.below(4) as usize],
        };
        (code, jt, jf, k)
    }
}

/// Whether the kernel installs a program, in a process of its own.
fn kernel_accepts(rows: &[Row]) -> bool {
    let mut code: Vec<libc::sock_filter> = rows
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let len = u16::try_from(code.len()).unwrap();
    let program = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let pid = util::fork::fork();
    if pid == 0 {
        // SAFETY: the kernel copies the program, which lives in this frame.
        let done =
            unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &program) };
        // The filter may kill for this, or reject it: then libc traps.
        util::fork::exit(i32::from(done != 0));
    }
    let status = util::fork::reap(pid);
    !(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1)
}

/// The check of a plan and the one of the kernel give the same answer.
#[test]
fn the_check_is_the_kernels() {
    let name = "the_check_is_the_kernels";
    let _alone = alone();
    if !util::inside(name, &util::own_pids()) {
        return;
    }
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    util::limit(libc::RLIMIT_CORE, 0, 0);
    let mut random = Random(0x5ECC);
    let mut accepted = 0;
    for _ in 0..1500 {
        let len = 1 + random.below(4);
        let mut rows: Vec<Row> = (0..len).map(|_| random.row()).collect();
        if random.below(8) != 0 {
            rows.push((RETURN, 0, 0, KILL));
        }
        let mut command = Command::new("/bin/true");
        let own = command.seccomp(rows.clone()).plan();
        let kernel = kernel_accepts(&rows);
        assert_eq!(own.is_ok(), kernel, "{rows:x?}: {own:?}");
        accepted += u32::from(kernel);
    }
    assert!((100..1000).contains(&accepted), "{accepted}");
}

#[test]
fn a_filter_is_made_from_any_collection() {
    let rows: Vec<Row> =
        vec![(0x20, 0, 0, 4), (0x15, 0, 1, 59), (6, 0, 0, KILL), (6, 0, 0, 0)];
    let own: Vec<SockFilter> =
        rows.iter().map(|row| SockFilter::from(*row)).collect();
    let bytes: Vec<u8> = own
        .iter()
        .flat_map(|it| {
            let code = it.code.to_ne_bytes();
            let k = it.k.to_ne_bytes();
            [code[0], code[1], it.jt, it.jf, k[0], k[1], k[2], k[3]]
        })
        .collect();
    let all = [
        SeccompFilter::from(rows),
        SeccompFilter::from(own.clone()),
        own.iter().copied().collect(),
        SeccompFilter::from_bytes(&bytes),
    ];
    for one in &all {
        assert_eq!(one.instructions(), own);
        assert_eq!(one, &all[0]);
    }
    let mut command = Command::new("true");
    command.seccomp(all[0].clone());
    let text = format!("{command:#?}");
    assert!(text.contains("seccomp"), "{text}");
}

/// The number of `exit` is another in each architecture.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_filter_that_compares_no_architecture_lets_32_bit_calls_pass() {
    const X86_64: u32 = 0xC000_003E;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    let name = "a_filter_that_compares_no_architecture_lets_32_bit_calls_pass";
    let run = |filter: Option<&[(u16, u8, u8, u32)]>| {
        let mut seven = Command::from_bytes(util::elf::seven_of_32_bits());
        if let Some(filter) = filter {
            seven.no_new_privs(true).seccomp(filter.to_vec());
        }
        seven.rlimit(offshoot::Resource::Core, 0);
        seven.status().unwrap()
    };
    if run(None).code() != Some(7) {
        return util::skip(name, "the kernel has no 32-bit calls");
    }
    let numbers = [
        (0x20, 0, 0, 0),
        (0x15, 1, 0, u32::try_from(libc::SYS_exit).unwrap()),
        (0x15, 0, 1, u32::try_from(libc::SYS_exit_group).unwrap()),
        (0x06, 0, 0, KILL),
        (0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    assert_eq!(run(Some(&numbers)).code(), Some(7));
    let architecture =
        [(0x20, 0, 0, 4), (0x15, 1, 0, X86_64), (0x06, 0, 0, KILL)];
    let both = [&architecture[..], &numbers].concat();
    let status = run(Some(&both));
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(libc::SIGSYS));
}
