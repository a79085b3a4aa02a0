//! The rules of Heartchain: what every peer agrees on, and nothing else.
//!
//! Two peers that follow these rules and have seen the same messages hold the same chain, byte for byte. Everything is
//! pure: no clock, no chance, no IO, no allocation that a stranger's length field could drive. Time and randomness
//! come in as arguments.
//!
//! In reading order: points in time, names and heart rates; how values become bytes; who records and what is recorded;
//! how a block binds readings to work; which chain a room is; what work a block needs; which headers are valid; how a
//! nonce is found.
#![no_std]

extern crate alloc;

// Blank lines keep rustfmt from sorting the reading order away.
pub mod time;

pub mod hash;

pub mod bpm;
pub mod codec;
pub mod key;
pub mod reading;

pub mod merkle;
pub mod work;

pub mod header;

pub mod block;
pub mod room;

pub mod difficulty;
pub mod validate;

pub mod mining;

mod authors;
pub mod tree;

pub mod mempool;
