//! One machine at a time against peers that a test speaks for, and small networks of machines.
//!
//! Nothing here waits: time is an argument.
#![cfg(not(target_arch = "wasm32"))]

mod attacks;
mod bad_peers;
mod bounds;
mod branch;
mod catching_up;
mod gossip;
mod hostile;
mod importing;
mod journal;
mod limits;
mod long_branches;
mod lost;
mod messages;
mod mining;
mod model;
mod restoring;
mod setups;
mod shrinking;
mod subject;
mod trust;
mod views;
