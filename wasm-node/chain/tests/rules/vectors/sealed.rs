//! What is sealed in a private room, with every key and nonce: readings, profiles and bindings, and seals that must not
//! open. Open rooms have profiles and bindings as well.

mod refused;
mod seals;

use heartchain_chain::{
    binding::Binding,
    bpm::Bpm,
    content::{Content, Measurement, SealedContent, UnreadableError},
    key::SecretKey,
    profile::{Profile, ProfileContent, ProfileName, ProfileNameError},
    reading::Reading,
    room::Room,
    room_key::RoomKey,
    time::{MAX_READING_TIME, UnixMillis},
};
use serde_json::{Value, json};

pub(super) use self::seals::seal_reading;
use self::seals::{PEER, derived, nonce};
use super::{
    errors::error_name,
    rooms::{private_room, room, untrimmed},
};

fn key() -> RoomKey {
    RoomKey::new([0x2b; 32])
}

fn readable(opened: Result<Measurement, UnreadableError>) -> Value {
    match opened {
        Ok(Measurement { time, bpm }) => json!({ "time": time.get(), "bpm": bpm.get() }),
        Err(error) => json!({ "error": error_name(&error) }),
    }
}

fn reading(room: &Room, seed: [u8; 32], seq: u64, time: u64, bpm: u16) -> Reading {
    let (time, bpm) = (UnixMillis::new(time), Bpm::new(bpm).expect("a heart rate"));
    let signed = room.sign(&SecretKey::from_seed(seed), seq, Measurement { time, bpm });
    signed.expect("the key is known")
}

fn reading_vector(room: &Room, seed: [u8; 32], seq: u64, time: u64, bpm: u16) -> Value {
    let reading = reading(room, seed, seq, time, bpm);
    assert_eq!(reading.verify(room.id()), Ok(()));
    assert_eq!(
        Reading::decode(room.form(), &reading.to_bytes()),
        Ok(reading)
    );
    let Content::Sealed(sealed) = reading.content else {
        panic!("a private room's reading is sealed");
    };
    json!({
        "seed": hex::encode(seed),
        "author": reading.author.to_string(),
        "seq": seq,
        "time": time,
        "bpm": bpm,
        "nonce": hex::encode(nonce("heartchain/nonce/2", &[reading.author.as_bytes(), &seq.to_le_bytes()])),
        "sealed": sealed.to_string(),
        "signed": hex::encode(reading.signed_bytes(room.id())),
        "id": reading.id(room.id()).to_string(),
        "reading": hex::encode(reading.to_bytes()),
    })
}

/// Readings that are valid in the room, although their seal does not open, or what it holds is out of range.
fn unreadable(room: &Room) -> Vec<Value> {
    let author = SecretKey::from_seed([1; 32]);
    let honest = reading(room, [1; 32], 0, 1_700_000_000_000, 72);
    let sealed_by =
        |room: &Room, seed, seq| reading(room, seed, seq, 1_700_000_000_000, 72).content;
    let altered = |at: usize| {
        let Content::Sealed(sealed) = honest.content else {
            panic!("a private room's reading is sealed");
        };
        let mut bytes = *sealed.as_bytes();
        bytes[at] ^= 1;
        Content::Sealed(SealedContent::new(bytes))
    };
    let other = private_room(&RoomKey::new([0x2c; 32]), 8, 1000);
    let other_interval = private_room(&key(), 8, 1001);
    let range = |time, bpm| seal_reading(room, author.author(), 0, time, bpm);
    let (time, latest) = (1_700_000_000_000, MAX_READING_TIME.get());
    assert_eq!(range(time, 72), honest.content);
    let (seal, out) = (UnreadableError::Seal, UnreadableError::Range);
    [
        ("altered heart rate", altered(8), seal),
        ("altered tag", altered(25), seal),
        ("sealed with another key", sealed_by(&other, [1; 32], 0), seal),
        ("sealed for another room with this key", sealed_by(&other_interval, [1; 32], 0), seal),
        ("sealed for another author", sealed_by(room, [2; 32], 0), seal),
        ("sealed for another seq", sealed_by(room, [1; 32], 1), seal),
        ("all zero", Content::Sealed(SealedContent::new([0; 26])), seal),
        ("sealed bpm 0", range(time, 0), out),
        ("sealed bpm 19", range(time, 19), out),
        ("sealed bpm 401", range(time, 401), out),
        ("sealed bpm 65535", range(time, 65_535), out),
        ("sealed time one too late", range(latest + 1, 72), out),
        ("sealed time 2^64 - 1", range(u64::MAX, 72), out),
    ]
    .map(|(name, content, expected)| {
        let reading = author.sign_content(room.id(), 0, content);
        assert_eq!(reading.verify(room.id()), Ok(()), "{name}");
        let opened = room.open(&reading);
        assert_eq!(opened, Err(expected), "{name}");
        json!({ "name": name, "reading": hex::encode(reading.to_bytes()), "opened": readable(opened) })
    })
    .into()
}

fn profile_vector(room: &Room, revision: u64, name: &str) -> Value {
    let author = SecretKey::from_seed([1; 32]);
    let name = ProfileName::new(name).expect("a name");
    let revision = UnixMillis::new(revision);
    let profile = room.sign_profile(&author, revision, &name);
    let profile = profile.expect("the key is known");
    assert_eq!(profile.verify(room.id()), Ok(()));
    assert_eq!(
        Profile::decode(room.form(), &profile.encode()),
        Ok(profile.clone())
    );
    let mut vector = json!({
        "author": profile.author.to_string(),
        "revision": revision.get(),
        "name": name.as_str(),
        "signature": profile.signature.to_string(),
        "profile": hex::encode(profile.encode()),
    });
    if let ProfileContent::Sealed(sealed) = &profile.content {
        let parts: [&[u8]; 2] = [profile.author.as_bytes(), &revision.get().to_le_bytes()];
        vector["nonce"] = hex::encode(nonce("heartchain/profile-nonce/2", &parts)).into();
        vector["sealed"] = sealed.to_string().into();
    }
    vector
}

