//! Drop privileges: a server of an unprivileged user that may bind ports below
//! 1024, and nothing else of root's.
//!
//! `cargo run --example drop_privileges`

use offshoot::{CapabilitySet, Command, Error, Step};

const SCRIPT: &str = r#"
echo "user and groups: $(id -u) $(id -g), $(id -G)"
grep -E 'Cap(Prm|Amb|Bnd)|NoNewPrivs' /proc/self/status
"#;

fn main() -> Result<(), Error> {
    let bind = CapabilitySet::NET_BIND_SERVICE;
    let mut server = Command::new("sh");
    server.args(["-c", SCRIPT]).current_dir("/").umask(0o027);
    // Its user, primary group and supplementary groups, looked up by name.
    server.user("nobody");
    // The one capability that it needs, and no other by any program.
    server.ambient_capabilities(bind).bounding_capabilities(bind);
    server.no_new_privs(true);
    match server.status() {
        Ok(status) => println!("{status}"),
        // As an ordinary user.
        Err(error) if error.step() != Step::Exec => {
            println!("This takes root's privileges: {error}");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
