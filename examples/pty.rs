//! Pty: run a shell on a pseudoterminal.
//!
//! If standard input is a terminal, the shell is interactive, as under
//! `script(1)`: what is typed goes to it, and its output comes back, until it
//! exits. Otherwise a few lines are typed by this program.
//!
//! Run: `cargo run --example pty`

use std::io::{self, IsTerminal, Read, Write};
use std::thread;

use offshoot::Command;
use offshoot::pty::{self, Controller, Size};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    match io::stdin().is_terminal() {
        true => interactive(),
        false => scripted(),
    }
}

fn scripted() -> Result<()> {
    let (mut controller, terminal) = pty::open()?;
    controller.set_size(Size::new(24, 100))?;
    let mut sh = Command::new("/bin/sh");
    // 0, 1 and 2 are the terminal, and it is the controlling terminal of the
    // session that the shell leads.
    sh.terminal(terminal).env("PS1", "$ ");
    println!("{}", sh.plan()?);
    let mut child = sh.spawn()?;
    // The command has the terminal open too; without this line the output
    // below would not end.
    drop(sh);
    controller.write_all(b"tty; stty size\nexit\n")?;
    let mut output = String::new();
    controller.read_to_string(&mut output)?;
    print!("{output}");
    println!("{}", child.wait()?);
    Ok(())
}

fn interactive() -> Result<()> {
    let (controller, terminal) = pty::open()?;
    controller.set_size(Size::of(io::stdin())?)?;
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "sh".into());
    let mut sh = Command::new(shell);
    let mut child = sh.terminal(terminal).spawn()?;
    drop(sh);
    let raw = Raw::new()?;
    let keyboard = controller.try_clone()?;
    thread::spawn(move || type_into(&keyboard));
    let mut buffer = [0; 4096];
    loop {
        let n = (&controller).read(&mut buffer)?;
        if n == 0 {
            break;
        }
        io::stdout().write_all(&buffer[..n])?;
        io::stdout().flush()?;
    }
    drop(raw);
    println!("{}", child.wait()?);
    Ok(())
}

/// Passes on what is typed. (A program that handles SIGWINCH sets the size
/// there; here it is looked at with each key.)
fn type_into(mut controller: &Controller) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let n = io::stdin().read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        controller.set_size(Size::of(io::stdin())?)?;
        controller.write_all(&buffer[..n])?;
    }
}

/// The raw mode of this program's own terminal, in which each key is read at
/// once and ^C is a key, until it is dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let now = OptionalActions::Now;
        let _ = tcsetattr(io::stdin(), now, &self.0);
    }
}
