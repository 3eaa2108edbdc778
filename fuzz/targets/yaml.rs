//! The target `yaml`: hands what libFuzzer makes up to the body of that name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cistern_fuzz::run("yaml", input));
