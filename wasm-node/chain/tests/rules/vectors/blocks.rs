//! A small chain of valid blocks, mined from nonce 0 on.

use std::collections::HashMap;

use heartchain_chain::{
    block::{Block, check_body},
    bpm::Bpm,
    content::Measurement,
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    mining,
    reading::Reading,
    room::Room,
    room_key::RoomKey,
    time::UnixMillis,
    validate::check_header,
    work::Work,
};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use super::rooms::{private_room, room};

/// Time from which the small chain starts, in Unix milliseconds.
const START: u64 = 1_700_000_000_000;
/// Number of readings in each block.
const COUNTS: [u8; 12] = [1, 1, 2, 3, 1, 4, 1, 1, 5, 1, 2, 1];

/// The tip of a branch, with everything needed to check a block on it.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) room: Room,
    pub(super) window: Window,
    pub(super) hash: BlockHash,
    pub(super) index: u64,
    pub(super) time: u64,
    pub(super) next_seqs: HashMap<Author, u64>,
    pub(super) total_work: Work,
}

impl Tip {
    fn genesis(room: Room) -> Self {
        Self {
            window: Window::genesis(&room),
            hash: room.genesis_hash(),
            index: 0,
            time: START,
            next_seqs: HashMap::new(),
            total_work: Work::ZERO,
            room,
        }
    }

    pub(super) fn next_seq(&self, author: Author) -> u64 {
        self.next_seqs.get(&author).copied().unwrap_or(0)
    }

    /// A header on this tip, complete except for its nonce.
    pub(super) fn template(&self, time: u64, readings: &[Reading]) -> Header {
        mining::template(&self.window, self.hash, UnixMillis::new(time), readings)
    }

    fn push(&mut self, block: &Block) {
        let now = block.header.time;
        let hash = block.header.hash();
        let verdict = check_header(
            &self.window,
            self.hash,
            self.index,
            &block.header,
            &hash,
            now,
        );
        let target = verdict.expect("the small chain's headers are valid");
        let mut rng = ChaCha12Rng::seed_from_u64(0);
        check_body(
            self.room.id(),
            &block.header,
            &block.readings,
            |_| false,
            &mut rng,
        )
        .expect("the small chain's bodies are valid");
        for reading in &block.readings {
            assert_eq!(reading.seq, self.next_seq(reading.author));
            self.next_seqs.insert(reading.author, reading.seq + 1);
        }
        self.window.push(&block.header);
        self.hash = hash;
        self.index += 1;
        self.time = now.get();
        self.total_work = self.total_work.saturating_add(target.work());
    }
}

/// The first nonce that meets the header's own bits.
pub(super) fn mine(header: Header) -> Header {
    mining::mine(header, 1 << 20).expect("the small chain's room is easy")
}

/// A reading by author number `author`.
pub(super) fn sign(tip: &Tip, author: u8, seq: u64, time: u64) -> Reading {
    let bpm = Bpm::new(60 + u16::from(author)).expect("a heart rate");
    let time = UnixMillis::new(time);
    let key = SecretKey::from_seed([author; 32]);
    let signed = tip.room.sign(&key, seq, Measurement { time, bpm });
    signed.expect("the room's key is known")
}

/// The open room of the small chain.
pub(super) fn small_room() -> Room {
    room("small chain", 8, 1000)
}

/// The key of the private room of the small chain.
fn small_key() -> RoomKey {
    RoomKey::new([0x2b; 32])
}

/// The private room of the small chain.
pub(super) fn small_private_room() -> Room {
    private_room(&small_key(), 8, 1000)
}

/// The chain and its tip.
pub(super) fn small_chain(room: &Room) -> (Vec<Block>, Tip) {
    let mut tip = Tip::genesis(room.clone());
    let mut blocks = Vec::new();
    for count in COUNTS {
        let time = tip.time + 400 + 100 * u64::from(count);
        let mut readings = Vec::new();
        let mut seqs = tip.next_seqs.clone();
        for number in 0..count {
            // Three authors in turn, so that some have several readings in one block.
            let author = 1 + number % 3;
            let seq = seqs
                .entry(SecretKey::from_seed([author; 32]).author())
                .or_insert(0);
            readings.push(sign(&tip, author, *seq, time - 300 + u64::from(number)));
            *seq += 1;
        }
        let block = Block {
            header: mine(tip.template(time, &readings)),
            readings,
        };
        tip.push(&block);
        blocks.push(block);
    }
    (blocks, tip)
}

pub(super) fn vectors() -> Value {
    chain_vectors(&small_room())
}

pub(super) fn private_vectors() -> Value {
    chain_vectors(&small_private_room())
}

fn chain_vectors(room: &Room) -> Value {
    let (blocks, end) = small_chain(room);
    let mut tip = Tip::genesis(end.room.clone());
    let vectors: Vec<Value> = blocks
        .iter()
        .map(|block| {
            tip.push(block);
            assert_eq!(
                Block::decode(room.form(), &block.encode()).as_ref(),
                Ok(block)
            );
            json!({
                "hash": tip.hash.to_string(),
                "index": block.header.index,
                "time": block.header.time.get(),
                "prev_hash": block.header.prev_hash.to_string(),
                "readings_root": block.header.readings_root.to_string(),
                "bits": block.header.bits.to_bits(),
                "nonce": block.header.nonce.to_string(),
                "readings": block.readings.len(),
                "mtp": tip.window.mtp().get(),
                "total_work": tip.total_work.to_string(),
                "block": hex::encode(block.encode()),
            })
        })
        .collect();
    assert_eq!(tip.total_work, end.total_work);
    let mut room_value = json!({ "floor_bits": 8, "block_interval_ms": 1000 });
    match (room.params().name(), room.key()) {
        (Some(name), _) => room_value["name"] = name.as_str().into(),
        (None, Some(key)) => room_value["key"] = hex::encode(key.as_bytes()).into(),
        (None, None) => {}
    }
    json!({
        "room": room_value,
        "genesis_hash": end.room.genesis_hash().to_string(),
        "blocks": vectors,
    })
}
