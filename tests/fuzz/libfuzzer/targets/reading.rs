//! libFuzzer entry point of [`fuzz::reading`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::reading(data));
