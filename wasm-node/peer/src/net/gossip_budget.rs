//! How much gossip each peer may send. An honest peer stays far below; one that exceeds it has flooded this tab. It never
//! looks at the content of gossip, and never judges a peer.

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

/// Control that a peer may send per second: subscriptions, and topics and message IDs of control items, with
/// [`CONTROL_OVERHEAD`] for each RPC. Twice what an honest peer sends at most: two IHAVE and two IWANT a second, with 128
/// IDs each.
pub(crate) const CONTROL_RATE: u64 = 1_024;
/// Such control at once: what an honest peer of a busy room has sent while this tab was busy for half a minute.
pub(crate) const CONTROL_BURST: u64 = 16_384;
/// What an RPC with control costs besides its items.
pub(crate) const CONTROL_OVERHEAD: u64 = 16;
/// Bytes of messages that a peer may send per second, with [`MESSAGE_OVERHEAD`] for each: twice what an honest peer forwards at
/// most, [`FORWARD_RATE`](heartchain_sync::config::FORWARD_RATE) readings and
/// [`ALL_PROFILES_FORWARD_RATE`](heartchain_sync::config::ALL_PROFILES_FORWARD_RATE) names, and a large block.
pub(crate) const MESSAGE_RATE: u64 = 2 * 1024 * 1024;
/// Such bytes at once: twice an honest peer's [`FORWARD_BURST`](heartchain_sync::config::FORWARD_BURST) and
/// [`ALL_PROFILES_FORWARD_BURST`](heartchain_sync::config::ALL_PROFILES_FORWARD_BURST), or a hundred large blocks.
pub(crate) const MESSAGE_BURST: u64 = 16 * 1024 * 1024;
/// What a message costs besides its bytes.
pub(crate) const MESSAGE_OVERHEAD: u64 = 1024;

/// The budgets of the connected peers `P`.
#[derive(Debug)]
pub(crate) struct GossipBudgets<P> {
    peers: LiteMap<P, Budget>,
}

#[derive(Debug)]
struct Budget {
    control: Bucket,
    messages: Bucket,
    is_exceeded: bool,
}

impl<P: Ord> GossipBudgets<P> {
    /// No peer has sent anything.
    pub(crate) const fn new() -> Self {
        Self {
            peers: LiteMap::new(),
        }
    }

    /// A connected peer has sent an RPC, whose control items and messages cost this much. Returns whether the peer has
    /// exceeded its budget with it.
    pub(crate) fn spend(
        &mut self,
        peer: P,
        control: u64,
        messages: u64,
        now: MonotonicMillis,
    ) -> bool {
        let budget = self.peers.entry(peer).or_insert_with(|| Budget {
            control: Bucket::full(CONTROL_RATE, CONTROL_BURST, now),
            messages: Bucket::full(MESSAGE_RATE, MESSAGE_BURST, now),
            is_exceeded: false,
        });
        let is_within = budget.control.take(control, now) && budget.messages.take(messages, now);
        if is_within || budget.is_exceeded {
            return false;
        }
        budget.is_exceeded = true;
        true
    }

    /// Whether the peer has exceeded its budget since it connected.
    pub(crate) fn is_exceeded(&self, peer: &P) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|budget| budget.is_exceeded)
    }

    /// The peer is no longer connected.
    pub(crate) fn forget(&mut self, peer: &P) {
        self.peers.remove(peer);
    }
}

/// A rate with a burst.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// In thousandths, so that a single millisecond counts.
    burst: u64,
    left: u64,
    filled: MonotonicMillis,
}

impl Bucket {
    fn full(rate: u64, burst: u64, now: MonotonicMillis) -> Self {
        let burst = burst.saturating_mul(1_000);
        Self {
            rate,
            burst,
            left: burst,
            filled: now,
        }
    }

    /// Takes this many if they are left. Returns whether they were.
    fn take(&mut self, count: u64, now: MonotonicMillis) -> bool {
        let fresh = now.since(self.filled).saturating_mul(self.rate);
        self.filled = self.filled.max(now);
        self.left = self.left.saturating_add(fresh).min(self.burst);
        match self.left.checked_sub(count.saturating_mul(1_000)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use heartchain_sync::config::{
        ALL_PROFILES_FORWARD_BURST, ALL_PROFILES_FORWARD_RATE, FORWARD_BURST, FORWARD_RATE,
    };

    use super::*;

    /// Bytes of a reading or a name.
    const SMALL: u64 = 160;
    /// Bytes of the largest block.
    const BLOCK: u64 = 128 * 1024;

    fn at(millis: u64) -> MonotonicMillis {
        MonotonicMillis::new(millis)
    }

    /// An IHAVE with 128 IDs.
    const IHAVE: u64 = CONTROL_OVERHEAD + 1 + 128;

    #[test]
    fn control_flood_exceeds_the_budget_once() {
        let mut budgets = GossipBudgets::new();
        for _ in 0..CONTROL_BURST / CONTROL_OVERHEAD {
            assert!(!budgets.spend('a', CONTROL_OVERHEAD, 0, at(0)));
        }
        assert!(!budgets.spend('b', 1, 0, at(0)), "each peer has its own");
        assert!(!budgets.is_exceeded(&'a'));
        assert!(budgets.spend('a', 1, 0, at(0)));
        assert!(!budgets.spend('a', 1, 0, at(0)), "reported once");
        assert!(budgets.is_exceeded(&'a') && !budgets.is_exceeded(&'b'));
        budgets.forget(&'a');
        assert!(!budgets.is_exceeded(&'a'));
    }

    #[test]
    fn budget_refills_at_its_rate() {
        let mut budgets = GossipBudgets::new();
        assert!(!budgets.spend('a', CONTROL_BURST, 0, at(0)));
        for second in 1..100 {
            assert!(!budgets.spend('a', CONTROL_RATE, 0, at(1_000 * second)));
        }
        assert!(budgets.spend('a', 1, 0, at(99_000)));
    }

    #[test]
    fn message_flood_exceeds_the_budget() {
        let mut budgets = GossipBudgets::new();
        assert!(!budgets.spend('a', 0, MESSAGE_BURST, at(0)));
        assert!(!budgets.spend('a', 1, 0, at(0)), "control has its own");
        assert!(budgets.spend('a', 0, 1, at(0)));
        assert!(budgets.is_exceeded(&'a'));
    }

    #[test]
    fn honest_peer_never_exceeds_the_budget() {
        let mut budgets = GossipBudgets::new();
        let message = SMALL + MESSAGE_OVERHEAD;
        // Twice, because this tab may have been too busy to read for long.
        for _ in 0..2 * (FORWARD_BURST + ALL_PROFILES_FORWARD_BURST) {
            assert!(!budgets.spend('a', 0, message, at(0)));
        }
        for second in 1..600 {
            for _ in 0..FORWARD_RATE + ALL_PROFILES_FORWARD_RATE {
                assert!(!budgets.spend('a', 0, message, at(1_000 * second)));
            }
            assert!(!budgets.spend('a', 0, BLOCK + MESSAGE_OVERHEAD, at(1_000 * second)));
            // Two IHAVE, two IWANT, a change of both meshes, and a large block that it has.
            for control in [IHAVE; 4].into_iter().chain([CONTROL_OVERHEAD + 1; 4]) {
                assert!(!budgets.spend('a', control, 0, at(1_000 * second)));
            }
        }
    }
}
