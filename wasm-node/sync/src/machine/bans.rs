//! Banned peers. Each ban of a peer is twice as long as the one before.

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

use crate::config::{FIRST_BAN, MAX_BAN_DOUBLINGS, MAX_BANS};

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: MonotonicMillis,
    strikes: u32,
}

/// The bans of all peers, with the number of earlier bans of each.
#[derive(Clone, Debug)]
pub(super) struct Bans<P> {
    by_peer: LiteMap<P, Ban>,
}

impl<P: Copy + Ord> Bans<P> {
    pub(super) const fn new() -> Self {
        Self {
            by_peer: LiteMap::new(),
        }
    }

    /// Bans a peer. Returns the end of its ban.
    pub(super) fn ban(&mut self, peer: P, now: MonotonicMillis) -> MonotonicMillis {
        let strikes = self
            .by_peer
            .get(&peer)
            .map_or(0, |ban| ban.strikes + 1)
            .min(MAX_BAN_DOUBLINGS);
        let until = now.saturating_add(FIRST_BAN << strikes);
        self.by_peer.insert(peer, Ban { until, strikes });
        if self.by_peer.len() > MAX_BANS {
            let first_to_end = self
                .by_peer
                .iter()
                .min_by_key(|(_, ban)| ban.until)
                .map(|(peer, _)| *peer);
            if let Some(peer) = first_to_end {
                self.by_peer.remove(&peer);
            }
        }
        until
    }

    /// The end of this peer's ban, if it is banned now.
    pub(super) fn until(&self, peer: &P, now: MonotonicMillis) -> Option<MonotonicMillis> {
        self.by_peer
            .get(peer)
            .map(|ban| ban.until)
            .filter(|until| *until > now)
    }

    /// How many bans are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_double_and_end() {
        let mut bans = Bans::new();
        let start = MonotonicMillis::new(0);
        assert_eq!(bans.ban(1, start), MonotonicMillis::new(FIRST_BAN));
        assert_eq!(bans.until(&1, MonotonicMillis::new(FIRST_BAN)), None);
        assert_eq!(bans.ban(1, start), MonotonicMillis::new(2 * FIRST_BAN));
        for _ in 0..100 {
            bans.ban(1, start);
        }
        assert_eq!(
            bans.until(&1, start),
            Some(MonotonicMillis::new(FIRST_BAN << MAX_BAN_DOUBLINGS))
        );
    }

    #[test]
    fn full_ban_table_evicts_the_earliest_end() {
        let mut bans = Bans::new();
        for peer in 0..=MAX_BANS as u64 {
            bans.ban(peer, MonotonicMillis::new(peer));
        }
        assert_eq!(bans.len(), MAX_BANS);
        assert_eq!(bans.until(&0, MonotonicMillis::new(1)), None);
        assert!(bans.until(&1, MonotonicMillis::new(2)).is_some());
    }
}
