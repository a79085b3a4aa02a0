//! Compares mempools with random peers and fetches the readings that are missing here.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{
    compact_sort,
    hash::ReadingId,
    key::Author,
    mempool::{MAX_AHEAD, Mempool, MempoolError},
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
};
use litemap::LiteMap;

use super::{
    context::Context, equivocations::Equivocations, follow_up::FollowUp, peers::Peer,
    requests::RequestKind,
};
use crate::{
    config::{
        GAP_INTERVAL, GAP_PATIENCE, MAX_LISTED_ROWS, MAX_WANTED_READINGS, MEMPOOL_SYNC_INTERVAL,
        MEMPOOL_SYNC_PEERS,
    },
    io::{DisconnectReason, Event},
    message::{MAX_IDS, MAX_READINGS, MempoolRow, Request},
};

/// When mempools are compared next, and what each peer has that we want.
#[derive(Clone, Debug)]
pub(crate) struct MempoolSync<P> {
    peers: LiteMap<P, Listing>,
    compare_at: MonotonicMillis,
    /// When a gap in an author's pending readings triggers a mempool comparison, if there is one.
    gap_at: Option<MonotonicMillis>,
    last_gap_request_at: MonotonicMillis,
    /// When the next gap may trigger a comparison.
    gaps_wait_until: MonotonicMillis,
}

/// The comparison with one peer.
#[derive(Clone, Debug, Default)]
struct Listing {
    /// Rows of its mempool received in the current listing.
    rows: usize,
    /// Where to continue the listing of its mempool; `Some(None)` starts at the beginning.
    next: Option<Option<(Author, u64)>>,
    /// Readings that it has and we want.
    wanted: VecDeque<ReadingId>,
}

impl Listing {
    fn want(&mut self, id: ReadingId) {
        if self.wanted.len() < MAX_WANTED_READINGS {
            self.wanted.push_back(id);
        }
    }

    /// The next request to the peer, if there is one. Readings that the mempool has got from another peer are left out.
    fn next_request(&mut self, mempool: &Mempool) -> Option<(Request, RequestKind)> {
        while !self.wanted.is_empty() {
            let many = self.wanted.len().min(MAX_READINGS);
            // Two listings may have contained the same ID.
            let mut seen = HashSet::new();
            let ids: Vec<ReadingId> = self
                .wanted
                .drain(..many)
                .filter(|id| !mempool.contains(id) && seen.insert(*id))
                .collect();
            if !ids.is_empty() {
                let request = Request::Readings { ids: ids.clone() };
                return Some((request, RequestKind::Readings(ids)));
            }
        }
        let after = self.next.take()?;
        let request = Request::MempoolIds { after };
        Some((request, RequestKind::MempoolIds { after }))
    }
}

