//! The limits that no machine may exceed, whatever peers do.

use heartchain_chain::{
    mempool::{MAX_DISPLACED, MAX_READINGS},
    tree::{MAX_SIDE_BLOCKS, MAX_SIDE_READINGS},
};
use heartchain_sync::{
    Load,
    config::{
        BODY_RANGE, MAX_ADOPTED, MAX_BODILESS_HEADERS, MAX_JOURNAL, MAX_MISSING_BODIES,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_ORPHANS, MAX_PEERS,
        MAX_PROFILES, MAX_RECOVERY_QUEUE, MAX_UNWRITTEN, MAX_UNWRITTEN_PROFILES,
    },
};

/// The first limit that this load exceeds, as text.
#[must_use]
pub fn exceeded_bound(load: &Load) -> Option<String> {
    let headers = MAX_BODILESS_HEADERS;
    // Bodies may be in flight when the limit is reached; they are still written.
    let bodies = MAX_PEERS * MAX_OPEN_BODY_REQUESTS * BODY_RANGE;
    [
        ("peers", load.peers, MAX_PEERS),
        (
            "open requests",
            load.open_requests,
            load.peers * MAX_OPEN_REQUESTS,
        ),
        ("open reads", load.open_reads, MAX_OPEN_READS),
        ("held blocks", load.orphans, MAX_ORPHANS),
        ("header syncs", load.header_syncs, load.peers),
        ("headers without bodies", load.bodiless_blocks, headers),
        ("side blocks", load.side_blocks, MAX_SIDE_BLOCKS + headers),
        (
            "readings in side blocks",
            load.side_readings,
            MAX_SIDE_READINGS,
        ),
        ("waiting readings", load.mempool, MAX_READINGS),
        ("readings set aside", load.displaced, MAX_DISPLACED),
        ("unwritten changes", load.unwritten, MAX_UNWRITTEN + bodies),
        ("left blocks", load.recovery, MAX_RECOVERY_QUEUE),
        ("missing bodies", load.missing_bodies, MAX_MISSING_BODIES),
        ("adopted readings", load.adopted, MAX_ADOPTED),
        ("journal entries", load.journal, MAX_JOURNAL),
        ("profiles", load.profiles, MAX_PROFILES),
        (
            "unwritten profiles",
            load.unwritten_profiles,
            MAX_UNWRITTEN_PROFILES,
        ),
    ]
    .into_iter()
    .find(|(_, found, limit)| found > limit)
    .map(|(what, found, limit)| format!("{found} {what}, at most {limit} allowed"))
}
