//! What peers gossip: the topics of a room, the items on them, and their encoding. Specified in docs/protocols.md,
//! "Gossip".

use alloc::{boxed::Box, vec::Vec};

use heartchain_chain::{
    block::Block,
    codec::DecodeError,
    content::ReadingForm,
    profile::{Profile, ProfileError},
    reading::Reading,
};

/// The gossip topics of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `heartchain/2/{room}/readings`: each item is one [`Reading`].
    Readings,
    /// `heartchain/2/{room}/blocks`: each item is one [`Block`].
    Blocks,
    /// `heartchain/2/{room}/profiles`: each item is one [`Profile`].
    Profiles,
}

/// A gossip item as received: nothing in it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipItem {
    /// An item of [`Topic::Readings`].
    Reading(Reading),
    /// An item of [`Topic::Blocks`].
    Block(Box<Block>),
    /// An item of [`Topic::Profiles`].
    Profile(Profile),
}

/// Why bytes are not a valid gossip item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GossipError {
    /// The bytes on [`Topic::Readings`] are not a reading.
    #[error("a gossiped reading: {0}")]
    Reading(#[source] DecodeError),
    /// The bytes on [`Topic::Blocks`] are not a block.
    #[error("a gossiped block: {0}")]
    Block(#[source] DecodeError),
    /// The bytes on [`Topic::Profiles`] are not a profile.
    #[error("a gossiped profile: {0}")]
    Profile(#[source] ProfileError),
}

impl GossipItem {
    /// The topic that the item is published on.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Reading(_) => Topic::Readings,
            Self::Block(_) => Topic::Blocks,
            Self::Profile(_) => Topic::Profiles,
        }
    }

    /// Length of the encoding in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Reading(reading) => reading.encoded_len(),
            Self::Block(block) => block.encoded_len(),
            Self::Profile(profile) => profile.encode().len(),
        }
    }

    /// Encodes the item without its topic.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Reading(reading) => reading.to_bytes().to_vec(),
            Self::Block(block) => block.encode(),
            Self::Profile(profile) => profile.encode(),
        }
    }

    /// Decodes an item that arrived on `topic`, in a room whose readings have this form. Bounds are checked before anything
    /// is allocated.
    ///
    /// # Errors
    /// If the bytes are not what the topic carries, or exceed the limits of a block.
    pub fn decode(topic: Topic, form: ReadingForm, bytes: &[u8]) -> Result<Self, GossipError> {
        match topic {
            Topic::Readings => Reading::decode(form, bytes)
                .map(Self::Reading)
                .map_err(GossipError::Reading),
            Topic::Blocks => Block::decode(form, bytes)
                .map(|block| Self::Block(Box::new(block)))
                .map_err(GossipError::Block),
            Topic::Profiles => Profile::decode(form, bytes)
                .map(Self::Profile)
                .map_err(GossipError::Profile),
        }
    }
}
