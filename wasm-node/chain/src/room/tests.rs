//! Room parameters are accepted verbatim or rejected, and each of them changes the room id.

use alloc::string::ToString;

use super::*;

fn name(text: &str) -> RoomName {
    RoomName::new(text).expect("a room name")
}

#[test]
fn names_are_accepted_verbatim_or_rejected() {
    for good in [
        "a",
        "room 7",
        "caf\u{e9}",
        &"x".repeat(64),
        &"\u{2665}".repeat(21),
    ] {
        assert_eq!(name(good).as_str(), good);
    }
    assert_eq!(RoomName::new(""), Err(RoomNameError::Empty));
    assert_eq!(
        RoomName::new(&"x".repeat(65)),
        Err(RoomNameError::TooLong { found: 65, max: 64 })
    );
    for untrimmed in [" a", "a ", "\ta", "a\u{a0}", " "] {
        let name = untrimmed.to_string();
        assert_eq!(
            RoomName::new(untrimmed),
            Err(RoomNameError::NotTrimmed { name })
        );
    }
    // An e with a combining acute accent; the Kelvin sign, whose normal form is the letter K.
    for other in ["cafe\u{301}", "\u{212a}"] {
        let name = other.to_string();
        assert_eq!(
            RoomName::new(other),
            Err(RoomNameError::NotNormalized { name })
        );
    }
}

#[test]
fn caller_can_supply_the_nfc_check() {
    assert_eq!(
        RoomName::with_nfc_check("room 7", |_| false),
        Ok(name("room 7"))
    );
    for text in ["caf\u{e9}", "cafe\u{301}"] {
        let taken = RoomName::with_nfc_check(text, |asked| asked == text);
        assert_eq!(taken.as_ref().map(RoomName::as_str), Ok(text));
        let refused = RoomNameError::NotNormalized {
            name: text.to_string(),
        };
        assert_eq!(RoomName::with_nfc_check(text, |_| false), Err(refused));
    }
}

#[test]
fn parameters_are_bounded() {
    for floor_bits in [8, 64] {
        for interval in [100, 600_000] {
            assert!(RoomParams::new(name("a"), floor_bits, interval).is_ok());
        }
    }
    for found in [0, 7, 65, 255] {
        let error = RoomParamsError::FloorBits { found };
        assert_eq!(RoomParams::new(name("a"), found, 1000), Err(error));
    }
    for found in [0, 99, 600_001, u64::MAX] {
        let error = RoomParamsError::BlockInterval { found };
        assert_eq!(RoomParams::new(name("a"), 16, found), Err(error));
    }
}

#[test]
fn bytes_are_the_borsh_encoding() {
    for kind in [
        name("caf\u{e9}").into(),
        RoomKind::from(&RoomKey::new([3; 32])),
    ] {
        let params = RoomParams::new(kind, 9, 1234).expect("in bounds");
        assert_eq!(
            Ok(params.to_bytes()),
            borsh::to_vec(&params).map_err(|_| ())
        );
    }
}

#[test]
fn every_parameter_changes_the_room_id() {
    let room = |text, floor_bits, interval| {
        Room::new(RoomParams::new(name(text), floor_bits, interval).expect("in bounds")).id()
    };
    let ids = [
        room("a", 16, 1000),
        room("b", 16, 1000),
        room("a", 17, 1000),
        room("a", 16, 1001),
    ];
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id));
    }
    assert_eq!(ids[0], Room::new(RoomParams::with_defaults(name("a"))).id());
}
