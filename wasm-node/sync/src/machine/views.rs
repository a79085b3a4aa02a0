//! Read-only views for a page: status, peers, our readings, side branches, and header rules for any block.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    bpm::Bpm,
    difficulty::Window,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::Author,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    tree::{IdPrefix, SideBranch},
    work::Work,
};

use super::{Machine, journal::entry_reading_id};
use crate::config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN, STARTING};

/// The overall state of a peer, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Just started, and looking for peers.
    Starting,
    /// Peers have a better branch, or have not sent their Status yet.
    Syncing,
    /// No connected peer has a better branch.
    Synced,
    /// No peer is connected. Readings are kept, and will be shared.
    Alone,
}

/// The status of a machine, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The hash of the best tip.
    pub tip: BlockHash,
    /// The height of the best tip.
    pub index: u64,
    /// The height of the branch being fetched, if there is one.
    pub target_index: Option<u64>,
    /// The total work of the best branch.
    pub total_work: Work,
    /// Readings that are not in a block yet.
    pub mempool: usize,
    /// The overall state of this peer.
    pub state: SyncState,
    /// The median of the peers' clocks minus ours in ms, if at least three are known.
    pub clock_offset_ms: Option<i64>,
    /// StoredBlock blocks that are ahead of the clock, if there are any. They join the best branch when they are due.
    pub held_back: Option<HeldBack>,
}

/// Blocks that are ahead of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// How many blocks are held back.
    pub blocks: usize,
    /// When the first of them is due by this computer's clock.
    pub until: UnixMillis,
}

/// A connected peer, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView<P> {
    /// The ID of the peer.
    pub peer: P,
    /// The height of its best tip, once it has sent its Status.
    pub index: Option<u64>,
}

/// How much a machine holds of everything that is bounded, for tests of the bounds and for diagnostics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connected peers that are tracked.
    pub peers: usize,
    /// Our requests without an answer so far.
    pub open_requests: usize,
    /// Peers' requests that wait for storage.
    pub open_reads: usize,
    /// Gossiped blocks that wait for a parent or for the clock.
    pub orphans: usize,
    /// Header syncs in progress.
    pub header_syncs: usize,
    /// Headers whose bodies are missing.
    pub bodiless_blocks: usize,
    /// Blocks off the best branch.
    pub side_blocks: usize,
    /// Readings in side blocks.
    pub side_readings: usize,
    /// Readings that are not in a block yet.
    pub mempool: usize,
    /// Readings whose sequence number the best branch gave to another reading.
    pub displaced: usize,
    /// Changes that are not on disk yet.
    pub unwritten: usize,
    /// Blocks that left the best branch and whose readings are being recovered.
    pub recovery: usize,
    /// Bodies that the disk lost and that are fetched again.
    pub missing_bodies: usize,
    /// Entries of the local journal.
    pub journal: usize,
    /// Readings adopted from other tabs of this computer.
    pub adopted: usize,
}

