#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//!
//! # Modules
//! Without IO, tested and fuzzed alone:
//! - [`stun`] reads and writes STUN messages, and `credentials` the user names in them.
//! - [`table`] decides where each datagram of a listener belongs. Its documentation says how it can be attacked.
//!   `asked` remembers the addresses that may begin.
//! - [`stack`] is DTLS, SCTP and the messages of data channels.
//! - `channels` has the buffers of streams. Their frames and states are those of `libp2p-webrtc-streams`.
//! - `hello` reads and writes the first messages of DTLS, and `cookies` makes what they carry. `dtls_config` lets a `stack`
//!   begin behind them.
//!
//! With IO:
//! - `listener` is the task of a listening socket, and `dial` the one of a dialled connection. `socket` binds for both.
//! - `driver` is the task of each connection, and `queue` has the datagrams that wait for it.
//! - [`Transport`], [`Connection`] and [`Stream`] are what libp2p holds.

mod address;
mod asked;
mod certificate;
mod channels;
mod config;
mod connection;
mod cookies;
mod counters;
mod credentials;
mod dial;
mod driver;
mod dtls_config;
mod error;
mod hello;
mod listener;
mod queue;
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
