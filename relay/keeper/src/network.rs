//! How a session reaches other peers. A session knows peers by [`Network`] alone.
//!
//! - `interface`: that trait, and a keeper without network
//! - `online`: the libp2p network, with its `transports` and the `relay_document`

mod interface;
mod online;
mod relay_document;
mod transports;

pub(crate) use self::online::{RelayName, parse_relay};
pub use self::{
    interface::{Network, NetworkEvent, Offline},
    online::{DEFAULT_LISTEN, DEFAULT_RELAY, MAX_NAMED_PEERS, NetworkOptions, Online, OnlineError},
    transports::TransportError,
};
