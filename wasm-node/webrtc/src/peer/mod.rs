//! Browser-to-browser WebRTC: peers that are connected through a relay come to be connected directly, as in
//! [libp2p's spec](https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md).
//!
//! In reading order: `address` and `signalling` are what is on the wire, `upgrades` decides who offers when, all pure;
//! `negotiation` makes a peer connection out of a signalling stream, `handler` owns that stream, `behaviour` carries out
//! what `upgrades` decides, and `transport` hands the finished connection to the swarm. `unobserved` keeps identify from
//! naming addresses that are none.
//!
//! Never authenticates by itself: the relayed connection has done that, end to end, and what is signalled over it binds
//! the direct connection to the same peer.

#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "called by the browser's side only")
)]

pub mod address;
mod config;
pub mod signalling;
mod upgrades;

#[cfg(target_arch = "wasm32")]
mod behaviour;
#[cfg(target_arch = "wasm32")]
mod handler;
#[cfg(target_arch = "wasm32")]
mod negotiation;
#[cfg(target_arch = "wasm32")]
mod transport;
#[cfg(target_arch = "wasm32")]
mod unobserved;

pub use config::{Config, IceServer};
pub use upgrades::{MAX_NEGOTIATIONS, REFUSED_AFTER_FAILURE, RETRY_AFTER};

#[cfg(target_arch = "wasm32")]
pub use {
    behaviour::{Behaviour, Event},
    handler::{Failure, Handler},
    negotiation::{NEGOTIATION_TIMEOUT, NegotiationError},
    transport::{DialError, Transport},
    unobserved::Unobserved,
};

/// The two halves of browser-to-browser WebRTC. Compose the transport *before* that of the relay client, which would
/// take `/p2p-circuit/webrtc/…` for itself and hand back a relayed connection.
#[cfg(target_arch = "wasm32")]
#[must_use]
pub fn new(config: Config) -> (Transport, Behaviour) {
    let (transport, handover) = transport::new();
    (transport, Behaviour::new(config, handover))
}
