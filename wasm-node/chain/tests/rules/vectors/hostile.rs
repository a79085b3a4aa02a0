//! Blocks on the tip of the small chains that break one rule each, or two, with the expected error; and blocks at the
//! limits, which are valid.

mod bodies;
mod cases;
mod headers;
mod sealed;
mod sizes;

use serde_json::Value;

use self::cases::Hostile;
use super::blocks::{small_private_room, small_room};

pub(super) fn vectors() -> Value {
    let mut hostile = Hostile::on_small_chain(&small_room());
    hostile.headers();
    hostile.header_order();
    hostile.bodies();
    hostile.limits();
    hostile.body_order();
    hostile.flood();
    hostile.raw_bytes();
    hostile.sizes();
    hostile.vectors()
}

pub(super) fn private_vectors() -> Value {
    let mut hostile = Hostile::on_small_chain(&small_private_room());
    hostile.unreadable();
    hostile.sealed_bodies();
    hostile.raw_bytes();
    hostile.sizes();
    hostile.vectors()
}
