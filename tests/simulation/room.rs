//! The rooms of runs.

use heartchain_chain::{
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
};

/// The least work of a block in the rooms of runs, in bits.
const FLOOR_BITS: u8 = 8;
/// The block interval that these rooms aim at, ms.
const INTERVAL: u64 = 1_000;

/// Which room a run is in, and who can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    /// All peers have the key.
    Private,
    /// Every other peer does not have the key: it validates and forwards, but neither reads nor mines.
    HalfWithoutKey,
}

impl Kind {
    /// The kinds in turn, so that any range of seeds has all of them.
    pub(crate) const fn of_seed(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::Open,
            1 => Self::Private,
            _ => Self::HalfWithoutKey,
        }
    }

    /// The room of a run, with its key if it is private.
    pub(crate) fn room(self) -> Room {
        match self {
            Self::Open => room(FLOOR_BITS, INTERVAL),
            Self::Private | Self::HalfWithoutKey => {
                let key = RoomKey::new([0x51; 32]);
                let params = RoomParams::new(&key, FLOOR_BITS, INTERVAL).expect("within bounds");
                Room::new(params).unlock(key).expect("its own key")
            }
        }
    }

    /// Whether the peer that is added as number `number` has the key of the room.
    pub(crate) const fn has_key(self, number: u64) -> bool {
        match self {
            Self::Open | Self::Private => true,
            Self::HalfWithoutKey => number.is_multiple_of(2),
        }
    }
}

/// An open room whose blocks have at least `floor_bits` bits of work, and a target interval of `interval` ms.
pub(crate) fn room(floor_bits: u8, interval: u64) -> Room {
    let name = RoomName::new("simulation").expect("a room name");
    Room::new(RoomParams::new(name, floor_bits, interval).expect("within bounds"))
}
