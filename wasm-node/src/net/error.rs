//! Why the network could not be set up.

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NetworkError {
    /// libp2p does not accept the key.
    #[error("the key of this tab cannot be used: {0}")]
    Key(String),
    /// The Noise handshake could not be set up.
    #[error("the encryption could not be set up: {0}")]
    Noise(String),
    /// Gossipsub refused its configuration.
    #[error("gossip could not be set up: {0}")]
    Gossip(String),
    /// The browser has no message channels.
    #[error("this browser cannot pass messages")]
    Browser,
    /// A protocol name is too long or contains invalid characters.
    #[error("{0:?} is not a valid protocol name")]
    Name(String),
}
