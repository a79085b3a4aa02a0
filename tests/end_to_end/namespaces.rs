//! End-to-end tests across two networks, with a real Chromium, the real relay, the real page, and network namespaces.
//! They need root and the programs `ip` and `nft`; `--skip in_namespaces` leaves them out.

#![cfg(not(target_arch = "wasm32"))]

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of main.rs, which use all of it"
)]
mod harness;
mod in_namespaces;
