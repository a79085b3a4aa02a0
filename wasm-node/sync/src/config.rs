//! Every limit of the machine by name, with its unit and its reason. Policy (CHAIN.md, PROTOCOLS.md), not consensus.

/// What may differ from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether to mine at all. A peer that does not still validates, stores and passes on.
    pub mining: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { mining: true }
    }
}

/// Milliseconds.
pub type Millis = u64;

/// So long after its start a machine without peers is "starting", not yet "alone".
pub const STARTING: Millis = 5_000;

/// A request without an answer for so long has failed.
pub const REQUEST_TIMEOUT: Millis = 10_000;
/// Requests open at one peer: enough to keep its link busy, too few to flood it.
pub const MAX_OPEN_REQUESTS: usize = 4;
/// Peers the machine keeps account of; the driver allows fewer connections than this.
pub const MAX_PEERS: usize = 64;

/// A peer that stands where we do is asked for its Status so often.
pub const STATUS_IDLE: Millis = 30_000;
/// A peer that stands elsewhere than we do is asked for its Status so often: a tip that gossip lost is found, and
/// the height shown for a peer is never much older than this.
pub const STATUS_BEHIND: Millis = 5_000;
/// A new tip not learnt by gossip is announced at most so often.
pub const ANNOUNCE_INTERVAL: Millis = 500;
/// Mempools are compared so often.
pub const EXCHANGE_INTERVAL: Millis = 30_000;
/// A gap in an author's waiting readings this old makes mempools be compared.
pub const GAP_PATIENCE: Millis = 2_000;
/// Peers asked in one round of comparing.
pub const EXCHANGE_PEERS: usize = 3;
/// Rows of one peer's mempool taken in one listing: a full mempool, and what joins it meanwhile.
pub const MAX_LISTED: usize = chain::mempool::MAX_READINGS + crate::message::MAX_IDS;
/// Ids of wanted readings remembered for one peer: one full listing.
pub const MAX_WANTED_READINGS: usize = crate::message::MAX_IDS;

/// Peers that give headers at a time.
pub const MAX_HEADER_TURNS: usize = 2;
/// So long is a peer's turn at giving headers while others wait for theirs: a newcomer with 24 peers, all but one of them
/// hostile, comes to the honest one after 24 s at the most.
pub const HEADER_TURN: Millis = 2_000;
/// Headers of branches that do not outweigh ours, held by more than [`MAX_HEADER_TURNS`] syncs together; each may hold as
/// many as one answer has.
pub const MAX_SHARED_HEADERS: usize = 20_000;
/// Headers held without their bodies; asking for more waits until bodies have caught up, and a branch that does not
/// outweigh ours by then is weighed before more of it is held. 8 MB.
pub const MAX_HEADERS_AHEAD: usize = 50_000;
/// Headers without bodies in all: of branches that outweigh ours, and the shares of [`MAX_PEERS`] syncs of others, with what
/// one answer brings. 45 MB.
pub const MAX_HEADERS_HELD: usize = 6 * MAX_HEADERS_AHEAD;
/// Marks kept while a branch is weighed, one an answer: 32 million headers, a year of one a second, in 640 KB.
pub const MAX_MARKS: usize = 16_384;

