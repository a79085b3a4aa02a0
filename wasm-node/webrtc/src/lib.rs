#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//!
//! # Modules
//! Pure modules, tested natively:
//! - [`frame`], [`state`] and the limits of unread data are those of `libp2p-webrtc-streams`, which servers use as well.
//! - [`liveness`] tells a dead peer from a busy one.
//! - [`address`] and `sdp` parse dial addresses and build session descriptions.
//!
//! Browser-only modules:
//! - `js` wraps the browser APIs.
//! - `channel` and `channels` manage the data channels of a connection.
//! - `stream` and `connection` are the handles that libp2p holds.
//! - `direct` is the transport that dials servers.
//! - most of [`peer`] connects browsers to each other.
//! - `workarounds` wraps behaviours of other libp2p crates until their faults are fixed upstream.
//!
//! This crate does not know which protocols run on its streams.

pub mod address;
mod config;
pub mod liveness;
pub mod peer;
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only used in the browser")
)]
mod sdp;

#[cfg(target_arch = "wasm32")]
mod channel;
#[cfg(target_arch = "wasm32")]
mod channels;
#[cfg(target_arch = "wasm32")]
mod connection;
#[cfg(target_arch = "wasm32")]
pub mod direct;
#[cfg(target_arch = "wasm32")]
mod js;
#[cfg(target_arch = "wasm32")]
mod stream;
#[cfg(target_arch = "wasm32")]
pub mod workarounds;

pub use config::{DISCONNECTED_GRACE, SILENCE_LIMIT};
pub use libp2p_webrtc_streams::protobuf::ProtobufError;
pub use libp2p_webrtc_streams::receive::{
    MAX_OVERFLOWS, MAX_UNREAD, MAX_UNREAD_PER_CONNECTION, MAX_UNREAD_UNACCEPTED,
};
pub use libp2p_webrtc_streams::{StreamConfig, frame, state};

#[cfg(target_arch = "wasm32")]
pub use channels::{MAX_CHANNELS, MAX_PENDING_INBOUND};
#[cfg(target_arch = "wasm32")]
pub use connection::{Connection, ConnectionError};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use js::live_listeners;
#[cfg(target_arch = "wasm32")]
pub use stream::Stream;
