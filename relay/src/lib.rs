//! The Heartchain relay: a daemon that helps browser tabs find and reach each other, and serves the page.
//!
//! A tab cannot listen for connections. So every tab connects to the relay first, over WebSocket or WebRTC-direct. It
//! registers in a room at the relay's rendezvous, learns which peers are there, and reaches them through circuits of
//! the relay until it has direct WebRTC connections.
//!
//! The relay knows rooms only by their IDs and never sees a reading: circuits carry encrypted traffic, and this crate
//! depends on no other crate of the workspace.
//!
//! A [`Relay`] runs three servers, each in a task of its own: HTTP (the page and `/relay.json`), libp2p, and STUN.
//!
//! The modules, in reading order:
//! - [`cli`]: the command-line flags. `config`: the configuration that results from them. [`limits`]: the resources that peers
//!   can use, with a reason for each number.
//! - [`identity`]: the key and the certificate that determine the relay's addresses.
//! - `server`: starts and stops the three servers.
//! - `swarm`, `behaviour`: the libp2p event loop and its protocols: circuit relay v2, rendezvous, identify and ping.
//! - `rendezvous`: which peers are registered in which room.
//! - `connection_limits`, `per_ip_permits`, `token_bucket`: limits on connections and rates.
//! - `stun`: tells tabs their public addresses.
//! - `listeners`, `accept`, [`tls`]: the sockets, and connections by HTTP/1.1 and HTTP/2 with and without TLS.
//! - `client`, `origins`, `site`: who sent a request, whether the relay answers it, and what becomes of it. A WebSocket
//!   goes to `websocket`, the transport of libp2p.
//! - [`announce`], `addresses`, `assets`, `page_folder`, `http`: the page's files, embedded or from disk, and the document
//!   that tells the page the relay's addresses. `health_check`: asks another process whether it works.
//! - [`workarounds`]: code around bugs in libp2p crates. Each module names the bug, the version, and when it can be
//!   removed.
//!
//! ```no_run
//! # async fn example() -> Result<(), relay::StartError> {
//! let relay = relay::Relay::start(relay::Config::for_tests(7)).await?;
//! println!("Open {} in several tabs", relay.page_url());
//! relay.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod cli;
mod config;
pub mod identity;
pub mod limits;

mod behaviour;
mod connection_limits;
mod per_ip_permits;
mod rendezvous;
mod stun;
mod swarm;
mod token_bucket;
pub mod workarounds;

mod accept;
mod client;
mod listeners;
mod origins;
mod site;
pub mod tls;
mod websocket;

mod addresses;
pub mod announce;
mod assets;
mod health_check;
mod http;
mod page_folder;

mod server;

#[cfg(test)]
mod test_folder;

pub use config::Config;
pub use health_check::{HealthError, check_health};
pub use identity::IdentitySource;
pub use limits::Limits;
pub use origins::{AllowedOrigin, OriginError};
pub use server::{Relay, StartError};
