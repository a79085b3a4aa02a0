//! Keeps one network from taking all of something, each piece for as long as it is held. It holds networks that have some
//! only.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::places::Network;

/// How many connections each network has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, while it is held.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    network: Network,
}

impl Shares {
    /// `None` if a network has so many already. What is none has no share, and any number.
    pub(crate) fn take(&self, network: Network, most: usize) -> Option<Share> {
        if let Some(network) = network {
            let mut counts = self.counts();
            let count = counts.get(&network).copied().unwrap_or_default();
            if count >= most {
                return None;
            }
            counts.insert(network, count.saturating_add(1));
        }
        let shares = self.clone();
        Some(Share { shares, network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counts are whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(network) = self.network else {
            return;
        };
        let mut counts = self.shares.counts();
        match counts.get_mut(&network) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                counts.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_network_has_its_share_and_nobody_is_remembered() {
        let shares = Shares::default();
        let crowd = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let other = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        let first = shares.take(crowd, 2);
        let second = shares.take(crowd, 2);
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(crowd, 2).is_none());
        let others = [shares.take(other, 2), shares.take(None, 0)];
        assert!(others.iter().all(Option::is_some));
        drop(first);
        let third = shares.take(crowd, 2);
        assert!(third.is_some() && shares.take(crowd, 2).is_none());
        drop((second, third, others));
        assert!(shares.counts().is_empty());
    }
}
