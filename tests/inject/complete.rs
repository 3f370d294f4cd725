//! Complete: every step of the order table is in a plan of the corpus, in
//! every engine that may run it.

use offshoot::{Command, Engine, Landlock};

use crate::corpus::{self, Case, cases};
use crate::util::{self, alone, is_root};

/// Steps that only a case of root's has.
const OPTIONAL: [&str; 7] = [
    "setgroups",
    "chroot",
    "bounding_capabilities",
    "keep_capabilities",
    "ambient_capabilities",
    "securebits",
    "drop_setpcap",
];

/// A step that is added to the order table joins the corpus.
#[test]
fn every_step_is_in_the_corpus_in_every_engine_that_may_run_it() {
    let _alone = alone();
    for step in &util::source::steps() {
        let step = step.as_str();
        // Which engines may run a step, and with which the others refuse.
        let engines: &[Engine] = match step {
            // Tests of their own: a group must be made, in `cgroups`, and a
            // process has one listener, which is that of this test.
            "join_cgroup" | "seccomp_listener" => continue,
            // A test of its own: the program stops.
            "ptrace_traceme" => continue,
            "apparmor_profile" | "selinux_context" => continue,
            "landlock" if Landlock::kernel_abi() == 0 => continue,
            "session_keyring" if !corpus::sandbox::has_keyrings() => continue,
            "robust_list" => &[Engine::Copied],
            "pass_helper_fds" | "exec_helper" | "helper_init"
            | "mark_helper" => &[Engine::Isolated],
            // The isolated engine has a legacy clone as a fallback only.
            "block_sigsys" | "mark_range" | "clear_handlers" | "hooks" => {
                &util::WITHOUT_HELPER
            }
            // Where user namespaces, or for an ordinary user other ones, are
            // not permitted, no plan has them.
            "deny_setgroups" | "uid_map" | "gid_map" => &util::WITHOUT_HELPER,
            "cgroup_namespace" | "mount_propagation" | "hostname"
            | "domainname"
                if !is_root() =>
            {
                continue;
            }
            "transparent_huge_pages"
            | "memory_merge"
            | "bounding_capabilities"
            | "keep_capabilities"
            | "capabilities"
            | "ambient_capabilities"
            | "securebits"
            | "drop_setpcap" => &util::PRIVATE,
            "clear_groups" | "setgroups" | "setgid" | "setuid" | "gate" => {
                &util::PRIVATE
            }
            _ => &util::ENGINES,
        };
        for engine in engines {
            let holds = |case: &&Case| {
                case.engines.contains(engine) && {
                    let mut command = Command::new("/bin/true");
                    (case.options)(&mut command);
                    let plan = command.engine(*engine).plan().unwrap();
                    let optional = OPTIONAL.contains(&step) && !is_root();
                    plan.step_names().any(|name| name == step) || optional
                }
            };
            let found = cases().find(holds);
            assert!(found.is_some(), "{step} in {engine} is in no plan");
        }
    }
}
