//! Finds idle connections: those that have not answered a ping for too long.
//!
//! It only reports them; the caller closes them.
//!
//! **Bug:** libp2p-ping 0.48.0 does not report the first of several failures in a row, and then waits up to ten seconds
//! for a new stream before it counts the second one. That is too slow for WebRTC connections, whose remote end can
//! vanish without a message. Until the connection is closed, the reservation of a peer that is gone stays valid.
//!
//! **Fix:** record the time of each connection's last ping response, and report the connection after a timeout.
//!
//! **Remove when** libp2p-ping reports the first failure, or has an option for it. The test
//! `unresponsive_peer_loses_its_reservation` in `tests/circuits.rs` must pass without this module.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;

use crate::table_memory::shrink;

/// The open connections, with the time of their last activity. The connection limits bound their number.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    last_activity: HashMap<ConnectionId, Instant>,
    timeout: Duration,
}

impl IdleTimeout {
    /// A connection without activity for `timeout` is idle.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            last_activity: HashMap::new(),
            timeout,
        }
    }

    /// Records that a connection was established or answered a ping.
    pub(crate) fn record_activity(&mut self, connection: ConnectionId, now: Instant) {
        self.last_activity.insert(connection, now);
    }

    /// Removes a connection that is closed.
    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        self.last_activity.remove(&connection);
        shrink(&mut self.last_activity);
    }

    /// Removes and returns the connections that are idle, so each is reported once.
    pub(crate) fn take_idle(&mut self, now: Instant) -> Vec<ConnectionId> {
        let timeout = self.timeout;
        let idle = self
            .last_activity
            .extract_if(|_, last_activity| now.saturating_duration_since(*last_activity) >= timeout)
            .map(|(connection, _)| connection)
            .collect();
        shrink(&mut self.last_activity);
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_memory::max_capacity;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn idle_connections_are_reported_once() {
        let mut idle_timeout = IdleTimeout::new(TIMEOUT);
        let [idle, answering, closed] = [1, 2, 3].map(ConnectionId::new_unchecked);
        let start = Instant::now();
        for connection in [idle, answering, closed] {
            idle_timeout.record_activity(connection, start);
        }
        idle_timeout.remove(closed);
        let almost = start + TIMEOUT - Duration::from_millis(1);
        assert_eq!(idle_timeout.take_idle(almost), []);
        idle_timeout.record_activity(answering, almost);
        assert_eq!(idle_timeout.take_idle(start + TIMEOUT), [idle]);
        assert_eq!(idle_timeout.take_idle(start + TIMEOUT), []);
    }

    #[test]
    fn memory_follows_the_connections() {
        let mut idle_timeout = IdleTimeout::new(TIMEOUT);
        let connections = || (0..5_000).map(ConnectionId::new_unchecked);
        let start = Instant::now();
        connections().for_each(|id| idle_timeout.record_activity(id, start));
        assert!(idle_timeout.last_activity.capacity() >= 5_000);
        connections().for_each(|id| idle_timeout.remove(id));
        assert!(idle_timeout.last_activity.capacity() <= max_capacity(0));
        connections().for_each(|id| idle_timeout.record_activity(id, start));
        assert_eq!(idle_timeout.take_idle(start + TIMEOUT).len(), 5_000);
        assert!(idle_timeout.last_activity.capacity() <= max_capacity(0));
    }
}
