//! The block tree and fork choice.
//!
//! The tree holds headers, their total work and, for each checked body, the author, `seq` and id prefix of every
//! reading. It never holds bodies and has no clock. A block takes a small, constant amount of memory, plus four to
//! sixteen bytes for each reading.
//!
//! Fork choice: the best branch is the one with the greatest total work whose bodies are all here and valid. On a tie
//! the branch with the lower tip hash wins.
//!
//! The signatures of a body are checked before it is added ([`check_body`](crate::block::check_body)). Whether each
//! reading has its author's next `seq` is checked here when a branch is about to become the best one, because the next
//! `seq` depends on the branch.
//!
//! # How peers can attack it
//!
//! Headers cost work, but little of it at the floor. Therefore side blocks, their readings and remembered invalid
//! hashes are bounded, and a branch is checked completely before the best branch changes.

mod body_loss;
mod confirmations;
mod early_blocks;
mod insert;
mod node;
mod paths;
mod pruning;
mod queries;
mod reorg;
mod results;
mod state;
mod window_cache;

pub use self::{
    confirmations::BURIED_BLOCKS,
    paths::MAX_LOCATOR,
    pruning::{MAX_SIDE_BLOCKS, MAX_SIDE_DEPTH, MAX_SIDE_READINGS},
    queries::SideBranch,
    reorg::MAX_INVALID,
    results::{
        Advance, BlockInfo, Entry, InsertError, Inserted, Invalidated, MovedBlock, Removed,
        SequenceError, Switch,
    },
    state::Tree,
};
pub use crate::hash::IdPrefix;
