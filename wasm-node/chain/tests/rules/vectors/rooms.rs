//! Rooms of both kinds with their genesis, tokens, and invalid names, parameters and tokens.

use heartchain_chain::{
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
};
use serde_json::{Value, json};

use super::errors::error_name;

pub(super) fn room(name: &str, floor_bits: u8, block_interval_ms: u64) -> Room {
    let name = RoomName::new(name).expect("a room name");
    Room::new(RoomParams::new(name, floor_bits, block_interval_ms).expect("in bounds"))
}

pub(super) fn private_room(key: &RoomKey, floor_bits: u8, block_interval_ms: u64) -> Room {
    let params = RoomParams::new(key, floor_bits, block_interval_ms).expect("in bounds");
    Room::new(params).unlock(key.clone()).expect("its own key")
}

fn private_vector(key: [u8; 32], floor_bits: u8, block_interval_ms: u64) -> Value {
    let key = RoomKey::new(key);
    let room = private_room(&key, floor_bits, block_interval_ms);
    json!({
        "key": hex::encode(key.as_bytes()),
        "commitment": key.commitment().to_string(),
        "token": key.to_token(),
        "floor_bits": floor_bits,
        "block_interval_ms": block_interval_ms,
        "params": hex::encode(room.params().to_bytes()),
        "genesis": hex::encode(room.genesis().to_bytes()),
        "genesis_hash": room.genesis_hash().to_string(),
    })
}

/// Tokens with a mistake, and why they are refused.
fn refused_tokens() -> Vec<Value> {
    let token = RoomKey::new([1; 32]).to_token();
    let cut = &token[..47];
    [
        String::new(),
        cut.into(),
        format!("{token}A"),
        format!("{cut}="),
        format!("{cut} "),
        format!("{cut}+"),
        token.replacen('A', "B", 1),
        token.to_lowercase(),
        // Plain base64 has these two characters where base64url has others.
        "+".repeat(48),
        "/".repeat(48),
    ]
    .iter()
    .map(|token| {
        let error = RoomKey::from_token(token).expect_err("an invalid token");
        json!({ "token": token, "error": error_name(&error) })
    })
    .collect()
}

/// Every character that is white space, at the start or the end of a name.
pub(super) fn untrimmed() -> Vec<String> {
    let white_space: Vec<char> = (0..=u32::from(char::MAX))
        .filter_map(char::from_u32)
        .filter(|character| character.is_whitespace())
        .collect();
    assert_eq!(white_space.len(), 25);
    let either_end = |(at, space): (usize, &char)| match at % 2 {
        0 => format!("a{space}"),
        _ => format!("{space}a"),
    };
    white_space.iter().enumerate().map(either_end).collect()
}

/// Names that are accepted, although some libraries trim or compose their characters.
fn accepted_names() -> Vec<Value> {
    [
        "a b",
        "a\u{3000}b",
        "\u{1c}a\u{1f}",
        "\u{180e}a",
        "\u{200b}a\u{feff}",
        &"\u{e9}".repeat(32),
        "q\u{323}\u{307}",
        "\u{1e9b}\u{323}",
        "\u{ac01}",
    ]
    .iter()
    .map(|name| json!({ "name": name, "genesis_hash": room(name, 16, 1000).id().to_string() }))
    .collect()
}

fn refused_names() -> Vec<Value> {
    let mut names: Vec<String> = [
        "",
        " ",
        &"x".repeat(65),
        &"\u{e9}".repeat(33),
        "cafe\u{301}",
        "\u{212b}",
        "q\u{307}\u{323}",
        "\u{958}",
        "\u{1100}\u{1161}",
        // The first of two mistakes counts: empty, too long, not trimmed, not in normal form C.
        &format!(" {}", "x".repeat(64)),
        // 66 bytes, of which normal form C would make 44.
        &"e\u{301}".repeat(22),
        "e\u{301} ",
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    names.extend(untrimmed());
    names
        .iter()
        .map(|name| {
            let error = RoomName::new(name).expect_err("an invalid name");
            json!({ "name": name, "error": error_name(&error) })
        })
        .collect()
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
    let refused_numbers: Vec<Value> = [
        (7, 1000),
        (65, 1000),
        (16, 99),
        (16, 600_001),
        (0, 1000),
        (255, 1000),
        (16, 0),
        // The floor is examined first.
        (7, 99),
    ]
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
        "private_rooms": [
            private_vector([0; 32], 16, 1000),
            private_vector(core::array::from_fn(|at| u8::try_from(at).expect("below 32")), 8, 100),
            private_vector([0xff; 32], 64, 600_000),
        ],
        "refused_tokens": refused_tokens(),
        "accepted_names": accepted_names(),
        "refused_names": refused_names(),
        "refused_numbers": refused_numbers,
    })
}
