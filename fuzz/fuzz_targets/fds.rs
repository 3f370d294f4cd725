//! Fds: the descriptor planner against its model, on any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offshoot::fuzzing::fds(data));
