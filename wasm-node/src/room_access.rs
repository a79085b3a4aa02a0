//! What opens a room: the name of an open one, or the key of a private one. Stored with the list of rooms and in move files.

use heartchain_chain::{
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
};

/// Marks the name of an open room.
const OPEN: u8 = 0;
/// Marks the key of a private room.
const PRIVATE: u8 = 1;

/// What opens a room. The rooms of pages have default parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// The name of an open room.
    Open(RoomName),
    /// The key of a private room. `Debug` does not print it.
    Private(RoomKey),
}

impl RoomAccess {
    /// What opens this room again; `None` if it is private and its key is not known.
    pub(crate) fn of(room: &Room) -> Option<Self> {
        let name = room.params().name().cloned().map(Self::Open);
        name.or_else(|| room.key().cloned().map(Self::Private))
    }

    pub(crate) fn room(&self) -> Room {
        match self {
            Self::Open(name) => Room::new(RoomParams::with_defaults(name.clone())),
            Self::Private(key) => Room::private(key.clone()),
        }
    }

    /// The encoding: a byte for the kind, then the name with its length in one byte, or the key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Open(name) => {
                let name = name.as_str().as_bytes();
                // A name has at most 64 bytes.
                let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
                [&[OPEN, len], name].concat()
            }
            Self::Private(key) => [&[PRIVATE], &key.as_bytes()[..]].concat(),
        }
    }

    /// Decodes the front of some bytes, and returns the rest. `is_nfc` says whether a name is in Unicode normal form C.
    pub(crate) fn decode(bytes: &[u8], is_nfc: impl FnOnce(&str) -> bool) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            OPEN => {
                let (len, rest) = rest.split_first()?;
                let (name, rest) = rest.split_at_checked(usize::from(*len))?;
                let name = str::from_utf8(name).ok()?;
                let name = RoomName::with_nfc_check(name, is_nfc).ok()?;
                Some((Self::Open(name), rest))
            }
            PRIVATE => {
                let (key, rest) = rest.split_first_chunk()?;
                Some((Self::Private(RoomKey::new(*key)), rest))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn access_opens_the_same_room() {
        let name = RoomName::new("caf\u{e9}").expect("a name");
        for access in [
            RoomAccess::Open(name),
            RoomAccess::Private(RoomKey::new([7; 32])),
        ] {
            let room = access.room();
            assert_eq!(RoomAccess::of(&room), Some(access.clone()));
            let mut bytes = access.encode();
            bytes.extend([1, 2]);
            let decoded = RoomAccess::decode(&bytes, |_| true);
            assert_eq!(decoded, Some((access, &[1, 2][..])));
            for len in 0..bytes.len() - 2 {
                assert_eq!(RoomAccess::decode(&bytes[..len], |_| true), None, "{len}");
            }
        }
    }

    #[test]
    fn invalid_access_is_refused() {
        let decode = |bytes: &[u8]| RoomAccess::decode(bytes, |_| false).is_some();
        assert!(decode(&[0, 1, b'a']));
        let accented = "\u{e9}".as_bytes();
        for bytes in [
            &[2, 1, b'a'][..],
            &[0, 0],
            &[0, 1, 0xff],
            &[0, 2, b' ', b'a'],
            &[&[0, 2], accented].concat(),
        ] {
            assert!(!decode(bytes), "{bytes:?}");
        }
    }
}
