//! A running keeper of one room.
//!
//! - `run`: the loop. `replies`: calls that wait for the machine
//! - `handle`: what others ask of it. `events`: what it tells
//!
//! The future of a session is not `Send`, because that of a network need not be; handles and events are.

pub(crate) mod events;
pub(crate) mod handle;
#[cfg(test)]
mod replay_test;
pub(crate) mod replies;
mod run;

pub use self::{
    events::{KeeperEvent, MAX_EVENTS, ShownBlock, ShownReading},
    handle::{Handle, KeeperStatus, MAX_COMMANDS, Recorded, Stopped},
    run::{MAX_SHOWN_BLOCKS, Session, SessionError},
};
