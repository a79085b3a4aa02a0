//! Test data of the benchmarks: a room and chains, derived from fixed numbers. Measures nothing itself.

use std::ops::Range;

use heartchain_chain::{
    bpm::Bpm,
    content::Measurement,
    key::SecretKey,
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::UnixMillis,
};
use heartchain_test_support::{Branch, START, key, named_room};

/// Milliseconds from block to block: the room's block interval, so that the difficulty stays at the floor.
pub const STEP: u64 = 1_000;

/// A room with the least work that the rules allow, because mining the chain is not measured.
pub fn room() -> Room {
    named_room("bench")
}

/// A private room with the least work, of which the key is known.
pub fn private_room() -> Room {
    let key = RoomKey::new([7; 32]);
    let params = RoomParams::new(&key, 8, STEP).expect("within bounds");
    Room::new(params).unlock(key).expect("its key")
}

/// A branch on which each of these authors records once per block. The blocks are [`STEP`] apart plus some jitter, so
/// that the difficulty changes as it does in real rooms.
pub fn grow(room: &Room, authors: Range<u64>, blocks: usize) -> Branch {
    let keys: Vec<SecretKey> = authors.map(key).collect();
    let mut branch = Branch::in_room(room);
    for seq in 0..blocks as u64 {
        let index = branch.next_index();
        let jitter = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let time = START + index * STEP + jitter % (STEP / 2);
        let bpm = Bpm::new(60 + u16::try_from(seq % 100).unwrap_or(0)).expect("60 to 159");
        let measurement = Measurement {
            time: UnixMillis::new(time),
            bpm,
        };
        let sign = |key: &SecretKey| room.sign(key, seq, measurement).expect("a member");
        let readings: Vec<Reading> = keys.iter().map(sign).collect();
        branch.push_at(readings, time);
    }
    branch
}
