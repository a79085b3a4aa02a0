//! Authors that signed two readings with the same sequence number. Each case is verified and reported once.

use alloc::collections::VecDeque;

use heartchain_chain::{key::Author, mempool::MempoolError, reading::Reading};
use litemap::LiteMap;

use crate::config::MAX_EQUIVOCATIONS;

/// Reported equivocations. The oldest is forgotten first.
#[derive(Clone, Debug, Default)]
pub(super) struct Equivocations {
    reported: LiteMap<(Author, u64), ()>,
    order: VecDeque<(Author, u64)>,
}

impl Equivocations {
    /// Whether the mempool would accept a reading, or the reading would prove an equivocation that was not
    /// reported yet.
    pub(super) fn is_worth_verifying(
        &self,
        reading: &Reading,
        checked: Result<(), MempoolError>,
    ) -> bool {
        match checked {
            Ok(()) => true,
            Err(MempoolError::Equivocation { seq, .. }) => !self.is_reported(&reading.author, seq),
            Err(_) => false,
        }
    }

    fn is_reported(&self, author: &Author, seq: u64) -> bool {
        self.reported.contains_key(&(*author, seq))
    }

    /// Adds an equivocation. Returns whether it is new.
    pub(super) fn insert(&mut self, author: Author, seq: u64) -> bool {
        if self.reported.insert((author, seq), ()).is_some() {
            return false;
        }
        self.order.push_back((author, seq));
        while self.order.len() > MAX_EQUIVOCATIONS {
            if let Some(oldest) = self.order.pop_front() {
                self.reported.remove(&oldest);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_equivocations_are_bounded() {
        let mut reported = Equivocations::default();
        let author = Author::new([1; 32]);
        for seq in 0..=MAX_EQUIVOCATIONS as u64 {
            assert!(reported.insert(author, seq));
            assert!(!reported.insert(author, seq));
        }
        assert_eq!(
            (reported.reported.len(), reported.order.len()),
            (MAX_EQUIVOCATIONS, MAX_EQUIVOCATIONS)
        );
        assert!(!reported.is_reported(&author, 0) && reported.is_reported(&author, 1));
    }
}
