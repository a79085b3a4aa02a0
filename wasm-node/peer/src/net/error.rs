//! Why the network could not be set up.

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// libp2p does not accept the key.
    #[error("the key of this peer cannot be used: {0}")]
    Key(String),
    /// Gossipsub refused its configuration.
    #[error("gossip could not be set up: {0}")]
    Gossip(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address, as given.
        address: String,
        /// What the transport said.
        reason: String,
    },
    /// A protocol name is too long or contains invalid characters.
    #[error("{0:?} is not a valid protocol name")]
    Name(String),
}
