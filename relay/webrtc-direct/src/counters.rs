//! Counts what a listener does, for metrics. Never decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number of events so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the listeners of one transport have done since it was created.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// STUN requests that were answered.
    pub stun_answered: Counter,
    /// Datagrams that were ignored: malformed, with a wrong code, of an unknown version, or of an address that has not
    /// asked.
    pub ignored: Counter,
    /// Datagrams that were dropped because the task of their connection was behind.
    pub dropped: Counter,
    /// ClientHellos that were answered with a cookie.
    pub challenged: Counter,
    /// DTLS handshakes that began, because a cookie was echoed.
    pub handshakes: Counter,
    /// Connections that were refused because of [`Limits::connections`](crate::Limits::connections), its limit for each
    /// network, or [`Limits::pending_incoming`](crate::Limits::pending_incoming).
    pub refused: Counter,
    /// Handshakes whose DTLS and SCTP were completed.
    pub connected: Counter,
    /// Tasks of connections that ended, for whatever reason.
    pub ended: Counter,
    /// Tasks of connections that panicked. Always a bug, which ends one connection.
    pub panicked: Counter,
}
