//! Move files: the golden vectors in `vectors/move_files.json`, and every way in which a file may be wrong.

use heartchain_chain::{room::RoomName, room_key::RoomKey};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A cost that tests can afford.
const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
};
const PASSPHRASE: &str = "correct horse, battery staple";

fn entry(position: u64, prefix: bool) -> JournalEntry {
    JournalEntry {
        time: UnixMillis::new(1_700_000_000_000 + position),
        bpm: Bpm::new(60 + u16::try_from(position).expect("few")).expect("a heart rate"),
        replaces: (position == 3).then_some(1),
        prefix: prefix.then(|| IdPrefix::from_bits(7 + u32::try_from(position).expect("few"))),
    }
}

fn open_room() -> MovedIdentity {
    MovedIdentity {
        access: RoomAccess::Open(RoomName::new("class").expect("a name")),
        label: String::new(),
        keys: vec![(0, [7; 32])],
        journal: vec![Some(entry(0, false)), Some(entry(1, false))],
        unconfirmed_from: 1,
        profile: None,
    }
}

fn private_room() -> MovedIdentity {
    MovedIdentity {
        access: RoomAccess::Private(RoomKey::new([9; 32])),
        label: "Family \u{2665}".to_owned(),
        keys: vec![(0, [1; 32]), (2, [2; 32]), (5, [3; 32])],
        journal: vec![
            Some(entry(0, true)),
            Some(entry(1, true)),
            None,
            Some(entry(3, true)),
            Some(entry(4, false)),
        ],
        unconfirmed_from: 5,
        profile: Some(vec![5; MAX_PROFILE_LEN]),
    }
}

fn sealed(identity: &MovedIdentity) -> Vec<u8> {
    seal(identity, PASSPHRASE, CHEAP, [3; SALT_LEN], [4; NONCE_LEN]).expect("it is short")
}

fn opened(file: &[u8]) -> Result<MovedIdentity, MoveFileError> {
    open(file, PASSPHRASE, |_| true)
}

#[test]
fn file_opens_with_its_passphrase_only() {
    for identity in [open_room(), private_room()] {
        let file = sealed(&identity);
        assert_eq!(opened(&file), Ok(identity));
        for wrong in [
            "",
            "correct horse, battery stapl",
            "Correct horse, battery staple",
        ] {
            let refused = open(&file, wrong, |_| true);
            assert_eq!(refused, Err(MoveFileError::Passphrase), "{wrong:?}");
        }
    }
    assert_eq!((open_room().readings(), private_room().readings()), (2, 4));
}

#[test]
fn truncated_or_altered_file_is_refused() {
    let file = sealed(&private_room());
    for len in 0..file.len() {
        let expected = match len < MAGIC.len() {
            true => MoveFileError::OtherKind,
            false => MoveFileError::Damaged,
        };
        assert_eq!(opened(&file[..len]), Err(expected), "{len}");
    }
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        let expected = match at {
            0..15 => MoveFileError::OtherKind,
            15 => MoveFileError::Newer,
            _ => MoveFileError::Damaged,
        };
        assert_eq!(opened(&altered), Err(expected), "{at}");
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(opened(&longer), Err(MoveFileError::Damaged));
    assert_eq!(opened(b"{}"), Err(MoveFileError::OtherKind));
}

/// Someone who alters a file can also correct its checksum. The cipher notices, for the header as well.
#[test]
fn altered_file_with_checksum_does_not_open() {
    let file = sealed(&open_room());
    let end = file.len() - CHECKSUM_LEN;
    for at in MAGIC.len() + 1..end {
        let mut altered = file[..end].to_vec();
        altered[at] ^= 0x10;
        let end = checksum(&altered);
        altered.extend(end);
        let refused = opened(&altered).expect_err("it was altered");
        let is_right = matches!(refused, MoveFileError::Passphrase | MoveFileError::Newer);
        assert!(is_right, "{at}: {refused}");
    }
}

#[test]
fn header_cannot_ask_for_too_much_work() {
    let header = |memory_kib, passes| {
        let cost = Cost { memory_kib, passes };
        let (salt, nonce) = ([0; SALT_LEN], [0; NONCE_LEN]);
        Header { cost, salt, nonce }
    };
    for (memory_kib, passes, is_allowed) in [
        (MAX_MEMORY_KIB, MAX_PASSES, true),
        (MAX_MEMORY_KIB + 1, 1, false),
        (u32::MAX, 1, false),
        (8, MAX_PASSES + 1, false),
        (8, 1, true),
        (7, 1, false),
        (8, 0, false),
    ] {
        let header = header(memory_kib, passes);
        let decoded = Header::decode(&header.encode());
        assert_eq!(decoded, is_allowed.then_some(header));
    }
    let mut lanes = header(8, 1).encode();
    lanes[MAGIC.len() + 1 + 8] = 2;
    assert_eq!(Header::decode(&lanes), None);
}

