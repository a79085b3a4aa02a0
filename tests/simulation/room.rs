//! The rooms of runs.

use heartchain_chain::room::{Room, RoomName, RoomParams};

/// A room whose blocks have at least `floor_bits` bits of work, and a target interval of `interval` ms.
pub(crate) fn room(floor_bits: u8, interval: u64) -> Room {
    let name = RoomName::new("simulation").expect("a room name");
    Room::new(RoomParams::new(name, floor_bits, interval).expect("within bounds"))
}