/// Bodies asked for in one request: about 150 KB at 10 readings a block, so that ranges spread over peers.
pub const BODY_RANGE: usize = 128;
/// Bodies planned at a time.
pub const DOWNLOAD_WINDOW: usize = 4_096;
/// Requests for bodies open at one peer; one place is left for all else.
pub const MAX_OPEN_BODY_REQUESTS: usize = MAX_OPEN_REQUESTS - 1;
/// If the lowest bodies that are missing do not come for so long, another peer is asked for them, too: a peer that says
/// nothing holds up a newcomer for no longer. The first answer counts.
pub const BODY_PATIENCE: Millis = 2_000;
/// That is looked at so often.
pub const BODY_LOOK_INTERVAL: Millis = 500;
/// Blocks a peer said it has not, remembered until it has another tip: all that may be planned. Were they fewer, a peer
/// would be asked for the same ones over and over, for as long as somebody else withholds the first.
pub const MAX_LACKING: usize = DOWNLOAD_WINDOW;
/// Requests for bodies that a peer may leave unanswered in a row before it is not asked for this branch any more.
pub const MAX_STALLS: u32 = 3;
/// A peer that lacked bodies is asked for them again when it has another tip, but only while the lowest missing one has not
/// been missing for so long: one that says nothing is given up after the same time.
pub const LACKING_PATIENCE: Millis = MAX_STALLS as Millis * REQUEST_TIMEOUT;
/// Mining waits for a better branch only while its bodies keep coming, the last one so long ago at the most.
pub const CATCH_UP_PATIENCE: Millis = 2_000;
/// It does not wait for a branch that is longer by so few blocks: those compete with what would be mined.
pub const COMPETING_BLOCKS: u64 = 2;
/// Peers may keep mining waiting for so long, all together, ms ...
pub const CATCH_UP_BUDGET: u64 = 30_000;
/// ... and for so many ms of each second after that.
pub const CATCH_UP_BUDGET_RATE: u64 = 200;
/// A shorter wait is not worth it.
pub const MIN_CATCH_UP_WAIT: Millis = 500;
/// A side block's body is kept if its branch comes within so many blocks' work of ours.
pub const SIDE_BLOCKS_REACH: usize = 6;
/// A branch whose bodies no peer has is left aside for so long.
pub const UNAVAILABLE_PATIENCE: Millis = 60_000;
/// Branches left aside, remembered.
pub const MAX_UNAVAILABLE: usize = 256;

/// Bodies that the disk lost and that are to be fetched again, at one time: 1 MB. A store tells of more once these are
/// here again, or at the next start.
pub const MAX_LOST: usize = 16_384;
/// They are looked at so often while nothing changes, and a peer that had none to give is asked again after so long.
pub const LOST_INTERVAL: Millis = 1_000;
/// So long after a peer said that it lacks one on the best branch, all are asked for a last time, and it is given up ...
pub const LOST_PATIENCE: Millis = 60_000;
/// ... and this for each block above it: much work is not left for a newcomer's sake while others may come back ...
pub const LOST_PATIENCE_PER_BLOCK: Millis = 1_000;
/// ... but so long at the most: until then nobody new can follow.
pub const MAX_LOST_PATIENCE: Millis = 60 * 60 * 1_000;
/// All have so long to answer for the last time.
pub const LOST_LAST_ROUND: Millis = MAX_STALLS as Millis * REQUEST_TIMEOUT;

/// Gossiped blocks that wait for their parent or their time.
pub const MAX_HELD_BLOCKS: usize = 64;
/// Of these, from one peer.
pub const MAX_HELD_BLOCKS_PER_PEER: usize = 4;
/// A block ahead of the clock is held if it is due within so long: a place is not to be had for years.
pub const MAX_HELD_FOR: Millis = 60_000;
/// A verdict on a gossip item waits at most so long: gossip caches forget after a few seconds.
pub const VERDICT_PATIENCE: Millis = 2_000;

/// Equivocations that are remembered because they were told: 40 KB.
pub const MAX_EQUIVOCATIONS: usize = 1_024;

/// Readings of one author are passed on at most at this rate (a second): a strap gives one.
pub const AUTHOR_FORWARD_RATE: u64 = 8;
/// So many at once.
pub const AUTHOR_FORWARD_BURST: u64 = 256;
/// Authors whose rate is watched at a time: 400 KB.
pub const MAX_FORWARD_AUTHORS: usize = 4_096;
/// Readings of all authors are passed on at most at this rate (a second).
pub const FORWARD_RATE: u64 = 512;
/// So many at once.
pub const FORWARD_BURST: u64 = 4_096;
/// Readings of authors that the chain does not know are passed on at most at this rate (a second).
pub const NEWCOMER_FORWARD_RATE: u64 = 64;
/// So many at once.
pub const NEWCOMER_FORWARD_BURST: u64 = 1_024;

