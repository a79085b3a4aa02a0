//! Blocks with real work, made by hand.

use std::collections::HashMap;

use chain::{
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
use sync::message::StatusMessage;

/// When tests begin, Unix ms.
pub(crate) const START: u64 = 1_700_000_000_000;

/// The easiest room there is.
pub(crate) fn room() -> Room {
    let name = RoomName::new("tests").expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

/// An author's key.
pub(crate) fn key(number: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

/// A valid reading.
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
    /// Where each block stands in `blocks`.
    places: HashMap<BlockHash, usize>,
    /// How many readings of each author it has.
    counts: HashMap<Author, u64>,
}

impl Branch {
    pub(crate) fn new() -> Self {
        Self {
            window: Window::genesis(&room()),
            blocks: Vec::new(),
            total_work: Work::ZERO,
            places: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// So many blocks, a second apart, each with one reading of `author`.
    pub(crate) fn of(author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        branch.grow(author, blocks);
        branch
    }

    /// The same, two seconds apart from `first` on, so that each has the least work there is.
    pub(crate) fn calm(first: u64, author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        for seq in 0..blocks {
            let block = branch.next(vec![reading(author, seq)], first + 2_000 * seq);
            branch.take(block);
        }
        branch
    }

    /// The same for more blocks on this branch.
    pub(crate) fn grow(&mut self, author: u64, blocks: u64) {
        for _ in 0..blocks {
            let seq = self.next_seq(author);
            self.push(vec![reading(author, seq)]);
        }
    }

    /// The branch up to and with this height.
    pub(crate) fn up_to(&self, height: usize) -> Self {
        let mut branch = Self::new();
        for block in self.blocks.iter().take(height) {
            branch.take(block.clone());
        }
        branch
    }

    /// Mines a block, a second after the last one; returns it.
    pub(crate) fn push(&mut self, readings: Vec<Reading>) -> Block {
        let time = START - 10_000_000 + 1_000 * self.window.next_index();
        let block = self.next(readings, time);
        self.take(block.clone());
        block
    }

    /// Mines a block of this time, without taking it in.
    pub(crate) fn next(&self, readings: Vec<Reading>, time: u64) -> Block {
        let time = UnixMillis::new(time);
        let mut header = mining::template(&self.window, self.tip(), time, &readings);
        work(&mut header);
        Block { header, readings }
    }

    pub(crate) fn take(&mut self, block: Block) {
        let target = block.header.bits.target().expect("a target");
        self.total_work = self.total_work.saturating_add(target.work());
        self.window.push(&block.header);
        self.places.insert(block.header.hash(), self.blocks.len());
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

    /// Where this block stands in `blocks`.
    pub(crate) fn place(&self, hash: &BlockHash) -> Option<usize> {
        self.places.get(hash).copied()
    }

    pub(crate) fn next_seq(&self, author: u64) -> u64 {
        self.counts
            .get(&key(author).author())
            .copied()
            .unwrap_or_default()
    }
}

/// Finds a nonce.
pub(crate) fn work(header: &mut Header) {
    *header = mining::mine(*header, u32::MAX).expect("the room is easy");
}
