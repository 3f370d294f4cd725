//! Methods: choose fork, vfork or clone3, and see what was used.
//!
//! The default, `Method::Auto`, takes the fastest method that the options and
//! the kernel allow. Name a method only to reproduce a problem or to compare
//! them; then a method that cannot be used is an error. `Child::launch`
//! reports the call, the engine and each fallback.
//!
//! Run: `cargo run --example methods`

use offshoot::{Command, Error, Memory, Method, Stdio};

fn main() -> Result<(), Error> {
    for method in [Method::Fork, Method::Vfork, Method::Clone3, Method::Auto] {
        let mut echo = Command::new("echo");
        echo.arg(format!("by {method:?}")).stdout(Stdio::piped());
        let child = echo.method(method).spawn()?;
        println!("{}", child.launch());
        let output = child.wait_with_output()?;
        print!("    {}", String::from_utf8_lossy(&output.stdout));
    }
    // A method that conflicts with another option is refused before the clone.
    let mut whoami = Command::new("whoami");
    whoami.uid(65534).method(Method::Vfork);
    if let Err(error) = whoami.spawn() {
        println!("{error}");
    }
    let mut fork = Command::new("true");
    fork.method(Method::Fork).memory(Memory::Shared);
    if let Err(error) = fork.spawn() {
        println!("{error}");
    }
    Ok(())
}
