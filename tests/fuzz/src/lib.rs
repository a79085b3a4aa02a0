//! Fuzz targets: one function for each, which panics if a property does not hold for the given bytes.

mod decoders;
mod harness;
mod import;
mod machine;
mod move_files;
mod name_steps;
mod pool;
mod restart;
mod steps;
mod text;
mod webrtc_direct;

// The decoder of signalling messages, included from its source so that fuzzing need not build libp2p.
#[allow(dead_code, reason = "the targets use the decoders, and few encoders")]
#[path = "../../../wasm-node/webrtc/src/peer/signalling.rs"]
mod signal;
// The modules of `wasm-node` that parse input of relays, links and files.
#[allow(dead_code, reason = "the targets use the decoders, and few encoders")]
#[path = "../../../wasm-node/peer/src/net/address.rs"]
mod address_text;
#[allow(dead_code, reason = "the targets use the decoders, and few encoders")]
#[path = "../../../wasm-node/peer/src/net/ice.rs"]
mod ice;
#[allow(dead_code, reason = "the target uses few of its constants")]
#[path = "../../../wasm-node/src/move_file.rs"]
mod move_file;
#[path = "../../../wasm-node/peer/src/net/multiaddr.rs"]
mod multiaddr;
#[allow(dead_code, reason = "the targets use the decoders, and few encoders")]
#[path = "../../../wasm-node/peer/src/net/rendezvous/message.rs"]
mod rendezvous_message;
#[allow(dead_code, reason = "the targets use the decoders, and few encoders")]
#[path = "../../../wasm-node/src/room_access.rs"]
mod room_access;
#[allow(dead_code, reason = "the target uses few of its functions")]
#[path = "../../../wasm-node/peer/src/net/scope.rs"]
mod scope;

pub use decoders::{
    block, frame, header, profile, reading, rendezvous, request, response, room, signalling, token,
};
pub use import::import;
pub use machine::machine;
pub use move_files::move_file;
pub use text::{address, hex};
pub use webrtc_direct::{socket, stack, stun};

/// The name of a target, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; its name is also the name of its folder in `corpus/`.
pub const TARGETS: [Target; 19] = [
    ("reading", reading),
    ("header", header),
    ("block", block),
    ("request", request),
    ("response", response),
    ("room", room),
    ("profile", profile),
    ("token", token),
    ("move_file", move_file),
    ("frame", frame),
    ("signalling", signalling),
    ("rendezvous", rendezvous),
    ("address", address),
    ("hex", hex),
    ("import", import),
    ("machine", machine),
    ("stun", stun),
    ("socket", socket),
    ("stack", stack),
];
