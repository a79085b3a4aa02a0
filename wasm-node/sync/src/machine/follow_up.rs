//! What one part of the machine asks of the others. A part leaves a value in the context; `parts` passes it on when the part
//! returns.

use alloc::{boxed::Box, vec::Vec};

use heartchain_chain::{hash::BlockHash, key::Author, profile::Profile, tree::Switch};

use super::requests::RequestKind;
use crate::{io::StoreOperation, message::StatusMessage};

/// Something that happened in one part and concerns others. `Parts::follow_up` runs them in the order in which they were left.
///
/// Blocks that leave the best branch are protected when [`FollowUp::Switched`] is run. Until then no further blocks may leave, and no
/// side block may be pruned, so a part leaves one `Switched` at a time and nothing that [may prune](FollowUp::may_prune) before it.
#[derive(Clone, Debug)]
pub(crate) enum FollowUp<P> {
    /// A tracked peer is gone. Its open requests will not be answered.
    PeerGone { peer: P, requests: Vec<RequestKind> },
    /// A peer sent its Status.
    Status { peer: P, status: StatusMessage },
    /// A peer sent a block off all known branches, so its headers are wanted whatever it claims.
    WantHeaders(P),
    /// New headers are in the tree.
    NewHeaders,
    /// A peer sent headers of a branch with more work than ours.
    BetterHeaders(P),
    /// Verified bodies are in the tree and go to the disk.
    StoreBodies(Vec<StoreOperation>),
    /// Another branch may be the best one now.
    Advance,
    /// The best branch changed. The tree and the mempool have followed it. `announce` says that gossip does not tell peers about
    /// the new tip.
    Switched { switch: Box<Switch>, announce: bool },
    /// These blocks left the tree.
    Delete(Vec<BlockHash>),
    /// Side blocks may be too many or too deep.
    Prune,
    /// A confirmed block is ahead of the clock and leaves the best branch for now.
    ConfirmedHeldBack(BlockHash),
    /// Blocks that were held back are due, and are on their branches again.
    Released,
    /// The wall clock jumped relative to the monotonic one.
    ClockJumped { back: bool },
    /// An author signed two readings with the same sequence number.
    Equivocation { author: Author, seq: u64 },
    /// The mempool may lack readings recorded on this computer.
    RefillMempool,
    /// The last piece of a file was imported, or an error ended the import.
    ImportEnded,
    /// A file has these profiles, whose signatures were checked.
    ImportedProfiles(Vec<Profile>),
}

impl<P> FollowUp<P> {
    /// Whether side blocks may be pruned when this is run.
    pub(super) const fn may_prune(&self) -> bool {
        match self {
            Self::PeerGone { .. } | Self::Switched { .. } | Self::Prune | Self::ImportEnded => true,
            Self::Status { .. }
            | Self::WantHeaders(_)
            | Self::NewHeaders
            | Self::BetterHeaders(_)
            | Self::StoreBodies(_)
            | Self::Advance
            | Self::Delete(_)
            | Self::ConfirmedHeldBack(_)
            | Self::Released
            | Self::ClockJumped { .. }
            | Self::Equivocation { .. }
            | Self::RefillMempool
            | Self::ImportedProfiles(_) => false,
        }
    }
}
