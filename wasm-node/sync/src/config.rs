//! All limits of the machine, each with its unit and its reason.
//!
//! These are policy, not consensus: peers with other values still agree on the chain. A duration is in
//! [`Millis`] unless its doc says otherwise.

/// Settings that may differ from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether to mine. A peer that does not mine still validates, stores and forwards.
    pub mining: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { mining: true }
    }
}

/// A duration in milliseconds.
pub type Millis = u64;

/// A machine without peers counts as "starting" for this long after its start, then as "alone".
pub const STARTING: Millis = 5_000;

/// A request fails if no answer arrives within this time.
pub const REQUEST_TIMEOUT: Millis = 10_000;
/// Open requests per peer: enough to keep its link busy, too few to flood it.
pub const MAX_OPEN_REQUESTS: usize = 4;
/// Peers that the machine tracks. The driver allows fewer connections than this.
pub const MAX_PEERS: usize = 64;

/// How often every peer is asked for its Status at least. This bounds the age of the height shown for a peer.
pub const STATUS_IDLE: Millis = 30_000;
/// How often a peer that claims more work than we have is asked for its Status, and one with another tip at most.
/// This finds tips that gossip lost.
pub const STATUS_BEHIND: Millis = 5_000;
/// The shortest time between two questions to peers with another tip that claim no more work, the one with the oldest
/// Status first. With each block that is all peers, until their next Status: to ask all of them every [`STATUS_BEHIND`]
/// took more of a busy room's time than its readings and blocks.
pub const STATUS_BEHIND_PAUSE: Millis = STATUS_BEHIND / 2;
/// The shortest time between two announcements of a new tip that was not learned by gossip.
pub const ANNOUNCE_INTERVAL: Millis = 500;
/// The shortest time between two checks of one peer's bindings. A check costs as much as that of a reading, and a peer's
/// author changes only when its key does.
pub const BINDING_INTERVAL: Millis = 10_000;
/// Peers of a private room that may stay connected without proving that they are members. The driver allows 24
/// connections, so most are left to members.
pub const MAX_STRANGERS: usize = 4;
/// How long a peer of a private room has to prove that it is a member. Its first Status does.
pub const STRANGER_PATIENCE: Millis = REQUEST_TIMEOUT;
/// How often mempools are compared with those of random peers.
pub const MEMPOOL_SYNC_INTERVAL: Millis = 30_000;
/// A gap in an author's pending readings that lasts this long triggers a mempool comparison.
pub const GAP_PATIENCE: Millis = 2_000;
/// Time from one such comparison to the next. Between full mempools, what one brings displaces other readings and so
/// makes new gaps, each of which would be compared with several peers.
pub const GAP_INTERVAL: Millis = 10_000;
/// Peers asked in one mempool comparison.
pub const MEMPOOL_SYNC_PEERS: usize = 3;
/// Rows accepted from one peer's mempool listing: a full mempool, plus what joins it during the listing.
pub const MAX_LISTED_ROWS: usize =
    heartchain_chain::mempool::MAX_READINGS + crate::message::MAX_IDS;
/// IDs of wanted readings remembered per peer: one full listing.
pub const MAX_WANTED_READINGS: usize = crate::message::MAX_IDS;

/// Header syncs that may run at the same time.
pub const MAX_HEADER_TURNS: usize = 2;
/// How long one peer's header sync runs while others wait for a turn. A newcomer with 24 peers of which only
/// one is honest reaches that one after at most 24 s.
pub const HEADER_TURN: Millis = 2_000;
/// Headers of branches with no more work than ours that all syncs may store together once more than
/// [`MAX_HEADER_TURNS`] of them exist. Each sync may store at least the headers of one answer.
pub const MAX_SHARED_HEADERS: usize = 20_000;
/// Headers stored without their bodies. Requests for more wait until bodies have caught up. A branch that has
/// no more work than ours by then goes through presync before more of it is stored. 8 MB.
pub const MAX_HEADERS_AHEAD: usize = 50_000;
/// Headers without bodies in total: those of heavier branches, plus the shares of [`MAX_PEERS`] syncs of
/// lighter branches, plus one answer. 45 MB.
pub const MAX_BODILESS_HEADERS: usize = 6 * MAX_HEADERS_AHEAD;
/// Checkpoints kept during presync, one per answer: 32 million headers, or a year of one block per second, in 640 KB.
pub const MAX_CHECKPOINTS: usize = 16_384;

