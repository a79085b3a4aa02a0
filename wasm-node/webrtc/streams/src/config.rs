//! The stream settings of a connection. Data only.

use crate::frame::FrameLimit;
use crate::state::Dialect;

/// How the streams of a connection are framed and closed; depends on the implementation at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// The longest frame to send. Received frames may always be up to [`FrameLimit::SPEC`] long.
    pub frame_limit: FrameLimit,
    /// How streams are closed.
    pub dialect: Dialect,
}

impl StreamConfig {
    /// The current spec: for peers that run js-libp2p, go-libp2p, or a crate that is built on this one.
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
