//! Readings of open rooms, with every intermediate value up to their signature.

use heartchain_chain::{bpm::Bpm, key::SecretKey, reading::Reading, room::Room, time::UnixMillis};
use serde_json::{Value, json};

use super::rooms::room;

fn vector(room: &Room, seed: [u8; 32], seq: u64, time: u64, bpm: u16) -> Value {
    let bpm = Bpm::new(bpm).expect("a heart rate");
    let reading = SecretKey::from_seed(seed).sign(room.id(), seq, UnixMillis::new(time), bpm);
    assert_eq!(reading.verify(room.id()), Ok(()));
    assert_eq!(
        Reading::decode(room.form(), &reading.to_bytes()),
        Ok(reading)
    );
    json!({
        "room": room.id().to_string(),
        "seed": hex::encode(seed),
        "author": reading.author.to_string(),
        "seq": seq,
        "time": time,
        "bpm": bpm.get(),
        "signed": hex::encode(reading.signed_bytes(room.id())),
        "id": reading.id(room.id()).to_string(),
        "signature": reading.signature.to_string(),
        "reading": hex::encode(reading.to_bytes()),
    })
}

pub(super) fn vectors() -> Value {
    let (one, other) = (room("heartchain", 16, 1000), room("a", 9, 1001));
    let counting = core::array::from_fn(|at| u8::try_from(at).expect("below 32"));
    json!([
        vector(&one, [1; 32], 0, 1_700_000_000_000, 72),
        vector(&one, [1; 32], 1, 1_700_000_001_000, 20),
        vector(&one, counting, 0, 0, 400),
        vector(&one, [0xff; 32], 4_294_967_296, 8_640_000_000_000_000, 60),
        vector(&other, [1; 32], 0, 1_700_000_000_000, 72),
    ])
}
