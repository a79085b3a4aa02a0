//! What must hold of any bytes whatever: one function a target. Each panics where it does not, and does nothing else.

mod decoders;
mod import;
mod machine;
mod pool;
mod shrinking;
mod stage;
mod steps;
mod words;

// The pure half of `libp2p-webrtc-browser` as it stands there, so that who fuzzes it need not build libp2p.
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/webrtc/src/frame.rs"]
mod data_frame;
#[path = "../../../wasm-node/webrtc/src/protobuf.rs"]
mod protobuf;
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/webrtc/src/peer/signalling.rs"]
mod signal;
// And what of `wasm-node` reads what relays and links say.
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/src/net/address.rs"]
mod address_text;
#[path = "../../../wasm-node/src/net/ice.rs"]
mod ice;
#[path = "../../../wasm-node/src/net/multiaddr.rs"]
mod multiaddr;
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/src/net/rendezvous/message.rs"]
mod rendezvous_message;

pub use decoders::{
    block, frame, header, reading, rendezvous, request, response, room, signalling,
};
pub use import::import;
pub use machine::machine;
pub use words::{address, hex};

/// A target's name, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also its folder's in `corpus/`.
pub const TARGETS: [Target; 13] = [
    ("reading", reading),
    ("header", header),
    ("block", block),
    ("request", request),
    ("response", response),
    ("room", room),
    ("frame", frame),
    ("signalling", signalling),
    ("rendezvous", rendezvous),
    ("address", address),
    ("hex", hex),
    ("import", import),
    ("machine", machine),
];
