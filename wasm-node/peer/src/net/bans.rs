//! Banned peers, and when each ban ends. It never decides to ban a peer: the sync state machine does.

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

/// Banned peers at one time. When the list is full, the ban that expires first is lifted.
pub(crate) const MAX_BANNED: usize = 1_024;

/// Peers with a ban that has not ended.
#[derive(Debug)]
pub(crate) struct Bans<P> {
    limit: usize,
    until: LiteMap<P, MonotonicMillis>,
}

impl<P: Copy + Ord> Bans<P> {
    /// An empty set that holds at most `limit` bans.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            until: LiteMap::new(),
        }
    }

    /// Bans a peer. If that exceeds the limit, lifts the ban that ends first and returns its peer.
    pub(crate) fn add(&mut self, peer: P, until: MonotonicMillis) -> Option<P> {
        self.until.insert(peer, until);
        if self.until.len() <= self.limit {
            return None;
        }
        let soonest = self
            .until
            .iter()
            .min_by_key(|(_, until)| **until)
            .map(|(peer, _)| *peer);
        soonest.inspect(|peer| {
            self.until.remove(peer);
        })
    }

    /// Whether the peer is banned.
    pub(crate) fn contains(&self, peer: &P) -> bool {
        self.until.contains_key(peer)
    }

    /// Removes the bans that have ended and returns their peers.
    pub(crate) fn release(&mut self, now: MonotonicMillis) -> Vec<P> {
        let due: Vec<P> = self
            .until
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &due {
            self.until.remove(peer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    #[test]
    fn ban_ends_on_time() {
        let mut bans = Bans::new(10);
        assert_eq!(bans.add('a', at(10)), None);
        assert_eq!(bans.add('b', at(20)), None);
        assert!(bans.release(at(9)).is_empty());
        assert_eq!(bans.release(at(10)), ['a']);
        assert!(!bans.contains(&'a'));
        assert!(bans.contains(&'b'));
    }

    #[test]
    fn later_ban_of_the_same_peer_counts() {
        let mut bans = Bans::new(10);
        bans.add('a', at(10));
        bans.add('a', at(30));
        assert!(bans.release(at(29)).is_empty());
        assert_eq!(bans.release(at(30)), ['a']);
    }

    #[test]
    fn ban_over_the_limit_lifts_the_first_to_end() {
        let mut bans = Bans::new(2);
        bans.add('a', at(30));
        bans.add('b', at(10));
        assert_eq!(bans.add('c', at(20)), Some('b'));
        assert!(bans.contains(&'a') && bans.contains(&'c') && !bans.contains(&'b'));
    }
}
