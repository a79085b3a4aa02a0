//! Which peers have flooded a direct connection with data lately. The first time may be the fault of this tab, if it was
//! too busy to read; a peer that does it again is reported.

use std::time::Duration;

use heartchain_chain::time::{MonotonicMillis, millis};
use litemap::LiteMap;

/// How long a flood is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Peers whose floods are remembered. Beyond this, the oldest flood is forgotten.
const MAX_REMEMBERED: usize = 64;

/// The latest flood of each peer.
#[derive(Debug)]
pub(crate) struct FloodStrikes<P> {
    last: LiteMap<P, MonotonicMillis>,
}

impl<P: Copy + Ord> FloodStrikes<P> {
    pub(crate) const fn new() -> Self {
        Self {
            last: LiteMap::new(),
        }
    }

    /// Records a flood. Returns whether it is not the peer's first one lately.
    pub(crate) fn record(&mut self, peer: P, now: MonotonicMillis) -> bool {
        self.last
            .retain(|_, at| now.since(*at) <= millis(REMEMBERED));
        let is_repeated = self.last.insert(peer, now).is_some();
        if self.last.len() > MAX_REMEMBERED {
            let oldest = self.last.iter().min_by_key(|(_, at)| **at);
            if let Some(peer) = oldest.map(|(peer, _)| *peer) {
                self.last.remove(&peer);
            }
        }
        is_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    #[test]
    fn only_a_repeated_flood_counts() {
        let mut strikes = FloodStrikes::new();
        assert!(!strikes.record('a', at(10)));
        assert!(!strikes.record('b', at(10)));
        assert!(strikes.record('a', at(610)), "600 s later");
        assert!(!strikes.record('b', at(611)), "601 s later");
    }

    #[test]
    fn only_the_latest_floods_are_remembered() {
        let mut strikes = FloodStrikes::new();
        for peer in 0..=MAX_REMEMBERED {
            assert!(!strikes.record(peer, at(peer as u64)));
        }
        assert_eq!(strikes.last.len(), MAX_REMEMBERED);
        assert!(strikes.record(1, at(100)), "still remembered");
        assert!(!strikes.record(0, at(100)), "forgotten");
    }
}