/// Bodies requested at once: about 150 KB at 10 readings per block, so that ranges spread over peers.
pub const BODY_RANGE: usize = 128;
/// Bytes of bodies in one of our answers: a quarter of what a peer accepts ([`MAX_BODIES_LEN`](crate::message::MAX_BODIES_LEN)),
/// because it processes them at once. The longest block fits, and so does a range of blocks of ten readings.
pub const ANSWERED_BODIES_LEN: usize = 256 * 1_024;
/// Bodies planned ahead. Their ranges are assigned to peers.
pub const DOWNLOAD_WINDOW: usize = 4_096;
/// Open requests for bodies per peer. One request slot stays free for everything else.
pub const MAX_OPEN_BODY_REQUESTS: usize = MAX_OPEN_REQUESTS - 1;
/// If the lowest missing bodies do not arrive within this time, another peer is asked for them as well. This is
/// how long a silent peer can hold up a newcomer. The first answer counts.
pub const BODY_PATIENCE: Millis = 2_000;
/// How often the machine looks for late answers with bodies.
pub const LATE_BODIES_CHECK_INTERVAL: Millis = 500;
/// Blocks a peer said it lacks, remembered until it has another tip: as many as may be planned. With a lower
/// limit, a peer would be asked for the same blocks repeatedly while another peer withholds the first one.
pub const MAX_LACKING: usize = DOWNLOAD_WINDOW;
/// Requests for bodies that a peer may leave unanswered in a row before it is no longer asked about this branch.
pub const MAX_STALLS: u32 = 3;
/// A peer that did not answer a request for bodies is not asked for any for this long. It may be busy for a moment, or another
/// connection to it takes over. Requests that fail within this time count as one.
pub const FAILURE_PAUSE: Millis = 1_000;
/// How long the lowest body may be missing while peers that lacked it are asked again. A peer is asked again when
/// its tip changes. A silent peer is given up after about the same time.
pub const LACKING_PATIENCE: Millis = MAX_STALLS as Millis * REQUEST_TIMEOUT;
/// Mining waits for a better branch only if its bodies keep arriving, the last one at most this long ago.
pub const CATCH_UP_PATIENCE: Millis = 2_000;
/// Mining does not wait for a branch that is longer by only this many blocks: those compete with what we would mine.
pub const COMPETING_BLOCKS: u64 = 2;
/// How long all peers together may keep mining waiting at once, in ms.
pub const CATCH_UP_BUDGET: u64 = 30_000;
/// How fast that budget refills: ms of waiting per second.
pub const CATCH_UP_BUDGET_RATE: u64 = 200;
/// A wait shorter than this is not worth interrupting mining.
pub const MIN_CATCH_UP_WAIT: Millis = 500;
/// A side block's body is stored if its branch is within the work of this many blocks of ours.
pub const SIDE_BLOCKS_REACH: usize = 6;
/// How long a branch whose bodies no peer has is left alone.
pub const UNAVAILABLE_PATIENCE: Millis = 60_000;
/// Unavailable branches that are remembered.
pub const MAX_UNAVAILABLE: usize = 256;

