//! What peers prove about themselves, and what this one does.

use alloc::vec::Vec;

use heartchain_chain::{binding::Binding, key::Author, time::MonotonicMillis};

use crate::config::BINDING_INTERVAL;

/// What a peer proves about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerIdentity {
    /// The binding in its last Status that was checked, and when.
    checked: Option<(Option<Binding>, MonotonicMillis)>,
    author: Option<Author>,
}

impl PeerIdentity {
    /// The author that it acts for, if it has proved it.
    pub(crate) const fn author(&self) -> Option<Author> {
        self.author
    }

    /// The result of checking a binding.
    pub(super) const fn new(
        binding: Option<Binding>,
        now: MonotonicMillis,
        author: Option<Author>,
    ) -> Self {
        Self {
            checked: Some((binding, now)),
            author,
        }
    }

    /// Whether this binding has to be checked now. Bindings rarely change, so each peer gets one check in a while.
    pub(super) fn must_check(&self, binding: Option<Binding>, now: MonotonicMillis) -> bool {
        match self.checked {
            None => true,
            Some((checked, at)) => checked != binding && now.since(at) >= BINDING_INTERVAL,
        }
    }
}

/// The peer ID of this machine, and how IDs are written as bytes.
#[derive(Clone, Debug)]
pub(super) struct OwnIdentity<P> {
    pub(super) own: P,
    pub(super) to_bytes: fn(&P) -> Vec<u8>,
    /// The proof for others that it acts for its author.
    pub(super) binding: Option<Binding>,
}
