//! Defaults for detecting lost connections, and the stream settings of a connection. Data only.

use std::time::Duration;

use crate::frame::FrameLimit;
use crate::state::Dialect;

/// The default time that a connection may stay `disconnected` before it counts as lost. Chromium reports `disconnected`
/// about 6 s after the last packet, and `failed` only another 10 s later. Short gaps in a phone's radio recover within
/// this time.
pub const DISCONNECTED_GRACE: Duration = Duration::from_secs(3);

/// The default time without any packet from the peer (message, acknowledgement or STUN response) after which a
/// connection counts as lost. It equals Chromium's 6 s plus [`DISCONNECTED_GRACE`].
pub const SILENCE_LIMIT: Duration = Duration::from_secs(9);

/// How the streams of a connection are framed and closed; depends on the implementation at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// The longest frame to send. Received frames may always be up to [`FrameLimit::SPEC`] long.
    pub frame_limit: FrameLimit,
    /// How streams are closed.
    pub dialect: Dialect,
}

impl StreamConfig {
    /// The current spec: for browsers that run js-libp2p or this crate.
    pub const SPEC: Self = Self {
        frame_limit: FrameLimit::SPEC,
        dialect: Dialect::FinAck,
    };

    /// For servers that run rust-libp2p's `libp2p-webrtc` up to 0.10.
    pub const STOCK_SERVER: Self = Self {
        frame_limit: FrameLimit::STOCK_SERVER,
        dialect: Dialect::Stock,
    };
}
