//! A bounded table of what the clients of each network hold, such as connections. When it is full, the network that
//! holds the most pays, not the next newcomer.
//!
//! It only counts and decides; the caller ends what is evicted. Two policies:
//! - [`FairTable::insert`] always admits the newcomer and evicts the *oldest* entry of the largest taker. For what is
//!   unfinished, where the oldest entry is the one that most likely never finishes.
//! - [`FairTable::try_insert`] admits a newcomer to a full table only if its network stays smaller than the largest
//!   taker, and evicts the *newest* entry of that one. For what is in use. Without an attack no established client is
//!   disturbed by one of the same network, and a client that was evicted cannot evict in its turn.
//!
//! Both approach max-min fairness: however many networks an attacker has, a network that holds less than an equal share
//! loses nothing to it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use crate::network::Network;

/// Maximum numbers of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of all networks together.
    pub(crate) total: usize,
    /// Of one network. The network `None` is exempt.
    pub(crate) per_network: usize,
}

/// Why a newcomer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The network of the newcomer has its share.
    #[error("already {0} of the same network")]
    Network(usize),
    /// The table is full, and the newcomer's network holds as many entries as any other.
    #[error("already {0} in total")]
    Total(usize),
}

/// The entries, by key and by network.
#[derive(Debug)]
pub(crate) struct FairTable<K> {
    share: Share,
    entries: HashMap<K, (Network, u64)>,
    /// The keys of each network that has any, ordered by age.
    networks: HashMap<Network, BTreeMap<u64, K>>,
    next_number: u64,
}

impl<K: Clone + Eq + Hash> FairTable<K> {
    pub(crate) fn new(share: Share) -> Self {
        Self {
            share,
            entries: HashMap::new(),
            networks: HashMap::new(),
            next_number: 0,
        }
    }

    /// Changes the limits. Entries beyond them stay until they are removed or evicted.
    pub(crate) fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Number of entries of one network.
    pub(crate) fn len_of(&self, network: Network) -> usize {
        self.networks.get(&network).map_or(0, BTreeMap::len)
    }

    /// Adds an entry. If that exceeds a limit, removes and returns the oldest entry of the newcomer's network (over its
    /// share) or of the largest taker, the newcomer included.
    pub(crate) fn insert(&mut self, key: K, network: Network) -> Option<K> {
        let own = self.len_of(network);
        let victim = if self.has_its_share(network) {
            Some(network)
        } else if self.entries.len() >= self.share.total {
            match self.largest_taker() {
                Some((_, largest)) if largest <= own.saturating_add(1) && own > 0 => Some(network),
                largest => largest.map(|(network, _)| network),
            }
        } else {
            None
        };
        let evicted = victim.and_then(|network| {
            let oldest = self.networks.get(&network)?.first_key_value()?.1.clone();
            self.remove(&oldest);
            Some(oldest)
        });
        self.add(key, network);
        evicted
    }

    /// Adds an entry. If the table is full, removes and returns the newest entry of the largest taker.
    ///
    /// # Errors
    /// Fails if the network of the newcomer has its share, or if the table is full and no network holds more than the
    /// newcomer's would.
    pub(crate) fn try_insert(&mut self, key: K, network: Network) -> Result<Option<K>, Full> {
        let evicted = self.make_room(network)?;
        self.add(key, network);
        Ok(evicted)
    }

    /// Whether a newcomer would be admitted by [`FairTable::try_insert`].
    pub(crate) fn has_room(&self, network: Network) -> bool {
        let own = self.len_of(network).saturating_add(1);
        let can_evict = || {
            let largest = self.largest_taker();
            largest.is_some_and(|(_, largest)| largest > own)
        };
        !self.has_its_share(network) && (self.entries.len() < self.share.total || can_evict())
    }

    /// As [`FairTable::try_insert`], for an entry that is added later with [`FairTable::add`].
    ///
    /// # Errors
    /// As for [`FairTable::try_insert`].
    pub(crate) fn make_room(&mut self, network: Network) -> Result<Option<K>, Full> {
        if self.has_its_share(network) {
            return Err(Full::Network(self.share.per_network));
        }
        if self.entries.len() < self.share.total {
            return Ok(None);
        }
        let own = self.len_of(network).saturating_add(1);
        let newest = self
            .largest_taker()
            .filter(|(_, largest)| *largest > own)
            .and_then(|(largest, _)| self.networks.get(&largest)?.last_key_value())
            .map(|(_, newest)| newest.clone())
            .ok_or(Full::Total(self.share.total))?;
        self.remove(&newest);
        Ok(Some(newest))
    }

