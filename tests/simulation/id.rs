//! How peers are numbered.

/// A peer ID: the peer's index in `World::nodes`.
pub(crate) type Id = u64;
