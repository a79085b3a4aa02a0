//! The document in which a relay describes itself, and how to read it. Specified in docs/protocols.md,
//! "Relay document".

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::ice::IceServer;

/// The document that describes a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayDocument {
    /// Its multiaddrs, each with its peer ID.
    pub addresses: Vec<String>,
    /// STUN servers that the relay offers.
    pub stun: Vec<IceServer>,
    /// Whether it has no reservation for this tab.
    pub full: bool,
    /// The URLs of all relays of its deployment; empty if it is the only one.
    pub relays: Vec<String>,
    /// Its own URL among them.
    pub url: Option<String>,
}

/// Reads the document of the relay at a URL, or (`None`) of the page's relay. The result is `None` if it could not be read.
pub type ReadDocument =
    Rc<dyn Fn(Option<String>) -> LocalBoxFuture<'static, Option<RelayDocument>>>;
