//! What hostile peers answer.

use chain::{block::Block, hash::BlockHash, time::UnixMillis};
use sync::message::{Request, Response, StatusMessage};

use crate::{
    branch::Branch,
    subject::{Subject, honest_answer, is_bodies},
};

/// Answers a peer's Status and headers with these, and says nothing about bodies.
pub(crate) fn lie(subject: &mut Subject, peer: u64, claim: StatusMessage, headers: &[Block]) {
    while let Some((id, request)) = subject.open(peer, |request| !is_bodies(request)) {
        let response = match request {
            Request::Status(_) => Response::Status(claim),
            Request::Headers { .. } => {
                Response::Headers(headers.iter().map(|block| block.header).collect())
            }
            Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
            Request::Bodies { .. } | Request::Readings { .. } => Response::Readings(Vec::new()),
        };
        subject.respond(peer, id, response.encode());
    }
}

/// Answers requests for bodies among which is one of these: the peer has none.
pub(crate) fn withhold(subject: &mut Subject, peer: u64, withheld: &[BlockHash]) {
    while let Some((id, request)) = subject.open(peer, |request| {
        matches!(request, Request::Bodies { hashes } if hashes.iter().any(|hash| withheld.contains(hash)))
    }) {
        let Request::Bodies { hashes } = request else {
            return;
        };
        subject.respond(peer, id, Response::Bodies(vec![None; hashes.len()]).encode());
    }
}

/// Answers a peer's Status and headers with these, and every request for bodies with none.
pub(crate) fn tempt(subject: &mut Subject, peer: u64, claim: StatusMessage, headers: &[Block]) {
    while subject.open(peer, |_| true).is_some() {
        lie(subject, peer, claim, headers);
        if let Some((_, Request::Bodies { hashes })) = subject.open(peer, is_bodies) {
            withhold(subject, peer, &hashes);
        }
    }
}

/// Answers all that is asked of a peer whose clock is so far ahead.
pub(crate) fn serve_with_clock(subject: &mut Subject, peer: u64, branch: &Branch, ahead: i64) {
    while let Some((id, request)) = subject.open(peer, |_| true) {
        let mut response = honest_answer(branch, &request, |_| true);
        if let Response::Status(status) = &mut response {
            status.now = UnixMillis::new(subject.now.saturating_add_signed(ahead));
        }
        subject.respond(peer, id, response.encode());
    }
}
