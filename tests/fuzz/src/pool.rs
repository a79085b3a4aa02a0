//! A pool of valid and invalid blocks, readings and names that the fuzzer selects by number, so that it gets past the first
//! check: bit flips find neither work nor signatures. Derived once, from fixed numbers.

use std::sync::OnceLock;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    content::{Measurement, ReadingForm},
    hash::{BlockHash, ReadingId},
    header::Header,
    key::SecretKey,
    profile::{Profile, ProfileContent, ProfileName, SealedName},
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::UnixMillis,
};
use heartchain_sync::message::MempoolRow;
use heartchain_test_support::{Branch, START, Tampering as _, mine_on, named_room};

/// A time after all valid blocks of the pool.
pub const NOW: UnixMillis = UnixMillis::new(START + 100_000);
/// Number of the key of the machine's own author.
pub const OWN: u8 = 100;

/// The room of the targets that use only one.
#[must_use]
pub fn room() -> &'static Room {
    &pool().room
}

fn private_room(key: u8) -> Room {
    let key = RoomKey::new([key; 32]);
    let params = RoomParams::new(&key, 8, 1_000).expect("within bounds");
    Room::new(params).unlock(key).expect("its own key")
}

fn sign(room: &Room, author: u8, seq: u64, time: UnixMillis, bpm: Bpm) -> Reading {
    let signed = room.sign(key(author), seq, Measurement { time, bpm });
    signed.expect("the key is known")
}

/// The key of the author with this number.
#[must_use]
pub fn key(author: u8) -> &'static SecretKey {
    static KEYS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    let keys = || (0..=u8::MAX).map(|author| SecretKey::from_seed([author; 32]));
    &KEYS.get_or_init(|| keys().collect())[usize::from(author)]
}

/// Appends a block with one reading, `gap` ms later than a block at this height usually is.
fn grow(branch: &mut Branch, room: &Room, (author, seq): (u8, u64), gap: u64) {
    let time = START + branch.blocks.len() as u64 * 1_000 + gap;
    let reading = sign(room, author, seq, UnixMillis::new(time), Bpm::MIN);
    branch.push_at(vec![reading], time);
}

/// All data that the fuzzer can select.
#[derive(Debug)]
pub struct Pool {
    /// The room of all of it.
    pub room: Room,
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
    /// Names that a peer may send, valid and invalid.
    pub profiles: Vec<Profile>,
}

impl Pool {
    /// A block, by number.
    #[must_use]
    pub fn block(&self, number: u8) -> &Block {
        &self.blocks[usize::from(number) % self.blocks.len()]
    }

    /// The hash of that block.
    #[must_use]
    pub fn hash(&self, number: u8) -> BlockHash {
        self.hashes[usize::from(number) % self.hashes.len()]
    }

    /// A reading, by number.
    #[must_use]
    pub fn reading(&self, number: u8) -> Reading {
        self.readings[usize::from(number) % self.readings.len()]
    }

    /// A branch, by number.
    #[must_use]
    pub fn branch(&self, number: u8) -> &Branch {
        &self.branches[usize::from(number) % self.branches.len()]
    }

    /// A profile, by number.
    #[must_use]
    pub fn profile(&self, number: u8) -> &Profile {
        &self.profiles[usize::from(number) % self.profiles.len()]
    }
}

/// The pool of an open room; the first call makes it.
pub fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| make(named_room("fuzz"), &named_room("elsewhere")))
}

/// The pool of a private room.
pub fn private_pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| make(private_room(1), &private_room(2)))
}

fn make(room: Room, other_room: &Room) -> Pool {
    let mut long = Branch::in_room(&room);
    for seq in 0..20 {
        grow(&mut long, &room, (1, seq), 0);
    }
    let mut rival = long.prefix(8);
    for seq in 0..16 {
        grow(&mut rival, &room, (2, seq), 300);
    }
    let mut elsewhere = long.prefix(4);
    for seq in 0..24 {
        grow(&mut elsewhere, &room, (OWN, seq), 500);
    }
    let mut broken = long.prefix(5);
    for seq in [0, 1, 7, 8, 9] {
        grow(&mut broken, &room, (3, seq), 700);
    }
    let branches = vec![long, rival, elsewhere, broken, Branch::in_room(&room)];
    let mut blocks: Vec<Block> = branches
        .iter()
        .flat_map(|branch| branch.blocks.clone())
        .collect();
    blocks.extend(bad_blocks(&room, other_room, &branches[0]));
    let readings = readings(&room, other_room);
    let ids: Vec<ReadingId> = readings
        .iter()
        .map(|reading| reading.id(room.id()))
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
        profiles: profiles(&room, other_room),
        room,
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
fn bad_blocks(room: &Room, other_room: &Room, branch: &Branch) -> Vec<Block> {
    let mine = |headers: &[Header], readings: Vec<Reading>, time: UnixMillis| {
        mine_on(room, headers, readings, |_| time)
    };
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
    forged[0].tamper();
    let forged = mine(&headers[..19], forged, last.header.time);
    let foreign = sign(other_room, 4, 0, NOW, Bpm::MIN);
    let foreign = mine(&headers, vec![foreign], UnixMillis::new(START + 30_000));
    vec![junk, soon, late, workless, forged, foreign]
}

fn readings(room: &Room, other_room: &Room) -> Vec<Reading> {
    let mut readings = Vec::new();
    for author in [4, 5, 6, OWN] {
        for seq in [0, 1, 2, 3, 5, 1_023, 1_024, u64::MAX] {
            readings.push(sign(room, author, seq, NOW, Bpm::MIN));
        }
        // A second reading with the sequence number of the first.
        readings.push(sign(room, author, 0, NOW, Bpm::MAX));
    }
    let mut forged = readings[0];
    forged.tamper();
    readings.push(forged);
    readings.push(sign(other_room, 7, 0, NOW, Bpm::MIN));
    readings.push(sign(room, 7, 0, UnixMillis::new(u64::MAX), Bpm::MIN));
    readings
}

/// Names of authors on the branches and of others, erased ones, one far ahead of the clock, one of another room, a forged one, and
/// in a private room one that no member can open.
fn profiles(room: &Room, other_room: &Room) -> Vec<Profile> {
    let name = |text| ProfileName::new(text).expect("a name");
    let profile = |room: &Room, author, revision, text| {
        let signed = room.sign_profile(key(author), UnixMillis::new(revision), &name(text));
        signed.expect("the key is known")
    };
    let mut profiles = Vec::new();
    for author in [1, 2, 3, 4, OWN] {
        for (revision, text) in [(START, "Ada"), (START + 1, ""), (START + 50_000, "Bo")] {
            profiles.push(profile(room, author, revision, text));
        }
    }
    profiles.push(profile(room, 1, START * 2, "early"));
    profiles.push(profile(other_room, 1, START, "elsewhere"));
    let mut forged = profile(room, 1, START + 60_000, "forged");
    forged.signature = profiles[0].signature;
    profiles.push(forged);
    if let ReadingForm::Sealed = room.form() {
        let junk = ProfileContent::Sealed(SealedName::new([9; SealedName::LEN]));
        profiles.push(key(1).sign_profile_content(room.id(), UnixMillis::new(START), junk));
    }
    profiles
}
