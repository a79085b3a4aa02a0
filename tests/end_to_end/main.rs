//! End-to-end tests: real Chromium, the real relay, the real page. Each test has a relay and a browser of its
//! own, at ports that the system chooses, and leaves nothing running. No test looks into the code it tests.
//!
//! Tests that need Chromium stand in `in_chromium`, so that `--skip in_chromium` leaves them out. Those that need network
//! namespaces besides are a program of their own, `namespaces.rs`.

#![cfg(not(target_arch = "wasm32"))]

mod harness;
mod in_chromium;
mod native;
