//! Profiles and bindings that must be refused. Those that are signed wrongly aside, their signatures are valid, so that one
//! rule alone decides.

use ed25519_zebra::SigningKey;
use heartchain_chain::{
    binding::Binding,
    content::ReadingForm,
    key::SecretKey,
    profile::{MAX_NAME_LEN, Profile},
    room::Room,
    room_key::RoomKey,
    time::MAX_READING_TIME,
};
use serde_json::{Value, json};

use super::seals::{PEER, seal};
use crate::vectors::{
    errors::{SMALL_ORDER, any_message, error_name},
    rooms::{private_room, room},
};

/// The seed of the author of all profiles and bindings here.
const SEED: [u8; 32] = [1; 32];
/// The revision of the profiles that no rule about revisions refuses.
const REVISION: u64 = 1_700_000_000_000;

fn author() -> [u8; 32] {
    *SecretKey::from_seed(SEED).author().as_bytes()
}

fn sign(message: &[&[u8]]) -> [u8; 64] {
    SigningKey::from(SEED).sign(&message.concat()).to_bytes()
}

/// A profile with any content, signed for the room.
fn profile(room: &Room, revision: u64, content: &[u8]) -> Vec<u8> {
    let body = [&author()[..], &revision.to_le_bytes(), content].concat();
    let signature = sign(&[b"heartchain/profile/2", room.id().as_bytes(), &body]);
    [&body[..], &signature].concat()
}

/// The same profile of the author that has signed everything.
fn by_small_order(mut profile: Vec<u8>) -> Vec<u8> {
    profile[..32].copy_from_slice(&SMALL_ORDER);
    let signature = profile.len() - 64;
    profile[signature..].copy_from_slice(any_message().as_bytes());
    profile
}

