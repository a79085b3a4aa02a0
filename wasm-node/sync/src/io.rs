//! The interface between the machine and its driver: every input and every output.
//!
//! A driver feeds [`Input`]s to a [`Machine`](crate::Machine) and performs its [`Output`]s in the order given.
//! Messages between peers are values of [`message`](crate::message); the driver encodes and decodes them.
//! This module only defines the types; it performs no IO and makes no decisions.

mod event;
mod handles;
mod store;

use alloc::vec::Vec;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    profile::{Profile, ProfileName},
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
};

pub use self::{
    event::{AdoptError, Event, ImportError, Imported, NameError, RecordError},
    handles::{GossipId, InboundId, JobId, ReadId, RequestId, Ticket, WriteId},
    store::{Batch, JournalEntry, StoreOperation},
};
pub use crate::message::Topic;
use crate::message::{GossipError, GossipItem, MessageError, Request, Response};

/// The time on both clocks of this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, used for the times of blocks and readings. It may be wrong, and may jump in both
    /// directions between two inputs.
    pub wall: UnixMillis,
    /// A clock that never goes back, used for deadlines, bans and rates. It may stand still while the computer sleeps.
    pub monotonic: MonotonicMillis,
}

/// An event from outside the machine.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A person or a heart-rate strap entered a reading.
    Record {
        /// Returned in [`Event::Recorded`] or [`Event::RecordFailed`].
        ticket: Ticket,
        /// The heart rate in beats per minute.
        bpm: Bpm,
    },
    /// A person chose the name that others see.
    SetName {
        /// Returned in [`Event::NameSet`] or [`Event::NameFailed`].
        ticket: Ticket,
        /// The name. An empty one erases the earlier one.
        name: ProfileName,
    },
    /// A file is being imported, and this is its next piece.
    Import {
        /// Returned in [`Event::Imported`].
        ticket: Ticket,
        /// The blocks, readings and profiles of this piece.
        piece: ImportPiece,
    },
    /// Adopts readings that another, closed tab of this computer signed. The machine stores them and offers
    /// them to peers until they are confirmed.
    Adopt {
        /// Returned in [`Event::Adopted`].
        ticket: Ticket,
        /// At most [`MAX_READINGS_PER_ADOPT`](crate::config::MAX_READINGS_PER_ADOPT) readings, signed with that tab's keys.
        readings: Vec<Reading>,
    },
    /// A peer that supports this room's sync protocol is connected.
    PeerConnected {
        /// The peer that connected.
        peer: P,
    },
    /// The last connection to a peer closed. Our open requests to it fail with this input alone.
    PeerDisconnected {
        /// The peer that disconnected.
        peer: P,
    },
    /// A peer sent more than any honest peer does.
    PeerFlooded {
        /// The peer that sent it.
        peer: P,
    },
    /// A gossip item arrived. The router forwards it only if [`Output::Verdict`] accepts it.
    Gossip {
        /// The neighbour that forwarded the item.
        from: P,
        /// Returned in [`Output::Verdict`].
        id: GossipId,
        /// The result of [`GossipItem::decode`]. The machine judges the neighbour for an error.
        item: Result<GossipItem, GossipError>,
    },
    /// A peer sent a request.
    Request {
        /// The peer that sent it.
        from: P,
        /// Returned in [`Output::Respond`] or [`Output::Refuse`].
        id: InboundId,
        /// The result of [`Request::decode`]. The machine judges the peer for an error.
        request: Result<Request, MessageError>,
    },
    /// A peer answered one of our requests.
    Response {
        /// The peer that answered.
        peer: P,
        /// The ID from [`Output::Request`].
        id: RequestId,
        /// The result of [`Response::decode`]. The machine judges the peer for an error.
        response: Result<Response, MessageError>,
    },
    /// One of our requests failed.
    RequestFailed {
        /// The peer that was asked.
        peer: P,
        /// The ID from [`Output::Request`].
        id: RequestId,
        /// Why there is no answer.
        failure: RequestFailure,
    },
    /// A batch is on disk.
    Written {
        /// The ID from [`Output::Write`].
        id: WriteId,
    },
    /// A batch could not be written; none of its changes are on disk.
    WriteFailed {
        /// The ID from [`Output::Write`].
        id: WriteId,
        /// Whether the disk, or the browser's storage quota, is full.
        full: bool,
    },
    /// The store was lost while the peer ran (deleted, or damaged beyond repair) and was opened again, empty.
    /// Writes in progress fail separately.
    StoreReset,
    /// Bodies were read from storage.
    Read {
        /// The ID from [`Output::Read`].
        id: ReadId,
        /// The bodies in the order requested; `None` where storage does not have one.
        bodies: Vec<Option<Vec<Reading>>>,
    },
    /// Bodies could not be read from storage.
    ReadFailed {
        /// The ID from [`Output::Read`].
        id: ReadId,
    },
    /// Stored bodies were found to be damaged, and are no longer available.
    BodiesMissing {
        /// The hashes of their blocks.
        hashes: Vec<BlockHash>,
    },
    /// The miner found a nonce.
    Mined {
        /// The template it belongs to.
        job: JobId,
        /// The nonce that meets the template's target.
        nonce: u64,
    },
    /// The page was hidden, frozen or offline, and runs again.
    Resumed,
    /// A timer fired (see [`Output::WakeAt`]).
    Tick,
}

