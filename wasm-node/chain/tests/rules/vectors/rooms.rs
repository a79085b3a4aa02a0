//! Rooms with their genesis, and invalid names and parameters.

use heartchain_chain::room::{Room, RoomName, RoomParams};
use serde_json::{Value, json};

use super::errors::error_name;

pub(super) fn room(name: &str, floor_bits: u8, block_interval_ms: u64) -> Room {
    let name = RoomName::new(name).expect("a room name");
    Room::new(RoomParams::new(name, floor_bits, block_interval_ms).expect("in bounds"))
}

fn vector(name: &str, floor_bits: u8, block_interval_ms: u64) -> Value {
    let room = room(name, floor_bits, block_interval_ms);
    json!({
        "name": name,
        "floor_bits": floor_bits,
        "block_interval_ms": block_interval_ms,
        "params": hex::encode(room.params().to_bytes()),
        "genesis": hex::encode(room.genesis().to_bytes()),
        "genesis_hash": room.genesis_hash().to_string(),
        "floor": room.floor().to_string(),
        "bits": room.genesis().bits.to_bits(),
    })
}

pub(super) fn vectors() -> Value {
    let refused_names: Vec<Value> = [
        "",
        " a",
        "a\n",
        "a\u{3000}",
        &"x".repeat(65),
        "cafe\u{301}",
        "\u{212b}",
    ]
    .iter()
    .map(|name| {
        let error = RoomName::new(name).expect_err("an invalid name");
        json!({ "name": name, "error": error_name(&error) })
    })
    .collect();
    let refused_numbers: Vec<Value> = [(7, 1000), (65, 1000), (16, 99), (16, 600_001)]
        .iter()
        .map(|(floor_bits, interval)| {
            let name = RoomName::new("a").expect("a room name");
            let error = RoomParams::new(name, *floor_bits, *interval).expect_err("out of bounds");
            json!({ "floor_bits": floor_bits, "block_interval_ms": interval, "error": error_name(&error) })
        })
        .collect();
    json!({
        "rooms": [
            vector("heartchain", 16, 1000),
            vector("caf\u{e9} \u{2665}", 8, 100),
            vector(&"x".repeat(64), 64, 600_000),
            vector("a", 9, 1001),
        ],
        "refused_names": refused_names,
        "refused_numbers": refused_numbers,
    })
}
