//! libFuzzer's way to [`fuzz::room`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::room(data));