/// A reading that was recorded here, and where it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnReading {
    /// The ID of the reading.
    pub id: ReadingId,
    /// Its sequence number for the key that signed it.
    pub seq: u64,
    /// The time on this computer's wall clock when it was recorded.
    pub time: UnixMillis,
    /// The heart rate in beats per minute.
    pub bpm: Bpm,
    /// The height of its block on the best branch; `None` while it waits for one.
    pub index: Option<u64>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// The machine's status, for display.
    #[must_use]
    pub fn status(&self) -> Status {
        let tip = self.tree.tip();
        Status {
            tip: tip.hash,
            index: tip.index,
            target_index: self.download.target_index(),
            total_work: tip.total_work,
            mempool: self.mempool.len(),
            state: self.state(),
            clock_offset_ms: self.clock_offset(),
            held_back: self.held_back(),
        }
    }

    fn held_back(&self) -> Option<HeldBack> {
        let blocks = self.tree.held_back_blocks();
        let until = self.tree.held_back_until().filter(|_| blocks > 0)?;
        Some(HeldBack { blocks, until })
    }

    /// The connected peers, for display.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<P>> {
        self.peers.iter().map(|(&peer, state)| PeerView {
            peer,
            index: state.status.map(|status| status.index),
        })
    }

    /// The hash of the best branch's block at this height.
    #[must_use]
    pub fn best_hash(&self, index: u64) -> Option<BlockHash> {
        self.tree.best_hash(index)
    }

    /// The header of a block in the tree.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.tree.header(hash)
    }

    /// The body of a block that storage may not have yet, because its write is in progress or failed.
    #[must_use]
    pub fn unwritten_body(&self, hash: &BlockHash) -> Option<&[Reading]> {
        self.unwritten.body(hash)
    }

    /// Readings that are not in a block yet.
    pub fn pending(&self) -> impl Iterator<Item = &Reading> {
        self.mempool.iter()
    }

    /// The public key that signs what is recorded here.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.journal.author()
    }

    /// The room that this peer takes part in.
    #[must_use]
    pub const fn room(&self) -> &Room {
        self.tree.room()
    }

    /// How much the machine holds of everything that is bounded.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            peers: self.peers.len(),
            open_requests: self.requests.len(),
            open_reads: self.pending_answers.len(),
            orphans: self.orphans.len(),
            header_syncs: self.header_syncs.len(),
            bodiless_blocks: self.tree.bodiless_blocks(),
            side_blocks: self.tree.side_blocks(),
            side_readings: self.side_readings(),
            mempool: self.mempool.len(),
            displaced: self.mempool.displaced_len(),
            unwritten: self.unwritten.len(),
            recovery: self.recovery.len(),
            missing_bodies: self.missing_bodies.len(),
            journal: self.journal.entries() + self.recording.len(),
            adopted: self.adopted.len(),
        }
    }

    /// At most `limit` readings recorded here, newest first. Lost entries are left out.
    #[must_use]
    pub fn own_readings(&self, limit: usize) -> Vec<OwnReading> {
        let room = self.tree.room().id();
        let journal = &self.journal;
        journal
            .newest_first()
            .filter_map(|(_, position)| {
                let era = journal.era_of(position)?;
                let entry = journal.entry(position)?;
                let (author, seq) = (era.author, position - era.from);
                let id = entry_reading_id(room, author, seq, entry);
                // The branch may have another reading by the same key with this sequence number.
                let linked = self.tree.best_prefix(&author, seq) == Some(IdPrefix::from(&id));
                Some(OwnReading {
                    id,
                    seq,
                    time: entry.time,
                    bpm: entry.bpm,
                    index: linked
                        .then(|| journal.heights.height(&author, seq))
                        .flatten(),
                })
            })
            .take(limit)
            .collect()
    }

    /// The heaviest side branches.
    #[must_use]
    pub fn side_branches(&self) -> Vec<SideBranch> {
        self.tree
            .side_branches(MAX_BRANCHES_SHOWN, MAX_BRANCH_BLOCKS_SHOWN)
    }

    /// The author's next sequence number on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.tree.next_seq(author)
    }

    /// Whether this reading is pending or on the best branch.
    #[must_use]
    pub fn contains_reading(&self, reading: &Reading) -> bool {
        let id = reading.id(self.tree.room().id());
        let linked = self.tree.best_prefix(&reading.author, reading.seq);
        self.mempool.contains(&id) || linked == Some(IdPrefix::from(&id))
    }

    /// The data that the header rules need to check a child of this block, if the block is known.
    #[must_use]
    pub fn header_window(&self, parent: &BlockHash) -> Option<Window> {
        self.tree.header_window(parent)
    }

    fn state(&self) -> SyncState {
        if self.peers.is_empty() {
            return if self.now.since(self.started_at) < STARTING {
                SyncState::Starting
            } else {
                SyncState::Alone
            };
        }
        let heard = self.peers.values().any(|peer| peer.status.is_some());
        let behind = self.download.target_index().is_some()
            || !self.header_syncs.is_empty()
            || self
                .peers
                .values()
                .any(|peer| peer.status.is_some_and(|status| self.is_better(&status)));
        if heard && !behind {
            SyncState::Synced
        } else {
            SyncState::Syncing
        }
    }
}