/// Bytes of answers a peer may draw a second.
pub const ANSWER_RATE: u64 = 8 * 1024 * 1024;
/// So many at once.
pub const ANSWER_BURST: u64 = 32 * 1024 * 1024;
/// Bytes of answers that all peers may draw together a second.
pub const ALL_ANSWERS_RATE: u64 = 4 * ANSWER_RATE;
/// So many at once.
pub const ALL_ANSWERS_BURST: u64 = 4 * ANSWER_BURST;
/// Bytes of answers a second that each peer has for itself, whatever the others draw.
pub const ANSWER_SHARE_RATE: u64 = ALL_ANSWERS_RATE / MAX_PEERS as u64;
/// So many at once: the longest answer, and some of what goes before it.
pub const ANSWER_SHARE_BURST: u64 = 2 * 1024 * 1024;
/// What an answer costs besides its bytes.
pub const ANSWER_OVERHEAD: u64 = 4 * 1024;
/// Reads of bodies for peers' requests that may be under way: 32 MB of answers at the most.
pub const MAX_OPEN_READS: usize = 32;

/// The first ban.
pub const FIRST_BAN: Millis = 10 * 60 * 1_000;
/// A ban doubles so often at most: a week.
pub const MAX_BAN_DOUBLINGS: u32 = 10;
/// Bans remembered; the one that ends first is forgotten first.
pub const MAX_BANS: usize = 1_024;

/// Calls of `record()` that may wait for the disk.
pub const MAX_PENDING_RECORDS: usize = 1_024;
/// Entries of one's own journal that are looked after at a time: 24 days of one a second, 34 MB. Only a room that
/// somebody has recorded in for so long takes no more of his readings, and says so.
pub const MAX_JOURNAL: usize = 2 * 1_024 * 1_024;
/// A foreign reading under one's own key so many blocks deep makes one take a fresh key ...
pub const FOREIGN_DEPTH: u64 = 20;
/// ... or so long after it was seen on the best branch.
pub const FOREIGN_PATIENCE: Millis = 30_000;

/// Entries of retired keys, in whose place another reading stands, that are looked at for each input, and signed again in
/// one write: what an input costs must not grow with the journal.
pub const MAX_CONTESTED_CHECKED: usize = 256;
/// Retired keys, some of whose readings the best branch lacks, that are looked at for each input.
pub const MAX_ERAS_CHECKED: usize = 16;
/// The chain waits for the reading of an entry that is lost: if no peer gives it for so long, a fresh key takes over.
pub const LOST_SEQ_PATIENCE: Millis = 60_000;
/// So long while the bodies of a better branch are coming, which may have it.
pub const MAX_LOST_SEQ_PATIENCE: Millis = 10 * 60 * 1_000;

/// A fresh key that could not be written is tried again after so long.
pub const JOURNAL_RETRY: Millis = 5_000;

/// What could not be written, or read, is tried again after so long.
pub const WRITE_RETRY: Millis = 5_000;
/// In so many parts at the most, each of which succeeds or fails by itself.
pub const WRITE_RETRY_PARTS: usize = 16;
/// Changes of the store that may be under way or wait for another try before no more bodies are asked for.
pub const MAX_UNWRITTEN: usize = 4_096;

