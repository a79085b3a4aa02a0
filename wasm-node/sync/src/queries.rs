//! Read-only queries for a page: status, peers, our readings, side branches, and header rules for any block.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    profile::Profile,
    reading::Reading,
    room::Room,
    tree::{IdPrefix, SideBranch},
};

use crate::{
    config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN, STARTING},
    io::JournalEntry,
    machine::{Machine, entry_reading_id},
    views::{HeldBack, Load, NameView, OwnReading, PeerView, Status, SyncState},
};

impl<P: Copy + Ord + Debug> Machine<P> {
    /// The machine's status, for display.
    #[must_use]
    pub fn status(&self) -> Status {
        let tip = self.parts.ctx.tree.tip();
        Status {
            tip: tip.hash,
            index: tip.index,
            target_index: self.parts.bodies.target_index(),
            total_work: tip.total_work,
            mempool: self.parts.ctx.mempool.len(),
            state: self.state(),
            clock_offset_ms: self.parts.ctx.clock.offset(),
            held_back: self.held_back(),
        }
    }

    fn held_back(&self) -> Option<HeldBack> {
        let blocks = self.parts.ctx.tree.held_back_blocks();
        let until = self
            .parts
            .ctx
            .tree
            .held_back_until()
            .filter(|_| blocks > 0)?;
        Some(HeldBack { blocks, until })
    }

