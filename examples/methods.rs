//! Methods: the same program by fork, vfork, clone3 and whatever is best,
//! with what `launch` says of each. Run: `cargo run --example methods`

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
    // A method that cannot serve says so, before anything is made.
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
