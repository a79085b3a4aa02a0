//! A native Heartchain peer: it keeps rooms on disk while no tab is open, and records what is typed in a terminal.
//!
//! All decisions are the machine's (`heartchain_sync`), as in a tab. This crate gives it a disk, a clock, a miner and,
//! through [`network::Network`], other peers.
//!
//! - [`cli`]: the command line. [`terminal`]: what a person types and sees. [`commands`]: export, import, verify
//! - [`opening`]: the files of a room become a session. `room_lock`, [`author_key`],
//!   `webrtc_certificate`, [`store`]: these files. `atomic_file`: files that are whole or not there
//! - [`session`]: the loop, its handle, its events. [`miner`]
//! - [`network`]: how a session reaches peers. [`room_link`]: the links that the page shares
//! - [`archive`]: writes, reads and verifies exports

pub mod archive;
mod atomic_file;
pub mod author_key;
pub mod cli;
pub mod commands;
pub mod miner;
pub mod network;
pub mod opening;
pub mod room_link;
mod room_lock;
pub mod session;
pub mod store;
pub mod terminal;
mod webrtc_certificate;
