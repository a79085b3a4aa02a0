//! Packets, and the links that they travel over.

use std::rc::Rc;

use heartchain_peer::net::Path;
use heartchain_sync::io::{RequestFailure, RequestId, Topic};

use crate::id::Id;

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

/// Identifies a link in a run.
pub(crate) type LinkId = u64;

/// A connection between two peers. A pair may have several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) dialer: Id,
    pub(crate) listener: Id,
    pub(crate) path: Path,
    /// Shortest time that a packet takes, ms.
    pub(crate) latency: u64,
    /// Whether it delivers no more packets. An end may not have noticed yet.
    pub(crate) is_dead: bool,
    /// When the last packet from the dialer and from the listener arrives, if the link keeps their order.
    pub(crate) last_arrivals: Option<[u64; 2]>,
}

impl Link {
    /// Whether this peer is one of its ends.
    pub(crate) fn has_end(&self, id: Id) -> bool {
        self.dialer == id || self.listener == id
    }

    /// Whether it is between these two.
    pub(crate) fn is_between(&self, a: Id, b: Id) -> bool {
        (self.dialer, self.listener) == (a, b) || (self.dialer, self.listener) == (b, a)
    }

    /// The peer at the end that is not this one.
    pub(crate) fn other_end(&self, id: Id) -> Id {
        if self.dialer == id {
            self.listener
        } else {
            self.dialer
        }
    }
}
