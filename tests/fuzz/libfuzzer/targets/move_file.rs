//! libFuzzer entry point of [`fuzz::move_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::move_file(data));
