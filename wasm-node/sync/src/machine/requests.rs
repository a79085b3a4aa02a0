//! Our requests to peers that wait for an answer.

use alloc::vec::Vec;

use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    key::Author,
    time::{MonotonicMillis, UnixMillis},
};

use crate::{config::REQUEST_TIMEOUT, io::DisconnectReason, message::MessageError};

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenRequest {
    pub(super) kind: RequestKind,
    /// The wall-clock time, to measure the peer's clock offset.
    pub(super) sent_at: UnixMillis,
    pub(super) deadline: MonotonicMillis,
    /// Whether another peer was asked for the same bodies because this answer is late.
    pub(super) overdue: bool,
}

impl OpenRequest {
    /// The bodies that were requested, if the request is for bodies.
    pub(super) fn bodies(&self) -> Option<&[BlockHash]> {
        match &self.kind {
            RequestKind::Bodies(hashes) => Some(hashes),
            RequestKind::Status
            | RequestKind::Headers
            | RequestKind::MempoolIds { .. }
            | RequestKind::Readings(_)
            | RequestKind::Profiles { .. } => None,
        }
    }

    /// Whether the answer has taken longer than `patience` in ms, and no other peer was asked yet.
    pub(super) fn is_late(&self, patience: u64, now: MonotonicMillis) -> bool {
        let sent = self.deadline.saturating_sub(REQUEST_TIMEOUT);
        !self.overdue && sent.saturating_add(patience) <= now
    }
}

/// The kind of a request, with what is needed to check the answer.
#[derive(Clone, Debug)]
pub(crate) enum RequestKind {
    Status,
    Headers,
    Bodies(Vec<BlockHash>),
    MempoolIds { after: Option<(Author, u64)> },
    Readings(Vec<ReadingId>),
    Profiles { after: Option<Author> },
}

/// Why a peer that sent undecodable bytes is disconnected.
pub(super) fn decode_failure(error: &MessageError) -> DisconnectReason {
    match error {
        MessageError::TooLong { .. } | MessageError::TooMany { .. } => DisconnectReason::Oversize,
        MessageError::Malformed => DisconnectReason::Undecodable("a message of the sync protocol"),
    }
}
