//! Test helpers: how a hostile peer answers requests.

use heartchain_chain::{block::Block, hash::BlockHash, time::UnixMillis};
use heartchain_sync::message::{Request, Response, StatusMessage};
use heartchain_test_support::{Branch, Driver as _};

use crate::subject::{Subject, honest_response, is_bodies};

/// Answers status and header requests to a peer with this claim and these headers, and leaves body requests open.
pub(crate) fn serve_claim(
    subject: &mut Subject,
    peer: u64,
    claim: StatusMessage,
    headers: &[Block],
) {
    while let Some((id, request)) = subject.open_request(peer, |request| !is_bodies(request)) {
        let response = match request {
            Request::Status(_) => Response::Status(claim),
            Request::Headers { .. } => {
                Response::Headers(headers.iter().map(|block| block.header).collect())
            }
            Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
            Request::Bodies { .. } | Request::Readings { .. } => Response::Readings(Vec::new()),
            Request::Profiles { .. } => Response::Profiles(Vec::new()),
        };
        subject.respond(peer, id, response.encode());
    }
}

/// Answers body requests that include one of `withheld`, saying that the peer has none of the bodies.
pub(crate) fn refuse_bodies(subject: &mut Subject, peer: u64, withheld: &[BlockHash]) {
    while let Some((id, request)) = subject.open_request(peer, |request| {
        matches!(request, Request::Bodies { hashes } if hashes.iter().any(|hash| withheld.contains(hash)))
    }) {
        let Request::Bodies { hashes } = request else {
            return;
        };
        subject.respond(peer, id, Response::Bodies(vec![None; hashes.len()]).encode());
    }
}

/// Answers status and header requests to a peer with this claim and these headers, and every body request with no
/// bodies.
pub(crate) fn serve_claim_without_bodies(
    subject: &mut Subject,
    peer: u64,
    claim: StatusMessage,
    headers: &[Block],
) {
    while subject.open_request(peer, |_| true).is_some() {
        serve_claim(subject, peer, claim, headers);
        if let Some((_, Request::Bodies { hashes })) = subject.open_request(peer, is_bodies) {
            refuse_bodies(subject, peer, &hashes);
        }
    }
}

/// Answers all open requests as an honest peer whose clock is `ahead` ms ahead.
pub(crate) fn serve_with_clock(subject: &mut Subject, peer: u64, branch: &Branch, ahead: i64) {
    while let Some((id, request)) = subject.open_request(peer, |_| true) {
        let mut response = honest_response(branch, &request, |_| true);
        if let Response::Status(status) = &mut response {
            status.now = UnixMillis::new(subject.now.saturating_add_signed(ahead));
        }
        subject.respond(peer, id, response.encode());
    }
}
