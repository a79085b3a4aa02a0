//! Test branches: valid blocks with real proof of work.

use std::collections::HashMap;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::Work,
};
use heartchain_sync::message::StatusMessage;

/// The true time at which tests begin, Unix ms.
pub(crate) const START: u64 = 1_700_000_000_000;

/// A room with the lowest possible difficulty.
pub(crate) fn room() -> Room {
    let name = RoomName::new("tests").expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

/// The key of the author with this number.
pub(crate) fn key(number: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

/// A valid reading of this author with this sequence number.
pub(crate) fn reading(author: u64, seq: u64) -> Reading {
    let time = UnixMillis::new(START + seq);
    key(author).sign(room().id(), seq, time, Bpm::new(72).expect("a heart rate"))
}

/// A branch from genesis.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    window: Window,
    pub(crate) blocks: Vec<Block>,
    pub(crate) total_work: Work,
    /// The position of each block in `blocks`.
    positions: HashMap<BlockHash, usize>,
    /// How many readings of each author the branch has.
    counts: HashMap<Author, u64>,
}

impl Branch {
    pub(crate) fn new() -> Self {
        Self {
            window: Window::genesis(&room()),
            blocks: Vec::new(),
            total_work: Work::ZERO,
            positions: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// A branch of `blocks` blocks, one second apart, each with one reading of `author`.
    pub(crate) fn of(author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        branch.grow(author, blocks);
        branch
    }

    /// A branch of `blocks` blocks, two seconds apart starting at `first`, so that each has the minimum work.
    pub(crate) fn min_difficulty(first: u64, author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        for seq in 0..blocks {
            let block = branch.mine_next(vec![reading(author, seq)], first + 2_000 * seq);
            branch.append(block);
        }
        branch
    }

    /// Appends `blocks` more blocks, one second apart, each with one reading of `author`.
    pub(crate) fn grow(&mut self, author: u64, blocks: u64) {
        for _ in 0..blocks {
            let seq = self.next_seq(author);
            self.push(vec![reading(author, seq)]);
        }
    }

    /// The branch up to and including this height.
    pub(crate) fn prefix(&self, height: usize) -> Self {
        let mut branch = Self::new();
        for block in self.blocks.iter().take(height) {
            branch.append(block.clone());
        }
        branch
    }

    /// Mines a block one second after the last one, appends it and returns it.
    pub(crate) fn push(&mut self, readings: Vec<Reading>) -> Block {
        let time = START - 10_000_000 + 1_000 * self.window.next_index();
        let block = self.mine_next(readings, time);
        self.append(block.clone());
        block
    }

    /// Mines a block with this timestamp without appending it.
    pub(crate) fn mine_next(&self, readings: Vec<Reading>, time: u64) -> Block {
        let time = UnixMillis::new(time);
        let mut header = mining::template(&self.window, self.tip(), time, &readings);
        solve(&mut header);
        Block { header, readings }
    }

    pub(crate) fn append(&mut self, block: Block) {
        let target = block.header.bits.target().expect("a target");
        self.total_work = self.total_work.saturating_add(target.work());
        self.window.push(&block.header);
        self.positions
            .insert(block.header.hash(), self.blocks.len());
        for reading in &block.readings {
            *self.counts.entry(reading.author).or_default() += 1;
        }
        self.blocks.push(block);
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.blocks
            .last()
            .map_or(room().genesis_hash(), |block| block.header.hash())
    }

    pub(crate) fn status(&self) -> StatusMessage {
        StatusMessage {
            tip: self.tip(),
            index: self.blocks.len() as u64,
            total_work: self.total_work,
            now: UnixMillis::new(START),
        }
    }

    /// The position of this block in `blocks`.
    pub(crate) fn position(&self, hash: &BlockHash) -> Option<usize> {
        self.positions.get(hash).copied()
    }

    pub(crate) fn next_seq(&self, author: u64) -> u64 {
        self.counts
            .get(&key(author).author())
            .copied()
            .unwrap_or_default()
    }
}

/// Finds a nonce for this header.
pub(crate) fn solve(header: &mut Header) {
    *header = mining::mine(*header, u32::MAX).expect("the room is easy");
}
