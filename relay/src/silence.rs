//! Remembers when each connection last answered a ping, and names those that are silent for too long; it
//! closes none itself.
//!
//! The ping library reports a failure only after a second one in a row, and the second waits ten seconds for a
//! new stream: too long for a WebRTC connection, whose far end goes without a word.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;

/// Open connections, as many as the swarm lets in.
#[derive(Debug)]
pub(crate) struct SilenceWatch {
    heard: HashMap<ConnectionId, Instant>,
    longest: Duration,
}

impl SilenceWatch {
    /// Silence of `longest` is too long.
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            heard: HashMap::new(),
            longest,
        }
    }

    /// A connection was made, or answered a ping.
    pub(crate) fn heard(&mut self, connection: ConnectionId, now: Instant) {
        self.heard.insert(connection, now);
    }

    /// A connection is closed.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.heard.remove(&connection);
    }

    /// Connections that have been silent for too long; each is named once and then forgotten.
    pub(crate) fn take_silent(&mut self, now: Instant) -> Vec<ConnectionId> {
        let longest = self.longest;
        self.heard
            .extract_if(|_, heard| now.saturating_duration_since(*heard) >= longest)
            .map(|(connection, _)| connection)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn only_silent_connections_are_named_and_only_once() {
        let mut watch = SilenceWatch::new(LONGEST);
        let [silent, answering, closed] = [1, 2, 3].map(ConnectionId::new_unchecked);
        let start = Instant::now();
        for connection in [silent, answering, closed] {
            watch.heard(connection, start);
        }
        watch.forget(closed);
        let almost = start + LONGEST - Duration::from_millis(1);
        assert_eq!(watch.take_silent(almost), []);
        watch.heard(answering, almost);
        assert_eq!(watch.take_silent(start + LONGEST), [silent]);
        assert_eq!(watch.take_silent(start + LONGEST), []);
    }
}
