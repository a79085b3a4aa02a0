//! The Heartchain peer that lives in a browser tab: libp2p, the browser and the chain, put together.
//!
//! In reading order:
//! - `api`: what JavaScript sees; behind it `arguments`, what it passed; `view`, what it gets; and `node`, the
//!   way to the running node.
//! - `start` puts a node together; `driver` is the one loop that runs it: input, machine, outputs in order; `patience` notes what
//!   waits for the disk, and `adopting` takes over what closed tabs have not shared.
//! - `net` is the tab among others; `storage`, `miner`, `page` and `clock` are the browser, a piece each.
//! - `check` does a block's sums again for the page, and `rehearsal` asks a copy of the machine what it would do;
//!   `archive` writes a room as a document and takes one in; `qr` makes the QR code of a link.
//! - `bulletin` gathers what the page is told; `config` holds every tunable; `failure` has the last word.
//!
//! It never decides what is valid, what to ask, store, mine or tell: the crate `sync` does, and this one does
//! as it says. All of it is for wasm32; elsewhere only what needs no browser is built, for its tests.
#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, unused_imports, reason = "what uses it needs a browser")
)]

mod bulletin;
mod check;
mod config;
mod net;
mod patience;
mod qr;
mod rehearsal;

#[cfg(target_arch = "wasm32")]
mod adopting;
#[cfg(target_arch = "wasm32")]
mod api;
#[cfg(target_arch = "wasm32")]
mod archive;
#[cfg(target_arch = "wasm32")]
mod arguments;
#[cfg(target_arch = "wasm32")]
mod clock;
#[cfg(target_arch = "wasm32")]
mod driver;
#[cfg(target_arch = "wasm32")]
mod failure;
#[cfg(target_arch = "wasm32")]
mod miner;
#[cfg(target_arch = "wasm32")]
mod node;
#[cfg(target_arch = "wasm32")]
mod page;
#[cfg(target_arch = "wasm32")]
mod start;
#[cfg(target_arch = "wasm32")]
pub mod storage;
#[cfg(target_arch = "wasm32")]
mod view;

#[cfg(target_arch = "wasm32")]
pub use api::{Node, NodeOptions, mine_batch, qr_code};

#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
