//! A rendezvous client: registers this tab at its relays, and discovers who else is in the room. Of each registration
//! it believes what that peer has signed: its peer ID and its addresses. It never dials the peers that it discovers. docs/protocols.md,
//! "Rendezvous", says what relays require.
//!
//! It replaces the client of libp2p-rendezvous (0.18), which panics when a server answers with a request, and which
//! keeps all addresses of all discovered peers.

mod client;
pub(crate) mod message;

pub(crate) use client::{DiscoveredPeer, RENDEZVOUS_TTL, RendezvousClient, RendezvousEvent};
