//! What tests, fuzz targets and benchmarks of the machine share.
//!
//! [`Driver`] interprets a machine's outputs, [`Disk`] is its disk, [`Branch`] builds chains with real proof of work,
//! [`record`] and [`Replay`] compare drivers,
//! [`Rng`] is the source of randomness, and [`Clock`] shows a simulated time. All of it is deterministic, and all of it
//! builds for browsers.
#![allow(
    clippy::missing_panics_doc,
    reason = "a test fails with a panic, and its message says why"
)]

mod bounds;
mod branch;
mod clock;
mod disk;
mod driver;
mod recording;
mod replay;
mod rng;
mod tampering;

pub use bounds::exceeded_bound;
pub use branch::{
    Branch, START, key, mine, mine_header, mine_on, named_room, reading, room, solve,
};
pub use clock::{Clock, now_at};
pub use disk::{Disk, Ending, Job, Start};
pub use driver::{Call, Driver, DriverState, PendingGossip};
pub use recording::{Peers, Recording, record, recorded_machine};
pub use replay::{
    NetworkLog, OUTPUT_KINDS, RECORDED_DIGEST, RecordedInput, Replay, SEEDS, assert_same, changes,
    digest, for_networks, for_stores, kinds,
};
pub use rng::Rng;
pub use tampering::Tampering;
