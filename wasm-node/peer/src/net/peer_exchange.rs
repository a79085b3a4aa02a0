//! Peer exchange between neighbours, the room's members with a direct connection: a tab asks its neighbours for their
//! peers, and holds a circuit reservation at each, so that other tabs can reach it through them. This keeps a room
//! alive without any relay. This module never sends, reserves or dials: it returns the steps that are due.
//!
//! A peer learned this way is dialed through a circuit of the neighbour that reported it, and the circuit is then
//! upgraded to a direct connection, as one through a relay is. Each tab is a circuit relay for its neighbours, with
//! tight limits (see `behaviour`): its circuits are meant to carry signaling. Only peer IDs are taken from a neighbour
//! (see `peer_list`), never addresses.

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

use super::{
    backoff::{Backoff, PEER_REDIAL},
    peer_slots::{MIN_OUTBOUND_PEERS, WANTED_PEERS},
};

/// Neighbours with which a tab reserves a slot and exchanges peers. If possible, `MIN_OUTBOUND_PEERS` of them are
/// peers that the tab chose itself.
const MAX_EXCHANGE_PEERS: usize = WANTED_PEERS;
/// Peer IDs in one answer of the peer exchange: as many as a neighbour can be connected to.
pub(crate) const MAX_EXCHANGED_PEERS: usize = 24;

/// A step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<P> {
    /// Reserve a circuit slot at this neighbour, and report back with [`PeerExchange::reserving`].
    Reserve(P),
    /// Request this neighbour's peer list.
    RequestPeers(P),
}

/// The neighbours `P`, each with the listener `L` of the reservation at it.
#[derive(Debug)]
pub(crate) struct PeerExchange<P, L> {
    neighbours: LiteMap<P, Neighbour<L>>,
}

#[derive(Debug)]
struct Neighbour<L> {
    listener: Option<L>,
    reserve_at: MonotonicMillis,
    request_at: MonotonicMillis,
    backoff: Backoff,
}

impl<P: Copy + Ord, L: Copy + Eq> PeerExchange<P, L> {
    /// An empty set of neighbours.
    pub(crate) const fn new() -> Self {
        Self {
            neighbours: LiteMap::new(),
        }
    }

    /// Adds a member that is connected directly; a known one stays as it is. Inbound peers must not become the only
    /// sources of peers: room is kept for as many outbound peers as a tab picks itself.
    pub(crate) fn add_neighbour(&mut self, peer: P, is_outbound: bool, now: MonotonicMillis) {
        let kept_free = if is_outbound { 0 } else { MIN_OUTBOUND_PEERS };
        if self.neighbours.len() + kept_free < MAX_EXCHANGE_PEERS {
            self.neighbours.entry(peer).or_insert_with(|| Neighbour {
                listener: None,
                reserve_at: now,
                request_at: now,
                backoff: Backoff::new(PEER_REDIAL),
            });
        }
    }

    /// Removes a peer that has no direct connection anymore, and returns whether it was a neighbour.
    pub(crate) fn remove(&mut self, peer: &P) -> bool {
        self.neighbours.remove(peer).is_some()
    }

    /// Whether peers can be requested from, and reached through, this peer.
    pub(crate) fn is_neighbour(&self, peer: &P) -> bool {
        self.neighbours.contains_key(peer)
    }

    /// Makes all requests due now, because a relay or a peer is gone.
    pub(crate) fn retry_soon(&mut self, now: MonotonicMillis) {
        for neighbour in self.neighbours.iter_mut().map(|(_, value)| value) {
            neighbour.request_at = now;
        }
    }

    /// The steps that are due. `interval` is the time in ms between two requests to a neighbour; `None` stops requests,
    /// as when there are enough peers.
    pub(crate) fn tick(&mut self, now: MonotonicMillis, interval: Option<u64>) -> Vec<Step<P>> {
        let mut steps = Vec::new();
        for (peer, neighbour) in &mut self.neighbours {
            if neighbour.listener.is_none() && neighbour.reserve_at <= now {
                steps.push(Step::Reserve(*peer));
            }
            if let Some(interval) = interval
                && neighbour.request_at <= now
            {
                neighbour.request_at = now.saturating_add(interval);
                steps.push(Step::RequestPeers(*peer));
            }
        }
        steps
    }

    /// When [`Self::tick`] is next due; `wants_peers` is whether it will be called with an interval.
    pub(crate) fn due(&self, wants_peers: bool) -> Option<MonotonicMillis> {
        let next = |neighbour: &Neighbour<L>| {
            let reserve = neighbour.listener.is_none().then_some(neighbour.reserve_at);
            let request = wants_peers.then_some(neighbour.request_at);
            reserve.into_iter().chain(request).min()
        };
        self.neighbours.values().filter_map(next).min()
    }

