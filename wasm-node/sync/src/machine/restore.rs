//! Starting again from what is on disk, a part at a time, so that the bodies of a long chain are never in memory at once.
//!
//! Bytes from disk are judged like bytes from a peer: what breaks a rule is not taken, and deleted. The best branch
//! follows from the blocks. The tip that was written only tells damage from a catch-up that was cut short: bodies come, and
//! are written, in any order, so that a block may be on disk before its parent.
//!
//! Readings alone, their fields and signatures, are not judged again: that takes points of the curve for each. A body
//! is written only once they were ([`PutBlock`](crate::StoreOperation::PutBlock)), and the header's Merkle root covers
//! whole readings, their signatures included. So a body whose root is right, under a header whose hash, links and work are right, is
//! the body that was verified, to the last byte.
//!
//! Of a long chain's settled blocks a store may give what is known of their bodies instead of these
//! ([`Stored::Known`]), under a checksum of its own. Their headers are judged here all the same, links and work; the bodies are
//! for the store to check while the machine is at work already, and one that proves damaged is told by
//! [`Input::Lost`](crate::Input::Lost). Until then the machine relies on who recorded what, and hands nothing out
//! unchecked: an answer to a peer is held against the header's Merkle root.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    block::{Block, MAX_BLOCK_READINGS, MIN_BLOCK_READINGS, check_root},
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    reading::Reading,
    room::Room,
    time::UnixMillis,
    tree::{Entry, InsertError},
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::Config,
    seam::{JournalEntry, StoreOperation},
};

/// A block whose body was checked when it was kept, and is not looked at for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBlock {
    /// The hash it was stored under.
    pub hash: BlockHash,
    /// Its header.
    pub header: Header,
    /// Who recorded what in it, in its order.
    pub entries: Vec<Entry>,
}

/// A block as a store gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// With its body, and the hash it was stored under.
    Whole(BlockHash, Block),
    /// Without.
    Known(KnownBlock),
}

impl Stored {
    /// The hash it was stored under.
    #[must_use]
    pub const fn hash(&self) -> &BlockHash {
        match self {
            Self::Whole(hash, _) => hash,
            Self::Known(block) => &block.hash,
        }
    }

    /// Its height.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Whole(_, block) => block.header.index,
            Self::Known(block) => block.header.index,
        }
    }
}

/// A machine that is being put together.
#[derive(Debug)]
pub struct Restore<P> {
    machine: Machine<P>,
    /// Keys that took over, the next one last, each with the first journal entry that it signs.
    keys: Vec<(u64, SecretKey)>,
    /// Everybody that signs for this peer, each with the first journal entry that it signs; by that.
    authors: Vec<(u64, Author)>,
    /// By their positions. They come in order.
    journal: LiteMap<u64, JournalEntry>,
    /// What the chain has of one's own readings, with their places in the journal.
    chained: Vec<(u64, JournalEntry)>,
    /// Blocks that found no place in the tree: their readings return to the mempool, then they are deleted.
    unplaced: Vec<BlockHash>,
    /// Blocks that are not what was written.
    damaged: usize,
    /// Blocks whose parent is not there.
    orphans: usize,
    /// The best tip, as it was last written.
    tip: Option<BlockHash>,
}

impl<P: Copy + Ord + Debug> Restore<P> {
    /// Begins. `first` is the first key; `keys` are those that took over from it
    /// ([`PutKey`](crate::StoreOperation::PutKey)), each with the position of the first journal entry that it signs.
    /// The rest is as in [`Machine::new`].
    #[must_use]
    pub fn new(
        config: Config,
        room: Room,
        first: SecretKey,
        keys: impl IntoIterator<Item = (u64, SecretKey)>,
        seed: [u8; 32],
        now: UnixMillis,
    ) -> Self {
        let mut keys: Vec<(u64, SecretKey)> = keys.into_iter().collect();
        keys.sort_by_key(|(from, _)| Reverse(*from));
        let successors = keys.iter().rev().map(|(from, key)| (*from, key.author()));
        let authors = [(0, first.author())].into_iter().chain(successors);
        Self {
            authors: authors.collect(),
            machine: Machine::new(config, room, first, seed, now),
            keys,
            journal: LiteMap::new(),
            chained: Vec::new(),
            unplaced: Vec::new(),
            damaged: 0,
            orphans: 0,
            tip: None,
        }
    }

    /// The journal's entries, each with its position. One that is missing between others is taken from the chain, if
    /// that has it.
    pub fn journal(&mut self, entries: impl IntoIterator<Item = (u64, JournalEntry)>) {
        self.journal.extend(entries);
    }

    fn take_keys_up_to(&mut self, position: u64) {
        while let Some((_, key)) = self.keys.pop_if(|(from, _)| *from <= position) {
            self.machine.restore_key(key);
        }
    }

    /// Whether bodies have to be given, too ([`Stored::Whole`]), because something of the journal has to be salvaged
    /// from them. To be asked when the journal was given.
    #[must_use]
    pub fn needs_bodies(&self) -> bool {
        let last = self.journal.last();
        last.is_some_and(|(last, _)| self.journal.len() as u64 <= *last)
    }

    /// The next stored blocks with the hashes they were stored under; parents before their children, by height that is.
    pub fn blocks(&mut self, blocks: impl IntoIterator<Item = (BlockHash, Block)>) {
        let blocks = blocks.into_iter();
        self.stored(blocks.map(|(hash, block)| Stored::Whole(hash, block)));
    }

