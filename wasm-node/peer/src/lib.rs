//! What every platform's peer needs around the sync machine: the libp2p network of a room, and clocks and timers.
//!
//! - `net` is the network: relays, connections, gossip and requests, reported as inputs of the machine.
//! - `clock` has the clocks, timers and random numbers.
//! - `records` has the bytes of what a platform stores, `room_link` the parts of the links that people share.
//!
//! A platform brings the rest: its transports with a [`net::DirectTransport`], storage, a miner, and an event loop that waits
//! for the next input of [`heartchain_sync::driver::step`]. `wasm-node` is the browser's, `relay/keeper` the native one. This crate knows neither a browser
//! nor tokio.

pub mod clock;
pub mod net;
pub mod records;
pub mod room_link;
