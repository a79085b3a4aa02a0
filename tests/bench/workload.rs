//! Test data of the benchmarks: rooms, keys and chains, derived from fixed numbers. Measures nothing itself.

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};

/// Timestamp of the first block, in Unix milliseconds; any time will do.
pub const START: u64 = 1_800_000_000_000;
/// Milliseconds from block to block: the room's block interval, so that the difficulty stays at the floor.
pub const STEP: u64 = 1_000;

/// A room with the least work that the rules allow, because mining the chain is not measured.
pub fn room() -> Room {
    let name = RoomName::new("bench").expect("a short plain name");
    let params = RoomParams::new(name, 8, STEP).expect("within the bounds");
    Room::new(params)
}

/// The keys of `many` authors.
pub fn keys(many: u64) -> Vec<SecretKey> {
    (0..many)
        .map(|number| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            SecretKey::from_seed(seed)
        })
        .collect()
}

/// Builds a valid chain block by block. Each of `keys` records once per block.
pub struct ChainBuilder {
    room: Room,
    keys: Vec<SecretKey>,
    window: Window,
    tip: heartchain_chain::hash::BlockHash,
    seq: u64,
}

impl ChainBuilder {
    pub fn new(room: Room, keys: Vec<SecretKey>) -> Self {
        Self {
            window: Window::genesis(&room),
            tip: room.genesis_hash(),
            seq: 0,
            room,
            keys,
        }
    }

    /// The next block, [`STEP`] after the last plus some jitter, so that the difficulty changes as it does in real
    /// rooms.
    pub fn next_block(&mut self) -> Block {
        let index = self.window.next_index();
        let jitter = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let time = UnixMillis::new(START + index * STEP + jitter % (STEP / 2));
        let bpm = Bpm::new(60 + u16::try_from(self.seq % 100).unwrap_or(0)).expect("60 to 159");
        let readings: Vec<Reading> = self
            .keys
            .iter()
            .map(|key| key.sign(self.room.id(), self.seq, time, bpm))
            .collect();
        self.seq += 1;
        let block = mine(&self.window, self.tip, time, readings);
        self.window.push(&block.header);
        self.tip = block.header.hash();
        block
    }
}

/// A valid block with these readings.
pub fn mine(
    window: &Window,
    prev_hash: heartchain_chain::hash::BlockHash,
    time: UnixMillis,
    readings: Vec<Reading>,
) -> Block {
    let template = mining::template(window, prev_hash, time, &readings);
    let header = mining::mine(template, u32::MAX);
    Block {
        header: header.expect("a floor of 8 bits is met within 2^32 tries"),
        readings,
    }
}
