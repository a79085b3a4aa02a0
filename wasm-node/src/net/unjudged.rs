//! Gossip items that wait for the machine's verdict, and until when. Gossipsub gets one answer for each item: the
//! verdict, or Ignore for an item that finds no room here or waits for too long. Never judges and never sends.

use std::time::Duration;

use chain::time::MonotonicMillis;
use litemap::LiteMap;
use sync::seam::GossipId;

use crate::config;

/// Items by the id that the machine knows them by. `M` names an item for gossipsub, `P` a peer.
#[derive(Debug)]
pub(crate) struct Unjudged<M, P> {
    limits: Limits,
    next: u64,
    waiting: LiteMap<GossipId, Waiting<M, P>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Items of all peers.
    items: usize,
    /// Items of one peer, so that no peer takes all the room.
    items_per_peer: usize,
    /// How long an item may wait.
    timeout: Duration,
}

impl Limits {
    /// Those of every tab.
    const OURS: Self = Self {
        items: config::MAX_UNJUDGED,
        items_per_peer: config::MAX_UNJUDGED_PER_PEER,
        timeout: config::UNJUDGED_TIMEOUT,
    };

    fn timeout_ms(self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
struct Waiting<M, P> {
    message: M,
    from: P,
    since: MonotonicMillis,
}

impl<M, P: Copy + Eq> Unjudged<M, P> {
    /// No item yet.
    pub(crate) const fn new() -> Self {
        Self::with_limits(Limits::OURS)
    }

    const fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            next: 0,
            waiting: LiteMap::new(),
        }
    }

    /// An item came: its id for the machine, and `Err` with the item where there is no room. Then gossipsub is told to
    /// ignore it at once, and the machine's verdict finds no entry.
    pub(crate) fn insert(
        &mut self,
        message: M,
        from: P,
        now: MonotonicMillis,
    ) -> (GossipId, Result<(), M>) {
        let id = GossipId(self.next);
        self.next = self.next.wrapping_add(1);
        let of_peer = self.waiting.values().filter(|item| item.from == from);
        if self.waiting.len() >= self.limits.items || of_peer.count() >= self.limits.items_per_peer
        {
            return (id, Err(message));
        }
        let item = Waiting {
            message,
            from,
            since: now,
        };
        self.waiting.insert(id, item);
        (id, Ok(()))
    }

    /// The verdict is there: what gossipsub is to be told of. `None` if it was answered before. Counts for an item
    /// whose peer has left, too: others may still want it.
    pub(crate) fn take(&mut self, id: GossipId) -> Option<(M, P)> {
        let item = self.waiting.remove(&id)?;
        Some((item.message, item.from))
    }

    /// Takes out the items that have waited for too long.
    pub(crate) fn expired(&mut self, now: MonotonicMillis) -> Vec<(M, P)> {
        let timeout = self.limits.timeout_ms();
        let due: Vec<GossipId> = self
            .waiting
            .iter()
            // A clock that was set back says nothing about an item's age; to be ignored is the lesser harm.
            .filter(|(_, item)| now < item.since || now.since(item.since) >= timeout)
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// When the next item has waited for too long.
    pub(crate) fn due(&self) -> Option<MonotonicMillis> {
        let since = self.waiting.values().map(|item| item.since).min();
        since.map(|since| since.saturating_add(self.limits.timeout_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        items: 4,
        items_per_peer: 3,
        timeout: Duration::from_secs(5),
    };

    fn at(millis: u64) -> MonotonicMillis {
        MonotonicMillis::new(1_000_000 + millis)
    }

    fn filled() -> (Unjudged<u32, char>, [GossipId; 4]) {
        let mut table = Unjudged::with_limits(LIMITS);
        let ids = [(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b')].map(|(message, from)| {
            let (id, kept) = table.insert(message, from, at(u64::from(message)));
            assert_eq!(kept, Ok(()));
            id
        });
        (table, ids)
    }

    #[test]
    fn tabs_hold_their_bound_of_items() {
        let mut table = Unjudged::new();
        for message in 0..=config::MAX_UNJUDGED {
            let peer = message / config::MAX_UNJUDGED_PER_PEER;
            let is_kept = table.insert(message, peer, at(0)).1.is_ok();
            assert_eq!(is_kept, message < config::MAX_UNJUDGED);
        }
        let timeout = Limits::OURS.timeout_ms();
        assert_eq!(table.expired(at(timeout - 1)).len(), 0);
        assert_eq!(table.expired(at(timeout)).len(), config::MAX_UNJUDGED);
    }

    #[test]
    fn verdict_is_given_once() {
        let (mut table, [first, ..]) = filled();
        assert_eq!(table.take(first), Some((1, 'a')));
        assert_eq!(table.take(first), None);
    }

    #[test]
    fn item_beyond_the_bound_is_given_back() {
        let (mut table, [first, ..]) = filled();
        let (late, kept) = table.insert(5, 'c', at(5));
        assert_eq!(kept, Err(5));
        assert_eq!(table.take(late), None, "its verdict finds nothing");
        table.take(first);
        assert_eq!(table.insert(6, 'c', at(6)).1, Ok(()));
        assert_eq!(table.insert(7, 'c', at(7)).1, Err(7));
    }

    #[test]
    fn peer_beyond_its_bound_leaves_room_for_others() {
        let mut table = Unjudged::with_limits(LIMITS);
        for message in 0..3 {
            assert_eq!(table.insert(message, 'a', at(0)).1, Ok(()));
        }
        assert_eq!(table.insert(3, 'a', at(0)).1, Err(3));
        assert_eq!(table.insert(4, 'b', at(0)).1, Ok(()));
    }

    #[test]
    fn full_table_empties_without_any_verdict() {
        let (mut table, ids) = filled();
        assert_eq!(table.due(), Some(at(5_001)));
        assert!(table.expired(at(5_000)).is_empty());
        assert_eq!(table.expired(at(5_002)), [(1, 'a'), (2, 'a')]);
        assert_eq!(table.take(ids[0]), None, "a late verdict finds nothing");
        assert_eq!(table.take(ids[2]), Some((3, 'a')), "others are left alone");
        assert_eq!(table.expired(at(9_000)), [(4, 'b')]);
        assert_eq!(table.due(), None);
        assert_eq!(table.insert(5, 'a', at(9_000)).1, Ok(()));
    }

    #[test]
    fn clock_set_back_keeps_no_item() {
        let (mut table, _) = filled();
        let long_ago = MonotonicMillis::new(0);
        assert_eq!(table.expired(long_ago).len(), 4);
    }
}
