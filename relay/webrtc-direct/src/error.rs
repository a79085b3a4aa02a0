//! Why connections and dials fail. Data only.

use std::io;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

use crate::stack::StackError;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// DTLS or SCTP failed, or the peer closed the connection.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The peer sent nothing for too long.
    #[error("the peer stopped responding")]
    Silent,
    /// The handshake took too long.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// The listener dropped the connection: it was replaced by a new one from the same address, or the listener was
    /// removed.
    #[error("the listener dropped the connection for a newer one, or was closed")]
    Dropped,
    /// The server has another certificate than its address says.
    #[error("the server has another certificate than its address says")]
    WrongCertificate,
    /// The peer exceeded the limits of unread bytes.
    #[error("the peer sent more than its streams may hold unread")]
    UnreadOverflow,
    /// The peer opened more channels than allowed, and went on after they were reset, or never confirmed their end.
    #[error("the peer opened too many channels")]
    TooManyChannels,
    /// The connection was closed on this side.
    #[error("the connection was closed on this side")]
    Closed,
    /// The task of the connection panicked, which is a bug of this crate or of a library.
    #[error("the task of the connection panicked: please report this")]
    Panicked,
}

/// Why a listener or a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error of a socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection ended before the handshake was complete.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server did not answer.
    #[error("{0} did not answer in time")]
    Unreachable(Multiaddr),
    /// The Noise handshake failed.
    #[error("authentication failed: {0}")]
    Authentication(#[from] libp2p_noise::Error),
    /// The server authenticated with another peer ID than the address names.
    #[error("{found} answered instead of {expected}")]
    WrongPeer {
        /// The peer ID in the address.
        expected: PeerId,
        /// The peer ID that the server proved to own.
        found: PeerId,
    },
}
