//! Tokens with a mistake are refused, and a seal opens only with its key, for its purpose.

use alloc::{format, string::ToString};

use proptest::prelude::*;

use super::*;
use crate::{
    bpm::Bpm,
    content::{Content, Measurement, SealedContent, UnreadableError},
    key::{SecretKey, Signature},
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};

fn room() -> Room {
    Room::private(RoomKey::new([3; 32]))
}

fn measurement(bpm: u16) -> Measurement {
    Measurement {
        time: UnixMillis::new(1_700_000_000_000),
        bpm: Bpm::new(bpm).expect("a heart rate"),
    }
}

fn reading(seq: u64) -> Reading {
    let key = SecretKey::from_seed([1; 32]);
    let signed = room().sign(&key, seq, measurement(72));
    signed.expect("the key is known")
}

#[test]
fn key_never_shows_in_text() {
    let key = RoomKey::new([0x5a; 32]);
    let text = format!("{key:?} {:?}", Room::private(key.clone()));
    assert!(!text.contains("5a5a") && !text.contains("90, 90"), "{text}");
    assert!(text.contains(&key.commitment().to_string()), "{text}");
}

#[test]
fn token_has_48_characters() {
    let token = RoomKey::new([0xff; 32]).to_token();
    assert_eq!(token.len(), 48);
    assert_eq!(RoomKey::from_token(&token), Ok(RoomKey::new([0xff; 32])));
    for found in [0, 1, 47, 49] {
        let cut: String = token.chars().cycle().take(found).collect();
        let error = TokenError::Length { found };
        assert_eq!(RoomKey::from_token(&cut), Err(error));
    }
    for character in [' ', '+', '/', '=', '\u{e9}', '\u{200b}'] {
        let altered: String = token.chars().skip(1).chain([character]).collect();
        let error = TokenError::Character { character };
        assert_eq!(RoomKey::from_token(&altered), Err(error));
    }
}

#[test]
fn token_with_one_typing_error_is_refused() {
    let token = RoomKey::new([7; 32]).to_token();
    for at in 0..token.len() {
        let typed = |(place, right): (usize, char)| match (place == at, right) {
            (false, right) => right,
            (true, 'A') => 'B',
            (true, _) => 'A',
        };
        let altered: String = token.chars().enumerate().map(typed).collect();
        let refused = RoomKey::from_token(&altered);
        assert_eq!(refused, Err(TokenError::Checksum), "character {at}");
    }
}

#[test]
fn member_reads_what_it_sealed() {
    let reading = reading(5);
    assert_eq!(room().open(&reading), Ok(measurement(72)));
    assert_eq!(reading.verify(room().id()), Ok(()));
    assert_eq!(reading, self::reading(5), "sealing is deterministic");
    assert_ne!(reading.content, self::reading(6).content);
}

#[test]
fn peer_without_the_key_verifies_and_cannot_read() {
    let outside = Room::new(room().params().clone());
    assert_eq!(outside.id(), room().id());
    assert!(!outside.is_member() && room().is_member());
    assert_eq!(reading(0).verify(outside.id()), Ok(()));
    assert_eq!(outside.open(&reading(0)), Err(UnreadableError::NoKey));
    let key = SecretKey::from_seed([1; 32]);
    assert_eq!(outside.sign(&key, 0, measurement(72)), None);
}

#[test]
fn room_is_unlocked_only_by_its_key() {
    let outside = || Room::new(room().params().clone());
    assert_eq!(outside().unlock(RoomKey::new([3; 32])), Ok(room()));
    assert!(outside().unlock(RoomKey::new([4; 32])).is_err());
    let name = RoomName::new("open").expect("a room name");
    let open = Room::new(RoomParams::with_defaults(name));
    assert!(open.is_member());
    assert!(open.unlock(RoomKey::new([3; 32])).is_err());
}

#[test]
fn seal_of_another_room_author_or_seq_does_not_open() {
    let sealed = reading(5);
    let other_author = Reading {
        author: SecretKey::from_seed([2; 32]).author(),
        ..sealed
    };
    let other_seq = Reading { seq: 4, ..sealed };
    for moved in [other_author, other_seq] {
        assert_eq!(room().open(&moved), Err(UnreadableError::Seal));
    }
    let other_room = Room::private(RoomKey::new([4; 32]));
    assert_eq!(other_room.open(&sealed), Err(UnreadableError::Seal));
    let params = RoomParams::new(&RoomKey::new([3; 32]), 17, 1_000).expect("in bounds");
    let other_params = Room::new(params).unlock(RoomKey::new([3; 32]));
    let other_params = other_params.expect("its key");
    assert_eq!(other_params.open(&sealed), Err(UnreadableError::Seal));
}

#[test]
fn sealed_nonsense_is_unreadable() {
    let ciphers = room().ciphers().cloned().expect("the key is known");
    let author = SecretKey::from_seed([1; 32]).author();
    for (time, bpm, readable) in [
        (0, 20, true),
        (8_640_000_000_000_000, 400, true),
        (0, 19, false),
        (0, 401, false),
        (8_640_000_000_000_001, 72, false),
        (u64::MAX, 72, false),
    ] {
        let plain = [&u64::to_le_bytes(time)[..], &u16::to_le_bytes(bpm)].concat();
        let sealed = ciphers.seal(Purpose::Reading(&author, 0), &plain);
        let reading = Reading {
            author,
            seq: 0,
            content: Content::Sealed(SealedContent::new(sealed)),
            signature: Signature::new([0; 64]),
        };
        let opened = room().open(&reading);
        let expected = !readable;
        assert_eq!(
            opened == Err(UnreadableError::Range),
            expected,
            "{time}, {bpm}"
        );
    }
}

#[test]
fn purposes_have_keys_of_their_own() {
    let ciphers = room().ciphers().cloned().expect("the key is known");
    let author = SecretKey::from_seed([1; 32]).author();
    let sealed: [u8; 26] = ciphers.seal(Purpose::Reading(&author, 9), &[1; 10]);
    let open = |purpose| ciphers.open::<10>(purpose, &sealed);
    assert_eq!(open(Purpose::Reading(&author, 9)), Some([1; 10]));
    assert_eq!(open(Purpose::Profile(&author, 9)), None);
    assert_eq!(open(Purpose::Binding(author.as_bytes())), None);
    assert_eq!(
        ciphers.open::<11>(Purpose::Reading(&author, 9), &sealed),
        None
    );
    assert_eq!(
        ciphers.open::<10>(Purpose::Reading(&author, 9), &sealed[..9]),
        None
    );
}

proptest! {
    #[test]
    fn every_key_has_a_token(key: [u8; 32]) {
        let key = RoomKey::new(key);
        prop_assert_eq!(RoomKey::from_token(&key.to_token()), Ok(key));
    }

    #[test]
    fn any_text_is_a_token_or_is_refused(text: String) {
        let parsed = RoomKey::from_token(&text);
        prop_assert!(parsed.is_err() || parsed.is_ok_and(|key| key.to_token() == text));
    }

    #[test]
    fn flipped_bit_of_a_seal_is_noticed(bit in 0_usize..26 * 8) {
        let Content::Sealed(sealed) = reading(0).content else {
            panic!("a private room's reading is sealed");
        };
        let mut bytes = *sealed.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let content = Content::Sealed(SealedContent::new(bytes));
        let altered = Reading { content, ..reading(0) };
        prop_assert_eq!(room().open(&altered), Err(UnreadableError::Seal));
    }
}
