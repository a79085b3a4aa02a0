//! Counts what each peer registers, so that one that registers without end can be told from one that renews;
//! it disconnects nobody itself.
//!
//! The rendezvous library bounds how many registrations are in force, but keeps a replaced one in memory until
//! it expires, and bounds no registration's size but by its 1 MiB a message.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;

use crate::Limits;

/// What a peer registered lately. It holds connected peers only: [`RegistrationWatch::forget`] the others.
#[derive(Debug)]
pub(crate) struct RegistrationWatch {
    /// Start of the window, and registrations in it.
    counts: HashMap<PeerId, (Instant, u32)>,
    most_in_window: u32,
    most_addresses: usize,
    window: Duration,
}

/// Why a peer should be let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Excess {
    #[error("{found} registrations within {} s", window.as_secs())]
    TooMany { found: u32, window: Duration },
    #[error("a registration with {found} addresses")]
    TooLarge { found: usize },
}

impl RegistrationWatch {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            counts: HashMap::new(),
            most_in_window: limits.registrations_per_window,
            most_addresses: limits.addresses_per_registration,
            window: Limits::REGISTRATION_WINDOW,
        }
    }

    /// `peer` registered a record of so many addresses at `now`.
    pub(crate) fn registered(
        &mut self,
        peer: PeerId,
        addresses: usize,
        now: Instant,
    ) -> Result<(), Excess> {
        let (start, count) = self.counts.entry(peer).or_insert((now, 0));
        if now.saturating_duration_since(*start) >= self.window {
            (*start, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count > self.most_in_window {
            return Err(Excess::TooMany {
                found: *count,
                window: self.window,
            });
        }
        if addresses > self.most_addresses {
            return Err(Excess::TooLarge { found: addresses });
        }
        Ok(())
    }

    /// `peer` has no connection any more.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.counts.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewing_is_fine_and_flooding_is_not() {
        let limits = Limits::default();
        let mut watch = RegistrationWatch::new(&limits);
        let (flooder, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        for _ in 0..limits.registrations_per_window {
            assert_eq!(watch.registered(flooder, 2, start), Ok(()));
        }
        assert_eq!(
            watch.registered(flooder, 2, start),
            Err(Excess::TooMany {
                found: limits.registrations_per_window + 1,
                window: Limits::REGISTRATION_WINDOW,
            })
        );
        assert_eq!(watch.registered(other, 2, start), Ok(()));
        let later = start + Limits::REGISTRATION_WINDOW;
        assert_eq!(watch.registered(flooder, 2, later), Ok(()));
    }

    #[test]
    fn number_of_addresses_is_bounded() {
        let limits = Limits::default();
        let mut watch = RegistrationWatch::new(&limits);
        let most = limits.addresses_per_registration;
        let (peer, now) = (PeerId::random(), Instant::now());
        assert_eq!(watch.registered(peer, most, now), Ok(()));
        assert_eq!(
            watch.registered(peer, most + 1, now),
            Err(Excess::TooLarge { found: most + 1 })
        );
    }

    #[test]
    fn peers_that_left_are_forgotten() {
        let mut watch = RegistrationWatch::new(&Limits::default());
        let peer = PeerId::random();
        assert_eq!(watch.registered(peer, 1, Instant::now()), Ok(()));
        watch.forget(&peer);
        assert!(watch.counts.is_empty());
    }
}