fn altered(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

fn refused(room: &Room, cases: Vec<(&str, Vec<u8>, &str)>) -> Vec<Value> {
    cases
        .into_iter()
        .map(|(name, bytes, expected)| {
            let decoded = Profile::decode(room.form(), &bytes);
            let verdict = decoded.and_then(|profile| profile.verify(room.id()));
            let error = error_name(&verdict.expect_err(name));
            assert_eq!(error, expected, "{name}");
            json!({ "name": name, "profile": hex::encode(bytes), "error": error })
        })
        .collect()
}

pub(super) fn open_profiles(open: &Room) -> Vec<Value> {
    let text = |revision, name: &[u8]| {
        let length = u8::try_from(name.len()).expect("a short name");
        profile(open, revision, &[&[length], name].concat())
    };
    let named = |name: &[u8]| text(REVISION, name);
    let honest = named(b"Ann");
    let late = MAX_READING_TIME.get() + 1;
    let other = room("a", 9, 1001);
    let elsewhere = profile(&other, REVISION, b"\x03Ann");
    refused(
        open,
        vec![
            ("no bytes", Vec::new(), "Length/Length"),
            (
                "104 bytes, no name",
                honest[..104].to_vec(),
                "Length/Length",
            ),
            ("one byte short", honest[..107].to_vec(), "Length/Length"),
            (
                "one byte more",
                [&honest[..], &[0]].concat(),
                "Length/Length",
            ),
            (
                "length one too small",
                profile(open, REVISION, b"\x02Ann"),
                "Length/Length",
            ),
            (
                "length one too great",
                profile(open, REVISION, b"\x04Ann"),
                "Length/Length",
            ),
            ("name of 41 bytes", named(&[b'x'; 41]), "Name/TooLong"),
            ("zero inside the name", named(b"A\0n"), "Name/Invisible"),
            (
                "zero at the end of the name",
                named(b"Ann\0"),
                "Name/Invisible",
            ),
            ("space before the name", named(b" Ann"), "Name/NotTrimmed"),
            ("not UTF-8", named(b"\xff"), "Name/Malformed"),
            (
                "surrogate in UTF-8",
                named(b"\xed\xa0\x80"),
                "Name/Malformed",
            ),
            ("revision one too late", text(late, b"Ann"), "Revision"),
            ("revision 2^64 - 1", text(u64::MAX, b"Ann"), "Revision"),
            (
                "revision too late, not UTF-8",
                text(late, b"\xff"),
                "Revision",
            ),
            ("altered author", altered(honest.clone(), 0), "Signature"),
            ("altered revision", altered(honest.clone(), 32), "Signature"),
            ("altered name", altered(honest.clone(), 41), "Signature"),
            (
                "altered signature",
                altered(honest.clone(), 107),
                "Signature",
            ),
            ("signed for another room", elsewhere, "Signature"),
            ("author of small order", by_small_order(honest), "Signature"),
        ],
    )
}

/// The sealed name of a private room's profile, which any bytes of this length can be.
fn sealed_name(room: &Room, revision: u64, name: &[u8]) -> Vec<u8> {
    let mut padded = [0; MAX_NAME_LEN];
    padded[..name.len()].copy_from_slice(name);
    let owner: [&[u8]; 2] = [&author(), &revision.to_le_bytes()];
    seal(room, "profile", &owner, &padded)
}

pub(super) fn private_profiles(private: &Room) -> Vec<Value> {
    let named = |revision| profile(private, revision, &sealed_name(private, revision, b"Ann"));
    let honest = named(REVISION);
    let other = private_room(&RoomKey::new([0x2c; 32]), 8, 1000);
    let elsewhere = profile(&other, REVISION, &sealed_name(private, REVISION, b"Ann"));
    refused(
        private,
        vec![
            ("one byte short", honest[..159].to_vec(), "Length/Length"),
            (
                "one byte more",
                [&honest[..], &[0]].concat(),
                "Length/Length",
            ),
            (
                "not sealed",
                profile(private, REVISION, b"\x03Ann"),
                "Length/Length",
            ),
            (
                "revision one too late",
                named(MAX_READING_TIME.get() + 1),
                "Revision",
            ),
            ("altered revision", altered(honest.clone(), 32), "Signature"),
            ("altered seal", altered(honest.clone(), 40), "Signature"),
            (
                "altered signature",
                altered(honest.clone(), 159),
                "Signature",
            ),
            ("signed for another room", elsewhere, "Signature"),
            ("author of small order", by_small_order(honest), "Signature"),
        ],
    )
}

/// Profiles that are valid without the key, and with it have no name that members show.
pub(super) fn nameless_profiles(private: &Room) -> Vec<Value> {
    let other = private_room(&RoomKey::new([0x2c; 32]), 8, 1000);
    let named = |name: &[u8]| sealed_name(private, REVISION, name);
    [
        (
            "sealed with another key",
            sealed_name(&other, REVISION, b"Ann"),
        ),
        (
            "sealed for another revision",
            sealed_name(private, REVISION + 1, b"Ann"),
        ),
        ("seal of zeros", vec![0; 56]),
        ("zero inside the name", named(b"A\0n")),
        ("zero before the name", named(b"\0Ann")),
        ("space after the name", named(b"Ann ")),
        ("zero-width space", named("A\u{200b}n".as_bytes())),
        ("not UTF-8", named(b"\xff")),
    ]
    .into_iter()
    .map(|(name, sealed)| {
        let bytes = profile(private, REVISION, &sealed);
        let decoded = Profile::decode(private.form(), &bytes).expect(name);
        assert_eq!(decoded.verify(private.id()), Ok(()), "{name}");
        assert_eq!(private.open_profile(&decoded), None, "{name}");
        json!({ "name": name, "profile": hex::encode(bytes) })
    })
    .collect()
}

/// A binding's author and signature, for this peer.
fn proof(room: &Room, peer: &[u8]) -> Vec<u8> {
    let room = room.id();
    let message: [&[u8]; 4] = [b"heartchain/binding/2", room.as_bytes(), &author(), peer];
    [&author()[..], &sign(&message)].concat()
}

/// Whether the bytes prove an author for [`PEER`].
fn is_proof(room: &Room, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let binding = Binding::deserialize(room.form(), &mut rest);
    let author = binding.map(|binding| room.bound_author(&binding, &PEER));
    rest.is_empty() && author.is_ok_and(|author| author.is_some())
}

fn bindings(room: &Room, cases: Vec<(&str, Vec<u8>)>) -> Vec<Value> {
    cases
        .into_iter()
        .map(|(name, bytes)| {
            assert!(!is_proof(room, &bytes), "{name}");
            json!({ "name": name, "binding": hex::encode(bytes) })
        })
        .collect()
}

/// What a binding says that proves nothing: the same in both kinds of room.
fn no_proofs(of: &Room) -> Vec<(&'static str, Vec<u8>)> {
    let honest = proof(of, &PEER);
    let other = room("a", 9, 1001);
    let small_order = [&SMALL_ORDER[..], any_message().as_bytes()].concat();
    vec![
        ("altered author", altered(honest.clone(), 0)),
        ("altered signature", altered(honest, 95)),
        ("signed for another peer", proof(of, &PEER[1..])),
        ("signed for another room", proof(&other, &PEER)),
        ("author of small order", small_order),
        ("zeros", vec![0; 96]),
    ]
}

pub(super) fn open_bindings(open: &Room) -> Vec<Value> {
    let honest = proof(open, &PEER);
    assert!(is_proof(open, &honest));
    let mut cases = no_proofs(open);
    cases.push(("one byte short", honest[..95].to_vec()));
    cases.push(("one byte more", [&honest[..], &[0]].concat()));
    bindings(open, cases)
}

pub(super) fn private_bindings(private: &Room) -> Vec<Value> {
    assert_eq!(private.form(), ReadingForm::Sealed);
    let other = private_room(&RoomKey::new([0x2c; 32]), 8, 1000);
    let plain = proof(private, &PEER);
    let sealed = |room: &Room, peer: &[u8]| seal(room, "binding", &[peer], &plain);
    let honest = sealed(private, &PEER);
    assert!(is_proof(private, &honest));
    let mut cases: Vec<(&str, Vec<u8>)> = no_proofs(private)
        .into_iter()
        .map(|(name, plain)| (name, seal(private, "binding", &[&PEER], &plain)))
        .collect();
    cases.extend([
        ("sealed with another key", sealed(&other, &PEER)),
        ("sealed for another peer", sealed(private, &PEER[1..])),
        ("altered seal", altered(honest.clone(), 0)),
        ("not sealed", plain.clone()),
        ("one byte short", honest[..111].to_vec()),
        ("one byte more", [&honest[..], &[0]].concat()),
    ]);
    bindings(private, cases)
}