/// A piece of an imported file. Nothing in it is verified yet.
#[derive(Clone, Debug, Default)]
pub struct ImportPiece {
    /// Blocks, each with a parent that is known or precedes it.
    pub blocks: Vec<Block>,
    /// Readings that are not in a block yet.
    pub readings: Vec<Reading>,
    /// Names of authors. They are kept for authors with a reading on the best branch.
    pub profiles: Vec<Profile>,
    /// Whether this is the file's last piece.
    pub is_last: bool,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// The deadline passed.
    Timeout,
    /// The peer does not speak this room's protocol.
    Unsupported,
    /// The stream or the connection broke, or the peer refused to answer.
    Closed,
    /// The answer exceeds [`MAX_RESPONSE_LEN`](crate::message::MAX_RESPONSE_LEN).
    Oversize,
}

/// An action for the driver. Outputs are performed in the order given.
#[derive(Clone, Debug)]
pub enum Output<P> {
    /// Write a batch as one transaction. The driver answers with [`Input::Written`] or [`Input::WriteFailed`].
    Write {
        /// Returned in the answer.
        id: WriteId,
        /// The changes; either all are applied or none.
        batch: Batch,
    },
    /// Read bodies. The driver answers with [`Input::Read`] or [`Input::ReadFailed`]. The read sees every
    /// earlier write.
    Read {
        /// Returned in the answer.
        id: ReadId,
        /// The hashes of the blocks whose bodies to read.
        hashes: Vec<BlockHash>,
    },
    /// Send a request to a peer. The driver answers with [`Input::Response`] or [`Input::RequestFailed`].
    Request {
        /// The peer that the request goes to.
        peer: P,
        /// Returned in the answer.
        id: RequestId,
        /// The question. No peer answers one that exceeds the limits of [`Request::decode`].
        request: Request,
        /// After this time the request fails with [`RequestFailure::Timeout`].
        deadline: MonotonicMillis,
    },
    /// Answer a peer's request.
    Respond {
        /// The ID from [`Input::Request`].
        id: InboundId,
        /// The answer, of at most [`MAX_RESPONSE_LEN`](crate::message::MAX_RESPONSE_LEN) bytes.
        response: Response,
    },
    /// Close the stream of a peer's request without an answer.
    Refuse {
        /// The ID from [`Input::Request`].
        id: InboundId,
    },
    /// Publish an item by gossip, on its topic.
    Publish(GossipItem),
    /// Give the verdict on a gossip item.
    Verdict {
        /// The ID from [`Input::Gossip`].
        id: GossipId,
        /// The peer that forwarded the item.
        from: P,
        /// What the gossip router does with the item.
        verdict: Verdict,
    },
    /// Mine this header instead of any earlier one. The driver answers with [`Input::Mined`].
    Mine {
        /// Returned in the answer.
        job: JobId,
        /// The template. The search starts at its nonce.
        header: Header,
    },
    /// Stop mining, until the next [`Mine`](Self::Mine).
    StopMining,
    /// Send [`Input::Tick`] at this time. Replaces any earlier `WakeAt`.
    WakeAt(MonotonicMillis),
    /// Report an event to the page.
    Emit(Event),
    /// A peer proved that it has the key of this private room. Other peers are not to take its place.
    ProvedMember {
        /// The peer that proved it.
        peer: P,
    },
    /// Close all connections to a peer.
    Disconnect {
        /// The peer to disconnect.
        peer: P,
        /// Why, for logs and the page.
        reason: DisconnectReason,
        /// The end of its ban: refuse its connections before this time. `None` if it is not banned.
        until: Option<MonotonicMillis>,
    },
}

/// The verdict on a gossip item (gossipsub 1.1 extended validators).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new: forward it.
    Accept,
    /// Provably invalid: lower the forwarder's score.
    Reject,
    /// Of no use to us, but not the forwarder's fault.
    Ignore,
}

/// Why a peer is disconnected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// It sent bytes that no honest encoder produces.
    #[error("sent bytes that do not decode: {0}")]
    Undecodable(&'static str),
    /// It sent a message that exceeds the length limit.
    #[error("sent a message over the limit")]
    Oversize,
    /// It sent a reading that breaks a rule.
    #[error("sent a bad reading: {0}")]
    BadReading(heartchain_chain::reading::ReadingError),
    /// It sent a profile that breaks a rule.
    #[error("sent a bad profile: {0}")]
    BadProfile(heartchain_chain::profile::ProfileError),
    /// It sent a header that breaks a rule.
    #[error("sent a bad header: {0}")]
    BadHeader(heartchain_chain::validate::HeaderError),
    /// It sent a body that does not match its header or breaks a rule.
    #[error("sent a bad body: {0}")]
    BadBody(heartchain_chain::block::BodyError),
    /// It sent a block in which a reading does not have its author's next sequence number.
    #[error("sent a block out of sequence: {0}")]
    BadSequence(heartchain_chain::tree::SequenceError),
    /// Its answer does not match the request.
    #[error("sent an answer that does not match the request")]
    WrongAnswer,
    /// Its headers do not lead to the tip that it claims in its Status.
    #[error("does not have the branch that it claims to have")]
    FalseClaim,
    /// Its headers do not reach more work than our branch.
    #[error("sent {limit} headers without reaching more work than ours")]
    LowWorkHeaders {
        /// How many headers it may send.
        limit: usize,
    },
    /// It sent more than any honest peer does.
    #[error("sent a flood")]
    Flood,
    /// It does not support this room's protocol.
    #[error("does not take part in this room")]
    OtherRoom,
    /// It has not proved that it is a member of this private room, and too many others have not either.
    #[error("did not prove that it has the room's key")]
    Stranger,
    /// It came back before its ban ended.
    #[error("is banned")]
    Banned,
}
