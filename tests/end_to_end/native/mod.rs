//! A native libp2p peer that joins a room as a tab does. The test determines every byte of its requests, responses and
//! gossip items, so it can break the protocols.

mod codec;
mod scripted_peer;

pub(crate) use codec::frame;
pub(crate) use scripted_peer::{Received, Responder, ScriptedPeer};
