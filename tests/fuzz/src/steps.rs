//! The steps that a fuzz input describes. Only their definition; `machine.rs` runs them.

use core::iter;

use arbitrary::{Arbitrary, Unstructured};

/// Number of peers: few, so that steps often concern the same peer.
pub const PEERS: u8 = 6;

/// Parses the bytes into a sequence of at most `most` items.
pub fn all_of<'a, T: Arbitrary<'a>>(data: &'a [u8], most: usize) -> impl Iterator<Item = T> {
    let mut bytes = Unstructured::new(data);
    let next = move || (!bytes.is_empty()).then(|| T::arbitrary(&mut bytes).ok())?;
    iter::from_fn(next).take(most)
}

/// One step of a fuzz run.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    /// A peer connects, by number.
    Connect(u8),
    /// A peer disconnects, by number.
    Disconnect(u8),
    /// A gossip item arrives from a peer that may not even be connected.
    Gossip {
        /// Number of the sending peer.
        from: u8,
        /// Whether the topic is blocks; otherwise it is readings.
        blocks: bool,
        /// The content of the item.
        payload: Payload,
    },
    /// A peer sends a request.
    Request {
        /// Number of the peer.
        from: u8,
        /// The request that it sends.
        request: PeerRequest,
    },
    /// A response to one of the machine's open requests arrives.
    Response {
        /// Selects the open request, modulo their number.
        which: u8,
        /// The response that arrives.
        response: PeerResponse,
    },
    /// One of the machine's open requests fails.
    Fail {
        /// Selects the open request, modulo their number.
        which: u8,
        /// Selects one of the four kinds of failure.
        how: u8,
    },
    /// A response arrives that the machine did not ask this peer for.
    Unsolicited {
        /// Number of the sending peer.
        from: u8,
        /// ID of the request that it claims to respond to.
        id: u8,
        /// The response that arrives.
        response: PeerResponse,
    },
    /// The disk completes or fails its oldest job.
    Disk {
        /// Whether the job fails.
        fails: bool,
    },
    /// The disk returns the bodies of these pool blocks instead of the requested ones.
    CorruptRead(Vec<u8>),
    /// The disk confirms a write that was never requested.
    PhantomWrite(u8),
    /// The miner finds a nonce for the current job.
    Mine,
    /// The miner reports an arbitrary nonce for an arbitrary job.
    Nonce(u8, u64),
    /// A person records a heart rate.
    Record(u8),
    /// A piece of a file arrives with these blocks and readings of the pool; the flag marks the last piece.
    Import(Vec<u8>, Vec<u8>, bool),
    /// Both clocks advance by this many milliseconds.
    Pass(u16),
    /// The wall clock is set this many seconds ahead or back.
    SetClock(i32),
    /// The page resumes after a suspension.
    Resumed,
    /// The tab is killed and opened again with the same disk.
    Crash,
    // `Arbitrary` selects a variant by a fraction of their number, so every new variant shifts what corpus inputs
    // select. The variants below were added last.
    /// Like `Crash`, with the wall clock set this many seconds ahead or back in between.
    Reopen(i32),
    /// The oldest write fails because the disk is full.
    Full,
    /// Everything on disk is deleted while the tab is open.
    Reset,
    /// These readings of the pool are adopted from a closed tab.
    Adopt(Vec<u8>),
}

/// Bytes that a peer may send.
#[derive(Arbitrary, Clone, Debug)]
pub enum Payload {
    /// Arbitrary bytes, as they are.
    Raw(Vec<u8>),
    /// An encoded block of the pool.
    Block(u8),
    /// An encoded reading of the pool.
    Reading(u8),
    /// A block or reading of the pool with one byte changed: number, position, XOR mask.
    Mutated(u8, u16, u8),
    /// A new block on the machine's tip with these readings of the pool, this many seconds later.
    NewBlock(Vec<u8>, u8),
}

/// A request that a peer may send.
#[derive(Arbitrary, Clone, Debug)]
pub enum PeerRequest {
    /// A status request with the peer's own status.
    Status(ClaimedStatus),
    /// Headers after a locator of these pool blocks.
    Headers(Vec<u8>),
    /// Bodies of these pool blocks.
    Bodies(Vec<u8>),
    /// The mempool listing, after this author and sequence number.
    MempoolIds(Option<(u8, u8)>),
    /// These readings of the pool.
    Readings(Vec<u8>),
    /// Arbitrary bytes instead of a message.
    Raw(Vec<u8>),
}

/// A response that a peer may send.
#[derive(Arbitrary, Clone, Debug)]
pub enum PeerResponse {
    /// The response of an honest peer on this branch.
    Honest(u8),
    /// The honest response with one byte changed: branch, position, XOR mask.
    Mutated(u8, u16, u8),
    /// The honest response, truncated to this many items.
    Short(u8, u8),
    /// A status, whatever the request was.
    Status(ClaimedStatus),
    /// A block or reading instead of a message.
    Other(Payload),
}

/// The status that a peer claims.
#[derive(Arbitrary, Clone, Debug)]
pub enum ClaimedStatus {
    /// A branch of the pool, with the peer's clock this many seconds off.
    Branch(u8, i8),
    /// Arbitrary values: a pool block as the tip, height, work, and clock offset in seconds.
    Any(u8, u64, u64, i32),
}
