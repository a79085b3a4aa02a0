//! Builds chains: valid blocks with real proof of work, and the answers of an honest peer that has them.

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
use heartchain_sync::message::{MAX_HEADERS, Request, Response, StatusMessage};

/// The true time at which tests begin, Unix ms.
pub const START: u64 = 1_700_000_000_000;

/// A room with the lowest possible difficulty and a block every second.
#[must_use]
pub fn named_room(name: &str) -> Room {
    let name = RoomName::new(name).expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

/// The room of tests that need only one.
#[must_use]
pub fn room() -> Room {
    named_room("tests")
}

/// The key of the author with this number.
#[must_use]
pub fn key(number: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

/// A valid reading of this author in [`room`] with this sequence number.
#[must_use]
pub fn reading(author: u64, seq: u64) -> Reading {
    let time = UnixMillis::new(START + seq);
    key(author).sign(room().id(), seq, time, Bpm::new(72).expect("a heart rate"))
}

/// Finds a nonce for this header.
pub fn solve(header: &mut Header) {
    *header = mining::mine(*header, u32::MAX).expect("the room is easy");
}

/// Mines the header of a block with these readings on `parent`.
#[must_use]
pub fn mine_header(
    window: &Window,
    parent: BlockHash,
    readings: &[Reading],
    time: UnixMillis,
) -> Header {
    let mut header = mining::template(window, parent, time, readings);
    solve(&mut header);
    header
}

/// Mines a block with these readings on `parent`.
#[must_use]
pub fn mine(window: &Window, parent: BlockHash, readings: Vec<Reading>, time: UnixMillis) -> Block {
    let header = mine_header(window, parent, &readings, time);
    Block { header, readings }
}

/// Mines a block on a branch, given by its headers above genesis. `time` chooses the timestamp.
#[must_use]
pub fn mine_on(
    room: &Room,
    headers: &[Header],
    readings: Vec<Reading>,
    time: impl FnOnce(&Window) -> UnixMillis,
) -> Block {
    let genesis = core::iter::once(*room.genesis());
    let window = Window::from_headers(room, genesis.chain(headers.iter().copied()));
    let parent = headers.last().map_or(room.genesis_hash(), Header::hash);
    let time = time(&window);
    mine(&window, parent, readings, time)
}

/// A branch from genesis.
#[derive(Clone, Debug)]
pub struct Branch {
    room: Room,
    window: Window,
    /// Its blocks, without genesis.
    pub blocks: Vec<Block>,
    /// The work of all its blocks.
    pub total_work: Work,
    /// The position of each block in `blocks`.
    positions: HashMap<BlockHash, usize>,
    /// How many readings of each author it has.
    counts: HashMap<Author, u64>,
}

impl Default for Branch {
    fn default() -> Self {
        Self::new()
    }
}

impl Branch {
    /// An empty branch in [`room`].
    #[must_use]
    pub fn new() -> Self {
        Self::in_room(&room())
    }

    /// An empty branch in this room.
    #[must_use]
    pub fn in_room(room: &Room) -> Self {
        Self {
            room: room.clone(),
            window: Window::genesis(room),
            blocks: Vec::new(),
            total_work: Work::ZERO,
            positions: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// A branch of `blocks` blocks, one second apart, each with one reading of `author`.
    #[must_use]
    pub fn of(author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        branch.grow(author, blocks);
        branch
    }

    /// A branch of `blocks` blocks, two seconds apart starting at `first`, so that each has the minimum work.
    #[must_use]
    pub fn min_difficulty(first: u64, author: u64, blocks: u64) -> Self {
        let mut branch = Self::new();
        for seq in 0..blocks {
            branch.push_at(vec![reading(author, seq)], first + 2_000 * seq);
        }
        branch
    }

    /// Appends `blocks` more blocks, one second apart, each with one reading of `author`.
    pub fn grow(&mut self, author: u64, blocks: u64) {
        for _ in 0..blocks {
            let seq = self.next_seq(author);
            self.push(vec![reading(author, seq)]);
        }
    }

    /// The branch up to and including this height.
    #[must_use]
    pub fn prefix(&self, height: usize) -> Self {
        let mut branch = Self::in_room(&self.room);
        for block in self.blocks.iter().take(height) {
            branch.append(block.clone());
        }
        branch
    }

    /// Mines a block one second after the last one, appends it and returns it.
    pub fn push(&mut self, readings: Vec<Reading>) -> Block {
        let time = START - 10_000_000 + 1_000 * self.next_index();
        self.push_at(readings, time)
    }

    /// Mines a block with this timestamp, Unix ms, appends it and returns it.
    pub fn push_at(&mut self, readings: Vec<Reading>, time: u64) -> Block {
        let block = self.mine_next(readings, time);
        self.append(block.clone());
        block
    }

    /// Mines a block with this timestamp, Unix ms, without appending it.
    #[must_use]
    pub fn mine_next(&self, readings: Vec<Reading>, time: u64) -> Block {
        mine(&self.window, self.tip(), readings, UnixMillis::new(time))
    }

    /// Appends a block that is already mined.
    pub fn append(&mut self, block: Block) {
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

    /// The height of the next block.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.window.next_index()
    }

    /// The hash of the last block, or of genesis.
    #[must_use]
    pub fn tip(&self) -> BlockHash {
        self.blocks
            .last()
            .map_or(self.room.genesis_hash(), |block| block.header.hash())
    }

    /// Its blocks with their hashes, as a disk has them.
    pub fn with_hashes(&self) -> impl Iterator<Item = (BlockHash, Block)> {
        self.blocks
            .iter()
            .map(|block| (block.header.hash(), block.clone()))
    }

    /// The position of this block in `blocks`.
    #[must_use]
    pub fn position(&self, hash: &BlockHash) -> Option<usize> {
        self.positions.get(hash).copied()
    }

    /// The block with this hash, if it is on the branch.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(self.position(hash)?)
    }

    /// The sequence number of the next reading of this author.
    #[must_use]
    pub fn next_seq(&self, author: u64) -> u64 {
        self.counts
            .get(&key(author).author())
            .copied()
            .unwrap_or_default()
    }

    /// The status of a peer on this branch whose clock shows [`START`].
    #[must_use]
    pub fn status(&self) -> StatusMessage {
        self.status_at(START)
    }

    /// The status of a peer on this branch whose clock shows `now`, Unix ms.
    #[must_use]
    pub fn status_at(&self, now: u64) -> StatusMessage {
        StatusMessage {
            tip: self.tip(),
            index: self.blocks.len() as u64,
            total_work: self.total_work,
            now: UnixMillis::new(now),
            binding: None,
        }
    }

    /// The answer of an honest peer with this branch, no waiting readings, and a clock that shows `now`, Unix ms.
    #[must_use]
    pub fn answer(&self, request: &Request, now: u64) -> Response {
        match request {
            Request::Status(_) => Response::Status(self.status_at(now)),
            Request::Headers { locator } => {
                let common = locator.iter().find_map(|hash| self.position(hash));
                let next = common.map_or(0, |position| position + 1);
                let headers = self.blocks.iter().skip(next).map(|block| block.header);
                Response::Headers(headers.take(MAX_HEADERS).collect())
            }
            Request::Bodies { hashes } => {
                let body = |hash| Some(self.block(hash)?.readings.clone());
                Response::Bodies(hashes.iter().map(body).collect())
            }
            Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
            Request::Readings { .. } => Response::Readings(Vec::new()),
            Request::Profiles { .. } => Response::Profiles(Vec::new()),
        }
    }
}
