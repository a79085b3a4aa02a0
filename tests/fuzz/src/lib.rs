//! What must hold of any bytes whatever: one function a target. Each panics where it does not, and does nothing else.

mod decoders;
mod machine;
mod pool;
mod stage;
mod steps;

// The pure half of `libp2p-webrtc-browser` as it stands there, so that who fuzzes it need not build libp2p.
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/webrtc/src/frame.rs"]
mod data_frame;
#[path = "../../../wasm-node/webrtc/src/protobuf.rs"]
mod protobuf;
#[allow(dead_code, reason = "the targets read, and hardly write")]
#[path = "../../../wasm-node/webrtc/src/peer/signalling.rs"]
mod signal;

pub use decoders::{block, frame, header, reading, request, response, room, signalling};
pub use machine::machine;

/// A target's name, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also its folder's in `corpus/`.
pub const TARGETS: [Target; 9] = [
    ("reading", reading),
    ("header", header),
    ("block", block),
    ("request", request),
    ("response", response),
    ("room", room),
    ("frame", frame),
    ("signalling", signalling),
    ("machine", machine),
];
