//! Token buckets for networks, in a table of fixed size.
//!
//! Two networks can share a bucket. Which ones do is random, so an attacker cannot aim at the bucket of another network,
//! and no number of (spoofed) addresses makes the table grow.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use crate::{
    network::Network,
    token_bucket::{TokenBucket, TokenBucketConfig},
};

/// Number of buckets: with 100 active networks, 1 in 40 shares its bucket with another. 160 KiB.
const BUCKETS: usize = 4_096;

/// One bucket for each network, or for a few of them.
#[derive(Debug)]
pub(crate) struct NetworkBuckets {
    buckets: Vec<TokenBucket>,
    hasher: RandomState,
}

impl NetworkBuckets {
    pub(crate) fn new(config: TokenBucketConfig, now: Instant) -> Self {
        Self {
            buckets: (0..BUCKETS)
                .map(|_| TokenBucket::new(config, now))
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// Takes a token of `network`. Returns `false` if it has none. `None` is exempt.
    pub(crate) fn try_take(&mut self, network: Network, now: Instant) -> bool {
        let Some(ip) = network else {
            return true;
        };
        let buckets = u64::try_from(self.buckets.len()).unwrap_or(1).max(1);
        let at = usize::try_from(self.hasher.hash_one(ip) % buckets).unwrap_or_default();
        self.buckets
            .get_mut(at)
            .is_some_and(|bucket| bucket.try_take(now))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use super::*;

    #[test]
    fn one_network_cannot_empty_the_buckets_of_others() {
        let one = TokenBucketConfig {
            burst: 1,
            refill: Duration::from_secs(1),
        };
        let start = Instant::now();
        let mut buckets = NetworkBuckets::new(one, start);
        let ip = |last| Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        assert!(buckets.try_take(ip(0), start));
        assert!(!buckets.try_take(ip(0), start));
        assert!(buckets.try_take(None, start) && buckets.try_take(None, start));
        let served = (1..=100).filter(|last| buckets.try_take(ip(*last), start));
        assert!(served.count() >= 80, "few networks share a bucket");
        assert!(buckets.try_take(ip(0), start + Duration::from_secs(1)));
        assert_eq!(buckets.buckets.len(), BUCKETS);
    }
}
