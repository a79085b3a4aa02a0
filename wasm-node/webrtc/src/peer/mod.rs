//! Browser-to-browser WebRTC: upgrades relayed connections to direct ones, as in
//! [libp2p's spec](https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md).
//!
//! The connection that carries the signalling is called the *carrier*. It is normally a relayed one.
//!
//! In reading order:
//! - `address` and `signalling` define addresses and messages. Pure.
//! - `upgrades` decides which side offers and when. Pure.
//! - `circuits` decides which circuits are dialled again. Pure.
//! - `negotiation` turns a signalling stream into a peer connection.
//! - `handler` owns the signalling streams of one carrier.
//! - `behaviour` carries out the decisions of `upgrades`.
//! - `transport` passes the finished connection to the swarm.
//!
//! Nothing here authenticates a peer. The carrier is authenticated end to end, and the certificate fingerprints that
//! are signalled over it bind the direct connection to the same peer.

#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only used in the browser")
)]

pub mod address;
mod circuits;
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

pub use config::{Config, IceServer};
pub use upgrades::{MAX_NEGOTIATIONS, REFUSED_AFTER_FAILURE, RETRY_AFTER, RETRY_LATER};

#[cfg(target_arch = "wasm32")]
pub use {
    behaviour::{Behaviour, Event},
    handler::{Handler, UpgradeError},
    negotiation::{NEGOTIATION_TIMEOUT, NegotiationError},
    transport::{CircuitError, DialError, Transport},
};

/// Creates the transport and the behaviour of browser-to-browser WebRTC; a swarm needs both. Compose the transport
/// *before* the one of the relay client. Otherwise the relay client accepts `/p2p-circuit/webrtc/…` addresses and
/// returns relayed connections.
#[cfg(target_arch = "wasm32")]
#[must_use]
pub fn new(config: Config) -> (Transport, Behaviour) {
    let (transport, handover) = transport::new();
    (transport, Behaviour::new(config, handover))
}
