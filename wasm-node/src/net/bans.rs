//! Who is shut out, and until when. Never decides to shut anybody out: the machine does.

use chain::time::MonotonicMillis;
use litemap::LiteMap;

/// The peers that are shut out.
#[derive(Debug)]
pub(crate) struct Bans<P> {
    limit: usize,
    until: LiteMap<P, MonotonicMillis>,
}

impl<P: Copy + Ord> Bans<P> {
    /// Nobody yet, and never more than `limit`.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            until: LiteMap::new(),
        }
    }

    /// Shuts a peer out. If that is one too many, the one that comes back because of it: the soonest due.
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

    /// Whether the peer is shut out.
    pub(crate) fn contains(&self, peer: &P) -> bool {
        self.until.contains_key(peer)
    }

    /// Those whose time is up; they are shut out no more.
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
    fn a_ban_ends_when_its_time_is_up() {
        let mut bans = Bans::new(10);
        assert_eq!(bans.add('a', at(10)), None);
        assert_eq!(bans.add('b', at(20)), None);
        assert!(bans.release(at(9)).is_empty());
        assert_eq!(bans.release(at(10)), ['a']);
        assert!(!bans.contains(&'a'));
        assert!(bans.contains(&'b'));
    }

    #[test]
    fn a_later_ban_of_the_same_peer_counts() {
        let mut bans = Bans::new(10);
        bans.add('a', at(10));
        bans.add('a', at(30));
        assert!(bans.release(at(29)).is_empty());
        assert_eq!(bans.release(at(30)), ['a']);
    }

    #[test]
    fn beyond_the_limit_the_one_due_first_is_let_in() {
        let mut bans = Bans::new(2);
        bans.add('a', at(30));
        bans.add('b', at(10));
        assert_eq!(bans.add('c', at(20)), Some('b'));
        assert!(bans.contains(&'a') && bans.contains(&'c') && !bans.contains(&'b'));
    }
}
