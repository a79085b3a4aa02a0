//! Packets, and the links that they travel over.

use std::rc::Rc;

use heartchain_sync::io::{RequestFailure, RequestId, Topic};

/// What travels over a link.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Gossip {
        topic: Topic,
        data: Rc<[u8]>,
    },
    Request {
        id: RequestId,
        data: Vec<u8>,
    },
    Response {
        id: RequestId,
        data: Vec<u8>,
    },
    Failure {
        id: RequestId,
        failure: RequestFailure,
    },
}

/// Identifies a request or a response between two peers. Each peer numbers its own requests, so the same `RequestId`
/// can mean a request in one direction and a response in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MessageId {
    Request(RequestId),
    Response(RequestId),
}

impl Packet {
    /// The message that this is, or `None` for gossip.
    pub(crate) const fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Gossip { .. } => None,
            Self::Request { id, .. } => Some(MessageId::Request(*id)),
            Self::Response { id, .. } | Self::Failure { id, .. } => Some(MessageId::Response(*id)),
        }
    }
}

/// A link between two peers that is up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    /// Shortest time that a packet takes, ms.
    pub(crate) latency: u64,
}