    /// The same for blocks some of whose bodies are checked later.
    pub fn stored(&mut self, blocks: impl IntoIterator<Item = Stored>) {
        for block in blocks {
            let hash = *block.hash();
            if !self.place(block) {
                self.unplaced.push(hash);
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        let advance = self.machine.tree.advance();
        for (_, removed) in advance.condemned {
            self.unplaced.extend(removed);
        }
        if let Some(switch) = advance.switch {
            self.machine
                .rescue_blocks(switch.left.iter().rev().map(|moved| moved.hash).collect());
        }
    }

    /// Blocks whose readings have yet to return to the mempool.
    pub fn rescue(&mut self, hashes: impl IntoIterator<Item = BlockHash>) {
        self.machine.rescue_left(hashes);
    }

    /// The best tip, as it was last written ([`PutTip`](crate::StoreOperation::PutTip)).
    pub fn tip(&mut self, tip: Option<BlockHash>) {
        self.tip = tip;
    }

    /// How many of the blocks given so far were not what was once written: other bytes, or, below the tip that was
    /// written, without their parent. They are deleted, and peers are asked for them.
    #[must_use]
    pub fn damaged(&self) -> usize {
        let block = self.tip.and_then(|tip| self.machine.tree.block(&tip));
        if block.is_some_and(|block| block.has_body) {
            self.damaged
        } else {
            self.damaged.saturating_add(self.orphans)
        }
    }

    /// The machine. What it wants done first comes with its first input; give it a
    /// [`Tick`](crate::Input::Tick) at once.
    #[must_use]
    pub fn finish(mut self) -> Machine<P> {
        self.salvage();
        for (position, entry) in core::mem::take(&mut self.journal) {
            self.take_keys_up_to(position);
            self.machine.restore_entry(position, entry);
        }
        self.take_keys_up_to(u64::MAX);
        let machine = &mut self.machine;
        machine.lost.note_written_tip(self.tip);
        let pruned = machine.tree.prune(&[]);
        machine.rescue_blocks(pruned);
        machine.rescue_blocks(self.unplaced);
        let own = &mut machine.own;
        for key in own.former_keys.iter().chain([&own.key]) {
            let author = key.author();
            own.places.follow(author, machine.tree.heights_of(&author));
        }
        machine.look_for_foreign();
        machine.own.refill();
        self.machine
    }

    /// Fills gaps in the journal with what the chain has, on disk, too. Beyond the journal's last entry there is no
    /// gap: what the chain has there was recorded elsewhere with this key.
    fn salvage(&mut self) {
        let Some((&last, _)) = self.journal.last() else {
            return;
        };
        let chained = core::mem::take(&mut self.chained).into_iter();
        let missing: LiteMap<u64, JournalEntry> = chained
            .filter(|(position, _)| *position < last && !self.journal.contains_key(position))
            .collect();
        let operations: Vec<StoreOperation> = missing
            .iter()
            .map(|(position, entry)| StoreOperation::PutJournal(*position, *entry))
            .collect();
        self.journal.extend(missing);
        if !operations.is_empty() {
            self.machine.write(operations, false);
        }
    }

    /// Notes where a reading stands in the journal, if it is one's own.
    fn note_own(&mut self, reading: &Reading) {
        let Some(which) = self
            .authors
            .iter()
            .position(|(_, author)| *author == reading.author)
        else {
            return;
        };
        let from = |at: usize| self.authors.get(at).map(|(from, _)| *from);
        let position = from(which).unwrap_or(0).saturating_add(reading.seq);
        let ends = from(which + 1).unwrap_or(u64::MAX);
        if let (true, Ok(bpm)) = (position < ends, Bpm::new(reading.bpm)) {
            let time = reading.time;
            self.chained.push((position, JournalEntry { time, bpm }));
        }
    }

    fn place_header(&mut self, hash: BlockHash, header: &Header) -> bool {
        let machine = &mut self.machine;
        match machine.tree.insert_header(header, machine.now) {
            Ok(inserted) if inserted.hash == hash => true,
            Err(InsertError::Condemned { .. }) => false,
            // The clock may have been put back.
            Err(InsertError::Header(error)) if error.due().is_some() => false,
            Err(InsertError::UnknownParent { .. }) if header.hash() == hash => {
                self.orphans += 1;
                false
            }
            Ok(_) | Err(_) => {
                self.damaged += 1;
                false
            }
        }
    }

    fn place(&mut self, block: Stored) -> bool {
        match block {
            Stored::Whole(hash, block) => self.place_whole(hash, &block),
            Stored::Known(block) => self.place_known(block),
        }
    }

    fn place_known(&mut self, block: KnownBlock) -> bool {
        let KnownBlock {
            hash,
            header,
            entries,
        } = block;
        if !(MIN_BLOCK_READINGS..=MAX_BLOCK_READINGS).contains(&entries.len()) {
            self.damaged += 1;
            return false;
        }
        if !self.place_header(hash, &header) {
            return false;
        }
        self.machine.tree.insert_known_body(&hash, entries);
        true
    }

    fn place_whole(&mut self, hash: BlockHash, block: &Block) -> bool {
        if !self.place_header(hash, &block.header) {
            return false;
        }
        // If it is not whole the header stands all the same; an honest body can still come from a peer.
        if block.readings.is_empty() || check_root(&block.header, &block.readings).is_err() {
            self.damaged += 1;
            return false;
        }
        let machine = &mut self.machine;
        machine.tree.insert_checked_body(&hash, &block.readings);
        for reading in &block.readings {
            self.note_own(reading);
        }
        true
    }
}
