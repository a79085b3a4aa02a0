//! What a page may look at: the status, peers, one's own readings, side branches, the rules on any block. Changes
//! nothing.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
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

use super::{Machine, journal::id_of};
use crate::config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN, STARTING};

/// Where a peer stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Just started; peers are being looked for.
    Starting,
    /// Peers have more than we do, or have not said yet.
    Syncing,
    /// As far as every connected peer.
    Synced,
    /// No peer is connected: readings are kept and will be shared.
    Alone,
}

/// What a page shows of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The best tip.
    pub tip: BlockHash,
    /// Its height.
    pub index: u64,
    /// The height of the branch that is being fetched, if one is.
    pub target_index: Option<u64>,
    /// The best branch's work.
    pub total_work: Work,
    /// Readings that wait for a block.
    pub mempool: usize,
    /// Where this peer stands.
    pub state: State,
    /// The median of the peers' clocks minus ours, ms, if at least three are known.
    pub clock_offset_ms: Option<i64>,
    /// Blocks on disk that are ahead of the clock, if there are any: they join the branch when their time comes.
    pub held_back: Option<HeldBack>,
}

/// Blocks that wait for the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// How many.
    pub blocks: usize,
    /// When the first of them is due, by this computer's clock.
    pub until: UnixMillis,
}

/// What a page shows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView<P> {
    /// Who.
    pub peer: P,
    /// Its height, if it has said.
    pub index: Option<u64>,
}

/// How much a machine holds of what is bounded: for tests of the bounds, and for the curious.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Peers it keeps account of.
    pub peers: usize,
    /// Requests that wait for an answer.
    pub open_requests: usize,
    /// Peers' requests that wait for storage.
    pub open_reads: usize,
    /// Gossiped blocks held until they can be judged.
    pub held_blocks: usize,
    /// Header syncs under way.
    pub header_syncs: usize,
    /// Headers whose bodies are not here.
    pub bodiless_blocks: usize,
    /// Blocks off the best branch.
    pub side_blocks: usize,
    /// Readings in them.
    pub side_readings: usize,
    /// Readings that wait for a block.
    pub mempool: usize,
    /// Readings whose place the best branch gave to another.
    pub aside: usize,
    /// Changes that are not on disk yet.
    pub unwritten: usize,
    /// Blocks that left the best branch and whose readings are looked after.
    pub recovery: usize,
    /// Bodies that the disk lost and that are to be fetched again.
    pub lost: usize,
    /// Entries of one's own journal.
    pub journal: usize,
    /// Readings taken over from other tabs of this computer.
    pub adopted: usize,
}

/// What became of a reading that was recorded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnReading {
    /// Its id.
    pub id: ReadingId,
    /// Its place in the count of the key that signed it.
    pub seq: u64,
    /// This computer's wall clock when it was recorded.
    pub time: UnixMillis,
    /// The heart rate.
    pub bpm: Bpm,
    /// The height of the best branch's block that has it; `None`: it waits for one.
    pub index: Option<u64>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// What a page shows of this machine.
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

    /// What a page shows of the connected peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<P>> {
        self.peers.iter().map(|(&peer, known)| PeerView {
            peer,
            index: known.status.map(|status| status.index),
        })
    }

    /// The hash of the best branch's block at this height.
    #[must_use]
    pub fn best_hash(&self, index: u64) -> Option<BlockHash> {
        self.tree.best_hash(index)
    }

    /// The header of a block that is kept.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.tree.header(hash)
    }

    /// The body of a block that storage may not give yet, because it is on its way there or its write failed.
    #[must_use]
    pub fn unwritten_body(&self, hash: &BlockHash) -> Option<&[Reading]> {
        self.unwritten.body(hash)
    }

    /// Readings that wait for a block.
    pub fn pending(&self) -> impl Iterator<Item = &Reading> {
        self.mempool.iter()
    }

    /// The key that signs what is recorded here.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.journal.author()
    }

    /// The room.
    #[must_use]
    pub const fn room(&self) -> &Room {
        self.tree.room()
    }

    /// How much it holds of what is bounded.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            peers: self.peers.len(),
            open_requests: self.requests.len(),
            open_reads: self.answers.len(),
            held_blocks: self.held.len(),
            header_syncs: self.header_syncs.len(),
            bodiless_blocks: self.tree.bodiless_blocks(),
            side_blocks: self.tree.side_blocks(),
            side_readings: self.side_readings(),
            mempool: self.mempool.len(),
            aside: self.mempool.aside(),
            unwritten: self.unwritten.len(),
            recovery: self.recovery.len(),
            lost: self.lost.len(),
            journal: self.journal.entries() + self.recording.len(),
            adopted: self.adopted.len(),
        }
    }

    /// The readings recorded here, the newest first, at most `limit`; those whose entries are lost are left out.
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
                let id = id_of(room, author, seq, entry);
                // The branch may have given the seq to another reading by the same key.
                let linked = self.tree.linked_prefix(&author, seq) == Some(IdPrefix::from(&id));
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

    /// The heaviest branches beside the best one.
    #[must_use]
    pub fn side_branches(&self) -> Vec<SideBranch> {
        self.tree
            .side_branches(MAX_BRANCHES_SHOWN, MAX_BRANCH_BLOCKS_SHOWN)
    }

    /// The author's next place on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.tree.next_seq(author)
    }

    /// Whether this reading waits here, or is on the best branch.
    #[must_use]
    pub fn knows_reading(&self, reading: &Reading) -> bool {
        let id = reading.id(self.tree.room().id());
        let linked = self.tree.linked_prefix(&reading.author, reading.seq);
        self.mempool.contains(&id) || linked == Some(IdPrefix::from(&id))
    }

    /// What the rules for headers need to judge a block on this one, if it is known.
    #[must_use]
    pub fn window_on(&self, parent: &BlockHash) -> Option<Window> {
        self.tree.window_on(parent)
    }

    fn state(&self) -> State {
        if self.peers.is_empty() {
            return if self.now.since(self.started_at) < STARTING {
                State::Starting
            } else {
                State::Alone
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
            State::Synced
        } else {
            State::Syncing
        }
    }
}
