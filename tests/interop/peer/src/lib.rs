//! A plain libp2p peer for interop tests and benchmarks in a page: identify, ping, gossipsub and two stream protocols
//! over `libp2p-webrtc-browser`. It has the same methods as the js-libp2p peer in `../pages/js-peer.js`, so that one
//! script can drive either. It contains no blockchain code, and it is never shipped.
//!
//! - `api` is the JavaScript interface.
//! - `swarm` runs the event loop.
//! - `table` records connections and their state.
//! - `streams` implements the stream protocols.
//! - `no_delay_flush` is shared with the tab, to use WebSockets in the same way.
#![cfg(target_arch = "wasm32")]

mod api;
#[path = "../../../../wasm-node/src/workarounds/no_delay_flush.rs"]
mod no_delay_flush;
mod streams;
mod swarm;
mod table;

pub use api::Peer;
