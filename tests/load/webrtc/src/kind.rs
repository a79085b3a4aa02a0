//! What is measured, and what both ends have agreed about.

use anyhow::{Result, bail};

/// The first byte of a stream: what the server does.
pub(crate) const UPLOAD: u8 = b'u';
pub(crate) const DOWNLOAD: u8 = b'd';
/// Bytes that are read at once, and written by the new transport.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The transport to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `libp2p-webrtc-direct`.
    New,
    /// `libp2p-webrtc`, on webrtc-rs.
    Old,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "new" => Ok(Self::New),
            "old" => Ok(Self::Old),
            _ => bail!("{text} is neither new nor old"),
        }
    }

    /// Bytes of one write, which is flushed. The old transport joins unflushed writes into messages that no one accepts,
    /// and reads at most 8 KiB at once.
    pub(crate) fn write_len(self) -> usize {
        match self {
            Self::New => CHUNK,
            Self::Old => 8_000,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
        }
    }
}
