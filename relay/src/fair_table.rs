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
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use crate::{network::Network, table_memory::shrink};

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
    /// The same networks, the largest last.
    sizes: BTreeSet<Size>,
    next_number: u64,
}

/// How much a network holds. Of several that hold the same, the one whose oldest entry is the oldest counts as the
/// largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    entries: usize,
    oldest: Reverse<u64>,
    network: Network,
}

impl<K: Clone + Eq + Hash> FairTable<K> {
    pub(crate) fn new(share: Share) -> Self {
        Self {
            share,
            entries: HashMap::new(),
            networks: HashMap::new(),
            sizes: BTreeSet::new(),
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
            match self.sizes.last() {
                Some(largest) if largest.entries <= own.saturating_add(1) && own > 0 => {
                    Some(network)
                }
                largest => largest.map(|largest| largest.network),
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
        let evicted = self.victim(network)?;
        if let Some(evicted) = &evicted {
            self.remove(evicted);
        }
        self.add(key, network);
        Ok(evicted)
    }

    /// The entry that [`FairTable::try_insert`] would evict for a newcomer, if any. Changes nothing.
    ///
    /// # Errors
    /// As for [`FairTable::try_insert`].
    pub(crate) fn victim(&self, network: Network) -> Result<Option<K>, Full> {
        if self.has_its_share(network) {
            return Err(Full::Network(self.share.per_network));
        }
        if self.entries.len() < self.share.total {
            return Ok(None);
        }
        let own = self.len_of(network).saturating_add(1);
        self.sizes
            .last()
            .filter(|largest| largest.entries > own)
            .and_then(|largest| self.networks.get(&largest.network)?.last_key_value())
            .map(|(_, newest)| Some(newest.clone()))
            .ok_or(Full::Total(self.share.total))
    }

    /// Adds an entry that was admitted already.
    pub(crate) fn add(&mut self, key: K, network: Network) {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        // A key that is added twice moves.
        self.remove(&key);
        self.entries.insert(key.clone(), (network, number));
        self.change(network, |keys| {
            keys.insert(number, key);
        });
    }

    pub(crate) fn remove(&mut self, key: &K) {
        let Some((network, number)) = self.entries.remove(key) else {
            return;
        };
        self.change(network, |keys| {
            keys.remove(&number);
        });
        shrink(&mut self.entries);
        shrink(&mut self.networks);
    }

    /// Changes the keys of a network, and sorts it by its new size.
    fn change(&mut self, network: Network, change: impl FnOnce(&mut BTreeMap<u64, K>)) {
        let keys = self.networks.entry(network).or_default();
        if let Some(size) = Size::of(network, keys) {
            self.sizes.remove(&size);
        }
        change(keys);
        match Size::of(network, keys) {
            Some(size) => {
                self.sizes.insert(size);
            }
            None => {
                self.networks.remove(&network);
            }
        }
    }

    fn has_its_share(&self, network: Network) -> bool {
        network.is_some() && self.len_of(network) >= self.share.per_network
    }
}

impl Size {
    /// `None` if the network holds nothing.
    fn of<K>(network: Network, keys: &BTreeMap<u64, K>) -> Option<Self> {
        let (oldest, _) = keys.first_key_value()?;
        Some(Self {
            entries: keys.len(),
            oldest: Reverse(*oldest),
            network,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::table_memory::max_capacity;

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
        assert_eq!(table.victim(network(2)), Ok(Some(4)));
        assert_eq!(table.victim(network(1)), Err(Full::Network(4)));
        assert_eq!(table.len(), 6);
        assert_eq!(table.try_insert(8, network(2)), Ok(Some(4)));
        assert_eq!(table.try_insert(9, network(2)), Err(Full::Total(6)));
        assert_eq!(table.try_insert(9, network(1)), Err(Full::Total(6)));
        // Both hold three, and the first entry of network 1 is the oldest.
        assert_eq!(table.try_insert(9, network(3)), Ok(Some(3)));
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
        assert!(table.sizes.is_empty());
    }

    #[test]
    fn memory_follows_the_entries() {
        let mut table = FairTable::new(Share {
            total: 10_000,
            per_network: 10,
        });
        let network = |key: u32| Some(IpAddr::V4(Ipv4Addr::from(key)));
        for key in 0..10_000 {
            table.insert(key, network(key));
        }
        for key in 10..10_000 {
            table.remove(&key);
        }
        let most = max_capacity(10);
        assert!(table.entries.capacity() <= most && table.networks.capacity() <= most);
        assert_eq!(table.len(), 10);
    }

    #[test]
    fn sizes_follow_the_entries() {
        let mut table = table(12, 8);
        let mut seed = 7_u32;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [key, from, step, _] = seed.to_be_bytes();
            let (key, from) = (u32::from(key % 32), network(from % 5));
            match step % 3 {
                0 => table.remove(&key),
                1 => {
                    table.insert(key, from);
                }
                _ => {
                    // Refused or not, the indexes must agree.
                    let _ = table.try_insert(key, from);
                }
            }
            let sizes = table.networks.iter();
            let sizes = sizes.filter_map(|(network, keys)| Size::of(*network, keys));
            assert_eq!(table.sizes, sizes.collect());
            let held = table.networks.values().map(BTreeMap::len);
            assert_eq!(table.entries.len(), held.sum::<usize>());
            assert!(table.entries.len() <= 12);
        }
    }
}