fn binding_vector(room: &Room) -> Value {
    let author = SecretKey::from_seed([1; 32]);
    let binding = room.bind(&author, &PEER).expect("the key is known");
    assert_eq!(room.bound_author(&binding, &PEER), Some(author.author()));
    let mut vector = json!({
        "author": author.author().to_string(),
        "peer": hex::encode(PEER),
        "binding": hex::encode(borsh::to_vec(&binding).expect("memory")),
    });
    if let Binding::Sealed(_) = binding {
        vector["nonce"] = hex::encode(nonce("heartchain/binding-nonce/2", &[&PEER])).into();
    }
    vector
}

/// Names that are refused: each white space at an end, characters that cannot be seen, and names with two mistakes.
fn refused_names() -> Vec<Value> {
    let long = "x".repeat(40);
    let mut names: Vec<String> = [
        "a\nb",
        &format!("{long}x"),
        "a\0b",
        "\u{7f}",
        "a\u{ad}b",
        "a\u{61c}b",
        "a\u{180e}b",
        "a\u{202e}b",
        "\u{200b}",
        "a\u{2066}b",
        "\u{feff}a",
        "a\u{e0041}",
        // Joiners at the end, beside a space, and beside each other.
        "a\u{200d}",
        "a\u{200c} b",
        "a\u{200d}\u{200d}b",
        // Blank letters, and ignorable code points of no other category.
        "\u{3164}",
        "a\u{115f}b",
        "a\u{1160}",
        "\u{ffa0}a",
        "\u{2800}",
        "a\u{34f}b",
        "a\u{17b4}",
        "a\u{2065}b",
        "a\u{fff0}",
        "a\u{e0002}",
        "a\u{e0fff}",
        // Variation selectors with nothing to change, and beside joiners.
        "\u{fe0f}",
        "a \u{fe0f}b",
        "a\u{fe0f}\u{fe0e}",
        "a\u{200d}\u{fe0f}b",
        "a\u{e01f0}",
        "\u{180e}",
        // 14 characters of 3 bytes.
        &"\u{2665}".repeat(14),
        // The first of two mistakes counts: too long, invisible, not trimmed.
        &format!("{long} "),
        &format!("{long}\0"),
        " \u{200b}",
        "a\u{200b} ",
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    names.extend(untrimmed());
    names
        .iter()
        .map(|name| {
            let error: ProfileNameError = ProfileName::new(name).expect_err("an invalid name");
            json!({ "name": name, "error": error_name(&error) })
        })
        .collect()
}

pub(super) fn vectors() -> Value {
    let (open, private) = (room("heartchain", 16, 1000), private_room(&key(), 8, 1000));
    let counting = core::array::from_fn(|at| u8::try_from(at).expect("below 32"));
    json!({
        "key": hex::encode(key().as_bytes()),
        "room": private.id().to_string(),
        "floor_bits": 8,
        "block_interval_ms": 1000,
        "reading_key": hex::encode(derived(&private, "heartchain/reading-key/2")),
        "profile_key": hex::encode(derived(&private, "heartchain/profile-key/2")),
        "binding_key": hex::encode(derived(&private, "heartchain/binding-key/2")),
        "readings": [
            reading_vector(&private, [1; 32], 0, 1_700_000_000_000, 72),
            reading_vector(&private, [1; 32], 1, 1_700_000_001_000, 20),
            reading_vector(&private, counting, 0, 0, 400),
            reading_vector(&private, [0xff; 32], 4_294_967_296, 8_640_000_000_000_000, 60),
        ],
        "unreadable": unreadable(&private),
        "profiles": [
            profile_vector(&private, 1_700_000_000_000, "Ann"),
            profile_vector(&private, 1_700_000_000_001, ""),
            profile_vector(&private, 0, &"x".repeat(40)),
            profile_vector(&private, 1, "\u{ae40}\u{bbfc}\u{c900} \u{2665}"),
            // Not in normal form C, which receivers do not examine.
            profile_vector(&private, 2, "cafe\u{301}"),
            profile_vector(&private, MAX_READING_TIME.get(), "a\u{3000}b"),
            profile_vector(&private, 3, "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
            profile_vector(&private, 4, "\u{845b}\u{e0100}"),
        ],
        "refused_profiles": refused::private_profiles(&private),
        "nameless_profiles": refused::nameless_profiles(&private),
        "binding": binding_vector(&private),
        "refused_bindings": refused::private_bindings(&private),
        "open_room": open.id().to_string(),
        "open_profiles": [
            profile_vector(&open, 1_700_000_000_000, "Ann"),
            profile_vector(&open, 1_700_000_000_001, ""),
            profile_vector(&open, 2, "cafe\u{301}"),
            profile_vector(&open, 3, "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
            profile_vector(&open, MAX_READING_TIME.get(), &"x".repeat(40)),
        ],
        "refused_open_profiles": refused::open_profiles(&open),
        "open_binding": binding_vector(&open),
        "refused_open_bindings": refused::open_bindings(&open),
        "refused_names": refused_names(),
    })
}
