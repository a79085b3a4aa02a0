//! Compares mempools with random peers and fetches the readings that are missing here. On the same timer it asks silent
//! peers for their Status and announces a new tip.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    hash::ReadingId,
    key::Author,
    mempool::{MAX_AHEAD, MempoolError},
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
};
use litemap::LiteMap;

use super::{Machine, peer::PeerState};
use crate::{
    config::{
        ANNOUNCE_INTERVAL, GAP_PATIENCE, MAX_LISTED_ROWS, MEMPOOL_SYNC_INTERVAL, MEMPOOL_SYNC_PEERS,
    },
    io::{DisconnectReason, Event, Output},
    message::{MAX_IDS, MempoolRow},
};

/// When the next periodic work is due.
#[derive(Clone, Debug)]
pub(super) struct MempoolSync {
    /// Whether a tip that was not learned by gossip has yet to be announced.
    announce: bool,
    announced_at: MonotonicMillis,
    compare_at: MonotonicMillis,
    /// When the next peer is asked for its Status.
    status_at: Option<MonotonicMillis>,
    /// When a gap in an author's pending readings triggers a mempool comparison, if there is one.
    gap_at: Option<MonotonicMillis>,
    last_gap_request_at: MonotonicMillis,
}

impl MempoolSync {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            announce: false,
            announced_at: now,
            compare_at: now.saturating_add(MEMPOOL_SYNC_INTERVAL),
            status_at: None,
            gap_at: None,
            last_gap_request_at: MonotonicMillis::new(0),
        }
    }

    /// Announces the tip by Status. Gossip does not tell peers about it.
    pub(super) fn announce(&mut self) {
        self.announce = true;
    }

    pub(super) fn next_due<P>(&self, peers: &LiteMap<P, PeerState>) -> Option<MonotonicMillis> {
        if peers.is_empty() {
            return None;
        }
        let announce = self
            .announce
            .then(|| self.announced_at.saturating_add(ANNOUNCE_INTERVAL));
        [announce, self.status_at, self.gap_at, Some(self.compare_at)]
            .into_iter()
            .flatten()
            .min()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn update_mempool_sync(&mut self) {
        let now = self.now;
        let tip = self.tree.tip().hash;
        self.mempool_sync.status_at = None;
        for peer in self.peers.iter_mut().map(|(_, value)| value) {
            if peer.status_due(&tip) <= now {
                peer.status_at = now;
                peer.wants_status = true;
            }
            let due = peer.status_due(&tip);
            self.mempool_sync.status_at =
                Some(self.mempool_sync.status_at.map_or(due, |at| at.min(due)));
        }
        if self.mempool_sync.announce
            && self
                .mempool_sync
                .announced_at
                .saturating_add(ANNOUNCE_INTERVAL)
                <= now
        {
            self.mempool_sync.announce = false;
            self.mempool_sync.announced_at = now;
            for peer in self
                .peers
                .iter_mut()
                .map(|(_, value)| value)
                .filter(|peer| peer.status.is_none_or(|status| status.tip != tip))
            {
                peer.wants_status = true;
            }
        }
        if self.mempool_sync.compare_at <= now {
            self.mempool_sync.compare_at = now.saturating_add(MEMPOOL_SYNC_INTERVAL);
            // An empty mempool here does not mean that others are empty, so one peer is asked anyway.
            self.compare_with_random_peers(if self.mempool.is_empty() {
                1
            } else {
                MEMPOOL_SYNC_PEERS
            });
        }
        // Each gap triggers one comparison. If no peer can close it, the periodic comparisons are enough.
        self.mempool_sync.gap_at = self.gap_due();
        if self.mempool_sync.gap_at.is_some_and(|at| at <= now) {
            self.mempool_sync.last_gap_request_at = now.saturating_sub(GAP_PATIENCE);
            self.mempool_sync.gap_at = self.gap_due();
            self.compare_with_random_peers(MEMPOOL_SYNC_PEERS);
        }
    }

    fn gap_due(&self) -> Option<MonotonicMillis> {
        self.mempool
            .oldest_gap_since(self.mempool_sync.last_gap_request_at)
            .map(|since| since.saturating_add(GAP_PATIENCE))
    }

    /// Compares mempools with this many peers, chosen at random.
    fn compare_with_random_peers(&mut self, many: usize) {
        let mut peers: Vec<P> = self.peers.keys().copied().collect();
        for _ in 0..many.min(peers.len()) {
            let chosen = usize::try_from(self.random_below(peers.len() as u64)).unwrap_or(0);
            let peer = peers.swap_remove(chosen);
            if let Some(state) = self.peers.get_mut(&peer) {
                state.wants_listing.get_or_insert(None);
            }
        }
    }

    pub(super) fn on_mempool_ids(
        &mut self,
        peer: P,
        after: Option<(Author, u64)>,
        rows: &[MempoolRow],
    ) {
        let keys: Vec<(Author, u64)> = rows.iter().map(|row| (row.author, row.seq)).collect();
        let in_order = after.iter().chain(&keys).is_sorted_by(|a, b| a < b);
        if !in_order {
            return self.ban(peer, DisconnectReason::WrongAnswer);
        }
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        // An endless listing is cut off: no honest mempool has so many rows.
        state.listed_rows = if after.is_none() {
            0
        } else {
            state.listed_rows
        };
        state.listed_rows = state.listed_rows.saturating_add(rows.len());
        let has_more = rows.len() == MAX_IDS && state.listed_rows < MAX_LISTED_ROWS;
        for row in rows {
            let next = self.tree.next_seq(&row.author);
            let wanted =
                row.seq >= next && row.seq - next < MAX_AHEAD && !self.mempool.contains(&row.id);
            if wanted {
                state.want_reading(row.id);
            }
        }
        if has_more {
            state.wants_listing = Some(keys.last().copied());
        }
    }

    pub(super) fn on_readings(&mut self, peer: P, requested: &[ReadingId], readings: &[Reading]) {
        let room = self.tree.room().id();
        let ids: Vec<ReadingId> = readings.iter().map(|reading| reading.id(room)).collect();
        if !is_subset(&ids, requested) {
            return self.ban(peer, DisconnectReason::WrongAnswer);
        }
        // Signatures of readings that the mempool has no room for are not verified.
        let (fitting, ids): (Vec<Reading>, Vec<ReadingId>) = readings
            .iter()
            .zip(ids)
            .filter(|(reading, id)| {
                let next = self.tree.next_seq(&reading.author);
                let checked = self.mempool.check(reading, *id, next, self.now);
                self.is_worth_verifying(reading, checked)
            })
            .unzip();
        if let Err(error) = verify_batch(room, &fitting, &mut self.rng) {
            return self.ban(peer, DisconnectReason::BadReading(error.source));
        }
        for (reading, id) in fitting.iter().zip(ids) {
            let next = self.tree.next_seq(&reading.author);
            match self.mempool.insert(reading, id, next, self.now) {
                Ok(()) => self.outputs.push(Output::Emit(Event::Reading(*reading))),
                Err(MempoolError::Equivocation { seq, .. }) => {
                    let author = reading.author;
                    self.emit_equivocation(author, seq);
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether each ID was requested, and none occurs more often than it was requested.
fn is_subset(ids: &[ReadingId], requested: &[ReadingId]) -> bool {
    let [mut ids, mut requested] = [ids, requested].map(<[ReadingId]>::to_vec);
    ids.sort_unstable();
    requested.sort_unstable();
    let mut requested = requested.iter();
    ids.iter().all(|id| requested.any(|other| other == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_readings_arrive_once_in_any_order() {
        let [one, two, three] = [1, 2, 3].map(|number| ReadingId::new([number; 32]));
        let requested = [two, one];
        for ids in [&[][..], &[one], &[two], &[one, two], &[two, one]] {
            assert!(is_subset(ids, &requested), "{ids:?}");
        }
        for ids in [&[three][..], &[one, three], &[one, one], &[two, one, two]] {
            assert!(!is_subset(ids, &requested), "{ids:?}");
        }
    }
}
