//! Merkle roots over readings that are derived from their number. The signatures are invalid, which does not matter for
//! a root.

use heartchain_chain::{
    content::Content,
    key::{Author, Signature},
    merkle::readings_root,
    reading::Reading,
    time::UnixMillis,
};
use serde_json::{Value, json};

/// Reading number `number` as described in vectors/README.md.
fn reading(number: u16) -> Reading {
    let [low, _] = number.to_le_bytes();
    Reading {
        author: Author::new([low; 32]),
        seq: number.into(),
        content: Content::Open {
            time: UnixMillis::new(1_700_000_000_000 + u64::from(number)),
            bpm: 20 + number % 381,
        },
        signature: Signature::new([255 - low; 64]),
    }
}

pub(super) fn vectors() -> Value {
    let roots: Vec<Value> = [0, 1, 2, 3, 5, 1023, 1024]
        .into_iter()
        .map(|count| {
            let readings: Vec<Reading> = (0..count).map(reading).collect();
            json!({ "readings": count, "root": readings_root(&readings).to_string() })
        })
        .collect();
    let first: Vec<String> = (0..3)
        .map(|number| hex::encode(reading(number).to_bytes()))
        .collect();
    json!({ "first_readings": first, "roots": roots })
}