/// A block is confirmed when it was on the best branch so deep (1 is the tip) ...
pub const CONFIRMED_DEPTH: u64 = 6;
/// ... for so long, while no better branch was being fetched ...
pub const CONFIRMED_AFTER: Millis = 60_000;
/// ... or for so long at any depth.
pub const CONFIRMED_ANYWAY_AFTER: Millis = 10 * 60 * 1_000;
/// Peers may keep confirmation waiting for so long, all together, by giving bodies of branches that outweigh ours, ms ...
pub const FETCHING_BUDGET: u64 = 10 * 60 * 1_000;
/// ... and for so many ms of each second after that.
pub const FETCHING_BUDGET_RATE: u64 = 100;
/// The best branch's height is noted at most so often, to know later what was confirmed: 300 notes.
pub const TIP_SAMPLE_INTERVAL: Millis = 2_000;
/// How far the best branch is confirmed is written at most so often.
pub const CONFIRMED_WRITE_INTERVAL: Millis = 10_000;

/// Blocks that left the best branch and are looked after in memory: a day and a half of one a second, 9 MB. Protected ones
/// beyond wait on disk, until the next start.
pub const MAX_RECOVERY_QUEUE: usize = 128 * 1_024;
/// Bodies of such blocks read at a time.
pub const RECOVERY_CHUNK: usize = 32;
/// Those that were read before are read again so often while something comes of it ...
pub const RECOVERY_INTERVAL: Millis = 1_000;
/// ... and ever more rarely, at last so often, while nothing does.
pub const RECOVERY_MAX_INTERVAL: Millis = 60_000;

/// The longest wait before mining one's own readings.
pub const MAX_OWN_WAIT: Millis = 3_000;
/// That wait, for each different author in the last [`ACTIVE_BLOCKS`] blocks.
pub const OWN_WAIT_PER_AUTHOR: Millis = 20;
/// Blocks by which a room's activity is judged.
pub const ACTIVE_BLOCKS: usize = 60;
/// Others' readings are mined after they have waited so long ...
pub const OTHERS_WAIT: Millis = 3_000;
/// ... and a random part of this.
pub const OTHERS_WAIT_SPREAD: Millis = 2_000;
/// A template is made anew for new readings, and its time refreshed, at most so often.
pub const TEMPLATE_INTERVAL: Millis = 1_000;

/// Blocks in one piece of a file: what is verified without a pause, a tenth of a second or so at ten readings a block.
pub const MAX_IMPORT_BLOCKS: usize = 64;
/// Waiting readings in one piece of a file: as many as one answer of a peer has.
pub const MAX_IMPORT_READINGS: usize = crate::message::MAX_READINGS;
/// Pieces of files that may wait for the disk: one for each of a few files, since a file's next piece waits for its last.
pub const MAX_PENDING_IMPORTS: usize = 4;

/// Side branches shown: a person looks at one or two, and the lightest of many say nothing.
pub const MAX_BRANCHES_SHOWN: usize = 16;
/// Blocks shown of each: some of those that a long partition leaves.
pub const MAX_BRANCH_BLOCKS_SHOWN: usize = 16;

/// Peers whose clocks must be known before one's own is corrected.
pub const MIN_CLOCKS: usize = 3;
/// A smaller offset is not corrected.
pub const MIN_CLOCK_OFFSET: Millis = 5_000;
/// Neither is a larger one: a clock so wrong is for a person to set right. So long can liars who are most of a peer's
/// clocks make it wait for blocks that others already take.
pub const MAX_CLOCK_OFFSET: Millis = 60 * 60 * 1_000;

/// Readings of other tabs that are looked after: 8 MB.
pub const MAX_ADOPTED: usize = 64 * 1_024;
/// Changes in one write of what a lost store held.
pub const RESET_BATCH: usize = 4_096;

/// The best tip can be ahead of the clock because peers that corrected it are gone. No block can be mined on it then, so
/// after so long it is held back until it is due.
pub const EARLY_TIP_PATIENCE: Millis = 30_000;
/// A wall clock that moves so much against the monotonic one was set, or the computer slept. Browsers round clocks, and
/// time services move them by less.
pub const MIN_CLOCK_JUMP: Millis = 1_000;

/// Readings of other tabs in one [`Input::Adopt`](crate::Input::Adopt).
pub const MAX_ADOPT: usize = 1_024;