/// Missing bodies (lost by the disk, to be fetched again) tracked at a time: 1 MB. The store reports more of
/// them once these are back, or at the next start.
pub const MAX_MISSING_BODIES: usize = 16_384;
/// How often missing bodies are checked while nothing changes, and how soon a peer that had none is asked again.
pub const MISSING_BODIES_INTERVAL: Millis = 1_000;
/// When a peer first says that it lacks a missing body of the best branch, the last round of requests begins
/// after this time.
pub const MISSING_BODY_PATIENCE: Millis = 60_000;
/// Added to that wait for each block above the missing body. A branch with much work is not abandoned for one
/// newcomer while peers that have the body may come back.
pub const MISSING_BODY_PATIENCE_PER_BLOCK: Millis = 1_000;
/// The longest such wait: until it is over, no newcomer can follow the branch.
pub const MAX_MISSING_BODY_PATIENCE: Millis = 60 * 60 * 1_000;
/// How long peers have to answer in the last round. After that the branch above the missing body is abandoned.
pub const LAST_ROUND_TIMEOUT: Millis = MAX_STALLS as Millis * REQUEST_TIMEOUT;

/// Gossiped blocks that wait for their parent or for the clock.
pub const MAX_ORPHANS: usize = 64;
/// Orphan pool entries per peer.
pub const MAX_ORPHANS_PER_PEER: usize = 4;
/// A block ahead of the clock is held only if it is due within this time, so that no peer occupies a pool entry
/// for years.
pub const MAX_ORPHAN_WAIT: Millis = 60_000;
/// The longest wait before a gossip item gets its verdict: gossip caches forget an item after a few seconds.
pub const VERDICT_PATIENCE: Millis = 2_000;

/// Reported equivocations that are remembered: 40 KB.
pub const MAX_EQUIVOCATIONS: usize = 1_024;

/// Readings forwarded per author and second. A heart-rate strap produces one.
pub const AUTHOR_FORWARD_RATE: u64 = 8;
/// Readings of one author forwarded at once.
pub const AUTHOR_FORWARD_BURST: u64 = 256;
/// Authors whose forwarding rate is tracked: 400 KB.
pub const MAX_FORWARD_AUTHORS: usize = 4_096;
/// Readings of all authors forwarded per second.
pub const FORWARD_RATE: u64 = 512;
/// Readings of all authors forwarded at once.
pub const FORWARD_BURST: u64 = 4_096;
/// Readings forwarded per second for authors without a reading in the chain.
pub const NEWCOMER_FORWARD_RATE: u64 = 64;
/// Readings of such authors forwarded at once.
pub const NEWCOMER_FORWARD_BURST: u64 = 1_024;

/// Profiles that are kept: 1.5 MB.
pub const MAX_PROFILES: usize = 4_096;
/// Changes of profiles that may wait for the disk: two for each profile, and the table once more after the disk was lost. No
/// further authors are added meanwhile.
pub const MAX_UNWRITTEN_PROFILES: usize = 3 * MAX_PROFILES;
/// How often profiles are compared with those of random peers.
pub const PROFILE_SYNC_INTERVAL: Millis = 5 * 60 * 1_000;
/// Peers asked in one comparison of profiles.
pub const PROFILE_SYNC_PEERS: usize = 3;
/// A profile whose revision is further ahead of the corrected clock is ignored. Otherwise one wrong clock would keep an
/// author from ever choosing another name.
pub const MAX_REVISION_AHEAD: Millis = 10 * 60 * 1_000;
/// Authors whose profiles were ignored because they had no reading on the best branch. Once one has, profiles are compared.
pub const MAX_IGNORED_AUTHORS: usize = 64;
/// The shortest time between two comparisons of profiles.
pub const MIN_PROFILE_SYNC_INTERVAL: Millis = 10_000;
/// The average time between two revisions of one author's profile that are forwarded.
pub const PROFILE_FORWARD_INTERVAL: Millis = 60_000;
/// Revisions of one author's profile that are forwarded at once: people correct a name that they have just typed.
pub const PROFILE_FORWARD_BURST: u64 = 4;
/// Profiles of all authors forwarded per second.
pub const ALL_PROFILES_FORWARD_RATE: u64 = 64;
/// Profiles of all authors forwarded at once. With the readings, that is below what a peer may send.
pub const ALL_PROFILES_FORWARD_BURST: u64 = 1_024;
/// The shortest time between two [`Event::Names`](crate::Event::Names): the page reads and draws all names.
pub const NAMES_EVENT_INTERVAL: Millis = 250;
/// The shortest time between two writes of profiles of others.
pub const PROFILE_WRITE_INTERVAL: Millis = 1_000;
/// Calls of `set_name()` that may wait for the disk.
pub const MAX_PENDING_NAMES: usize = 16;

