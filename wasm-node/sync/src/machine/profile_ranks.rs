//! Whose profile goes first when there are more authors than profiles are kept.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use heartchain_chain::{compact_sort, hash::BlockHash, key::Author};

use super::context::Context;

/// How much an author's profile is worth keeping. Our author comes first, then those with the most readings on the best branch, then
/// those that a connected peer acts for. Peers with the same chain keep the same profiles of authors on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_own: bool,
    readings: u64,
    is_connected: bool,
    author: Reverse<Author>,
}

impl Rank {
    /// The rank of this author. `own` is our author.
    pub(super) fn of<P: Copy + Ord + Debug>(
        ctx: &Context<P>,
        own: &Author,
        author: Author,
    ) -> Self {
        let is_connected = connected(ctx).any(|connected| connected == author);
        Self::new(ctx, own, author, is_connected)
    }

    fn new<P: Copy + Ord + Debug>(
        ctx: &Context<P>,
        own: &Author,
        author: Author,
        is_connected: bool,
    ) -> Self {
        Self {
            is_own: author == *own,
            readings: ctx.tree.next_seq(&author),
            is_connected,
            author: Reverse(author),
        }
    }

    /// Whether a profile of an author with this rank may be kept.
    pub(super) const fn is_entitled(&self) -> bool {
        self.is_own || self.readings > 0 || self.is_connected
    }
}

/// The authors that connected peers act for.
fn connected<P: Copy + Ord + Debug>(ctx: &Context<P>) -> impl Iterator<Item = Author> {
    let peers = ctx.peers.iter();
    peers.filter_map(|(_, peer)| peer.identity().author())
}

/// The ranks of all authors of a table, with the tip and our author that they hold for. To find them all costs as much as a few
/// signatures, so that is done once for each tip.
#[derive(Clone, Debug, Default)]
pub(super) struct ProfileRanks {
    known: Option<((BlockHash, Author), Vec<Rank>)>,
}

impl ProfileRanks {
    /// The ranks of these authors, which are all of the table, lowest first.
    fn of<'a, P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
        own: &Author,
        authors: impl Iterator<Item = &'a Author>,
    ) -> &mut Vec<Rank> {
        let at = (ctx.tree.tip().hash, *own);
        if self.known.as_ref().is_some_and(|(known, _)| *known != at) {
            self.known = None;
        }
        let (_, ranks) = self.known.get_or_insert_with(|| {
            let mut connected: Vec<Author> = connected(ctx).collect();
            compact_sort::sort(&mut connected);
            let is_connected = |author: &Author| connected.binary_search(author).is_ok();
            let rank = |author| Rank::new(ctx, own, author, is_connected(&author));
            let mut ranks: Vec<Rank> = authors.copied().map(rank).collect();
            compact_sort::sort(&mut ranks);
            (at, ranks)
        });
        ranks
    }

    /// Whether an author of the table matters less than this one.
    pub(super) fn has_lower<'a, P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
        own: &Author,
        authors: impl Iterator<Item = &'a Author>,
        author: Author,
    ) -> bool {
        let lowest = self.of(ctx, own, authors).first();
        lowest.is_some_and(|lowest| *lowest < Rank::of(ctx, own, author))
    }

    /// Replaces the author of the table that matters least by this one. Returns the one that goes.
    pub(super) fn replace_lowest<'a, P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
        own: &Author,
        authors: impl Iterator<Item = &'a Author>,
        author: Author,
    ) -> Option<Author> {
        let ranks = self.of(ctx, own, authors);
        let evicted = (!ranks.is_empty()).then(|| ranks.remove(0));
        let rank = Rank::of(ctx, own, author);
        ranks.insert(ranks.partition_point(|other| *other < rank), rank);
        evicted.map(|rank| rank.author.0)
    }

    /// The table or the connected authors changed otherwise.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}
