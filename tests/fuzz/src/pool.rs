//! Honest and dishonest blocks and readings that the fuzzer can name by number, so that it gets beyond the first check:
//! nobody finds work or a signature by flipping bits. Made once, from numbers alone.

use std::{collections::HashMap, sync::OnceLock};

use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::Work,
};
use sync::message::{IdRow, StatusMessage};

/// When the pool's blocks begin, and machines with them.
pub const START: u64 = 1_700_000_000_000;
/// Later than all of the pool's honest blocks.
pub const NOW: UnixMillis = UnixMillis::new(START + 100_000);
/// Whose machine it is.
pub const OWN: u8 = 100;

/// The room that all targets play in.
#[must_use]
pub fn room() -> &'static Room {
    static ROOM: OnceLock<Room> = OnceLock::new();
    ROOM.get_or_init(|| named("fuzz"))
}

fn named(name: &str) -> Room {
    let name = RoomName::new(name).expect("a room name");
    Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
}

/// Somebody's key.
#[must_use]
pub fn key(author: u8) -> &'static SecretKey {
    static KEYS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    let keys = || (0..=u8::MAX).map(|author| SecretKey::from_seed([author; 32]));
    &KEYS.get_or_init(|| keys().collect())[usize::from(author)]
}

/// A branch from genesis' child on, and what it says of itself.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    /// Its blocks.
    pub blocks: Vec<Block>,
    /// Where each of them is.
    places: HashMap<BlockHash, usize>,
    work: Work,
}

impl Branch {
    /// What a peer that stands on it says.
    #[must_use]
    pub fn status(&self, now: u64) -> StatusMessage {
        let tip = self.blocks.last();
        StatusMessage {
            tip: tip.map_or(room().genesis_hash(), |block| block.header.hash()),
            index: self.blocks.len() as u64,
            total_work: self.work,
            now: UnixMillis::new(now),
        }
    }

    /// The block of this hash.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(*self.places.get(hash)?)
    }

    fn push(&mut self, block: Block) {
        let target = block.header.bits.target().expect("a target");
        self.work = self.work.saturating_add(target.work());
        self.places.insert(block.header.hash(), self.blocks.len());
        self.blocks.push(block);
    }

    fn grow(&mut self, author: u8, seq: u64, gap: u64) {
        let time = UnixMillis::new(START + self.blocks.len() as u64 * 1_000 + gap);
        let reading = key(author).sign(room().id(), seq, time, Bpm::MIN);
        let headers: Vec<Header> = self.blocks.iter().map(|block| block.header).collect();
        self.push(mine(&headers, vec![reading], time));
    }

    fn up_to(&self, blocks: usize) -> Self {
        let mut branch = Self::default();
        for block in self.blocks.iter().take(blocks) {
            branch.push(block.clone());
        }
        branch
    }
}

/// All of it.
#[derive(Debug)]
pub struct Pool {
    /// Whole branches that peers stand on: two honest rivals, one with a reading under the machine's own key, one whose
    /// count breaks in the middle, and none.
    pub branches: Vec<Branch>,
    /// Blocks that somebody may show: all of the above, and bad ones.
    pub blocks: Vec<Block>,
    /// The names of these blocks.
    pub hashes: Vec<BlockHash>,
    /// Readings that somebody may show, good and bad.
    pub readings: Vec<Reading>,
    /// The names of these readings.
    pub ids: Vec<ReadingId>,
    /// What somebody lists who has all of these readings waiting.
    pub rows: Vec<IdRow>,
}

/// The pool.
pub fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(make)
}

fn make() -> Pool {
    let mut long = Branch::default();
    for seq in 0..20 {
        long.grow(1, seq, 0);
    }
    let mut rival = long.up_to(8);
    for seq in 0..16 {
        rival.grow(2, seq, 300);
    }
    let mut elsewhere = long.up_to(4);
    for seq in 0..24 {
        elsewhere.grow(OWN, seq, 500);
    }
    let mut broken = long.up_to(5);
    for seq in [0, 1, 7, 8, 9] {
        broken.grow(3, seq, 700);
    }
    let branches = vec![long, rival, elsewhere, broken, Branch::default()];
    let mut blocks: Vec<Block> = branches
        .iter()
        .flat_map(|branch| branch.blocks.clone())
        .collect();
    blocks.extend(bad_blocks(&branches[0]));
    let readings = readings();
    let ids: Vec<ReadingId> = readings
        .iter()
        .map(|reading| reading.id(room().id()))
        .collect();
    let row = |(reading, id): (&Reading, &ReadingId)| IdRow {
        author: reading.author,
        seq: reading.seq,
        id: *id,
    };
    let mut rows: Vec<IdRow> = readings.iter().zip(&ids).map(row).collect();
    rows.sort_by_key(|row| (row.author, row.seq));
    rows.dedup_by_key(|row| (row.author, row.seq));
    Pool {
        branches,
        hashes: blocks.iter().map(|block| block.header.hash()).collect(),
        blocks,
        readings,
        ids,
        rows,
    }
}

/// A junk body, a body too many, a block ahead of the clock, one without work, one of another room.
fn bad_blocks(branch: &Branch) -> Vec<Block> {
    let headers: Vec<Header> = branch.blocks.iter().map(|block| block.header).collect();
    let (first, last) = (&branch.blocks[0], &branch.blocks[19]);
    let junk = Block {
        readings: vec![first.readings[0]; 3],
        ..first.clone()
    };
    let soon = mine(
        &headers,
        last.readings.clone(),
        UnixMillis::new(START + 90_000),
    );
    let late = mine(&headers, last.readings.clone(), UnixMillis::new(START * 2));
    let mut workless = last.clone();
    workless.header.nonce += 1;
    let mut forged = last.readings.clone();
    forged[0].bpm = Bpm::MAX.get();
    let forged = mine(&headers[..19], forged, last.header.time);
    let foreign = key(4).sign(named("elsewhere").id(), 0, NOW, Bpm::MIN);
    let foreign = mine(&headers, vec![foreign], UnixMillis::new(START + 30_000));
    vec![junk, soon, late, workless, forged, foreign]
}

fn readings() -> Vec<Reading> {
    let id = room().id();
    let mut readings = Vec::new();
    for author in [4, 5, 6, OWN] {
        for seq in [0, 1, 2, 3, 5, 1_023, 1_024, u64::MAX] {
            readings.push(key(author).sign(id, seq, NOW, Bpm::MIN));
        }
        // A second reading with the first one's place.
        readings.push(key(author).sign(id, 0, NOW, Bpm::MAX));
    }
    let mut forged = readings[0];
    forged.bpm = Bpm::MAX.get();
    readings.push(forged);
    readings.push(key(7).sign(named("elsewhere").id(), 0, NOW, Bpm::MIN));
    readings.push(key(7).sign(id, 0, UnixMillis::new(u64::MAX), Bpm::MIN));
    readings
}

fn mine(headers: &[Header], readings: Vec<Reading>, time: UnixMillis) -> Block {
    let room = room();
    let genesis = core::iter::once(*room.genesis());
    let window = Window::from_headers(room, genesis.chain(headers.iter().copied()));
    let prev_hash = headers.last().map_or(room.genesis_hash(), Header::hash);
    let template = mining::template(&window, prev_hash, time, &readings);
    let header = mining::mine(template, u32::MAX).expect("the room is easy");
    Block { header, readings }
}
