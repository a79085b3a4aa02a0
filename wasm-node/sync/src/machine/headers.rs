//! Headers first: learning a better branch before any of its bodies.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{hash::BlockHash, header::Header, tree::InsertError, validate::Condemns, work::Work};

use super::{Machine, requests::Asked};
use crate::{
    config::{MAX_HEADER_SYNCS, MAX_HEADERS_AHEAD},
    message::{MAX_HEADERS, Request},
    seam::DropReason,
};

/// One peer's headers on their way.
#[derive(Debug)]
pub(super) struct HeaderSync {
    /// What the peer claims its branch weighs; `None`: it claimed nothing, it only sent a block from it.
    claim: Option<Work>,
    /// The last header it gave, from which the next request goes on.
    last: Option<BlockHash>,
    /// Whether a request is open.
    asked: bool,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Starts header syncs with peers that have more, and goes on with those that wait.
    pub(super) fn settle_headers(&mut self) {
        if self.header_syncs.len() < MAX_HEADER_SYNCS {
            let candidates: Vec<(P, Option<Work>)> = self
                .peers
                .iter()
                .filter(|(peer, _)| !self.header_syncs.contains_key(peer))
                .filter_map(|(peer, known)| {
                    let claim = known.status.filter(|status| {
                        self.is_better(status) && self.tree.block(&status.tip).is_none()
                    });
                    match claim {
                        Some(status) => Some((*peer, Some(status.total_work))),
                        None => known.wants_headers.then_some((*peer, None)),
                    }
                })
                .collect();
            for (peer, claim) in candidates
                .into_iter()
                .take(MAX_HEADER_SYNCS - self.header_syncs.len())
            {
                self.header_syncs.insert(
                    peer,
                    HeaderSync {
                        claim,
                        last: None,
                        asked: false,
                    },
                );
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.wants_headers = false;
                }
            }
        }
        if self.tree.side_blocks() >= MAX_HEADERS_AHEAD {
            return;
        }
        let waiting: Vec<P> = self
            .header_syncs
            .iter()
            .filter(|(_, sync)| !sync.asked)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in waiting {
            self.ask_headers(peer);
        }
    }

    fn ask_headers(&mut self, peer: P) {
        if !self
            .peers
            .get(&peer)
            .is_some_and(super::peer::Peer::may_be_asked)
        {
            return;
        }
        let Some(sync) = self.header_syncs.get_mut(&peer) else {
            return;
        };
        sync.asked = true;
        // Where no header came yet: what is known of the peer's branch may be more than our best one.
        let from = sync
            .last
            .or_else(|| self.tree.heaviest_leaf(|_| false).map(|leaf| leaf.hash));
        let locator = self
            .tree
            .locator(&from.unwrap_or_else(|| self.tree.tip().hash));
        self.ask(peer, &Request::Headers { locator }, Asked::Headers);
    }

    pub(super) fn headers_came(&mut self, peer: P, headers: &[Header]) {
        let Some(mut sync) = self.header_syncs.remove(&peer) else {
            return;
        };
        let now = self.adjusted_now();
        let mut reached = Work::ZERO;
        for header in headers {
            match self.tree.insert_header(header, now) {
                Ok(inserted) => {
                    sync.last = Some(inserted.hash);
                    reached = self
                        .tree
                        .block(&inserted.hash)
                        .map_or(reached, |info| info.total_work);
                }
                Err(InsertError::Header(error)) if error.condemns() == Condemns::Nothing => {
                    // Ahead of the clock: it will be asked for again when it is due.
                    self.download.headers_came();
                    return self.forget_claim(peer);
                }
                Err(InsertError::Header(error)) => {
                    return self.ban(peer, DropReason::BadHeader(error));
                }
                Err(_) => return self.let_go(peer, DropReason::WrongAnswer),
            }
        }
        self.download.headers_came();
        if headers.len() == MAX_HEADERS {
            sync.asked = false;
            self.header_syncs.insert(peer, sync);
        } else if sync
            .claim
            .is_some_and(|claim| reached.max(self.tree.tip().total_work) < claim)
        {
            // It does not have what it claims.
            self.let_go(peer, DropReason::WrongAnswer);
        }
    }

    /// The claim is not worth acting on until the peer repeats it.
    fn forget_claim(&mut self, peer: P) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.status = None;
        }
    }
}
