//! What a session tells its owner: blocks, and what a person should know of. The owner reads them from a bounded channel; a
//! reader that is too slow learns how many it missed.

use heartchain_chain::{block::Block, hash::BlockHash, key::Author, room::Room, time::UnixMillis};
use tokio::sync::mpsc;

/// Events that wait for their reader. A burst of blocks is a few hundred.
pub const MAX_EVENTS: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeeperEvent {
    /// A block joined the best branch.
    Block(ShownBlock),
    /// More blocks joined at once than are shown one by one: those from `from` to `to` are not shown.
    Blocks {
        /// The lowest of the heights.
        from: u64,
        /// The highest of the heights.
        to: u64,
    },
    /// A heavier branch took over: blocks from this height on left the best branch. Their readings wait again.
    Reorganised {
        /// The lowest height whose block is another one now.
        from: u64,
    },
    /// The number of connected peers changed.
    Peers {
        /// How many there are.
        connected: usize,
    },
    /// The keeper can be dialed at this address.
    Listening {
        /// A multiaddr that ends in the keeper's peer ID.
        address: String,
    },
    /// Something about the network that a person should know. The keeper goes on.
    NetworkFault {
        /// What happened, as a sentence.
        reason: String,
    },
    /// The disk refuses writes. What it refused is tried again.
    StorageFailing {
        /// What the disk answered.
        reason: String,
    },
    /// The disk takes writes again.
    StorageRecovered,
    /// Records or blocks on disk were damaged when the keeper started. Peers are asked for them.
    Damaged {
        /// The number of damaged records and blocks.
        records: usize,
    },
    /// The key was used in another place as well, so a fresh one signs from now on. No reading is lost.
    KeyReplaced {
        /// The author that signs now.
        author: Author,
    },
    /// An author signed two readings with the same number.
    Equivocation {
        /// The author of both.
        author: Author,
        /// The number of both.
        seq: u64,
    },
    /// The computer's clock was set, or disagrees with the peers' clocks.
    ClockMoved,
    /// The reader was too slow.
    Missed {
        /// How many events it did not get.
        events: u64,
    },
}

/// A block as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownBlock {
    /// Its height above genesis.
    pub index: u64,
    /// The hash of its header.
    pub hash: BlockHash,
    /// When it was mined, by the miner's clock.
    pub time: UnixMillis,
    /// Its readings in order.
    pub readings: Vec<ShownReading>,
}

/// A reading as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownReading {
    /// The author that signed it.
    pub author: Author,
    /// Its number among all readings of the author.
    pub seq: u64,
    /// When it was recorded, and the heart rate in beats per minute. `None` if it is sealed and the room's key is not known
    /// here.
    pub content: Option<(UnixMillis, u16)>,
}

impl ShownBlock {
    pub(crate) fn new(room: &Room, hash: BlockHash, block: &Block) -> Self {
        let readings = block.readings.iter().map(|reading| {
            let opened = room.open(reading).ok();
            ShownReading {
                author: reading.author,
                seq: reading.seq,
                content: opened.map(|opened| (opened.time, opened.bpm.get())),
            }
        });
        Self {
            index: block.header.index,
            hash,
            time: block.header.time,
            readings: readings.collect(),
        }
    }
}

/// The session's end of the channel.
#[derive(Debug)]
pub(crate) struct EventSender {
    sender: mpsc::Sender<KeeperEvent>,
    missed: u64,
}

/// A channel for events.
pub(crate) fn channel() -> (EventSender, mpsc::Receiver<KeeperEvent>) {
    let (sender, receiver) = mpsc::channel(MAX_EVENTS);
    let sender = EventSender { sender, missed: 0 };
    (sender, receiver)
}

impl EventSender {
    /// Whether anyone reads events.
    pub(crate) fn has_reader(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends an event, or counts it if the reader is too slow.
    pub(crate) fn send(&mut self, event: KeeperEvent) {
        if self.missed > 0 {
            let missed = KeeperEvent::Missed {
                events: self.missed,
            };
            if self.sender.try_send(missed).is_ok() {
                self.missed = 0;
            }
        }
        if self.missed > 0 || self.sender.try_send(event).is_err() {
            self.missed = self.missed.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_reader_learns_what_it_missed() {
        let (mut sender, mut events) = channel();
        for _ in 0..MAX_EVENTS + 3 {
            sender.send(KeeperEvent::ClockMoved);
        }
        for _ in 0..MAX_EVENTS {
            assert_eq!(events.try_recv(), Ok(KeeperEvent::ClockMoved));
        }
        assert!(events.try_recv().is_err());
        sender.send(KeeperEvent::StorageRecovered);
        assert_eq!(events.try_recv(), Ok(KeeperEvent::Missed { events: 3 }));
        assert_eq!(events.try_recv(), Ok(KeeperEvent::StorageRecovered));
    }
}
