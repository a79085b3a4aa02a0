//! A pool of valid and invalid blocks and readings that the fuzzer selects by number, so that it gets past the first
//! check: bit flips find neither work nor signatures. Derived once, from fixed numbers.

use std::sync::OnceLock;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::SecretKey,
    reading::Reading,
    room::Room,
    time::UnixMillis,
};
use heartchain_sync::message::MempoolRow;
use heartchain_test_support::{Branch, START, Tampering as _, mine_on, named_room};

/// A time after all valid blocks of the pool.
pub const NOW: UnixMillis = UnixMillis::new(START + 100_000);
/// Number of the key of the machine's own author.
pub const OWN: u8 = 100;

/// The room that all targets use.
#[must_use]
pub fn room() -> &'static Room {
    static ROOM: OnceLock<Room> = OnceLock::new();
    ROOM.get_or_init(|| named_room("fuzz"))
}

/// The key of the author with this number.
#[must_use]
pub fn key(author: u8) -> &'static SecretKey {
    static KEYS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    let keys = || (0..=u8::MAX).map(|author| SecretKey::from_seed([author; 32]));
    &KEYS.get_or_init(|| keys().collect())[usize::from(author)]
}

/// Appends a block with one reading, `gap` ms later than a block at this height usually is.
fn grow(branch: &mut Branch, author: u8, seq: u64, gap: u64) {
    let time = START + branch.blocks.len() as u64 * 1_000 + gap;
    let reading = key(author).sign(room().id(), seq, UnixMillis::new(time), Bpm::MIN);
    branch.push_at(vec![reading], time);
}

/// All data that the fuzzer can select.
#[derive(Debug)]
pub struct Pool {
    /// Whole branches that peers are on: two valid competing ones, one with readings by the machine's own key, one with
    /// a gap in an author's sequence, and an empty one.
    pub branches: Vec<Branch>,
    /// Blocks that a peer may send: all of the above, and invalid ones.
    pub blocks: Vec<Block>,
    /// The hashes of these blocks, in the same order.
    pub hashes: Vec<BlockHash>,
    /// Readings that a peer may send, valid and invalid.
    pub readings: Vec<Reading>,
    /// The IDs of these readings, in the same order.
    pub ids: Vec<ReadingId>,
    /// The mempool listing of a peer that has all of these readings waiting.
    pub rows: Vec<MempoolRow>,
}

/// The pool; the first call makes it.
pub fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(make)
}

fn make() -> Pool {
    let mut long = Branch::in_room(room());
    for seq in 0..20 {
        grow(&mut long, 1, seq, 0);
    }
    let mut rival = long.prefix(8);
    for seq in 0..16 {
        grow(&mut rival, 2, seq, 300);
    }
    let mut elsewhere = long.prefix(4);
    for seq in 0..24 {
        grow(&mut elsewhere, OWN, seq, 500);
    }
    let mut broken = long.prefix(5);
    for seq in [0, 1, 7, 8, 9] {
        grow(&mut broken, 3, seq, 700);
    }
    let branches = vec![long, rival, elsewhere, broken, Branch::in_room(room())];
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
    let row = |(reading, id): (&Reading, &ReadingId)| MempoolRow {
        author: reading.author,
        seq: reading.seq,
        id: *id,
    };
    let mut rows: Vec<MempoolRow> = readings.iter().zip(&ids).map(row).collect();
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

/// A block with a junk body, valid blocks soon and far ahead of the clock, a block without work, a block with a forged
/// reading, and a block with a reading of another room.
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
    forged[0] = forged[0].with_bpm(Bpm::MAX.get());
    let forged = mine(&headers[..19], forged, last.header.time);
    let foreign = key(4).sign(named_room("elsewhere").id(), 0, NOW, Bpm::MIN);
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
        // A second reading with the sequence number of the first.
        readings.push(key(author).sign(id, 0, NOW, Bpm::MAX));
    }
    let mut forged = readings[0];
    forged = forged.with_bpm(Bpm::MAX.get());
    readings.push(forged);
    readings.push(key(7).sign(named_room("elsewhere").id(), 0, NOW, Bpm::MIN));
    readings.push(key(7).sign(id, 0, UnixMillis::new(u64::MAX), Bpm::MIN));
    readings
}

fn mine(headers: &[Header], readings: Vec<Reading>, time: UnixMillis) -> Block {
    mine_on(room(), headers, readings, |_| time)
}
