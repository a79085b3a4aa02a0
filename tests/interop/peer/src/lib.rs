//! A plain libp2p peer for a page: identify, ping, gossip and two stream protocols over `libp2p-webrtc-browser`, with
//! the same methods as `../js-peer.js` has on js-libp2p, so that one script can drive either. Knows no chain, and is
//! never part of what people get.
//!
//! `api` is what JavaScript sees, `swarm` the loop behind it, `table` what it has seen, `streams` the protocols, and
//! `prompt` the tab's own way to use a WebSocket.
#![cfg(target_arch = "wasm32")]

mod api;
#[path = "../../../../wasm-node/src/net/prompt.rs"]
mod prompt;
mod streams;
mod swarm;
mod table;

pub use api::Peer;
