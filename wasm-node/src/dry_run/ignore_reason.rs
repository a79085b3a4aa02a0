//! Why an item that breaks no rule would not be forwarded, in words.

use heartchain_chain::hash::BlockHash;

/// Why an item that breaks no rule would not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IgnoreReason {
    #[error("it is known already")]
    AlreadyKnown,
    #[error("its parent block, {parent}, is not known here")]
    UnknownParent { parent: BlockHash },
    #[error("it is ahead of the clock and would be tried again later")]
    TooEarly,
    #[error(
        "it breaks no rule, but its branch has no more work than the best one; it would be kept as a side branch"
    )]
    Lighter,
    #[error("it is on a branch that proved invalid, or too far below the tip to be kept")]
    OffTheTree,
    #[error("the chain has gone past its sequence number {seq}: the author's next is {next}")]
    Past { seq: u64, next: u64 },
    #[error("its author signed another reading with the same sequence number, {seq}")]
    Equivocation { seq: u64 },
    #[error(
        "it is not sealed with this room's key, so no member can read it; members do not forward it"
    )]
    Unreadable,
    #[error("there is no room for it among the readings that wait")]
    NoRoom,
}
