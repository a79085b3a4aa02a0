//! The state of the header sync with one peer.

use alloc::{boxed::Box, collections::VecDeque};

use heartchain_chain::{hash::BlockHash, time::MonotonicMillis};

use super::header_presync::{Checkpoint, HeaderPresync};
use crate::message::StatusMessage;

/// The header sync with one peer.
#[derive(Clone, Debug)]
pub(super) struct HeaderSync {
    /// What the peer claims about its branch. `None` if it claims nothing and only sent a block of the branch.
    pub(super) claim: Option<StatusMessage>,
    /// The last stored header and its height.
    pub(super) last: Option<(BlockHash, u64)>,
    /// Headers off the best branch that this sync has processed in its current stage.
    pub(super) side_headers: usize,
    pub(super) stage: Stage,
    /// Whether a request is open.
    pub(super) request_open: bool,
    /// Whether the headers stored so far have more work than our branch.
    pub(super) heavier: bool,
    /// The end of this sync's turn. `None` while it waits for its next turn.
    pub(super) turn_ends: Option<MonotonicMillis>,
}

/// What happens to the headers of a sync.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// They are stored as they arrive.
    Direct,
    /// Too many are stored already. The rest is verified without being stored, to find out how much work it has.
    Presync(Box<HeaderPresync>),
    /// Presync found more work than in our branch. The same headers are requested again, and stored.
    Redownload(VecDeque<Checkpoint>),
}

impl HeaderSync {
    pub(super) fn new(claim: Option<StatusMessage>, turn_ends: MonotonicMillis) -> Self {
        Self {
            claim,
            last: None,
            side_headers: 0,
            stage: Stage::Direct,
            request_open: false,
            heavier: false,
            turn_ends: Some(turn_ends),
        }
    }

    /// Whether its branch was found to have more work than ours.
    pub(super) fn is_heavier(&self) -> bool {
        self.heavier || matches!(self.stage, Stage::Redownload(_))
    }

    /// The last stored header.
    pub(super) fn last(&self) -> Option<BlockHash> {
        self.last.map(|(hash, _)| hash)
    }

    /// The last stored header of a branch that passed presync and is now downloaded again.
    pub(super) fn redownload_leaf(&self) -> Option<BlockHash> {
        match self.stage {
            Stage::Redownload(_) => self.last(),
            Stage::Direct | Stage::Presync(_) => None,
        }
    }
}