    /// Adds an entry that was admitted already.
    pub(crate) fn add(&mut self, key: K, network: Network) {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        // A key that is added twice moves.
        self.remove(&key);
        self.entries.insert(key.clone(), (network, number));
        self.networks
            .entry(network)
            .or_default()
            .insert(number, key);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        let Some((network, number)) = self.entries.remove(key) else {
            return;
        };
        if let Some(keys) = self.networks.get_mut(&network) {
            keys.remove(&number);
            if keys.is_empty() {
                self.networks.remove(&network);
            }
        }
    }

    fn has_its_share(&self, network: Network) -> bool {
        network.is_some() && self.len_of(network) >= self.share.per_network
    }

    /// The network that holds the most, and how much. Of several, the one whose oldest entry is the oldest.
    fn largest_taker(&self) -> Option<(Network, usize)> {
        let age = |keys: &BTreeMap<u64, K>| Reverse(keys.keys().next().copied());
        let networks = self.networks.iter();
        networks
            .max_by_key(|(_, keys)| (keys.len(), age(keys)))
            .map(|(network, keys)| (*network, keys.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(last: u8) -> Network {
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn table(total: usize, per_network: usize) -> FairTable<u32> {
        FairTable::new(Share { total, per_network })
    }

    #[test]
    fn newcomer_evicts_oldest_of_largest_taker() {
        let mut table = table(4, 3);
        for (key, from) in [(1, 9), (2, 1), (3, 1), (4, 1)] {
            assert_eq!(table.insert(key, network(from)), None);
        }
        // Over its share, a network evicts its own.
        assert_eq!(table.insert(5, network(1)), Some(2));
        // When the table is full, the largest pays.
        assert_eq!(table.insert(6, network(2)), Some(3));
        assert_eq!(table.insert(7, network(3)), Some(4));
        // All hold one: the oldest leaves.
        assert_eq!(table.insert(8, network(4)), Some(1));
        assert_eq!((table.len(), table.len_of(network(9))), (4, 0));
    }

    #[test]
    fn largest_newcomer_evicts_its_own() {
        let mut table = table(3, 3);
        for (key, from) in [(1, 1), (2, 2), (3, 2)] {
            assert_eq!(table.insert(key, network(from)), None);
        }
        assert_eq!(table.insert(4, network(2)), Some(2));
        // Network 1 would hold as much as network 2, and also takes from its own.
        assert_eq!(table.insert(5, network(1)), Some(1));
        assert_eq!((table.len_of(network(1)), table.len_of(network(2))), (1, 2));
    }

    #[test]
    fn full_table_admits_smaller_networks_only() {
        let mut table = table(6, 4);
        for key in 1..=4 {
            assert_eq!(table.try_insert(key, network(1)), Ok(None));
        }
        assert_eq!(table.try_insert(5, network(1)), Err(Full::Network(4)));
        for key in [6, 7] {
            assert_eq!(table.try_insert(key, network(2)), Ok(None));
        }
        // The newest of network 1, until both hold the same.
        assert!(table.has_room(network(2)) && !table.has_room(network(1)));
        assert_eq!(table.try_insert(8, network(2)), Ok(Some(4)));
        assert_eq!(table.try_insert(9, network(2)), Err(Full::Total(6)));
        assert!(table.has_room(network(3)) && !table.has_room(network(2)));
        assert_eq!(table.try_insert(9, network(1)), Err(Full::Total(6)));
        let evicted = table.try_insert(9, network(3)).expect("a smaller network");
        assert!([Some(3), Some(8)].contains(&evicted));
        table.remove(&9);
        assert_eq!(table.try_insert(10, network(2)), Ok(None));
        assert_eq!(table.len(), 6);
    }

    #[test]
    fn loopback_has_no_share_but_can_be_evicted() {
        let mut table = table(3, 1);
        for key in 1..=3 {
            assert_eq!(table.try_insert(key, None), Ok(None));
        }
        assert_eq!(table.try_insert(4, None), Err(Full::Total(3)));
        assert_eq!(table.try_insert(4, network(1)), Ok(Some(3)));
        assert_eq!(table.insert(5, None), Some(1));
    }

    #[test]
    fn limits_can_change_while_entries_stay() {
        let mut table = table(3, 3);
        for key in 1..=3 {
            assert_eq!(table.try_insert(key, network(1)), Ok(None));
        }
        table.set_share(Share {
            total: 1,
            per_network: 1,
        });
        assert_eq!(table.len(), 3);
        assert_eq!(table.try_insert(4, network(1)), Err(Full::Network(1)));
        assert_eq!(table.try_insert(4, network(2)), Ok(Some(3)));
    }

    #[test]
    fn removed_entries_leave_nothing_behind() {
        let mut table = table(2, 2);
        table.insert(1, network(1));
        table.insert(1, network(2));
        assert_eq!((table.len(), table.contains(&1)), (1, true));
        table.remove(&1);
        table.remove(&1);
        assert!(table.entries.is_empty() && table.networks.is_empty());
    }
}