/// Bytes of answers to one peer per second.
pub const ANSWER_RATE: u64 = 8 * 1024 * 1024;
/// Bytes of answers to one peer at once.
pub const ANSWER_BURST: u64 = 32 * 1024 * 1024;
/// Bytes of answers to all peers together, per second.
pub const ALL_ANSWERS_RATE: u64 = 4 * ANSWER_RATE;
/// Bytes of answers to all peers together, at once.
pub const ALL_ANSWERS_BURST: u64 = 4 * ANSWER_BURST;
/// Bytes of answers per second reserved for each peer, whatever the others request.
pub const ANSWER_SHARE_RATE: u64 = ALL_ANSWERS_RATE / MAX_PEERS as u64;
/// Reserved bytes at once: the longest answer, and some smaller ones before it.
pub const ANSWER_SHARE_BURST: u64 = 2 * 1024 * 1024;
/// What an answer costs in the budget besides its bytes.
pub const ANSWER_OVERHEAD: u64 = 4 * 1024;
/// Storage reads that may be in progress for peers' requests: at most 32 MB of answers.
pub const MAX_OPEN_READS: usize = 32;

/// Duration of a peer's first ban.
pub const FIRST_BAN: Millis = 10 * 60 * 1_000;
/// The maximum number of times a ban doubles. The longest ban lasts a week.
pub const MAX_BAN_DOUBLINGS: u32 = 10;
/// Bans remembered. The one that ends first is forgotten first.
pub const MAX_BANS: usize = 1_024;

/// Calls of `record()` that may wait for the disk.
pub const MAX_PENDING_RECORDS: usize = 1_024;
/// Entries in the local journal: 24 days at one per second, 34 MB. A room whose journal is full accepts no more
/// local readings and reports [`JournalFull`](crate::io::RecordError::JournalFull).
pub const MAX_JOURNAL: usize = 2 * 1_024 * 1_024;
/// Blocks on top of a foreign reading by our key after which a fresh key takes over.
pub const FOREIGN_DEPTH: u64 = 20;
/// Time on the best branch after which it does so in any case.
pub const FOREIGN_PATIENCE: Millis = 30_000;

/// Contested entries (of retired keys, whose sequence number another reading has) checked per input, and signed
/// again in one write. The cost of an input must not grow with the journal.
pub const MAX_CONTESTED_CHECKED: usize = 256;
/// Retired keys with readings missing from the best branch that are checked per input.
pub const MAX_ERAS_CHECKED: usize = 16;
/// How long the chain may wait for the reading of a lost entry before a fresh key takes over.
pub const LOST_SEQ_PATIENCE: Millis = 60_000;
/// The same while bodies of a better branch arrive, since that branch may have the reading.
pub const MAX_LOST_SEQ_PATIENCE: Millis = 10 * 60 * 1_000;

/// How soon a fresh key that could not be written is tried again.
pub const JOURNAL_RETRY: Millis = 5_000;

/// How soon a failed write or read is tried again.
pub const WRITE_RETRY: Millis = 5_000;
/// The most parts that a retried write is split into. Each succeeds or fails independently.
pub const WRITE_RETRY_PARTS: usize = 16;
/// Store changes that may be in progress or wait for a retry before no more bodies are requested.
pub const MAX_UNWRITTEN: usize = 4_096;

/// Depth on the best branch at which a block can be confirmed (the tip has depth 1) …
pub const CONFIRMED_DEPTH: u64 = 6;
/// … after this long at that depth, while no better branch was being fetched …
pub const CONFIRMED_AFTER: Millis = 60_000;
/// … or after this long on the best branch at any depth.
pub const CONFIRMED_AT_ANY_DEPTH_AFTER: Millis = 10 * 60 * 1_000;
/// How long all peers together may delay confirmation at once by sending bodies of heavier branches, in ms.
pub const FETCHING_BUDGET: u64 = 10 * 60 * 1_000;
/// How fast that budget refills: ms of delay per second.
pub const FETCHING_BUDGET_RATE: u64 = 100;
/// The shortest time between two samples of the best branch's height, from which confirmation is computed: at
/// most 300 samples.
pub const TIP_SAMPLE_INTERVAL: Millis = 2_000;
/// The shortest time between two writes of the confirmed height.
pub const CONFIRMED_WRITE_INTERVAL: Millis = 10_000;

