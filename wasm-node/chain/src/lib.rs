//! The consensus rules of Heartchain: readings, blocks, proof of work, difficulty, fork choice and the mempool.
//!
//! Two peers that follow these rules and have seen the same messages hold the same chain, byte for byte. The crate is
//! pure: it has no clock, no randomness and no IO, and a length field that a peer sends never drives an allocation.
//! Time and random numbers are arguments.
//!
//! The modules in reading order:
//!
//! 1. [`time`], [`hash`] and [`bpm`] are newtypes; [`codec`] turns values into bytes.
//! 2. [`key`], [`content`] and [`reading`]: authors and the readings that they sign.
//! 3. [`merkle`], [`work`], [`header`] and [`block`]: how a block commits to readings and proves work.
//! 4. [`room`]: the parameters of a chain and the genesis block that follows from them. [`room_key`]: the key of a private
//!    room, and what is sealed with it. [`profile`] and [`binding`]: what peers say about authors beside the chain.
//! 5. [`difficulty`] and [`validate`]: the work that a block needs, and the rules for headers.
//! 6. [`mining`]: the search for a nonce.
//! 7. [`tree`] and [`mempool`]: the state of a peer, which is all known blocks and the readings that wait for one.
//!    [`compact_sort`]: sorts that add little to a download. [`base64url`]: a decoder that adds little. [`ordered`]: sets that
//!    add little.
#![no_std]

extern crate alloc;

// Blank lines keep rustfmt from sorting the reading order away.
pub mod time;

pub mod hash;

pub mod bpm;
pub mod codec;
pub mod key;

pub mod content;
pub mod reading;

pub mod merkle;
pub mod work;

pub mod header;

pub mod block;

pub mod room_key;

pub mod room;

pub mod binding;
pub mod profile;

pub mod difficulty;
pub mod validate;

pub mod mining;

mod authors;
pub mod base64url;
pub mod compact_sort;
pub mod ordered;
pub mod tree;

pub mod mempool;
