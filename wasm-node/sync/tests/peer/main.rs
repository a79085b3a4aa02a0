//! Tests of one sync machine against peers that the test plays, and of small networks of machines.
//!
//! No test sleeps: time is an argument of the machine.
#![cfg(not(target_arch = "wasm32"))]

mod attacks;
mod bad_peers;
mod bounds;
mod catching_up;
mod confirmed_record;
mod driver;
mod fixtures;
mod gossip;
mod hostile;
mod importing;
mod journal;
mod limits;
mod long_branches;
mod messages;
mod mining;
mod missing_bodies;
mod model;
mod private_rooms;
mod profiles;
mod regressions;
mod restarts;
mod restoring;
mod subject;
mod verifying;
mod views;
mod waiting_import;
