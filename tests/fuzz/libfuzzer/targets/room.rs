//! libFuzzer entry point of [`fuzz::room`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::room(data));
