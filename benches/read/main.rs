//! Read: a large input and output of one program, next to std with threads.
//!
//! `cargo bench --bench read` prints medians of rounds in which each row runs
//! once, and their ratio to std's; `--profile dev` those of a debug build, and
//! `-- --mib 1024` another size. `-- --test` runs each once with little.

use std::io::Write;
use std::process;
use std::time::Instant;
use std::{env, thread};

use offshoot::{Command, Limits, Stdio};

/// The name of a row, its kind, and what it runs.
type Row = (&'static str, usize, fn(&[u8]));

/// Of each kind the first one is std's.
const KINDS: [&str; 3] =
    ["both ways through cat", "one output", "two outputs"];

const ROWS: [Row; 7] = [
    ("std, two threads", 0, |input| {
        let piped = process::Stdio::piped;
        let mut cat = process::Command::new("cat");
        let mut cat = cat.stdin(piped()).stdout(piped()).spawn().unwrap();
        let mut stdin = cat.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).unwrap());
            cat.wait_with_output().unwrap()
        });
        assert_eq!(output.stdout.len(), input.len());
    }),
    ("communicate", 0, |input| {
        let mut cat = Command::new("cat");
        let cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = cat.spawn().unwrap().communicate(input).unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }),
    ("std wait_with_output", 1, |input| {
        let mut head = process::Command::new("sh");
        let head = head.args(["-c", &head_of(input, "")]);
        let output = head.stdout(process::Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }),
    ("wait_with_output", 1, |input| {
        let mut head = Command::new("sh");
        let head = head.args(["-c", &head_of(input, "")]);
        let output = head.stdout(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }),
    ("output_with all limits", 1, |input| {
        let mut head = Command::new("sh");
        let head = head.args(["-c", &head_of(input, "")]);
        let limits = Limits::new()
            .bytes(u64::MAX)
            .timeout(std::time::Duration::MAX)
            .grace_after_exit(std::time::Duration::MAX);
        let output = head.output_with(limits).unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }),
    ("std output", 2, |input| {
        let mut head = process::Command::new("sh");
        let head = head.args(["-c", &head_of(input, " & exec >&2; ")]);
        let output = head.output().unwrap();
        assert_eq!(output.stdout.len() + output.stderr.len(), 2 * input.len());
    }),
    ("output", 2, |input| {
        let mut head = Command::new("sh");
        let head = head.args(["-c", &head_of(input, " & exec >&2; ")]);
        let output = head.output().unwrap();
        assert_eq!(output.stdout.len() + output.stderr.len(), 2 * input.len());
    }),
];

/// A command that writes as many bytes as the input has, once or twice.
fn head_of(input: &[u8], between: &str) -> String {
    let head = format!("head -c {} /dev/zero", input.len());
    match between {
        "" => format!("exec {head}"),
        _ => format!("{head}{between}exec {head}"),
    }
}

fn main() {
    if env::args().any(|arg| arg == "--in-spawn") {
        return;
    }
    let mut args = env::args().skip_while(|arg| arg != "--mib").skip(1);
    let mib = args.next().and_then(|size| size.parse().ok());
    let test = env::args().any(|arg| arg == "--test");
    let (mib, rounds) = if test { (1, 1) } else { (mib.unwrap_or(256), 9) };
    let input = vec![b'x'; mib << 20];
    let mut times = vec![Vec::new(); ROWS.len()];
    for _ in 0..rounds {
        for ((_, _, run), times) in ROWS.iter().zip(&mut times) {
            let begun = Instant::now();
            run(&input);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = |times: &Vec<f64>| {
        let mut times = times.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    for (kind, title) in KINDS.iter().enumerate() {
        println!("{mib} MiB, {title}");
        let rows = ROWS.iter().zip(&times).filter(|row| row.0.1 == kind);
        let mut base = None;
        for ((name, _, _), times) in rows {
            let time = median(times);
            let speed = *base.get_or_insert(time) / time;
            println!(
                "  {name:<24} {time:>9.1} ms  {speed:>5.2} x std's speed"
            );
        }
    }
}
