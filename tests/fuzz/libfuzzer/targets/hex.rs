//! libFuzzer entry point of [`fuzz::hex`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hex(data));
