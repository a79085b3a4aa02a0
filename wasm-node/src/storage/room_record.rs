//! The record of one room in the list of rooms. Never touches the database.

use heartchain_chain::time::UnixMillis;
use litemap::LiteMap;

use crate::room_access::RoomAccess;

/// The longest label of a room, in bytes of UTF-8: as long as the name of an open room.
pub(crate) const MAX_ROOM_LABEL_LEN: usize = heartchain_chain::room::MAX_ROOM_NAME_LEN;
/// Length of a record in bytes, with every slot in use.
pub(super) const MAX_ROOM_RECORD_LEN: usize = 2_048;
/// Stands for an unknown number of bytes.
const UNKNOWN: u64 = u64::MAX;

/// What is known of a room on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RoomRecord {
    /// What opens the room; `None` if only its databases were found.
    pub(super) access: Option<RoomAccess>,
    /// What people call the room here.
    pub(super) label: Option<String>,
    /// When a tab opened the room last. 0 if that is not known.
    pub(super) last_opened: UnixMillis,
    /// Whether a person has asked to delete the room, and the deletion has not ended.
    pub(super) deleting: bool,
    /// Each slot that was ever opened, by its number.
    pub(super) slots: LiteMap<u8, SlotUse>,
}

/// How much a slot holds of the person's data and of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotUse {
    /// Readings that were recorded there.
    pub(super) readings: u64,
    /// Length of its blocks in bytes, if it is known.
    pub(super) bytes: Option<u64>,
}

impl RoomRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let label = self.label.as_deref().unwrap_or_default().as_bytes();
        let mut body = vec![u8::from(self.deleting)];
        body.extend(self.last_opened.get().to_le_bytes());
        // A label has at most 64 bytes, and there are at most 64 slots.
        body.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        body.extend(label);
        body.push(u8::try_from(self.slots.len()).unwrap_or(u8::MAX));
        for (number, SlotUse { readings, bytes }) in &self.slots {
            body.push(*number);
            body.extend(readings.to_le_bytes());
            body.extend(bytes.unwrap_or(UNKNOWN).to_le_bytes());
        }
        body.extend(self.access.iter().flat_map(RoomAccess::encode));
        body
    }

    /// Decodes a record; `None` if it is malformed.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (deleting, rest) = bytes.split_first()?;
        let (last_opened, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        let (count, mut rest) = rest.split_first()?;
        let mut slots = LiteMap::new();
        for _ in 0..*count {
            let ([number, numbers @ ..], after) = rest.split_first_chunk::<17>()?;
            let (readings, bytes) = numbers.split_first_chunk()?;
            let bytes = u64::from_le_bytes(bytes.try_into().ok()?);
            let used = SlotUse {
                readings: u64::from_le_bytes(*readings),
                bytes: (bytes != UNKNOWN).then_some(bytes),
            };
            slots.insert(*number, used);
            rest = after;
        }
        let access = if rest.is_empty() {
            None
        } else {
            // The name was checked when the room was opened.
            let (access, []) = RoomAccess::decode(rest, |_| true)? else {
                return None;
            };
            Some(access)
        };
        let label = str::from_utf8(label).ok()?;
        Some(Self {
            access,
            label: (!label.is_empty()).then(|| label.to_owned()),
            last_opened: UnixMillis::new(u64::from_le_bytes(*last_opened)),
            deleting: *deleting != 0,
            slots,
        })
    }

    /// Readings that were recorded in all slots.
    pub(super) fn readings(&self) -> u64 {
        let each = self.slots.values().map(|used| used.readings);
        each.fold(0, u64::saturating_add)
    }

    /// Length of the blocks of all slots in bytes; `None` if no slot has told it.
    pub(super) fn bytes(&self) -> Option<u64> {
        let each = self.slots.values().filter_map(|used| used.bytes);
        each.reduce(u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{room::RoomName, room_key::RoomKey};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn room_record_round_trips() {
        let name = RoomName::new(&"n".repeat(64)).expect("a name");
        let largest = RoomRecord {
            access: Some(RoomAccess::Open(name)),
            label: Some("l".repeat(MAX_ROOM_LABEL_LEN)),
            last_opened: UnixMillis::new(7),
            deleting: true,
            slots: (0..64)
                .map(|number| {
                    let bytes = (number % 2 == 0).then_some(9);
                    (number, SlotUse { readings: 3, bytes })
                })
                .collect(),
        };
        assert!(largest.encode().len() <= MAX_ROOM_RECORD_LEN);
        assert_eq!((largest.readings(), largest.bytes()), (192, Some(288)));
        let private = RoomRecord {
            access: Some(RoomAccess::Private(RoomKey::new([7; 32]))),
            ..RoomRecord::default()
        };
        for record in [largest, private, RoomRecord::default()] {
            let bytes = record.encode();
            assert_eq!(RoomRecord::decode(&bytes), Some(record));
            assert_eq!(RoomRecord::decode(&[&bytes[..], &[9]].concat()), None);
        }
        assert_eq!(RoomRecord::decode(&[]), None);
    }
}
