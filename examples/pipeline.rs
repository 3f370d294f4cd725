//! A pipeline: `printf | sort | uniq -c`, three children at once.
//!
//! `cargo run --example pipeline`

use offshoot::{Command, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = Command::new("printf")
        .arg("pear\\napple\\npear\\nquince\\npear\\n")
        .stdout(Stdio::piped())
        .spawn()?;
    // A command keeps the descriptors it is given for as long as it lives;
    // these are temporaries, so each pipe has its two ends only, and ends
    // when its writer does.
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
