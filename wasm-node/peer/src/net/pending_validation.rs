//! Gossip messages that wait for the verdict of the sync state machine. Gossipsub gets exactly one validation result
//! for each message: the verdict, or Ignore for a message that finds the table full or waits too long. This module
//! never validates and never sends.

use std::time::Duration;

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::io::GossipId;
use litemap::LiteMap;

/// Gossip items that may wait for their verdict. The machine holds back 64 blocks and decides on all else at once.
/// Items beyond this limit are not forwarded.
const MAX_PENDING_VALIDATIONS: usize = 1_024;
/// Pending items from one peer: eight peers would have to flood before items of other peers are not forwarded. The
/// machine holds back 4 blocks of each.
const MAX_PENDING_VALIDATIONS_PER_PEER: usize = 128;
/// A gossip item without a verdict is dropped after this time. The machine takes at most
/// [`heartchain_sync::config::VERDICT_PATIENCE`], and gossipsub forgets the item after [`GOSSIP_HISTORY`].
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(6);
/// Heartbeats (of 1 s) for which a gossip item can still be validated and forwarded.
pub(crate) const GOSSIP_HISTORY: usize = 12;
const _: () = assert!(
    VALIDATION_TIMEOUT.as_millis() > heartchain_sync::config::VERDICT_PATIENCE as u128
        && VALIDATION_TIMEOUT.as_secs() < GOSSIP_HISTORY as u64
);

/// Messages by the ID that the state machine knows them by. `M` is gossipsub's message ID, `P` a peer ID.
#[derive(Debug)]
pub(crate) struct PendingValidation<M, P> {
    limits: Limits,
    next: u64,
    waiting: LiteMap<GossipId, Item<M, P>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Messages of all peers together.
    items: usize,
    /// Messages of one peer, so that no peer can fill the table.
    items_per_peer: usize,
    /// How long a message may wait.
    timeout: Duration,
}

impl Limits {
    /// The limits that tabs use.
    const DEFAULT: Self = Self {
        items: MAX_PENDING_VALIDATIONS,
        items_per_peer: MAX_PENDING_VALIDATIONS_PER_PEER,
        timeout: VALIDATION_TIMEOUT,
    };

    fn timeout_ms(self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
struct Item<M, P> {
    message: M,
    from: P,
    since: MonotonicMillis,
}

impl<M, P: Copy + Eq> PendingValidation<M, P> {
    /// An empty table with the default limits.
    pub(crate) const fn new() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    const fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            next: 0,
            waiting: LiteMap::new(),
        }
    }

    /// Adds a message. Returns its ID for the state machine, and `Err` with the message if there is no room: the caller
    /// then reports Ignore at once, and a later verdict finds no entry.
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
        let item = Item {
            message,
            from,
            since: now,
        };
        self.waiting.insert(id, item);
        (id, Ok(()))
    }

    /// Removes the message that a verdict is for, to report it to gossipsub. `None` if a result was reported before. A
    /// message whose sender has left is reported, too: other peers may still want it.
    pub(crate) fn take(&mut self, id: GossipId) -> Option<(M, P)> {
        let item = self.waiting.remove(&id)?;
        Some((item.message, item.from))
    }

    /// Removes and returns the messages that have waited too long.
    pub(crate) fn expired(&mut self, now: MonotonicMillis) -> Vec<(M, P)> {
        let timeout = self.limits.timeout_ms();
        let due: Vec<GossipId> = self
            .waiting
            .iter()
            // A clock that was set back hides a message's age; ignoring the message is the lesser harm.
            .filter(|(_, item)| now < item.since || now.since(item.since) >= timeout)
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// When the next message times out.
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

    fn filled() -> (PendingValidation<u32, char>, [GossipId; 4]) {
        let mut table = PendingValidation::with_limits(LIMITS);
        let ids = [(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b')].map(|(message, from)| {
            let (id, kept) = table.insert(message, from, at(u64::from(message)));
            assert_eq!(kept, Ok(()));
            id
        });
        (table, ids)
    }

    #[test]
    fn default_limit_is_enforced() {
        let mut table = PendingValidation::new();
        for message in 0..=MAX_PENDING_VALIDATIONS {
            let peer = message / MAX_PENDING_VALIDATIONS_PER_PEER;
            let is_kept = table.insert(message, peer, at(0)).1.is_ok();
            assert_eq!(is_kept, message < MAX_PENDING_VALIDATIONS);
        }
        let timeout = Limits::DEFAULT.timeout_ms();
        assert_eq!(table.expired(at(timeout - 1)).len(), 0);
        assert_eq!(table.expired(at(timeout)).len(), MAX_PENDING_VALIDATIONS);
    }

    #[test]
    fn result_is_reported_once() {
        let (mut table, [first, ..]) = filled();
        assert_eq!(table.take(first), Some((1, 'a')));
        assert_eq!(table.take(first), None);
    }

    #[test]
    fn message_over_the_limit_is_returned() {
        let (mut table, [first, ..]) = filled();
        let (late, kept) = table.insert(5, 'c', at(5));
        assert_eq!(kept, Err(5));
        assert_eq!(table.take(late), None, "its verdict finds nothing");
        table.take(first);
        assert_eq!(table.insert(6, 'c', at(6)).1, Ok(()));
        assert_eq!(table.insert(7, 'c', at(7)).1, Err(7));
    }

    #[test]
    fn full_peer_leaves_room_for_others() {
        let mut table = PendingValidation::with_limits(LIMITS);
        for message in 0..3 {
            assert_eq!(table.insert(message, 'a', at(0)).1, Ok(()));
        }
        assert_eq!(table.insert(3, 'a', at(0)).1, Err(3));
        assert_eq!(table.insert(4, 'b', at(0)).1, Ok(()));
    }

    #[test]
    fn full_table_empties_by_timeout() {
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
    fn clock_set_back_expires_all_messages() {
        let (mut table, _) = filled();
        let long_ago = MonotonicMillis::new(0);
        assert_eq!(table.expired(long_ago).len(), 4);
    }
}
