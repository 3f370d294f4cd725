//! Options: the setters of a command, a family a file.

mod arguments;
mod descriptors;
mod directory;
mod environment;
mod hooks;
mod identity;
mod method;
mod program;
mod session;
