//! libFuzzer entry point of [`fuzz::signalling`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::signalling(data));
