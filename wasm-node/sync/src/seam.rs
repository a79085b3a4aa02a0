//! The seam between the machine and the world: every input it takes, every output it gives.
//!
//! Whoever drives a [`Machine`](crate::Machine) feeds it [`Input`]s and performs its [`Output`]s in the
//! order given. Nothing here does anything by itself, and nothing here decides anything.

mod event;
mod store;

use alloc::vec::Vec;

use chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
};

pub use self::{
    event::{AdoptError, Event, ImportError, Imported, RecordError},
    store::{Batch, JournalEntry, StoreOperation},
};

macro_rules! handle_type {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    )+};
}

handle_type! {
    /// Names one call of `record()`: chosen by the driver, given back in the answer.
    Ticket,
    /// Names a gossip item that waits for its verdict: chosen by the driver.
    GossipId,
    /// Names a request of a peer's that waits for our answer: chosen by the driver.
    InboundId,
    /// Names a request of ours: chosen by the machine.
    RequestId,
    /// Names a batch to be written: chosen by the machine.
    WriteId,
    /// Names a read of bodies: chosen by the machine.
    ReadId,
    /// Names a template handed to the miner: chosen by the machine; a newer one replaces the older.
    JobId,
}

/// What both clocks of this computer show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: for the times of blocks and readings. It may be wrong, and set back or ahead between two inputs.
    pub wall: UnixMillis,
    /// A clock that never goes back: for deadlines, bans and rates. It may stand still while the computer sleeps.
    pub monotonic: MonotonicMillis,
}

/// The gossip topics of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `heartchain/1/{room}/readings`: one [`Reading`] an item.
    Readings,
    /// `heartchain/1/{room}/blocks`: one [`Block`] an item.
    Blocks,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A person (or a strap) entered a heart rate.
    Record {
        /// Comes back in [`Event::Recorded`] or [`Event::RecordFailed`].
        ticket: Ticket,
        /// The heart rate.
        bpm: Bpm,
    },
    /// A piece of a file is to be taken in.
    Import {
        /// Comes back in [`Event::Imported`].
        ticket: Ticket,
        /// What the file has there.
        piece: ImportPiece,
    },
    /// Readings that another, closed tab of this computer signed: they are kept here and offered until they are confirmed.
    Adopt {
        /// Comes back in [`Event::Adopted`].
        ticket: Ticket,
        /// At most [`MAX_ADOPT`](crate::config::MAX_ADOPT), signed by that tab's keys.
        readings: Vec<Reading>,
    },
    /// A peer that speaks this room's sync protocol can be reached.
    PeerConnected {
        /// Which.
        peer: P,
    },
    /// The last connection to that peer is gone. Its open requests are failed by this alone.
    PeerDisconnected {
        /// Which.
        peer: P,
    },
    /// A gossip item came. It is forwarded only once [`Output::Judge`] says so.
    Gossip {
        /// The neighbour that forwarded it.
        from: P,
        /// Comes back in [`Output::Judge`].
        id: GossipId,
        /// Where it was published.
        topic: Topic,
        /// Its bytes, as they came.
        data: Vec<u8>,
    },
    /// A peer asks something.
    Request {
        /// Who asks.
        from: P,
        /// Comes back in [`Output::Respond`] or [`Output::Refuse`].
        id: InboundId,
        /// The encoded [`message::Request`](crate::message::Request), as it came.
        data: Vec<u8>,
    },
    /// A peer answered a request of ours.
    Response {
        /// Who answered.
        peer: P,
        /// Which request.
        id: RequestId,
        /// The encoded [`message::Response`](crate::message::Response), as it came.
        data: Vec<u8>,
    },
    /// A request of ours got no answer.
    RequestFailed {
        /// Whom we asked.
        peer: P,
        /// Which request.
        id: RequestId,
        /// Why.
        failure: RequestFailure,
    },
    /// A batch is on disk.
    Written {
        /// Which.
        id: WriteId,
    },
    /// A batch could not be written; nothing of it is on disk.
    WriteFailed {
        /// Which.
        id: WriteId,
        /// Whether the disk, or what the browser allows of it, is full.
        full: bool,
    },
    /// The store was lost while the peer ran (deleted, or damaged beyond use) and is open again, empty. Writes that are
    /// under way fail by themselves.
    StoreReset,
    /// Bodies came back from storage, in the order asked for; `None` where one is not there.
    Read {
        /// Which read.
        id: ReadId,
        /// The bodies.
        bodies: Vec<Option<Vec<Reading>>>,
    },
    /// A read failed.
    ReadFailed {
        /// Which read.
        id: ReadId,
    },
    /// Bodies that were kept turned out to be damaged: they are not there any more.
    Lost {
        /// Whose.
        hashes: Vec<BlockHash>,
    },
    /// The miner found a nonce.
    Mined {
        /// For which template.
        job: JobId,
        /// The nonce.
        nonce: u64,
    },
    /// The page was hidden, frozen or offline and is back.
    Woke,
    /// It is time (see [`Output::WakeAt`]).
    Tick,
}

