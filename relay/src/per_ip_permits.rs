//! A semaphore with a limit for each network, so that no network can take all connections.
//!
//! It keeps entries only for networks that hold a permit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::connection_limits::Network;

/// The number of permits that each network holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerIpPermits(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A permit, returned when dropped.
#[derive(Debug)]
pub(crate) struct IpPermit {
    permits: PerIpPermits,
    network: Network,
}

impl PerIpPermits {
    /// Returns `None` if `network` already holds `max` permits. A `network` of `None` is exempt from the limit.
    pub(crate) fn try_acquire(&self, network: Network, max: usize) -> Option<IpPermit> {
        if let Some(network) = network {
            let mut counts = self.counts();
            let count = counts.get(&network).copied().unwrap_or_default();
            if count >= max {
                return None;
            }
            counts.insert(network, count.saturating_add(1));
        }
        let permits = self.clone();
        Some(IpPermit { permits, network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A panic cannot leave a count half updated, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IpPermit {
    fn drop(&mut self) {
        let Some(network) = self.network else {
            return;
        };
        let mut counts = self.permits.counts();
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
    fn permits_are_limited_per_network() {
        let permits = PerIpPermits::default();
        let crowded = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let other = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        let first = permits.try_acquire(crowded, 2);
        let second = permits.try_acquire(crowded, 2);
        assert!(first.is_some() && second.is_some());
        assert!(permits.try_acquire(crowded, 2).is_none());
        let others = [permits.try_acquire(other, 2), permits.try_acquire(None, 0)];
        assert!(others.iter().all(Option::is_some));
        drop(first);
        let third = permits.try_acquire(crowded, 2);
        assert!(third.is_some() && permits.try_acquire(crowded, 2).is_none());
        drop((second, third, others));
        assert!(permits.counts().is_empty());
    }
}
