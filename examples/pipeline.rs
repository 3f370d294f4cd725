//! Pipeline: `printf | sort | uniq -c`, three children at once.
//!
//! The standard output of a child is the standard input of the next. Use it
//! instead of `sh -c` if the arguments come from outside: no shell parses
//! them. Wait for every child, or its exit status is lost.
//!
//! Run: `cargo run --example pipeline`

use offshoot::{Command, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = Command::new("printf")
        .arg("pear\\napple\\npear\\nquince\\npear\\n")
        .stdout(Stdio::piped())
        .spawn()?;
    // A command owns the descriptors it is given until it is dropped. These
    // commands are temporaries, so no writing end is left open in this
    // process, and each reader sees the end of its input.
    let from_words = words.stdout.take().ok_or("stdout is piped")?;
    let mut sort = Command::new("sort")
        .stdin(from_words)
        .stdout(Stdio::piped())
        .spawn()?;
    let from_sort = sort.stdout.take().ok_or("stdout is piped")?;
    let count = Command::new("uniq")
        .arg("-c")
        .stdin(from_sort)
        .stdout(Stdio::piped())
        .spawn()?;

    let output = count.wait_with_output()?;
    for (name, status) in [("printf", words.wait()?), ("sort", sort.wait()?)] {
        println!("{name}: {status}");
    }
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
