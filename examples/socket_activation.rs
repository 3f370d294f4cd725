//! Socket activation: pass listening sockets to a server, as systemd does.
//!
//! `Command::listen_fds_named` passes sockets from descriptor 3 up and sets
//! LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)). Use it to
//! start servers that support systemd's protocol: clients can connect before
//! the server runs, and a restarted server keeps its socket. The server's side
//! is `listener` below.
//!
//! Run: `cargo run --example socket_activation`
#![allow(unsafe_code, reason = "the protocol passes descriptors by number")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::{env, process};

use offshoot::Command;
use rustix::io::{FdFlags, fcntl_setfd};

/// The first descriptor of the protocol.
const START: i32 = 3;

/// The server's side: the socket of this name.
fn listener(name: &str) -> Result<TcpListener, Box<dyn Error>> {
    // Otherwise the variables were set for a parent of this process.
    if env::var("LISTEN_PID")? != process::id().to_string() {
        return Err("no socket is meant for this process".into());
    }
    let count: i32 = env::var("LISTEN_FDS")?.parse()?;
    let names = env::var("LISTEN_FDNAMES")?;
    let mut all = (START..START + count).zip(names.split(':'));
    let found = all.find(|(_, own)| *own == name);
    let (fd, _) = found.ok_or("there is no socket of that name")?;
    // SAFETY: by the protocol this process owns it, and this runs once.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    // Children of this server must not inherit it.
    fcntl_setfd(&listener, FdFlags::CLOEXEC)?;
    Ok(listener)
}

fn serve() -> Result<(), Box<dyn Error>> {
    let (mut client, _) = listener("greeter")?.accept()?;
    let mut name = [0; 5];
    client.read_exact(&mut name)?;
    let name = String::from_utf8_lossy(&name);
    let names = env::var("LISTEN_FDNAMES")?;
    writeln!(client, "hello {name}, one of {names} is here")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let greeter = TcpListener::bind("127.0.0.1:0")?;
    let address = greeter.local_addr()?;
    let admin = TcpListener::bind("127.0.0.1:0")?;
    let mut server = Command::new(env::current_exe()?);
    server.arg("serve");
    server.listen_fds_named([("admin", admin), ("greeter", greeter)]);

    // A client that connects before the server runs waits in the queue.
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"world")?;
    let mut child = server.spawn()?;
    // Now only the server has the sockets: if it dies, clients notice.
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    let status = child.wait()?;
    print!("{address}, process {}: {answer}", child.id());
    assert_eq!(answer, "hello world, one of admin:greeter is here\n");
    assert!(status.success());
    Ok(())
}
