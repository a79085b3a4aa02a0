//! End-to-end tests on two networks: real Chromium, the real relay, the real page, and network namespaces. They take root,
//! and the programs `ip` and `nft`; `--skip in_namespaces` leaves them out.

#![cfg(not(target_arch = "wasm32"))]

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests that need less of the machine"
)]
mod harness;
mod in_namespaces;
