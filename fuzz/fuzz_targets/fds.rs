//! Fds: compares the descriptor planner with its model, on arbitrary bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offshoot::fuzzing::fds(data));
