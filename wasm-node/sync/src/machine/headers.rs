//! Headers first: learning a better branch before any of its bodies.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{hash::BlockHash, header::Header, tree::InsertError, validate::Condemns, work::Work};

use super::{Machine, requests::Asked};
use crate::{
    config::{MAX_HEADER_SYNCS, MAX_HEADERS_AHEAD},
    message::{MAX_HEADERS, Request, StatusMessage},
    seam::DropReason,
};

/// One peer's headers on their way.
#[derive(Debug)]
pub(super) struct HeaderSync {
    /// What the peer claims of its branch; `None`: it claimed nothing, it only sent a block from it.
    claim: Option<StatusMessage>,
    /// The last header it gave, from which the next request goes on, and its height.
    last: Option<(BlockHash, u64)>,
    /// How many of its headers were new.
    new: usize,
    /// Whether a request is open.
    asked: bool,
}

impl HeaderSync {
    /// The last header that came.
    pub(super) fn last(&self) -> Option<BlockHash> {
        self.last.map(|(hash, _)| hash)
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Starts header syncs with peers that have more, and goes on with those that wait.
    pub(super) fn settle_headers(&mut self) {
        if self.header_syncs.len() < MAX_HEADER_SYNCS {
            let mut candidates: Vec<(u32, P, Option<StatusMessage>)> = self
                .peers
                .iter()
                .filter(|(peer, _)| !self.header_syncs.contains_key(peer))
                .filter_map(|(peer, known)| {
                    let claim = known.status.filter(|status| {
                        self.is_better(status) && self.tree.block(&status.tip).is_none()
                    });
                    (claim.is_some() || known.wants_headers).then_some((
                        known.header_stalls,
                        *peer,
                        claim,
                    ))
                })
                .collect();
            // Who left us waiting is asked last.
            candidates.sort_unstable_by_key(|(stalls, peer, _)| (*stalls, *peer));
            for (_, peer, claim) in candidates
                .into_iter()
                .take(MAX_HEADER_SYNCS - self.header_syncs.len())
            {
                self.header_syncs.insert(
                    peer,
                    HeaderSync {
                        claim,
                        last: None,
                        new: 0,
                        asked: false,
                    },
                );
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.wants_headers = false;
                }
            }
        }
        // While nothing is being fetched every sync has a bound of its own.
        let enough = match self.download.target_index() {
            Some(_) => MAX_HEADERS_AHEAD,
            None => MAX_HEADERS_AHEAD * (1 + MAX_HEADER_SYNCS),
        };
        if self.tree.side_blocks() >= enough {
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
            .last()
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
        if let Some(known) = self.peers.get_mut(&peer) {
            known.header_stalls = 0;
        }
        let new_before = sync.new;
        let came = self.take_headers(&mut sync, headers);
        if sync.new > new_before {
            self.download.headers_came(self.now);
        }
        match came {
            Ok(reached) => self.weigh_headers(peer, sync, headers.len(), reached),
            Err(Refused::TooEarly) => self.forget_claim(peer),
            Err(Refused::Lie(reason)) => self.ban(peer, reason),
            Err(Refused::Useless) => self.let_go(peer, DropReason::FalseClaim),
        }
    }

    /// Keeps headers, as long as each stands on the one before; returns what their branch weighs.
    fn take_headers(&mut self, sync: &mut HeaderSync, headers: &[Header]) -> Result<Work, Refused> {
        let now = self.adjusted_now();
        let new_before = sync.new;
        let mut previous = None;
        for header in headers {
            if previous.is_some_and(|hash| hash != header.prev_hash) {
                return Err(Refused::Lie(DropReason::WrongAnswer));
            }
            let inserted = self
                .tree
                .insert_header(header, now)
                .map_err(|error| refused(&error))?;
            previous = Some(inserted.hash);
            sync.new += usize::from(inserted.new);
        }
        let Some(info) = previous.and_then(|hash| self.tree.block(&hash)) else {
            return Ok(Work::ZERO);
        };
        if sync.new == new_before && sync.last.is_some_and(|(_, height)| info.index <= height) {
            // The same again, or older ones: nothing would ever come of it.
            return Err(Refused::Useless);
        }
        sync.last = Some((info.hash, info.index));
        Ok(info.total_work)
    }

    /// Asks on, ends the sync, or lets a peer go that does not have what it claims.
    fn weigh_headers(&mut self, peer: P, mut sync: HeaderSync, count: usize, reached: Work) {
        let best = self.tree.tip().total_work;
        if count < MAX_HEADERS {
            // It may have gone over to a branch whose headers we have already.
            let heaviest = self.tree.heaviest_leaf(|_| false);
            let known = heaviest.map_or(best, |leaf| leaf.total_work);
            let short = sync.claim.is_some_and(|claim| {
                reached.max(known) < claim.total_work && self.tree.block(&claim.tip).is_none()
            });
            if short {
                self.let_go(peer, DropReason::FalseClaim);
            }
            return;
        }
        if sync.new >= MAX_HEADERS_AHEAD && reached <= best {
            self.prune();
            return self.let_go(
                peer,
                DropReason::EndlessHeaders {
                    limit: MAX_HEADERS_AHEAD,
                },
            );
        }
        sync.asked = false;
        self.header_syncs.insert(peer, sync);
    }

    /// The claim is not worth acting on until the peer repeats it.
    pub(super) fn forget_claim(&mut self, peer: P) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.status = None;
        }
    }
}

/// Why headers were not taken.
enum Refused {
    /// One is ahead of the clock: it will be asked for again when the peer says again that it has more.
    TooEarly,
    /// The peer made it up.
    Lie(DropReason),
    /// It leads nowhere.
    Useless,
}

fn refused(error: &InsertError) -> Refused {
    match error {
        InsertError::Header(error) if error.condemns() == Condemns::Nothing => Refused::TooEarly,
        InsertError::Header(error) => Refused::Lie(DropReason::BadHeader(*error)),
        InsertError::UnknownParent { .. } | InsertError::Condemned { .. } | _ => Refused::Useless,
    }
}
