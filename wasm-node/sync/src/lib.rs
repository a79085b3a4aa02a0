//! A Heartchain peer as a sans-IO state machine: which requests to send, how to answer peers, what to store, and when to
//! mine.
//!
//! [`Machine`] takes [`Input`]s and returns [`Output`]s. It has no clock, no source of randomness (the caller passes a
//! seed), no network and no disk. The code that runs in a browser tab therefore also runs a thousand times in one native
//! process under a simulated network.
//!
//! [`driver`] performs the outputs, for every platform.
//!
//! Verifying signatures is most of its work. [`verification`] can do that in another thread, and [`input_queue`] keeps the
//! inputs that wait for it.
//!
//! It never keeps the block bodies of a long chain in memory: headers and indexes are in memory, bodies are in storage.
//!
//! # How much memory can a peer make it use?
//!
//! Every queue and table has a bound. This table lists all that a peer can fill. The tests `peer::limits`,
//! `peer::bounds` and `peer::long_branches` push each to its limit; every run of the simulation and of the fuzzer
//! checks them.
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | tracked peers | [`MAX_PEERS`](config::MAX_PEERS) | further peers share one answer budget |
//! | checks of a peer's binding | one per [`BINDING_INTERVAL`](config::BINDING_INTERVAL) ms | the last result stays |
//! | peers of a private room that are not known as members | [`MAX_STRANGERS`](config::MAX_STRANGERS) after [`STRANGER_PATIENCE`](config::STRANGER_PATIENCE) ms | the latest is disconnected |
//! | bans | [`MAX_BANS`](config::MAX_BANS) | the ban that ends first is forgotten |
//! | our open requests to a peer | [`MAX_OPEN_REQUESTS`](config::MAX_OPEN_REQUESTS) | further requests wait |
//! | bytes of answers to a peer | [`ANSWER_RATE`](config::ANSWER_RATE) per second, [`ANSWER_BURST`](config::ANSWER_BURST) at once | its request is refused; it may ask again |
//! | bytes of answers to all peers together | [`ALL_ANSWERS_RATE`](config::ALL_ANSWERS_RATE) per second, [`ALL_ANSWERS_BURST`](config::ALL_ANSWERS_BURST) at once | the request is refused; the peer may ask again |
//! | storage reads in progress for peers | [`MAX_OPEN_READS`](config::MAX_OPEN_READS) | the request is refused; the peer may ask again |
//! | length of a message | [`MAX_REQUEST_LEN`](message::MAX_REQUEST_LEN), [`MAX_RESPONSE_LEN`](message::MAX_RESPONSE_LEN) | its sender is banned |
//! | header syncs | one per peer; [`MAX_HEADER_TURNS`](config::MAX_HEADER_TURNS) run at a time, each for [`HEADER_TURN`](config::HEADER_TURN) while others wait | further syncs wait for their turn |
//! | headers stored ahead of their bodies | [`MAX_HEADERS_AHEAD`](config::MAX_HEADERS_AHEAD) | further headers go through presync, and are stored only if their branch has more work |
//! | headers without bodies in total | [`MAX_BODILESS_HEADERS`](config::MAX_BODILESS_HEADERS) | the more peers send lighter branches, the earlier each branch goes through presync |
//! | presync checkpoints of a branch | [`MAX_CHECKPOINTS`](config::MAX_CHECKPOINTS), one per [`MAX_HEADERS`](message::MAX_HEADERS) headers | the peer that sends the branch is disconnected |
//! | side blocks | [`MAX_SIDE_BLOCKS`](heartchain_chain::tree::MAX_SIDE_BLOCKS), within [`MAX_SIDE_DEPTH`](heartchain_chain::tree::MAX_SIDE_DEPTH) of the tip | the branch with the least work is pruned |
//! | readings in side blocks | [`MAX_SIDE_READINGS`](heartchain_chain::tree::MAX_SIDE_READINGS), not counting bodies that connect to the fork of a heavier branch: that branch cost more work than ours | the branch with the least work is pruned; no more bodies are requested |
//! | side blocks from gossip | within the work of [`SIDE_BLOCKS_REACH`](config::SIDE_BLOCKS_REACH) blocks of our tip, and each reading has its author's next sequence number | the block is not stored |
//! | accepted blocks that are ahead of the clock | as many as this computer's disk holds | peers cannot add any |
//! | invalid block hashes | [`MAX_INVALID`](heartchain_chain::tree::MAX_INVALID) | the oldest is forgotten |
//! | branches whose bodies no peer has | [`MAX_UNAVAILABLE`](config::MAX_UNAVAILABLE), for [`UNAVAILABLE_PATIENCE`](config::UNAVAILABLE_PATIENCE) | the branch is not remembered |
//! | blocks that wait for a parent or for the clock | [`MAX_ORPHANS`](config::MAX_ORPHANS), [`MAX_ORPHANS_PER_PEER`](config::MAX_ORPHANS_PER_PEER) per peer | the block is ignored |
//! | readings in the mempool | [`MAX_READINGS`](heartchain_chain::mempool::MAX_READINGS), [`MAX_PER_AUTHOR`](heartchain_chain::mempool::MAX_PER_AUTHOR) per author | the newest reading of the author with the most is evicted, never one of our own |
//! | … of authors without a reading in the chain | [`MAX_NEWCOMER_READINGS`](heartchain_chain::mempool::MAX_NEWCOMER_READINGS), [`MAX_PER_NEWCOMER`](heartchain_chain::mempool::MAX_PER_NEWCOMER) per author | the last reading of the newcomer with the most is evicted |
//! | … of these, behind a gap in the author's sequence | [`MAX_NEWCOMER_GAPS`](heartchain_chain::mempool::MAX_NEWCOMER_GAPS) | the reading that has waited longest is evicted |
//! | forwarded readings | [`AUTHOR_FORWARD_RATE`](config::AUTHOR_FORWARD_RATE) per author, [`FORWARD_RATE`](config::FORWARD_RATE) in total, per second | the reading is kept but not forwarded |
//! | … of authors without a reading in the chain | [`NEWCOMER_FORWARD_RATE`](config::NEWCOMER_FORWARD_RATE) per second | the reading is kept but not forwarded |
//! | authors with a forwarding rate | [`MAX_FORWARD_AUTHORS`](config::MAX_FORWARD_AUTHORS) | readings of further authors are kept but not forwarded |
//! | rows of one peer's mempool listing | [`MAX_LISTED_ROWS`](config::MAX_LISTED_ROWS) | no further rows are requested |
//! | reported equivocations | [`MAX_EQUIVOCATIONS`](config::MAX_EQUIVOCATIONS) | the oldest is forgotten, and may be reported again |
//! | time that mining waits for a catch-up | [`CATCH_UP_BUDGET`](config::CATCH_UP_BUDGET) ms at once, [`CATCH_UP_BUDGET_RATE`](config::CATCH_UP_BUDGET_RATE) ms per second | mining continues |
//! | readings whose sequence number the chain gave to another reading | [`MAX_DISPLACED`](heartchain_chain::mempool::MAX_DISPLACED) | the reading is not remembered |
//! | changes not yet on disk | [`MAX_UNWRITTEN`](config::MAX_UNWRITTEN) | no more bodies are requested |
//! | blocks that left the best branch and are being recovered | [`MAX_RECOVERY_QUEUE`](config::MAX_RECOVERY_QUEUE) | a block that was confirmed waits on disk |
//! | profiles | [`MAX_PROFILES`](config::MAX_PROFILES), of authors with a reading on the best branch or of connected peers | that of the author with the fewest readings goes |
//! | … ahead of the clock | by [`MAX_REVISION_AHEAD`](config::MAX_REVISION_AHEAD) ms | the profile is ignored |
//! | … forwarded | [`PROFILE_FORWARD_BURST`](config::PROFILE_FORWARD_BURST) revisions of an author at once, then one each [`PROFILE_FORWARD_INTERVAL`](config::PROFILE_FORWARD_INTERVAL) ms | the profile is kept but not forwarded |
//! | … requested from a peer | [`MAX_LISTED_PROFILES`](message::MAX_LISTED_PROFILES) per answer, at most [`MAX_PROFILES`](config::MAX_PROFILES) and one answer more per listing | the listing ends |
//! | authors whose profiles were ignored | [`MAX_IGNORED_AUTHORS`](config::MAX_IGNORED_AUTHORS) | the oldest is forgotten |
//! | … on their way to the disk | one write at a time, with one change per author; [`MAX_UNWRITTEN_PROFILES`](config::MAX_UNWRITTEN_PROFILES) | the profile of a further author is not kept |
//! | inputs that wait until another thread has verified signatures | [`MAX_WAITING_INPUTS`](input_queue::MAX_WAITING_INPUTS), [`MAX_WAITING_BYTES`](input_queue::MAX_WAITING_BYTES), for [`VERIFIER_PATIENCE`](input_queue::VERIFIER_PATIENCE) ms | the machine verifies what waits itself |
//! | readings adopted from other tabs | [`MAX_ADOPTED`](config::MAX_ADOPTED) | further readings are not adopted |
#![no_std]

extern crate alloc;

pub mod config;
pub mod driver;
pub mod input_queue;
pub mod io;
mod machine;
pub mod message;
mod queries;
mod restore;
pub mod verification;
mod views;
mod waiting;
mod waiting_import;

pub use config::Config;
pub use io::{Batch, Event, Input, Now, Output, StoreOperation};
pub use machine::{Machine, sign_journal};
pub use restore::{IndexedBlock, Restore, StoredBlock};
pub use views::{HeldBack, Load, NameView, OwnReading, PeerView, Status, SyncState};
pub use waiting::Waiting;
pub use waiting_import::{
    ImportSummary, ImportTarget, NotStored, ReadingPlace, ReadingPlaces, import_waiting,
};