/// A piece of a file: nothing in it is checked yet.
#[derive(Clone, Debug, Default)]
pub struct ImportPiece {
    /// Blocks, each on one that is known or comes before it.
    pub blocks: Vec<Block>,
    /// Readings that wait for a block.
    pub readings: Vec<Reading>,
    /// Whether it is the file's last.
    pub ends: bool,
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// The deadline passed.
    Timeout,
    /// The peer does not speak this room's protocol.
    Unsupported,
    /// The stream or the connection broke, or the peer refused.
    Closed,
    /// The answer was longer than any answer may be.
    Oversize,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum Output<P> {
    /// Write this as one transaction; answer with [`Input::Written`] or [`Input::WriteFailed`].
    Write {
        /// Comes back.
        id: WriteId,
        /// All or nothing.
        batch: Batch,
    },
    /// Read these bodies; answer with [`Input::Read`] or [`Input::ReadFailed`]. Sees every earlier write.
    Read {
        /// Comes back.
        id: ReadId,
        /// Whose bodies.
        hashes: Vec<BlockHash>,
    },
    /// Ask a peer; answer with [`Input::Response`] or [`Input::RequestFailed`].
    Request {
        /// Whom.
        peer: P,
        /// Comes back.
        id: RequestId,
        /// The encoded request.
        data: Vec<u8>,
        /// No answer by then is [`RequestFailure::Timeout`].
        deadline: MonotonicMillis,
    },
    /// Answer a peer's request.
    Respond {
        /// Which.
        id: InboundId,
        /// The encoded answer.
        data: Vec<u8>,
    },
    /// Close the stream of a peer's request without an answer.
    Refuse {
        /// Which.
        id: InboundId,
    },
    /// Publish by gossip.
    Publish {
        /// Where.
        topic: Topic,
        /// What.
        data: Vec<u8>,
    },
    /// The verdict on a gossip item.
    Judge {
        /// Which.
        id: GossipId,
        /// Who forwarded it.
        from: P,
        /// What the gossip router does with it.
        verdict: Verdict,
    },
    /// Search a nonce for this header, in place of any other; answer with [`Input::Mined`].
    Mine {
        /// Comes back.
        job: JobId,
        /// The template; its nonce is where to start.
        header: Header,
    },
    /// Stop mining.
    StopMining,
    /// Give [`Input::Tick`] at this time. Replaces any earlier wish.
    WakeAt(MonotonicMillis),
    /// Tell the page.
    Tell(Event),
    /// Close all connections to this peer and let it in again only at `until`.
    Drop {
        /// Whom.
        peer: P,
        /// Why, in words.
        reason: DropReason,
        /// `None`: let go, not banned.
        until: Option<MonotonicMillis>,
    },
}

/// The verdict on a gossip item (gossipsub 1.1 extended validators).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good and new: forward it.
    Accept,
    /// Provably bad: count it against the forwarder.
    Reject,
    /// Useless to us, and nobody's fault.
    Ignore,
}

/// Why a peer is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// Bytes that no honest encoder makes.
    #[error("sent bytes that do not decode: {0}")]
    Garbage(&'static str),
    /// A message over its bound.
    #[error("sent a message over the limit")]
    Oversize,
    /// A reading that breaks the rules.
    #[error("sent a bad reading: {0}")]
    BadReading(chain::reading::ReadingError),
    /// A header that breaks the rules.
    #[error("sent a bad header: {0}")]
    BadHeader(chain::validate::HeaderError),
    /// A body that does not match its header or breaks the rules.
    #[error("sent a bad body: {0}")]
    BadBody(chain::block::BodyError),
    /// A block that claims a reading of the wrong place in its author's count.
    #[error("sent a block out of sequence: {0}")]
    BadSequence(chain::tree::SequenceError),
    /// An answer to something that was not asked.
    #[error("answered with something that was not asked for")]
    WrongAnswer,
    /// Its headers do not reach what it claims.
    #[error("does not have the branch that it claims")]
    FalseClaim,
    /// Its headers lead nowhere.
    #[error("sent {limit} headers that weigh less than ours")]
    EndlessHeaders {
        /// How many are too many.
        limit: usize,
    },
    /// Speaks another room's protocol, or none of ours.
    #[error("does not take part in this room")]
    OtherRoom,
    /// Came back before its ban was over.
    #[error("is banned")]
    Banned,
}
