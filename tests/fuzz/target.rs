//! The fuzzer of one target, which has the name of the binary.
#![no_main]

use syncsup::fuzz::TARGETS;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let target = TARGETS.iter().find(|(name, _)| *name == env!("CARGO_BIN_NAME"));
    target.expect("a target").1(input);
});
