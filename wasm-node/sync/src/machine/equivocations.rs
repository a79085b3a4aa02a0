//! Authors that signed two readings with one seq, as far as that was told: each is told, and verified, once.

use alloc::collections::{BTreeSet, VecDeque};
use core::fmt::Debug;

use chain::key::Author;

use super::Machine;
use crate::{
    config::MAX_EQUIVOCATIONS,
    seam::{Event, Output},
};

/// What was told, the oldest first to be forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Equivocations {
    told: BTreeSet<(Author, u64)>,
    order: VecDeque<(Author, u64)>,
}

impl Equivocations {
    /// Whether this was told before.
    pub(super) fn is_told(&self, author: &Author, seq: u64) -> bool {
        self.told.contains(&(*author, seq))
    }

    /// Returns whether this is news.
    fn note(&mut self, author: Author, seq: u64) -> bool {
        if !self.told.insert((author, seq)) {
            return false;
        }
        self.order.push_back((author, seq));
        while self.order.len() > MAX_EQUIVOCATIONS {
            if let Some(oldest) = self.order.pop_front() {
                self.told.remove(&oldest);
            }
        }
        true
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Tells of an author that signed two readings with one seq, once.
    pub(super) fn tell_equivocation(&mut self, author: Author, seq: u64) {
        if self.equivocations.note(author, seq) {
            self.outputs
                .push(Output::Tell(Event::Equivocation { author, seq }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_equivocations_are_bounded() {
        let mut told = Equivocations::default();
        let author = Author::new([1; 32]);
        for seq in 0..=MAX_EQUIVOCATIONS as u64 {
            assert!(told.note(author, seq));
            assert!(!told.note(author, seq));
        }
        assert_eq!(
            (told.told.len(), told.order.len()),
            (MAX_EQUIVOCATIONS, MAX_EQUIVOCATIONS)
        );
        assert!(!told.is_told(&author, 0) && told.is_told(&author, 1));
    }
}
