//! What a page shows of a machine: its status, peers, readings, and how much it holds.

use heartchain_chain::{
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    key::Author,
    time::UnixMillis,
    work::Work,
};

/// The overall state of a peer, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Just started, and looking for peers.
    Starting,
    /// Peers have a better branch, or have not sent their Status yet.
    Syncing,
    /// No connected peer has a better branch.
    Synced,
    /// No peer is connected. Readings are kept, and will be shared.
    Alone,
}

/// The status of a machine, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The hash of the best tip.
    pub tip: BlockHash,
    /// The height of the best tip.
    pub index: u64,
    /// The height of the branch being fetched, if there is one.
    pub target_index: Option<u64>,
    /// The total work of the best branch.
    pub total_work: Work,
    /// Readings that are not in a block yet.
    pub mempool: usize,
    /// The overall state of this peer.
    pub state: SyncState,
    /// The median of the peers' clocks minus ours in ms, if at least three are known.
    pub clock_offset_ms: Option<i64>,
    /// Stored blocks that are ahead of the clock, if there are any. They join the best branch when they are due.
    pub held_back: Option<HeldBack>,
}

/// Blocks that are ahead of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// How many blocks are held back.
    pub blocks: usize,
    /// When the first of them is due by this computer's clock.
    pub until: UnixMillis,
}

/// A connected peer, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView<P> {
    /// The ID of the peer.
    pub peer: P,
    /// The height of its best tip, once it has sent its Status.
    pub index: Option<u64>,
    /// The author that it acts for, if it has proved it.
    pub author: Option<Author>,
}

/// How much a machine holds of everything that is bounded, for tests of the bounds and for diagnostics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connected peers that are tracked.
    pub peers: usize,
    /// Our requests without an answer so far.
    pub open_requests: usize,
    /// Peers' requests that wait for storage.
    pub open_reads: usize,
    /// Gossiped blocks that wait for a parent or for the clock.
    pub orphans: usize,
    /// Header syncs in progress.
    pub header_syncs: usize,
    /// Headers whose bodies are missing.
    pub bodiless_blocks: usize,
    /// Blocks off the best branch.
    pub side_blocks: usize,
    /// Readings in side blocks.
    pub side_readings: usize,
    /// Readings that are not in a block yet.
    pub mempool: usize,
    /// Readings whose sequence number the best branch gave to another reading.
    pub displaced: usize,
    /// Changes that are not on disk yet.
    pub unwritten: usize,
    /// Blocks that left the best branch and whose readings are being recovered.
    pub recovery: usize,
    /// Bodies that the disk lost and that are fetched again.
    pub missing_bodies: usize,
    /// Entries of the local journal.
    pub journal: usize,
    /// Readings adopted from other tabs of this computer.
    pub adopted: usize,
    /// Profiles of authors.
    pub profiles: usize,
    /// Changes of profiles that are not on disk yet.
    pub unwritten_profiles: usize,
}

/// The name that an author shows to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameView<'a> {
    /// The author whose name it is.
    pub author: Author,
    /// The name. Two authors may have the same.
    pub name: &'a str,
    /// When it was chosen, by the author's clock.
    pub revision: UnixMillis,
}

/// A reading that was recorded here, and where it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnReading {
    /// The ID of the reading.
    pub id: ReadingId,
    /// Its sequence number for the key that signed it.
    pub seq: u64,
    /// The time on this computer's wall clock when it was recorded.
    pub time: UnixMillis,
    /// The heart rate in beats per minute.
    pub bpm: Bpm,
    /// The height of its block on the best branch; `None` while it waits for one.
    pub index: Option<u64>,
}
