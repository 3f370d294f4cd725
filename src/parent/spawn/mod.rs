//! Spawn: from a plan to a child, and the methods of a command that do it.

mod attempt;
mod changes;
mod compiled_plan;
mod detach;
mod diagnose;
mod exec_error;
mod exec_in_place;
mod fallback;
mod first_attempt;
mod helper_image;
mod interpreter;
mod launch_loop;
mod output;
mod own_filters;
pub(crate) mod prepared;
mod probe_fd;
mod reason;
mod refused;
mod retry;
mod source_fds;
mod status_page;
mod stdio_pipes;
mod undo;
mod verbs;
mod waiting_thread;