#[test]
fn invalid_content_is_refused() {
    let decode = |identity: &MovedIdentity| MovedIdentity::decode(&identity.encode(), |_| true);
    let valid = private_room();
    assert_eq!(decode(&valid).as_ref(), Some(&valid));
    let changed = |change: fn(&mut MovedIdentity)| {
        let mut identity = private_room();
        change(&mut identity);
        identity
    };
    let cases = [
        changed(|identity| identity.keys.clear()),
        changed(|identity| identity.keys = vec![(1, [1; 32])]),
        changed(|identity| identity.keys = vec![(0, [1; 32]), (0, [2; 32])]),
        changed(|identity| identity.keys = vec![(0, [1; 32]), (6, [2; 32])]),
        changed(|identity| identity.unconfirmed_from = 6),
        changed(|identity| identity.label = "l".repeat(65)),
        changed(|identity| identity.profile = Some(vec![1; MAX_PROFILE_LEN + 1])),
        changed(|identity| {
            let time = MAX_READING_TIME.saturating_add(1);
            identity.journal[0] = Some(JournalEntry {
                time,
                ..entry(0, true)
            });
        }),
        changed(|identity| {
            let replaces = Some(0);
            identity.journal[0] = Some(JournalEntry {
                replaces,
                ..entry(0, true)
            });
        }),
    ];
    for case in cases {
        assert_eq!(decode(&case), None, "{:?}", case.encode());
    }
    let mut other_room = valid.encode();
    other_room[0] ^= 1;
    let trailing = [valid.encode(), vec![0]].concat();
    for bytes in [other_room, trailing] {
        assert_eq!(MovedIdentity::decode(&bytes, |_| true), None);
    }
    let access = RoomAccess::Open(RoomName::new("caf\u{e9}").expect("a name"));
    let named = MovedIdentity {
        access,
        ..open_room()
    };
    assert_eq!(MovedIdentity::decode(&named.encode(), |_| false), None);
}

#[test]
fn journal_that_is_too_long_is_refused() {
    let mut bytes = open_room().encode();
    let count = bytes.len() - 1 - 2 * ENTRY_LEN - 4;
    for len in [2 * u32::try_from(MAX_JOURNAL).expect("few") + 1, u32::MAX] {
        bytes[count..count + 4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(MovedIdentity::decode(&bytes, |_| true), None);
    }
    let too_long = vec![0; MAX_MOVE_FILE_LEN + 1];
    assert_eq!(opened(&too_long), Err(MoveFileError::TooLong));
    // The longest journal that can be recorded fits.
    let full = 1_024 + MAX_JOURNAL * (ENTRY_LEN + 4);
    assert!(full <= MAX_MOVE_FILE_LEN);
}

/// `CHAIN_VECTORS=write` writes the file again after a deliberate change of the format.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn files_are_those_of_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/move_files.json");
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let cases = [(CHEAP, open_room()), (Cost::DEFAULT, private_room())];
    let rows = cases.map(|(cost, identity)| {
        let file = seal(
            &identity,
            PASSPHRASE,
            cost,
            [3; SALT_LEN],
            [4; NONCE_LEN],
        );
        let (content, file) = (hex(&identity.encode()), hex(&file.expect("it is short")));
        format!(
            "  {{\n    \"passphrase\": \"{PASSPHRASE}\",\n    \"content\": \"{content}\",\n    \"file\": \"{file}\"\n  }}"
        )
    });
    let made = format!("[\n{}\n]\n", rows.join(",\n"));
    if std::env::var("CHAIN_VECTORS").is_ok_and(|value| value == "write") {
        std::fs::write(path, &made).expect("the folder is writable");
    }
    let kept = std::fs::read_to_string(path).expect("the vectors are checked in");
    assert_eq!(kept, made);
}

#[test]
fn replaced_key_that_signed_nothing_stays_behind() {
    let keys = keys_in_use([(0, [1; 32]), (0, [2; 32]), (5, [3; 32])]);
    assert_eq!(keys, [(0, [2; 32]), (5, [3; 32])]);
}

#[test]
fn number_of_keys_is_bounded() {
    let with_keys = |count: usize| MovedIdentity {
        keys: (0..count as u64).map(|from| (from, [7; 32])).collect(),
        journal: vec![None; count],
        ..open_room()
    };
    let most = with_keys(MAX_MOVED_KEYS);
    assert_eq!(opened(&sealed(&most)), Ok(most));
    let more = with_keys(MAX_MOVED_KEYS + 1);
    let refused = seal(&more, PASSPHRASE, CHEAP, [3; SALT_LEN], [4; NONCE_LEN]);
    assert_eq!(refused, Err(MoveFileError::TooManyKeys));
    assert_eq!(MovedIdentity::decode(&more.encode(), |_| true), None);
}