    /// The connected peers, for display.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<P>> {
        self.parts.ctx.peers.iter().map(|(peer, state)| PeerView {
            peer,
            index: state.status().map(|status| status.index),
            author: state.identity().author(),
        })
    }

    /// The hash of the best branch's block at this height.
    #[must_use]
    pub fn best_hash(&self, index: u64) -> Option<BlockHash> {
        self.parts.ctx.tree.best_hash(index)
    }

    /// The header of a block in the tree.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.parts.ctx.tree.header(hash)
    }

    /// The body of a block that storage may not have yet, because its write is in progress or failed.
    #[must_use]
    pub fn unwritten_body(&self, hash: &BlockHash) -> Option<&[Reading]> {
        self.parts.ctx.writes.body(hash)
    }

    /// The names that authors of the room show, as far as they are known and not erased.
    pub fn names(&self) -> impl Iterator<Item = NameView<'_>> {
        let names = self.parts.profiles.names();
        names.map(|(profile, name)| NameView {
            author: profile.author,
            name: name.as_str(),
            revision: profile.revision,
        })
    }

    /// All known profiles as they were signed, in the order of their authors. They include erased names.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.parts.profiles.iter()
    }

    /// Readings that are not in a block yet.
    pub fn pending(&self) -> impl Iterator<Item = &Reading> {
        self.parts.ctx.mempool.iter()
    }

    /// The public key that signs what is recorded here.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.parts.recorder.author()
    }

    /// The room that this peer takes part in.
    #[must_use]
    pub const fn room(&self) -> &Room {
        self.parts.ctx.tree.room()
    }

    /// How much the machine holds of everything that is bounded.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            peers: self.parts.ctx.peers.len(),
            open_requests: self.parts.ctx.peers.open_requests(),
            open_reads: self.parts.answers.open_reads(),
            orphans: self.parts.gossip.orphans(),
            header_syncs: self.parts.headers.len(),
            bodiless_blocks: self.parts.ctx.tree.bodiless_blocks(),
            side_blocks: self.parts.ctx.tree.side_blocks(),
            side_readings: self.parts.bodies.side_readings(&self.parts.ctx),
            mempool: self.parts.ctx.mempool.len(),
            displaced: self.parts.ctx.mempool.displaced_len(),
            unwritten: self.parts.ctx.writes.len(),
            recovery: self.parts.recovery.len(),
            missing_bodies: self.parts.ctx.lost_bodies.len(),
            journal: self.parts.recorder.len(),
            adopted: self.parts.adopted.len(),
            profiles: self.parts.profiles.len(),
            unwritten_profiles: self.parts.profiles.unwritten(),
        }
    }

    /// At most `limit` readings recorded here, newest first. Lost entries are left out.
    #[must_use]
    pub fn own_readings(&self, limit: usize) -> Vec<OwnReading> {
        let room = self.parts.ctx.tree.room();
        let journal = self.parts.recorder.journal();
        journal
            .newest_first()
            .filter_map(|(_, position)| {
                let era = journal.era_of(position)?;
                let entry = journal.entry(position)?;
                let (author, seq) = (era.author, position - era.from);
                let id = entry_reading_id(room, author, seq, entry)?;
                // The branch may have another reading by the same key with this sequence number.
                let linked =
                    self.parts.ctx.tree.best_prefix(&author, seq) == Some(IdPrefix::from(&id));
                Some(OwnReading {
                    id,
                    seq,
                    time: entry.time,
                    bpm: entry.bpm,
                    index: linked.then(|| journal.height(&author, seq)).flatten(),
                })
            })
            .take(limit)
            .collect()
    }

    /// The heaviest side branches.
    #[must_use]
    pub fn side_branches(&self) -> Vec<SideBranch> {
        self.parts
            .ctx
            .tree
            .side_branches(MAX_BRANCHES_SHOWN, MAX_BRANCH_BLOCKS_SHOWN)
    }

    /// The author's next sequence number on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.parts.ctx.tree.next_seq(author)
    }

    /// Whether this reading can be read here, or this peer does not have the key of its private room, and cannot tell. Only such
    /// unconfirmed readings are kept, forwarded and mined.
    #[must_use]
    pub fn is_readable(&self, reading: &Reading) -> bool {
        self.parts.ctx.is_readable(reading)
    }

    /// Whether this reading is pending or on the best branch.
    #[must_use]
    pub fn contains_reading(&self, reading: &Reading) -> bool {
        self.parts.ctx.contains_reading(reading)
    }

    /// The data that the header rules need to check a child of this block, if the block is known.
    #[must_use]
    pub fn header_window(&self, parent: &BlockHash) -> Option<Window> {
        self.parts.ctx.tree.header_window(parent)
    }

    fn state(&self) -> SyncState {
        let peers = &self.parts.ctx.peers;
        if peers.is_empty() {
            return if self.parts.ctx.now() < self.parts.ctx.clock.after_start(STARTING) {
                SyncState::Starting
            } else {
                SyncState::Alone
            };
        }
        let has_heard = peers.statuses().next().is_some();
        let mut statuses = peers.statuses();
        let is_behind = self.parts.bodies.target_index().is_some()
            || self.parts.headers.len() > 0
            || statuses.any(|(_, status)| self.parts.ctx.is_better(&status));
        if has_heard && !is_behind {
            SyncState::Synced
        } else {
            SyncState::Syncing
        }
    }

    /// How many entries this peer's journal has, including lost ones.
    #[must_use]
    pub fn journal_len(&self) -> u64 {
        self.parts.recorder.journal().len()
    }

    /// The keys that sign here, oldest first, each with the position of the first journal entry that it signs.
    #[must_use]
    pub fn signing_keys(&self) -> Vec<(u64, SecretKey)> {
        let eras = self.parts.recorder.journal().eras();
        eras.map(|era| (era.from, era.key.clone())).collect()
    }

    /// The journal entry at this position; `None` if it is lost, or was not recorded yet.
    #[must_use]
    pub fn journal_entry(&self, position: u64) -> Option<JournalEntry> {
        self.parts.recorder.journal().stored_entry(position)
    }

    /// At most `limit` of our entries that the confirmed part of the best branch lacks, with their positions.
    #[must_use]
    pub fn unconfirmed_own_entries(&self, limit: usize) -> Vec<(u64, JournalEntry)> {
        let journal = self.parts.recorder.journal();
        let mut found = Vec::new();
        for era in journal.eras() {
            let settled = self.parts.ctx.tree.confirmed_seq(&era.author);
            let first = era.from.saturating_add(settled);
            let contested = journal.contested_below(era, first);
            for position in contested.into_iter().chain(first..era.until) {
                if found.len() >= limit {
                    return found;
                }
                if let Some(entry) = journal.stored_entry(position)
                    && journal.is_current(position)
                {
                    found.push((position, entry));
                }
            }
        }
        found
    }
}
