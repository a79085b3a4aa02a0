#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//!
//! # Modules
//! Without IO, tested and fuzzed alone:
//! - [`stun`] reads and writes STUN messages, and `credentials` the user names in them.
//! - [`table`] decides where each datagram of a listener belongs. Its documentation says how it can be attacked.
//! - [`stack`] is DTLS, SCTP and the messages of data channels.
//! - `channels` has the buffers of streams. Their frames and states are those of `libp2p-webrtc-streams`.
//! - `record` tells from the first bytes of a datagram which message of DTLS it begins with.
//!
//! With IO:
//! - `listener` is the task of a listening socket, and `dial` the one of a dialled connection. `socket` binds for both.
//! - `driver` is the task of each connection.
//! - [`Transport`], [`Connection`] and [`Stream`] are what libp2p holds.

mod address;
mod certificate;
mod channels;
mod config;
mod connection;
mod counters;
mod credentials;
mod dial;
mod driver;
mod error;
mod listener;
mod record;
mod socket;
pub mod stack;
mod stream;
pub mod stun;
pub mod table;
mod transport;

pub use certificate::{Certificate, CertificateError, Fingerprint};
pub use config::{Config, Limits};
pub use connection::Connection;
pub use counters::{Counter, Counters};
pub use credentials::{Username, UsernameError, Version};
pub use error::{ConnectionError, Error};
pub use libp2p_webrtc_streams::StreamConfig;
pub use stream::Stream;
pub use transport::Transport;
