//! Authors that signed two readings with the same sequence number. Each case is verified and reported once.

use alloc::collections::{BTreeSet, VecDeque};
use core::fmt::Debug;

use heartchain_chain::key::Author;

use super::Machine;
use crate::{
    config::MAX_EQUIVOCATIONS,
    io::{Event, Output},
};

/// Reported equivocations. The oldest is forgotten first.
#[derive(Clone, Debug, Default)]
pub(super) struct Equivocations {
    reported: BTreeSet<(Author, u64)>,
    order: VecDeque<(Author, u64)>,
}

impl Equivocations {
    /// Whether this equivocation was reported before.
    pub(super) fn is_reported(&self, author: &Author, seq: u64) -> bool {
        self.reported.contains(&(*author, seq))
    }

    /// Adds an equivocation. Returns whether it is new.
    fn insert(&mut self, author: Author, seq: u64) -> bool {
        if !self.reported.insert((author, seq)) {
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

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Reports an author that signed two readings with the same sequence number, once.
    pub(super) fn emit_equivocation(&mut self, author: Author, seq: u64) {
        if self.equivocations.insert(author, seq) {
            self.outputs
                .push(Output::Emit(Event::Equivocation { author, seq }));
        }
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