/// Blocks that left the best branch and are tracked in memory: a day and a half at one per second, 9 MB.
/// Further protected blocks wait on disk until the next start.
pub const MAX_RECOVERY_QUEUE: usize = 128 * 1_024;
/// Bodies of such blocks read at a time.
pub const RECOVERY_CHUNK: usize = 32;
/// How often protected blocks are read again while that yields something …
pub const RECOVERY_INTERVAL: Millis = 1_000;
/// … backing off to this interval while it does not.
pub const RECOVERY_MAX_INTERVAL: Millis = 60_000;

/// The longest wait before mining our own readings.
pub const MAX_OWN_WAIT: Millis = 3_000;
/// That wait per distinct author in the last [`ACTIVE_BLOCKS`] blocks.
pub const OWN_WAIT_PER_AUTHOR: Millis = 20;
/// Blocks by which a room's activity is measured.
pub const ACTIVE_BLOCKS: usize = 60;
/// Readings of other authors are mined after they have waited this long …
pub const OTHERS_WAIT: Millis = 3_000;
/// … plus a random part of this.
pub const OTHERS_WAIT_SPREAD: Millis = 2_000;
/// The shortest time between two block templates, made for new readings or a newer timestamp.
pub const TEMPLATE_INTERVAL: Millis = 1_000;

/// Blocks in one piece of an imported file: what is verified without a pause, about 0.1 s at ten readings per block.
pub const MAX_IMPORT_BLOCKS: usize = 64;
/// Pending readings in one piece of an imported file: as many as in one answer of a peer.
pub const MAX_IMPORT_READINGS: usize = crate::message::MAX_READINGS;
/// Pieces of imported files that may wait for the disk: one each of a few files, as a file's next piece waits
/// for its previous one.
pub const MAX_PENDING_IMPORTS: usize = 4;
/// Profiles in one [`Input::Import`](crate::Input::Import).
pub const MAX_IMPORT_PROFILES: usize = 1_024;

/// Side branches shown in views: a person looks at one or two, and the lightest of many say little.
pub const MAX_BRANCHES_SHOWN: usize = 16;
/// Blocks shown of each side branch: some of those that a long partition leaves.
pub const MAX_BRANCH_BLOCKS_SHOWN: usize = 16;

/// Peers whose clocks must be known before ours is corrected.
pub const MIN_CLOCKS: usize = 3;
/// Smaller clock offsets are not corrected.
pub const MIN_CLOCK_OFFSET: Millis = 5_000;
/// Larger clock offsets are not corrected either: a person has to set such a clock. This is also how long lying
/// peers can delay the acceptance of blocks, if they are the majority of a peer's clocks.
pub const MAX_CLOCK_OFFSET: Millis = 60 * 60 * 1_000;

/// Readings adopted from other tabs: 8 MB.
pub const MAX_ADOPTED: usize = 64 * 1_024;
/// Changes per write when the store is rebuilt after a reset.
pub const RESET_BATCH: usize = 4_096;

/// How long the best tip may stay too far ahead of the clock. Peers that corrected the clock may have left. No
/// block can be mined on such a tip, so after this time it is held back until it is due.
pub const EARLY_TIP_PATIENCE: Millis = 30_000;
/// A wall clock that deviates this much from the monotonic clock was set, or the computer slept. Browsers round
/// clocks, and time services move them, by less.
pub const MIN_CLOCK_JUMP: Millis = 1_000;

/// Readings in one [`Input::Adopt`](crate::Input::Adopt).
pub const MAX_READINGS_PER_ADOPT: usize = 1_024;
