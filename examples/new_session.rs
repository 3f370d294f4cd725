//! New session: what setsid, process_group, controlling_terminal, foreground
//! and detach_terminal give a child.
//!
//! Each line is the end of what `/proc/self/stat` says in the child: its
//! process group, session, terminal and the terminal's foreground group.
//!
//! Run: `cargo run --example new_session`

use std::fs::{self, File};

use offshoot::{Command, Error, Stdio, pty};

/// Process group, session, terminal and foreground group of a process.
fn place(stat: &str) -> String {
    // The name, which may contain spaces, ends in the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    let mut fields = fields.split(' ').skip(2);
    let mut next = || fields.next().unwrap_or_default();
    let (group, session) = (next(), next());
    match (next(), next()) {
        ("0", _) => format!("group {group}, session {session}, no terminal"),
        (terminal, foreground) => format!(
            "group {group}, session {session}, terminal {terminal} with \
             {foreground} in the foreground"
        ),
    }
}

fn show(name: &str, command: &mut Command) -> Result<(), Error> {
    let child = command.stdout(Stdio::piped()).spawn()?;
    let (id, group) = (child.id(), child.process_group());
    let output = child.wait_with_output()?;
    let stat = String::from_utf8_lossy(&output.stdout);
    println!("{name}: process {id}, {}", place(&stat));
    if let Some(group) = group {
        assert!(place(&stat).starts_with(&format!("group {group},")));
    }
    Ok(())
}

fn cat() -> Command {
    let mut cat = Command::new("cat");
    cat.arg("/proc/self/stat");
    cat
}

fn main() -> Result<(), Error> {
    let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    println!("this program: {}", place(&own));
    show("inherited", &mut cat())?;
    show("process_group(0)", cat().process_group(0))?;
    // A daemon: no terminal sends it SIGHUP or SIGINT.
    show("setsid", cat().setsid(true))?;
    show("detach_terminal", cat().detach_terminal(true))?;

    // A login shell: the leader of a session with a terminal.
    let (_controller, terminal) = pty::open()?;
    show("controlling_terminal", cat().controlling_terminal(terminal))?;

    // What cannot be together is refused before a child is made.
    let error = cat().setsid(true).process_group(0).spawn().unwrap_err();
    println!("{error}");
    let null = File::open("/dev/null").expect("every system has it");
    let error = cat().controlling_terminal(null).spawn().unwrap_err();
    println!("{error}");
    // A child that may do without.
    let null = File::open("/dev/null").expect("every system has it");
    let mut best = cat();
    best.best_effort(|it| it.controlling_terminal(null));
    let mut child = best.stdout(Stdio::null()).spawn()?;
    println!("{}", child.launch());
    child.wait()?;

    // A job of a shell, if this program has a terminal to give away.
    if let Ok(terminal) = File::open("/dev/tty") {
        show("foreground", cat().foreground(terminal))?;
    }
    Ok(())
}
