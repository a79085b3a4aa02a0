//! Counts what each peer asks, so that one that asks without end can be told from one that lives on; it disconnects
//! nobody itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;

use crate::Limits;

/// What a peer asked lately. It holds connected peers only: [`Askers::forget`] the others.
#[derive(Debug)]
pub(super) struct Askers {
    /// Start of the window, and questions in it.
    counts: HashMap<PeerId, (Instant, u32)>,
    most_in_window: u32,
}

/// Why a peer should be let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} questions within {} s", window.as_secs())]
pub(crate) struct Excess {
    found: u32,
    window: Duration,
}

impl Askers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            counts: HashMap::new(),
            most_in_window: limits.questions_per_window,
        }
    }

    /// `peer` asked something at `now`.
    ///
    /// # Errors
    /// If that is one too many.
    pub(super) fn asked(&mut self, peer: PeerId, now: Instant) -> Result<(), Excess> {
        let window = Limits::QUESTION_WINDOW;
        let (start, count) = self.counts.entry(peer).or_insert((now, 0));
        if now.saturating_duration_since(*start) >= window {
            (*start, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count > self.most_in_window {
            return Err(Excess {
                found: *count,
                window,
            });
        }
        Ok(())
    }

    /// `peer` has no connection any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.counts.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_now_and_then_is_fine_and_flooding_is_not() {
        let limits = Limits::default();
        let mut askers = Askers::new(&limits);
        let (flooder, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        for _ in 0..limits.questions_per_window {
            assert_eq!(askers.asked(flooder, start), Ok(()));
        }
        assert_eq!(
            askers.asked(flooder, start),
            Err(Excess {
                found: limits.questions_per_window + 1,
                window: Limits::QUESTION_WINDOW,
            })
        );
        assert_eq!(askers.asked(other, start), Ok(()));
        let later = start + Limits::QUESTION_WINDOW;
        assert_eq!(askers.asked(flooder, later), Ok(()));
    }

    #[test]
    fn peers_that_left_are_forgotten() {
        let mut askers = Askers::new(&Limits::default());
        let peer = PeerId::random();
        assert_eq!(askers.asked(peer, Instant::now()), Ok(()));
        askers.forget(&peer);
        assert!(askers.counts.is_empty());
    }
}
