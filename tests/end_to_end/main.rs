//! End-to-end tests with a real Chromium, the real relay and the real page. Each test has its own relay and browser, on
//! ports that the system assigns, and leaves no process running. These are black-box tests: they use only
//! the page, its JavaScript API and the network.
//!
//! Only the tests in `in_chromium` need Chromium, so `--skip in_chromium` leaves them out; the others test the harness.
//! Tests of peers in different networks need network namespaces, and are a test binary of their own, `namespaces.rs`.

#![cfg(not(target_arch = "wasm32"))]

mod harness;
mod in_chromium;
mod native;
