//! Which faults there are: power loss, sleep, clock jumps, network partitions, disk failures. `injection` carries them
//! out.

use crate::id::Id;

/// A fault that a scenario injects, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The network splits into this many partitions.
    Partition(u64),
    /// All peers can reach one another again.
    HealPartition,
    /// A peer's computer loses power.
    Crash(Id),
    /// A peer that is off starts again.
    Restart(Id),
    /// A peer's computer goes to sleep.
    Sleep(Id),
    /// A sleeping computer wakes up.
    Wake(Id),
    /// A random link breaks.
    CutLink,
    /// Two peers that are connected connect once more.
    RedundantLink,
    /// Two peers lose all links. One notices and comes back before the other has noticed.
    HalfOpen,
    /// A peer's wall clock is set this many ms ahead of the true time.
    SetClock(Id, i64),
    /// A peer starts with its wall clock this many ms ahead of the true time.
    StartWithClock(Id, i64),
    /// A peer's hash rate changes to this many hashes per second.
    SetHashRate(Id, u64),
    /// A peer leaves the network permanently.
    Leave(Id),
    /// A tab opens on this computer, in the slot that the driver picks.
    OpenTab(usize),
    /// The tab in this slot is closed.
    CloseTab(Id),
    /// A peer's disk is full for this long, ms: every write fails.
    FillDisk(Id, u64),
    /// A peer's database is deleted while it runs.
    DeleteDatabase(Id),
}

/// How long a machine may take to rewrite everything after its database was deleted, ms.
pub(crate) const REWRITE_PATIENCE: u64 = 30_000;
