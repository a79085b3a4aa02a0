//! The Heartchain relay: a daemon that helps browser tabs find and reach each other, and serves the page.
//!
//! A tab cannot listen for connections. So every tab connects to the relay first, over WebSocket or WebRTC-direct. It
//! registers in a room at the relay's rendezvous, learns which peers are there, and reaches them through circuits of
//! the relay until it has direct WebRTC connections.
//!
//! The relay knows rooms only by their IDs and never sees a reading: circuits carry encrypted traffic, and this crate
//! depends on no crate that knows what a reading is.
//!
//! A [`Relay`] runs three servers, each in a task of its own: HTTP (the page and `/relay.json`), libp2p, and STUN.
//!
//! The modules, in reading order:
//! - [`cli`]: the command-line flags. `config`: the configuration that results from them. [`limits`]: the resources that peers
//!   can use, with a reason for each number.
//! - [`operations`], [`config_file`]: the flags for operators, and the file and the environment that can replace flags.
//!   `bounded_file`: reads the files that flags name. [`capacity`]: how many tabs this computer can serve. [`logging`]: the
//!   log on stderr. `hangup`: the signal after which files are read again.
//! - [`identity`], `data_lock`: the key and the certificate that determine the relay's addresses, and the lock on their folder.
//! - `ports`: which ports are taken. `server`: starts and stops the three servers.
//! - `swarm`, `behaviour`: the libp2p event loop and its protocols: circuit relay v2, rendezvous, identify and ping.
//! - `rendezvous`: which peers are registered in which room.
//! - `network`, `fair_table`: what the limits count, and who pays when a table is full. `fair_slots`, `handshakes`,
//!   `connection_limits`, `hop_limits`: the tables of what is unfinished, and of connections, reservations and circuits.
//!   `table_memory`, `kept_transport`: what our tables and those of libp2p give back.
//! - `token_bucket`, `network_buckets`, `rate_limited_muxer`: limits on rates, of networks and of single connections.
//! - `metrics`, `metrics_server`: what is counted, for Prometheus and for the log.
//! - `stun`: tells tabs their public addresses.
//! - `listeners`, `accept`, [`tls`]: the sockets, and connections by HTTP/1.1 and HTTP/2 with and without TLS.
//! - `client`, `origins`, `site`: who sent a request, whether the relay answers it, and what becomes of it. A WebSocket
//!   goes to `websocket`, the transport of libp2p.
//! - [`keepers`]: processes beside the relay that keep rooms. `kept_room`: how an operator names a room.
//! - `deployment`, `list_check`: the other relays of the deployment, and whether all have the same list.
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

mod bounded_file;
pub mod capacity;
pub mod config_file;
mod data_lock;
mod hangup;
pub mod keepers;
mod kept_room;
pub mod logging;
mod metrics_server;
pub mod operations;
mod ports;

mod behaviour;
mod boxed_handlers;
mod connection_limits;
mod fair_slots;
mod fair_table;
mod handshakes;
mod hop_limits;
mod kept_transport;
mod metrics;
mod network;
mod network_buckets;
mod noise;
mod rate_limited_muxer;
mod rendezvous;
mod stun;
mod swarm;
mod table_memory;
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
mod authority;
mod deployment;
mod health_check;
mod http;
mod list_check;
mod page_folder;

mod server;

#[cfg(test)]
mod test_folder;

pub use config::Config;
pub use data_lock::LockError;
pub use deployment::{MAX_RELAYS, RelayUrl, RelayUrlError};
pub use hangup::Hangup;
pub use health_check::{HealthError, check_health};
pub use identity::IdentitySource;
pub use kept_room::KeptRoom;
pub use limits::Limits;
pub use origins::{AllowedOrigin, OriginError};
pub use ports::TakenPorts;
pub use server::{Relay, StartError};