    /// A reservation was requested with this listener; `None` if the request could not be started.
    pub(crate) fn reserving(
        &mut self,
        peer: &P,
        listener: Option<L>,
        now: MonotonicMillis,
        random: u64,
    ) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.listener = listener;
            if listener.is_none() {
                neighbour.wait(now, random);
            }
        }
    }

    /// The neighbour granted or renewed the reservation.
    pub(crate) fn reserved(&mut self, peer: &P) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.backoff.reset();
        }
    }

    /// A listener was closed. If it belonged to a reservation at a neighbour, requests another after a backoff.
    pub(crate) fn listener_closed(&mut self, gone: L, now: MonotonicMillis, random: u64) {
        let found = self
            .neighbours
            .iter_mut()
            .map(|(_, value)| value)
            .find(|neighbour| neighbour.listener == Some(gone));
        if let Some(neighbour) = found {
            neighbour.listener = None;
            neighbour.wait(now, random);
        }
    }
}

impl<L> Neighbour<L> {
    fn wait(&mut self, now: MonotonicMillis, random: u64) {
        let wait = self.backoff.failed(random).as_millis();
        let wait = u64::try_from(wait).unwrap_or(u64::MAX);
        self.reserve_at = now.saturating_add(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_JITTER: u64 = 250;
    const EVERY: Option<u64> = Some(5_000);

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn exchange(peers: impl IntoIterator<Item = u32>) -> PeerExchange<u32, char> {
        let mut exchange = PeerExchange::new();
        for peer in peers {
            exchange.add_neighbour(peer, true, at(0));
        }
        exchange
    }

    #[test]
    fn new_neighbour_is_reserved_and_then_polled() {
        let mut exchange = exchange([7]);
        assert_eq!(
            exchange.tick(at(0), EVERY),
            [Step::Reserve(7), Step::RequestPeers(7)]
        );
        exchange.reserving(&7, Some('l'), at(0), NO_JITTER);
        assert!(exchange.tick(at(4), EVERY).is_empty());
        assert_eq!(exchange.due(true), Some(at(5)));
        assert_eq!(exchange.tick(at(5), EVERY), [Step::RequestPeers(7)]);
        exchange.add_neighbour(7, true, at(5));
        assert!(
            exchange.tick(at(6), EVERY).is_empty(),
            "it is a neighbour already"
        );
        exchange.retry_soon(at(6));
        assert_eq!(exchange.tick(at(6), EVERY), [Step::RequestPeers(7)]);
    }

    #[test]
    fn no_peers_are_requested_without_an_interval() {
        let mut exchange = exchange([7]);
        assert_eq!(exchange.tick(at(0), None), [Step::Reserve(7)]);
        exchange.reserving(&7, Some('l'), at(0), NO_JITTER);
        assert_eq!(exchange.due(false), None);
        assert_eq!(exchange.tick(at(1), EVERY), [Step::RequestPeers(7)]);
    }

    #[test]
    fn lost_reservation_is_requested_with_backoff() {
        let mut exchange = exchange([7]);
        exchange.reserving(&7, Some('l'), at(0), NO_JITTER);
        exchange.listener_closed('x', at(1), NO_JITTER);
        assert!(exchange.tick(at(100), None).is_empty());
        exchange.listener_closed('l', at(100), NO_JITTER);
        assert!(exchange.tick(at(102), None).is_empty());
        assert_eq!(exchange.tick(at(103), None), [Step::Reserve(7)]);
        exchange.reserving(&7, None, at(103), NO_JITTER);
        assert!(exchange.tick(at(112), None).is_empty());
        assert_eq!(exchange.tick(at(113), None), [Step::Reserve(7)]);
        exchange.reserving(&7, Some('m'), at(113), NO_JITTER);
        exchange.reserved(&7);
        exchange.listener_closed('m', at(200), NO_JITTER);
        let again = exchange.tick(at(203), None);
        assert_eq!(again, [Step::Reserve(7)], "it was granted in between");
    }

    #[test]
    fn neighbours_are_limited_until_one_leaves() {
        let max = u32::try_from(MAX_EXCHANGE_PEERS).expect("small");
        let mut exchange = exchange(0..max + 1);
        assert!(exchange.is_neighbour(&0) && !exchange.is_neighbour(&max));
        assert!(exchange.remove(&0) && !exchange.remove(&0));
        exchange.add_neighbour(max, true, at(1));
        assert!(exchange.is_neighbour(&max));
    }

    #[test]
    fn inbound_peers_leave_room_for_outbound_ones() {
        let mut exchange: PeerExchange<u32, char> = PeerExchange::new();
        for peer in 0..100 {
            exchange.add_neighbour(peer, false, at(0));
        }
        let outbound = 100..100 + u32::try_from(MIN_OUTBOUND_PEERS).expect("small");
        for peer in outbound.clone() {
            exchange.add_neighbour(peer, true, at(0));
        }
        let neighbours = (0..200).filter(|peer| exchange.is_neighbour(peer));
        assert!(
            neighbours
                .skip(MAX_EXCHANGE_PEERS - MIN_OUTBOUND_PEERS)
                .eq(outbound)
        );
    }
}