impl<P: Copy + Ord + Debug> MempoolSync<P> {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            peers: LiteMap::new(),
            compare_at: now.saturating_add(MEMPOOL_SYNC_INTERVAL),
            gap_at: None,
            last_gap_request_at: MonotonicMillis::new(0),
            gaps_wait_until: MonotonicMillis::new(0),
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P) {
        let listing = Listing {
            next: Some(None),
            ..Listing::default()
        };
        self.peers.insert(peer, listing);
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    /// Compares mempools with all peers.
    pub(super) fn compare_with_all(&mut self) {
        for (_, listing) in &mut self.peers {
            listing.next.get_or_insert(None);
        }
    }

    /// Starts comparisons that are due, and sends requests to peers with free slots.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>) {
        let now = ctx.now();
        if self.compare_at <= now {
            self.compare_at = now.saturating_add(MEMPOOL_SYNC_INTERVAL);
            // An empty mempool here does not mean that others are empty, so one peer is asked anyway.
            let many = if ctx.mempool.is_empty() {
                1
            } else {
                MEMPOOL_SYNC_PEERS
            };
            self.compare_with_random_peers(ctx, many);
        }
        // Each gap triggers one comparison. If no peer can close it, the periodic comparisons are enough.
        self.gap_at = self.gap_due(&ctx.mempool);
        if self.gap_at.is_some_and(|at| at <= now) {
            self.last_gap_request_at = now.saturating_sub(GAP_PATIENCE);
            self.gaps_wait_until = now.saturating_add(GAP_INTERVAL);
            self.gap_at = self.gap_due(&ctx.mempool);
            self.compare_with_random_peers(ctx, MEMPOOL_SYNC_PEERS);
        }
        for peer in ctx.peers.ids() {
            self.send_requests(ctx, peer);
        }
    }

    fn send_requests(&mut self, ctx: &mut Context<P>, peer: P) {
        let Some(listing) = self.peers.get_mut(&peer) else {
            return;
        };
        // Peers without the room's key may hold any number of readings that no member can read.
        if ctx.is_stranger(&peer) {
            return;
        }
        while ctx.peers.get(&peer).is_some_and(Peer::has_request_slot) {
            let Some((request, kind)) = listing.next_request(&ctx.mempool) else {
                return;
            };
            ctx.request(peer, request, kind);
        }
    }

    /// When mempools are compared next.
    pub(super) fn next_deadline(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let next = self
            .gap_at
            .map_or(self.compare_at, |at| at.min(self.compare_at));
        (!ctx.peers.is_empty()).then_some(next)
    }

    fn gap_due(&self, mempool: &Mempool) -> Option<MonotonicMillis> {
        mempool
            .oldest_gap_since(self.last_gap_request_at)
            .map(|since| since.saturating_add(GAP_PATIENCE))
            .map(|due| due.max(self.gaps_wait_until))
    }

    /// Compares mempools with this many peers, chosen at random.
    fn compare_with_random_peers(&mut self, ctx: &mut Context<P>, many: usize) {
        let mut peers = ctx.peers.ids();
        peers.retain(|peer| !ctx.is_stranger(peer));
        for _ in 0..many.min(peers.len()) {
            let chosen = usize::try_from(ctx.random_below(peers.len() as u64)).unwrap_or(0);
            let peer = peers.swap_remove(chosen);
            if let Some(listing) = self.peers.get_mut(&peer) {
                listing.next.get_or_insert(None);
            }
        }
    }

    pub(super) fn on_mempool_ids(
        &mut self,
        ctx: &mut Context<P>,
        peer: P,
        after: Option<(Author, u64)>,
        rows: &[MempoolRow],
    ) {
        let keys: Vec<(Author, u64)> = rows.iter().map(|row| (row.author, row.seq)).collect();
        let in_order = after.iter().chain(&keys).is_sorted_by(|a, b| a < b);
        if !in_order {
            return ctx.ban(peer, DisconnectReason::WrongAnswer);
        }
        let Some(listing) = self.peers.get_mut(&peer) else {
            return;
        };
        // An endless listing is cut off: no honest mempool has so many rows.
        listing.rows = if after.is_none() { 0 } else { listing.rows };
        listing.rows = listing.rows.saturating_add(rows.len());
        let has_more = rows.len() == MAX_IDS && listing.rows < MAX_LISTED_ROWS;
        for row in rows {
            let next = ctx.tree.next_seq(&row.author);
            let wanted =
                row.seq >= next && row.seq - next < MAX_AHEAD && !ctx.mempool.contains(&row.id);
            if wanted {
                listing.want(row.id);
            }
        }
        if has_more {
            listing.next = Some(keys.last().copied());
        }
    }

    /// A peer answered a request for readings. `equivocations` are those reported before.
    pub(super) fn on_readings(
        ctx: &mut Context<P>,
        equivocations: &Equivocations,
        peer: P,
        requested: &[ReadingId],
        readings: &[Reading],
    ) {
        let room = ctx.room();
        let ids: Vec<ReadingId> = readings.iter().map(|reading| reading.id(room)).collect();
        if !is_subset(&ids, requested) {
            return ctx.ban(peer, DisconnectReason::WrongAnswer);
        }
        // Signatures of readings that the mempool has no room for are not verified.
        let now = ctx.now();
        let (fitting, ids): (Vec<Reading>, Vec<ReadingId>) = readings
            .iter()
            .zip(ids)
            .filter(|(reading, id)| {
                let next = ctx.tree.next_seq(&reading.author);
                let checked = ctx.mempool.check(reading, *id, next, now);
                equivocations.is_worth_verifying(reading, checked) && ctx.is_readable(reading)
            })
            .unzip();
        if let Err(error) = verify_batch(room, &fitting, &mut ctx.rng) {
            return ctx.ban(peer, DisconnectReason::BadReading(error.source));
        }
        for (reading, id) in fitting.iter().zip(ids) {
            let next = ctx.tree.next_seq(&reading.author);
            match ctx.mempool.insert(reading, id, next, now) {
                Ok(()) => ctx.emit(Event::Reading(*reading)),
                Err(MempoolError::Equivocation { seq, .. }) => {
                    let author = reading.author;
                    ctx.follow_up(FollowUp::Equivocation { author, seq });
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether each ID was requested, and none occurs more often than it was requested.
fn is_subset(ids: &[ReadingId], requested: &[ReadingId]) -> bool {
    let [mut ids, mut requested] = [ids, requested].map(<[ReadingId]>::to_vec);
    compact_sort::sort(&mut ids);
    compact_sort::sort(&mut requested);
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
    #[test]
    fn wanted_readings_are_bounded() {
        let mut listing = Listing::default();
        for number in 0..=MAX_WANTED_READINGS as u64 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            listing.want(ReadingId::new(bytes));
        }
        assert_eq!(listing.wanted.len(), MAX_WANTED_READINGS);
    }
}
