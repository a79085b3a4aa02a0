//! The relay: introduces Heartchain tabs to one another and serves the page. It knows rooms by their ids only
//! and never reads a reading; it depends on no other crate of the workspace.
//!
//! In reading order:
//! - [`cli`]: the flags; `config`: what they stand for; [`limits`]: how much a peer may take.
//! - [`identity`]: the key and the certificate that make the relay's addresses.
//! - `behaviour`, `swarm`: circuit relay v2, rendezvous, identify and ping over WebSocket and WebRTC-direct.
//! - [`frame_cap`]: keeps WebRTC-direct's messages as small as browsers need them.
//! - `places`, `shares`, `allowance`: who may connect; `unpanicked`: handshakes that fail instead of panicking; `rendezvous`: who is in which room; `silence`: who answers no ping.
//! - `stun`: tells tabs their public addresses.
//! - `addresses`, `assets`, `http`: the page, and the document that tells it where the relay is.
//! - `server`: all of it together, started and stopped.
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

mod allowance;
mod behaviour;
pub mod frame_cap;
mod places;
mod rendezvous;
mod shares;
mod silence;
mod stun;
mod swarm;
mod unpanicked;

mod addresses;
mod assets;
mod http;

mod server;

#[cfg(test)]
mod test_folder;

pub use config::Config;
pub use identity::IdentitySource;
pub use limits::Limits;
pub use server::{Relay, StartError};
