//! A native libp2p peer that joins a room as a tab does. The test determines every byte of its requests, responses and
//! gossip items, so it can break the protocols. And a native relay that lies.

mod bad_relay;
mod codec;
mod scripted_peer;

pub(crate) use bad_relay::BadRelay;
pub(crate) use codec::frame;
pub(crate) use scripted_peer::{Received, Responder, ScriptedPeer};
