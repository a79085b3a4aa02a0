#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//!
//! # Modules
//! Pure, and tested natively: [`frame`] and [`state`] are the stream's wire format and life, `receive` holds what its
//! reader has not taken, within bounds, [`vigil`] tells the
//! dead from the busy, [`address`] and `sdp` are what a dial starts from. In the browser only: `js` (the edge), `channel` and `channels` (data channels and what
//! happens on them), `stream` and `connection` (the handles that libp2p holds), `direct` (the transport that
//! dials servers), and most of [`peer`] (browser to browser).
//!
//! Nothing in this crate knows what the streams are for.

pub mod address;
mod config;
pub mod frame;
pub mod peer;
mod protobuf;
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "called by the browser's side only")
)]
mod receive;
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "called by the browser's side only")
)]
mod sdp;
pub mod state;
pub mod vigil;

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

pub use config::{DISCONNECTED_GRACE, SILENCE_LIMIT, StreamConfig};
pub use protobuf::ProtobufError;
pub use receive::{MAX_UNREAD, MAX_UNREAD_PER_CONNECTION};

#[cfg(target_arch = "wasm32")]
pub use channels::{MAX_CHANNELS, MAX_UNTAKEN};
#[cfg(target_arch = "wasm32")]
pub use connection::{Connection, ConnectionError};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use js::live_listeners;
#[cfg(target_arch = "wasm32")]
pub use stream::Stream;
