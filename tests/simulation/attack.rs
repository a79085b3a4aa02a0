//! The persistent attacks, and the state of the peers that carry them out.

use std::collections::{BTreeMap, BTreeSet};

use heartchain_chain::{hash::BlockHash, header::Header, key::Author, profile::Profile};

use crate::id::Id;

/// A persistent attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Offers a branch of this many headers on the tip. Answers each request for their bodies after 9.7 s, saying that
    /// it does not have them, and continues with a sibling branch.
    BodyWithholder { headers: usize },
    /// Claims the most work and answers no request for headers. It reconnects at once, so that no stall is counted.
    HeaderStaller,
    /// Claims the most work and sends 2,000 headers of minimum work every 9.7 s.
    HeaderDripper,
    /// Gossips this many side blocks below the tip each turn, each with a reading far ahead of its author's sequence.
    SideJunk { blocks: u64 },
    /// Gossips this many side blocks full of fresh keys' readings that can never be mined, then continues as
    /// `SideJunk`.
    SideFresh { full: u64 },
    /// Gossips blocks with unknown parents, then disconnects before their verdicts.
    OrphanVerdicts,
    /// Gossips readings of many new keys whose first readings are missing.
    NewcomerFlood,
    /// Answers mempool listings with endless pages.
    EndlessListing,
    /// Gossips revisions of its own name, names of unknown authors, names ahead of the clock, and old names of others.
    ProfileFlood,
    /// Answers listings of profiles with endless pages.
    EndlessProfiles,
}

impl Attack {
    /// The attacks that random runs draw from. The order is part of what a seed means.
    pub(crate) const ALL: [Self; 11] = [
        Self::BodyWithholder { headers: 1 },
        Self::BodyWithholder { headers: 3 },
        Self::HeaderStaller,
        Self::HeaderDripper,
        Self::SideJunk { blocks: 3 },
        Self::SideFresh { full: 1 },
        Self::OrphanVerdicts,
        Self::NewcomerFlood,
        Self::EndlessListing,
        Self::ProfileFlood,
        Self::EndlessProfiles,
    ];

    /// Time between two turns, ms.
    pub(crate) const fn turn(self) -> u64 {
        match self {
            Self::BodyWithholder { .. } => 500,
            Self::HeaderStaller
            | Self::HeaderDripper
            | Self::EndlessListing
            | Self::EndlessProfiles => 1_000,
            Self::SideJunk { .. } | Self::SideFresh { .. } => 1_000,
            Self::OrphanVerdicts | Self::ProfileFlood => 3_000,
            Self::NewcomerFlood => 10_000,
        }
    }
}

/// The state of a persistent attacker.
#[derive(Debug)]
pub(crate) struct Attacker {
    pub(crate) attack: Attack,
    /// The headers that it offers now, without bodies.
    pub(crate) withheld_branch: Vec<Header>,
    /// Hashes of all headers that it has offered.
    pub(crate) withheld_hashes: BTreeSet<BlockHash>,
    /// When it mined those headers, by the true time.
    pub(crate) mined_at: u64,
    /// How many turns it has taken.
    pub(crate) turns: u64,
    /// How many pages of the current listing each peer has requested.
    pub(crate) pages: BTreeMap<Id, u64>,
    /// The first profile that it has seen of each author.
    pub(crate) replays: BTreeMap<Author, Profile>,
    /// Peers that it will reconnect to soon.
    pub(crate) reconnects: BTreeSet<Id>,
}
