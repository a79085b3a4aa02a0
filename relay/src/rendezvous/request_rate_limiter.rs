//! Limits the rendezvous requests of each peer within a window of time.
//!
//! It only reports a peer that exceeds the limit; the caller disconnects it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;

use crate::{limits::Limits, table_memory::shrink};

/// Counts the requests of each peer. It has entries only for connected peers: call [`RequestRateLimiter::remove`] for
/// the others.
#[derive(Debug)]
pub(super) struct RequestRateLimiter {
    /// The start of each peer's current window, and the number of requests in it.
    counts: HashMap<PeerId, (Instant, u32)>,
    max_per_window: u32,
}

/// The peer sent too many requests and should be disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} requests within {} s", window.as_secs())]
pub(crate) struct RateLimitExceeded {
    found: u32,
    window: Duration,
}

impl RequestRateLimiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            counts: HashMap::new(),
            max_per_window: limits.rendezvous_requests_per_window,
        }
    }

    /// Records a request of `peer` at the time `now`.
    ///
    /// # Errors
    /// Fails if the request exceeds the limit.
    pub(super) fn record(&mut self, peer: PeerId, now: Instant) -> Result<(), RateLimitExceeded> {
        let window = Limits::RENDEZVOUS_REQUEST_WINDOW;
        let (start, count) = self.counts.entry(peer).or_insert((now, 0));
        if now.saturating_duration_since(*start) >= window {
            (*start, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count > self.max_per_window {
            return Err(RateLimitExceeded {
                found: *count,
                window,
            });
        }
        Ok(())
    }

    /// Removes a peer that has no connection left.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.counts.remove(peer);
        shrink(&mut self.counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_memory::max_capacity;

    #[test]
    fn flooding_peer_exceeds_the_limit() {
        let limits = Limits::default();
        let mut limiter = RequestRateLimiter::new(&limits);
        let (flooder, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        for _ in 0..limits.rendezvous_requests_per_window {
            assert_eq!(limiter.record(flooder, start), Ok(()));
        }
        assert_eq!(
            limiter.record(flooder, start),
            Err(RateLimitExceeded {
                found: limits.rendezvous_requests_per_window + 1,
                window: Limits::RENDEZVOUS_REQUEST_WINDOW,
            })
        );
        assert_eq!(limiter.record(other, start), Ok(()));
        let later = start + Limits::RENDEZVOUS_REQUEST_WINDOW;
        assert_eq!(limiter.record(flooder, later), Ok(()));
    }

    #[test]
    fn disconnected_peers_are_removed() {
        let mut limiter = RequestRateLimiter::new(&Limits::default());
        let peer = PeerId::random();
        assert_eq!(limiter.record(peer, Instant::now()), Ok(()));
        limiter.remove(&peer);
        assert!(limiter.counts.is_empty());
    }

    #[test]
    fn memory_follows_the_peers() {
        let mut limiter = RequestRateLimiter::new(&Limits::default());
        let (peers, now) = (
            Vec::from_iter((0..5_000).map(|_| PeerId::random())),
            Instant::now(),
        );
        for peer in &peers {
            assert_eq!(limiter.record(*peer, now), Ok(()));
        }
        assert!(limiter.counts.capacity() >= 5_000);
        for peer in &peers {
            limiter.remove(peer);
        }
        assert!(limiter.counts.capacity() <= max_capacity(0));
    }
}
