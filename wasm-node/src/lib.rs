//! The Heartchain peer that runs in a browser tab: connects the sync machine to libp2p and to the browser's APIs.
//!
//! In reading order:
//! - `api` is the JavaScript API, with its `api_error`s; `rooms_api` is its part that needs no room. `arguments` parses what JavaScript passes, `view` defines what it gets, and `node` is
//!   the handle of the running node. `node_state` is what its driver and the page share, `listeners` who hears of it.
//! - `start` assembles a node once those that are `leaving` have left, and `driver` is its event loop: inputs for `heartchain_sync::driver::step`, which performs the outputs in order. `slow_writes` measures
//!   how long writes wait for the disk, with `watched_queue`, and `adopting` adopts readings that closed tabs have not shared.
//! - `transport` is how a tab connects, with `workarounds`; the network is [`heartchain_peer::net`]. `storage`, `miner`, `verifier`, `worker` and `clock` each wrap one part of the browser. `document_reader` fetches
//!   the relay's document, `response_body` reads a response up to a limit, `resume_listener` notices that the page is back, and `blob_writer` builds a file.
//! - `check` verifies a block for the page, and `dry_run` tests on a copy of the machine what the tab would do with an
//!   item. `archive` exports and imports a room as a document; `qr` computes the QR code of a link.
//! - `moving` takes an author to another device, in a `move_file`. `room_access` is what opens a room.
//! - `event_buffer` collects events for the page; `failure` reports panics; `trace` shows developers what happens.
//!
//! This crate never decides what is valid, or what to request, store, mine or send: `heartchain_sync` decides, and this
//! crate performs it. Everything targets wasm32; on other targets only the modules that need no browser are built, for
//! their tests.
#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, unused_imports, reason = "its users need a browser")
)]

mod check;
mod dry_run;
mod event_buffer;
mod move_file;
mod qr;
mod room_access;
mod slow_writes;

#[cfg(target_arch = "wasm32")]
mod adopting;
#[cfg(target_arch = "wasm32")]
mod api;
#[cfg(target_arch = "wasm32")]
mod api_error;
#[cfg(target_arch = "wasm32")]
mod archive;
#[cfg(target_arch = "wasm32")]
mod arguments;
#[cfg(target_arch = "wasm32")]
mod blob_writer;
#[cfg(target_arch = "wasm32")]
mod clock;
#[cfg(target_arch = "wasm32")]
mod document_reader;
#[cfg(target_arch = "wasm32")]
mod driver;
#[cfg(target_arch = "wasm32")]
mod error_codes;
#[cfg(target_arch = "wasm32")]
mod failure;
#[cfg(target_arch = "wasm32")]
mod hex_text;
#[cfg(target_arch = "wasm32")]
mod import_reader;
#[cfg(target_arch = "wasm32")]
mod json;
#[cfg(target_arch = "wasm32")]
mod leaving;
#[cfg(target_arch = "wasm32")]
mod listeners;
#[cfg(target_arch = "wasm32")]
mod miner;
#[cfg(target_arch = "wasm32")]
mod moving;
#[cfg(target_arch = "wasm32")]
mod next_task;
#[cfg(target_arch = "wasm32")]
mod node;
#[cfg(target_arch = "wasm32")]
mod node_state;
#[cfg(target_arch = "wasm32")]
mod response_body;
#[cfg(target_arch = "wasm32")]
mod resume_listener;
#[cfg(target_arch = "wasm32")]
mod rooms_api;
#[cfg(target_arch = "wasm32")]
mod start;
#[cfg(target_arch = "wasm32")]
pub mod storage;
#[cfg(target_arch = "wasm32")]
mod trace;
#[cfg(target_arch = "wasm32")]
mod transport;
#[cfg(target_arch = "wasm32")]
mod verifier;
#[cfg(target_arch = "wasm32")]
mod view;
#[cfg(target_arch = "wasm32")]
mod watched_queue;
#[cfg(target_arch = "wasm32")]
mod workarounds;
#[cfg(target_arch = "wasm32")]
mod worker;

#[cfg(target_arch = "wasm32")]
pub use api::{
    HeartchainNode, NodeOptions, StartControl, create_private_room, mine_batch, qr_code,
    read_blocks, verify_bodies,
};
#[cfg(target_arch = "wasm32")]
pub use api_error::ApiError;
#[cfg(target_arch = "wasm32")]
pub use rooms_api::{delete_room, import_identity, label_room, rooms};

#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
