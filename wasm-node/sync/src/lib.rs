//! A Heartchain peer as a state machine without IO: what to ask, answer, store, mine and tell.
//!
//! [`Machine`] takes [`Input`]s and gives [`Output`]s; it has no clock, no chance of its own (a seed goes
//! in), no network and no disk. The very code that runs in a tab runs a thousand times over in one native
//! process under a simulated network.
//!
//! It never holds a long chain's bodies: headers and indexes are in memory, bodies in storage.
#![no_std]

extern crate alloc;

pub mod config;
mod machine;
pub mod message;
pub mod seam;

pub use config::Config;
pub use machine::{Load, Machine, OwnReading, PeerView, Restore, State, Status};
pub use seam::{Batch, Event, Input, Output, StoreOperation};
