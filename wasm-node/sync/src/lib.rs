//! A Heartchain peer as a state machine without IO: what to ask, answer, store, mine and tell.
//!
//! [`Machine`] takes [`Input`]s and gives [`Output`]s; it has no clock, no chance of its own (a seed goes
//! in), no network and no disk. The very code that runs in a tab runs a thousand times over in one native
//! process under a simulated network.
//!
//! It never holds a long chain's bodies: headers and indexes are in memory, bodies in storage.
//!
//! # What strangers can make it hold
//!
//! Every queue and table has a bound; here are all that a peer can fill. `peer::limits`, `peer::bounds` and
//! `peer::long_branches` of the tests stand at them, and every run of the simulation and of the fuzzer checks them.
//!
//! | what | bound | beyond it |
//! |---|---|---|
//! | peers accounted for | [`MAX_PEERS`](config::MAX_PEERS) | is answered from one bucket for all strangers |
//! | bans | [`MAX_BANS`](config::MAX_BANS) | the one that ends first is forgotten |
//! | requests of ours open at a peer | [`MAX_OPEN_REQUESTS`](config::MAX_OPEN_REQUESTS) | waits |
//! | bytes of answers that a peer draws | [`ANSWER_RATE`](config::ANSWER_RATE) a second, [`ANSWER_BURST`](config::ANSWER_BURST) at once | is refused, and may ask again |
//! | bytes of answers that all peers draw together | [`ALL_ANSWERS_RATE`](config::ALL_ANSWERS_RATE) a second, [`ALL_ANSWERS_BURST`](config::ALL_ANSWERS_BURST) at once | is refused, and may ask again |
//! | reads for peers under way | [`MAX_OPEN_READS`](config::MAX_OPEN_READS) | is refused, and may ask again |
//! | a message | [`MAX_REQUEST_LEN`](message::MAX_REQUEST_LEN), [`MAX_RESPONSE_LEN`](message::MAX_RESPONSE_LEN) | bans its sender |
//! | header syncs | one a peer; [`MAX_HEADER_TURNS`](config::MAX_HEADER_TURNS) have their turn at a time, for [`HEADER_TURN`](config::HEADER_TURN) while others wait | waits for its turn |
//! | headers held ahead of their bodies | [`MAX_HEADERS_AHEAD`](config::MAX_HEADERS_AHEAD) | the rest is weighed first, and held only if it is the heavier branch |
//! | headers without bodies in all | [`MAX_HEADERS_HELD`](config::MAX_HEADERS_HELD) | the more peers give lighter branches, the sooner each is weighed |
//! | marks of a branch that is weighed | [`MAX_MARKS`](config::MAX_MARKS), one for [`MAX_HEADERS`](message::MAX_HEADERS) headers | lets its giver go |
//! | side blocks | [`MAX_SIDE_BLOCKS`](chain::tree::MAX_SIDE_BLOCKS), within [`MAX_SIDE_DEPTH`](chain::tree::MAX_SIDE_DEPTH) of the tip | the least work goes |
//! | readings in them | [`MAX_SIDE_READINGS`](chain::tree::MAX_SIDE_READINGS), but for bodies that go on from the fork towards a heavier branch: its maker did more work than we did | the least work goes; no more bodies are asked for |
//! | side blocks by gossip | within [`SIDE_BLOCKS_REACH`](config::SIDE_BLOCKS_REACH) blocks' work of ours, each reading its author's next | is not kept |
//! | blocks that are ahead of the clock, but were accepted before | those of one's own disk | none comes from peers |
//! | condemned hashes | [`MAX_CONDEMNED`](chain::tree::MAX_CONDEMNED) | the oldest is forgotten |
//! | branches whose bodies nobody has | [`MAX_UNAVAILABLE`](config::MAX_UNAVAILABLE), for [`UNAVAILABLE_PATIENCE`](config::UNAVAILABLE_PATIENCE) | is not remembered |
//! | blocks that wait for a parent or their time | [`MAX_HELD_BLOCKS`](config::MAX_HELD_BLOCKS), [`MAX_HELD_BLOCKS_PER_PEER`](config::MAX_HELD_BLOCKS_PER_PEER) a peer | is ignored |
//! | readings that wait for a block | [`MAX_READINGS`](chain::mempool::MAX_READINGS), [`MAX_PER_AUTHOR`](chain::mempool::MAX_PER_AUTHOR) an author | the fullest author's newest goes; one's own never |
//! | of these, of authors without a reading in the chain | [`MAX_NEWCOMER_READINGS`](chain::mempool::MAX_NEWCOMER_READINGS), [`MAX_PER_NEWCOMER`](chain::mempool::MAX_PER_NEWCOMER) an author | the last of the author with the most of these goes |
//! | of these, behind a gap in their author's count | [`MAX_NEWCOMER_GAPS`](chain::mempool::MAX_NEWCOMER_GAPS) | the one that has waited longest goes |
//! | readings passed on | [`AUTHOR_FORWARD_RATE`](config::AUTHOR_FORWARD_RATE) an author, [`FORWARD_RATE`](config::FORWARD_RATE) in all, a second | is kept and not passed on |
//! | authors of these | [`MAX_FORWARD_AUTHORS`](config::MAX_FORWARD_AUTHORS) | is kept and not passed on |
//! | of these, of authors without a reading in the chain | [`NEWCOMER_FORWARD_RATE`](config::NEWCOMER_FORWARD_RATE) a second | is kept and not passed on |
//! | rows of a peer's mempool in one listing | [`MAX_LISTED`](config::MAX_LISTED) | is not asked for |
//! | equivocations told | [`MAX_EQUIVOCATIONS`](config::MAX_EQUIVOCATIONS) | the oldest is forgotten, and may be told again |
//! | time that mining waits for catching up | [`CATCH_UP_BUDGET`](config::CATCH_UP_BUDGET) ms at once, [`CATCH_UP_BUDGET_RATE`](config::CATCH_UP_BUDGET_RATE) of each second | mining goes on |
//! | readings whose place went to another | [`MAX_ASIDE`](chain::mempool::MAX_ASIDE) | is not remembered |
//! | changes on their way to the disk | [`MAX_UNWRITTEN`](config::MAX_UNWRITTEN) | no more bodies are asked for |
//! | blocks that left the best branch, looked after | [`MAX_RECOVERY_QUEUE`](config::MAX_RECOVERY_QUEUE) | if it was confirmed, waits on disk |
//! | readings of other tabs | [`MAX_ADOPTED`](config::MAX_ADOPTED) | is not taken over |
#![no_std]

extern crate alloc;

pub mod config;
mod machine;
pub mod message;
pub mod seam;

pub use config::Config;
pub use machine::{
    HeldBack, KnownBlock, Load, Machine, OwnReading, PeerView, Restore, State, Status, Stored,
    sign_journal,
};
pub use seam::{Batch, Event, Input, Now, Output, StoreOperation};
