//! How the two ends of a connection frame and close their streams. Pure choices, no behaviour.

use std::time::Duration;

use crate::frame::FrameLimit;
use crate::state::Dialect;

/// How long a connection may stay `disconnected` before it counts as lost, unless it is told otherwise. Chromium says so
/// about 6 s after the last sign of life and `failed` only another 10 s later; a short gap in a phone's radio mends
/// within this.
pub const DISCONNECTED_GRACE: Duration = Duration::from_secs(3);

/// How long the far end may be silent altogether before a connection counts as lost, unless it is told otherwise: not a
/// message, not an acknowledgement, not an answer to a check of the way. As long as Chromium's 6 s and the grace.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(9);

/// What a connection's streams may assume of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// The longest frame that is sent. Frames of up to [`FrameLimit::SPEC`] are always understood.
    pub frame_limit: FrameLimit,
    /// How streams are closed.
    pub dialect: Dialect,
}

impl StreamConfig {
    /// The spec as it stands: for other browsers, js-libp2p and this crate.
    pub const SPEC: Self = Self {
        frame_limit: FrameLimit::SPEC,
        dialect: Dialect::FinAck,
    };

    /// For servers built on rust-libp2p's `libp2p-webrtc` (0.10 and before).
    pub const STOCK_SERVER: Self = Self {
        frame_limit: FrameLimit::STOCK_SERVER,
        dialect: Dialect::Stock,
    };
}
