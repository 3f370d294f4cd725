//! Limits: memory, open files, CPUs, nice value and oom_score_adj of a child,
//! which prints what it has.
//!
//! `cargo run --example limits`

use std::thread;

use offshoot::{Command, Resource, Rlimit};

const SCRIPT: &str = r#"
echo "address space: $(ulimit -v) KiB"
echo "open files: $(ulimit -Sn), at most $(ulimit -Hn)"
echo "core files: $(ulimit -c)"
echo "nice value: $(nice)"
echo "oom_score_adj: $(cat /proc/self/oom_score_adj)"
grep Cpus_allowed_list /proc/self/status
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sh = Command::new("sh");
    sh.args(["-c", SCRIPT]);
    // In bytes: 512 MiB for each process that the script starts.
    sh.rlimit(Resource::AddressSpace, 512 << 20);
    sh.rlimit(Resource::NoFile, Rlimit::new(64, 256));
    sh.rlimit(Resource::Core, 0);
    sh.nice(19).oom_score_adj(1000);
    // Those of the first CPUs that this process may use are kept.
    let count = u32::try_from(thread::available_parallelism()?.get())?;
    sh.best_effort(|it| it.cpu_affinity(0..count.div_ceil(2)));
    let mut child = sh.spawn()?;
    for error in child.launch().refused() {
        println!("without {error}");
    }
    let status = child.wait()?;
    assert!(status.success(), "{status}");
    Ok(())
}
