//! What is done in rounds: asking silent peers, announcing a new tip, comparing mempools.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    hash::ReadingId,
    key::Author,
    mempool::{MAX_AHEAD, MempoolError},
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
};
use litemap::LiteMap;

use super::{Machine, peer::Peer};
use crate::{
    config::{ANNOUNCE_INTERVAL, EXCHANGE_INTERVAL, EXCHANGE_PEERS, GAP_PATIENCE, MAX_LISTED},
    message::{IdRow, MAX_IDS},
    seam::{DropReason, Event, Output},
};

/// When the rounds are due.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    /// A tip not learnt by gossip has yet to be announced.
    announce: bool,
    announced_at: MonotonicMillis,
    exchange_at: MonotonicMillis,
    /// When the next peer is asked for its Status.
    status_at: Option<MonotonicMillis>,
    /// When a lasting gap makes mempools be compared, if there is one.
    gap_at: Option<MonotonicMillis>,
    gap_asked_at: MonotonicMillis,
}

impl Rounds {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            announce: false,
            announced_at: now,
            exchange_at: now.saturating_add(EXCHANGE_INTERVAL),
            status_at: None,
            gap_at: None,
            gap_asked_at: MonotonicMillis::new(0),
        }
    }

    /// The tip is news to peers, and gossip will not tell them.
    pub(super) fn announce(&mut self) {
        self.announce = true;
    }

    pub(super) fn next_due<P>(&self, peers: &LiteMap<P, Peer>) -> Option<MonotonicMillis> {
        if peers.is_empty() {
            return None;
        }
        let announce = self
            .announce
            .then(|| self.announced_at.saturating_add(ANNOUNCE_INTERVAL));
        [
            announce,
            self.status_at,
            self.gap_at,
            Some(self.exchange_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn settle_rounds(&mut self) {
        let now = self.now;
        let tip = self.tree.tip().hash;
        self.rounds.status_at = None;
        for peer in self.peers.iter_mut().map(|(_, value)| value) {
            if peer.status_due(&tip) <= now {
                peer.status_at = now;
                peer.wants_status = true;
            }
            let due = peer.status_due(&tip);
            self.rounds.status_at = Some(self.rounds.status_at.map_or(due, |at| at.min(due)));
        }
        if self.rounds.announce && self.rounds.announced_at.saturating_add(ANNOUNCE_INTERVAL) <= now
        {
            self.rounds.announce = false;
            self.rounds.announced_at = now;
            for peer in self
                .peers
                .iter_mut()
                .map(|(_, value)| value)
                .filter(|peer| peer.status.is_none_or(|status| status.tip != tip))
            {
                peer.wants_status = true;
            }
        }
        if self.rounds.exchange_at <= now {
            self.rounds.exchange_at = now.saturating_add(EXCHANGE_INTERVAL);
            // Nothing waiting here says nothing of what waits elsewhere: one peer is asked all the same.
            self.compare_with(if self.mempool.is_empty() {
                1
            } else {
                EXCHANGE_PEERS
            });
        }
        // A gap that nobody can close is asked about once; then the rounds above are enough.
        self.rounds.gap_at = self.gap_due();
        if self.rounds.gap_at.is_some_and(|at| at <= now) {
            self.rounds.gap_asked_at = now.saturating_sub(GAP_PATIENCE);
            self.rounds.gap_at = self.gap_due();
            self.compare_with(EXCHANGE_PEERS);
        }
    }

    fn gap_due(&self) -> Option<MonotonicMillis> {
        self.mempool
            .oldest_gap_since(self.rounds.gap_asked_at)
            .map(|since| since.saturating_add(GAP_PATIENCE))
    }

    /// Compares mempools with so many peers, chosen at random.
    fn compare_with(&mut self, many: usize) {
        let mut peers: Vec<P> = self.peers.keys().copied().collect();
        for _ in 0..many.min(peers.len()) {
            let chosen = usize::try_from(self.random_below(peers.len() as u64)).unwrap_or(0);
            let peer = peers.swap_remove(chosen);
            if let Some(known) = self.peers.get_mut(&peer) {
                known.wants_listing.get_or_insert(None);
            }
        }
    }

    pub(super) fn listing_came(&mut self, peer: P, after: Option<(Author, u64)>, rows: &[IdRow]) {
        let places: Vec<(Author, u64)> = rows.iter().map(|row| (row.author, row.seq)).collect();
        let in_order = after.iter().chain(&places).is_sorted_by(|a, b| a < b);
        if !in_order {
            return self.ban(peer, DropReason::WrongAnswer);
        }
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        // A listing that never ends is cut: no honest mempool has so many rows.
        known.listed = if after.is_none() { 0 } else { known.listed };
        known.listed = known.listed.saturating_add(rows.len());
        let goes_on = rows.len() == MAX_IDS && known.listed < MAX_LISTED;
        for row in rows {
            let next = self.tree.next_seq(&row.author);
            let wanted =
                row.seq >= next && row.seq - next < MAX_AHEAD && !self.mempool.contains(&row.id);
            if wanted {
                known.want_reading(row.id);
            }
        }
        if goes_on {
            known.wants_listing = Some(places.last().copied());
        }
    }

    pub(super) fn readings_came(&mut self, peer: P, asked: &[ReadingId], readings: &[Reading]) {
        let room = self.tree.room().id();
        let ids: Vec<ReadingId> = readings.iter().map(|reading| reading.id(room)).collect();
        if !are_some_of(&ids, asked) {
            return self.ban(peer, DropReason::WrongAnswer);
        }
        // What finds no place is not worth the cost of verifying it.
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
            return self.ban(peer, DropReason::BadReading(error.source));
        }
        for (reading, id) in fitting.iter().zip(ids) {
            let next = self.tree.next_seq(&reading.author);
            match self.mempool.insert(reading, id, next, self.now) {
                Ok(()) => self.outputs.push(Output::Tell(Event::Reading(*reading))),
                Err(MempoolError::Equivocation { seq, .. }) => {
                    let author = reading.author;
                    self.tell_equivocation(author, seq);
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether each of these ids was asked for, and none came more often than it was.
fn are_some_of(ids: &[ReadingId], asked: &[ReadingId]) -> bool {
    let [mut ids, mut asked] = [ids, asked].map(<[ReadingId]>::to_vec);
    ids.sort_unstable();
    asked.sort_unstable();
    let mut asked = asked.iter();
    ids.iter().all(|id| asked.any(|other| other == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_may_come_in_any_order_and_once() {
        let [one, two, three] = [1, 2, 3].map(|number| ReadingId::new([number; 32]));
        let asked = [two, one];
        for ids in [&[][..], &[one], &[two], &[one, two], &[two, one]] {
            assert!(are_some_of(ids, &asked), "{ids:?}");
        }
        for ids in [&[three][..], &[one, three], &[one, one], &[two, one, two]] {
            assert!(!are_some_of(ids, &asked), "{ids:?}");
        }
    }
}
