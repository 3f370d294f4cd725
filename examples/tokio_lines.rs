//! Tokio lines: the output of several programs, line by line, in tasks.
//!
//! The children are waited for by their pidfds, beside the runtime's sockets:
//! no handler of SIGCHLD, no thread for each child. Use it where tokio's own
//! `process` would be used; the names are the same.
//!
//! Run: `cargo run --example tokio_lines --features tokio`

use std::error::Error;

use offshoot::Stdio;
use offshoot::tokio::Command;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime::Builder;

/// Runs a shell command, prints each of its lines, and returns their number.
async fn print_lines(name: usize, line: String) -> std::io::Result<usize> {
    let mut sh = Command::new("/bin/sh");
    // If this task is dropped, so is the program.
    sh.args(["-c", &line]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = sh.spawn_async().await?;
    let Some(stdout) = child.stdout.take() else { return Ok(0) };
    let mut lines = BufReader::new(stdout).lines();
    let mut count = 0;
    while let Some(line) = lines.next_line().await? {
        println!("{name}: {line}");
        count += 1;
    }
    let status = child.wait().await?;
    println!("{name}: {status}");
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let count = runtime.block_on(async {
        let script =
            |n| format!("for i in 1 2 3; do echo $i; sleep 0.0{n}; done");
        let tasks: Vec<_> =
            (1..=4).map(|n| tokio::spawn(print_lines(n, script(n)))).collect();
        let mut count = 0;
        for task in tasks {
            count += task.await??;
        }
        Ok::<usize, Box<dyn Error>>(count)
    })?;
    println!("{count} lines");
    assert_eq!(count, 12);
    Ok(())
}
