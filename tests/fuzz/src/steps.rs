//! What the fuzzer may let happen to a machine, as it reads it off its bytes. Lets nothing happen.

use core::iter;

use arbitrary::{Arbitrary, Unstructured};

/// Peers are few, so that what happens to them meets.
pub const PEERS: u8 = 6;

/// What the bytes say, one after another, so many at the most.
pub fn all_of<'a, T: Arbitrary<'a>>(data: &'a [u8], most: usize) -> impl Iterator<Item = T> {
    let mut bytes = Unstructured::new(data);
    let next = move || (!bytes.is_empty()).then(|| T::arbitrary(&mut bytes).ok())?;
    iter::from_fn(next).take(most)
}

/// One thing that happens.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    /// A peer comes.
    Connect(u8),
    /// A peer goes.
    Disconnect(u8),
    /// A gossip item comes from a peer that may not even be connected.
    Gossip {
        /// From whom.
        from: u8,
        /// On the topic of blocks?
        blocks: bool,
        /// What.
        material: Material,
    },
    /// A peer asks.
    Ask {
        /// Who.
        from: u8,
        /// What.
        question: Question,
    },
    /// Something comes as the answer to one of the machine's open requests.
    Answer {
        /// Which of them.
        which: u8,
        /// What.
        answer: Answer,
    },
    /// One of the machine's open requests fails, in one of four ways.
    Fail {
        /// Which of them.
        which: u8,
        /// How.
        how: u8,
    },
    /// An answer to nothing that was asked.
    Unasked {
        /// From whom.
        from: u8,
        /// To which request.
        id: u8,
        /// What.
        answer: Answer,
    },
    /// The disk does the oldest of what it is asked, or fails it.
    Disk {
        /// Whether it fails.
        fails: bool,
    },
    /// The disk gives other bodies than were asked for: these blocks', if any.
    Rot(Vec<u8>),
    /// The disk says that something is done which may never have been asked.
    Phantom(u8),
    /// The miner finds what it looks for.
    Mine,
    /// The miner names a nonce for some template.
    Nonce(u8, u64),
    /// A person enters a heart rate.
    Record(u8),
    /// A piece of a file comes, of these blocks and readings of the pool.
    Import(Vec<u8>, Vec<u8>, bool),
    /// Milliseconds pass, on both clocks.
    Pass(u16),
    /// The wall clock is set, seconds ahead or back.
    SetClock(i32),
    /// The page woke.
    Woke,
    /// The tab is killed, and opened again on what is on disk.
    Crash,
    // Kept inputs name the steps above by their share of all; those below came later.
    /// The same, when the wall clock was set so many seconds ahead or back meanwhile.
    Reopen(i32),
    /// The disk is full for the oldest write.
    Full,
    /// All that is on disk is deleted while the tab is open.
    Reset,
    /// These readings of the pool come from a closed tab.
    Adopt(Vec<u8>),
}

/// Bytes that a peer may show.
#[derive(Arbitrary, Clone, Debug)]
pub enum Material {
    /// Any.
    Raw(Vec<u8>),
    /// A block of the pool.
    Block(u8),
    /// A reading of the pool.
    Reading(u8),
    /// One of these with one byte changed.
    Bent(u8, u16, u8),
    /// A new valid block on the machine's tip, with these readings of the pool, so many seconds later.
    Fresh(Vec<u8>, u8),
}

/// What a peer may ask.
#[derive(Arbitrary, Clone, Debug)]
pub enum Question {
    /// With its Status.
    Status(Claim),
    /// Headers after these blocks of the pool.
    Headers(Vec<u8>),
    /// These blocks' bodies.
    Bodies(Vec<u8>),
    /// The mempool's listing, after some author's place.
    MempoolIds(Option<(u8, u8)>),
    /// These readings.
    Readings(Vec<u8>),
    /// Any bytes.
    Raw(Vec<u8>),
}

/// What a peer may answer.
#[derive(Arbitrary, Clone, Debug)]
pub enum Answer {
    /// As an honest peer on this branch would.
    Honest(u8),
    /// So, but with one byte changed.
    Bent(u8, u16, u8),
    /// So, but cut short after so many items.
    Short(u8, u8),
    /// A Status, whatever was asked.
    Claim(Claim),
    /// A block or a reading where a message belongs.
    Other(Material),
}

/// What a peer may claim of itself.
#[derive(Arbitrary, Clone, Debug)]
pub enum Claim {
    /// That it stands on this branch, its clock so many seconds off.
    Branch(u8, i8),
    /// That its branch has this height and work, and this block of the pool as its tip.
    Any(u8, u64, u64, i32),
}
