//! libFuzzer entry point of [`fuzz::profile`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::profile(data));
