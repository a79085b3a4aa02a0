//! How likely each peer is to send bodies: its unanswered requests, the blocks that it lacks, and whether it has sent headers of a
//! better branch.

use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{hash::BlockHash, time::MonotonicMillis};
use litemap::LiteMap;

use crate::config::{FAILURE_PAUSE, MAX_LACKING, MAX_STALLS};

/// What peers have shown about the bodies they can send.
#[derive(Clone, Debug)]
pub(crate) struct Suppliers<P> {
    peers: LiteMap<P, Supplier>,
    last_turn: u64,
}

/// What one peer has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Supplier {
    /// The order in which peers are asked, lowest first. A peer that reconnects or answers late goes
    /// to the back. Peer IDs are free, so without this rule new ones could keep an honest peer from ever being asked.
    turn: u64,
    /// Requests for bodies in a row that it left unanswered. Peers with more stalls are asked later.
    stalls: u32,
    /// When a request failed, unless it has sent a body since.
    failed_at: Option<MonotonicMillis>,
    /// Blocks whose bodies it said it lacks.
    lacking: HashSet<BlockHash>,
    gave_better_headers: bool,
}

impl Supplier {
    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    pub(super) const fn stalls(&self) -> u32 {
        self.stalls
    }

    /// Whether it left so many requests unanswered that it is no longer asked about this branch.
    pub(super) const fn is_stalled(&self) -> bool {
        self.stalls >= MAX_STALLS
    }

    /// Whether a request failed, and it has sent no body since.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed_at.is_some()
    }

    /// Whether a request failed just now, so that it is asked later.
    pub(super) fn is_resting(&self, now: MonotonicMillis) -> bool {
        self.rests_until().is_some_and(|until| now < until)
    }

    fn rests_until(&self) -> Option<MonotonicMillis> {
        let failed_at = self.failed_at?;
        Some(failed_at.saturating_add(FAILURE_PAUSE))
    }

    pub(super) fn lacks(&self, hash: &BlockHash) -> bool {
        self.lacking.contains(hash)
    }

    /// Whether it is not asked for this body: it lacks it, or does not answer.
    pub(super) fn cannot_give(&self, hash: &BlockHash) -> bool {
        self.is_stalled() || self.lacks(hash)
    }

    /// Whether it sent headers of a branch with more work than ours.
    pub(super) const fn gave_better_headers(&self) -> bool {
        self.gave_better_headers
    }

    fn add_lacking(&mut self, hash: BlockHash) {
        if self.lacking.len() >= MAX_LACKING {
            self.lacking.clear();
        }
        self.lacking.insert(hash);
    }
}

impl<P: Copy + Ord + Debug> Suppliers<P> {
    pub(super) const fn new() -> Self {
        Self {
            peers: LiteMap::new(),
            last_turn: 0,
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P) {
        self.last_turn += 1;
        let supplier = Supplier {
            turn: self.last_turn,
            ..Supplier::default()
        };
        self.peers.insert(peer, supplier);
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Supplier> {
        self.peers.get(peer)
    }

    /// A peer sent headers of a branch with more work than ours.
    pub(super) fn on_better_headers(&mut self, peer: &P) {
        if let Some(supplier) = self.peers.get_mut(peer) {
            supplier.gave_better_headers = true;
        }
    }

    /// A peer did not answer a request for bodies. Several requests on one connection fail at once when it breaks, so the next ones
    /// do not count.
    pub(super) fn on_failure(&mut self, peer: &P, is_stall: bool, now: MonotonicMillis) {
        let supplier = self.peers.get_mut(peer);
        if let Some(supplier) = supplier.filter(|supplier| !supplier.is_resting(now)) {
            supplier.failed_at = Some(now);
            supplier.stalls = supplier.stalls.saturating_add(is_stall.into());
        }
    }

    /// When the next peer that did not answer may be asked again.
    pub(super) fn next_rest_end(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let ends = self.peers.values().filter_map(Supplier::rests_until);
        ends.filter(|end| *end > now).min()
    }

    /// A peer sent at least one body.
    pub(super) fn on_served(&mut self, peer: &P) {
        if let Some(supplier) = self.peers.get_mut(peer) {
            supplier.stalls = 0;
            supplier.failed_at = None;
        }
    }

    /// A peer said that it lacks these bodies.
    pub(super) fn on_lacking<'a>(&mut self, peer: &P, hashes: impl Iterator<Item = &'a BlockHash>) {
        if let Some(supplier) = self.peers.get_mut(peer) {
            hashes.for_each(|hash| supplier.add_lacking(*hash));
        }
    }

    /// A peer is late with its answer, so it goes to the back.
    pub(super) fn on_late(&mut self, peer: &P) {
        self.last_turn += 1;
        if let Some(supplier) = self.peers.get_mut(peer) {
            supplier.turn = self.last_turn;
        }
    }

    /// A peer may have the blocks now that it lacked before.
    pub(super) fn forget_lacking(&mut self, peer: &P) {
        if let Some(supplier) = self.peers.get_mut(peer) {
            supplier.lacking.clear();
        }
    }

    /// Another branch is fetched now.
    pub(super) fn start_over(&mut self) {
        for (_, supplier) in &mut self.peers {
            supplier.stalls = 0;
            supplier.lacking.clear();
        }
    }

    /// Every peer may be asked once more for this body: it may have received it meanwhile, or was busy before.
    pub(super) fn start_last_round(&mut self, hash: &BlockHash) {
        for (_, supplier) in &mut self.peers {
            supplier.lacking.remove(hash);
            supplier.stalls = supplier.stalls.min(MAX_STALLS - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacking_blocks_are_bounded() {
        let hash = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            BlockHash::new(bytes)
        };
        let mut supplier = Supplier::default();
        for number in 0..MAX_LACKING {
            supplier.add_lacking(hash(number));
        }
        assert_eq!(supplier.lacking.len(), MAX_LACKING);
        // At the limit the set is cleared, and the peer is asked for all of them again. That costs one request.
        let last = hash(MAX_LACKING);
        supplier.add_lacking(last);
        assert_eq!(supplier.lacking, HashSet::from([last]));
    }
}
