//! Collects events for the page during one turn of the event loop and merges those that say the same. Never delivers
//! events itself: the driver does.

use heartchain_chain::key::Author;

/// Notices that are delivered to the page after one turn: more than a person reads.
const MAX_NOTICES_PER_TURN: usize = 32;

/// The payload of a "notice" event: something that a person should be delivered in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// An author signed two readings with the same sequence number: at most one of them can enter the chain.
    Equivocation { author: Author, seq: u64 },
    /// This tab's key is also in use elsewhere; from now on the tab signs with the key of this `author`.
    KeyReplaced { author: Author },
    /// This many stored records were damaged. They were dropped and are fetched again from peers.
    Repaired { records: usize },
    /// Something cannot be stored at present, for this reason.
    StorageFailing { reason: &'static str },
    /// The browser had closed the store, and it is open again. `readings`: the store was empty, and this many of the
    /// tab's own readings are written again; `None`: nothing was lost.
    StorageReopened { readings: Option<u64> },
    /// The store had lost readings when it was opened: `readings` of them for good; `saved` were restored from a copy.
    StorageLost { readings: usize, saved: usize },
    /// The wall clock was set back by this many ms.
    ClockSetBack { by: u64 },
    /// The wall clock was set ahead by this many ms, and peers' clocks disagree.
    ClockSetAhead { by: u64 },
    /// This tab took over the unshared readings of a closed tab of this browser, which had this slot.
    ReadingsAdopted { readings: usize, slot: u32 },
}

/// An event for the page; `R` is the type of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent<R> {
    /// A new reading waits for a block.
    Reading(R),
    /// The best branch changed: blocks `from` to `to` are new, and those above `to` are gone.
    Chain { from: u64, to: u64, reorg: bool },
    /// Something that `status()` returns changed.
    Status,
    /// Something that `peers()` returns changed.
    Peers,
    /// Something that `names()` returns changed.
    Names,
    /// A person should be delivered of this.
    Notice(Notice),
}

/// The events of one turn that are not delivered yet.
#[derive(Debug)]
pub(crate) struct EventBuffer<R> {
    readings: Vec<R>,
    chain: Option<(u64, u64, bool)>,
    status: bool,
    peers: bool,
    names: bool,
    notices: Vec<Notice>,
}

impl<R> Default for EventBuffer<R> {
    fn default() -> Self {
        Self {
            readings: Vec::new(),
            chain: None,
            status: false,
            peers: false,
            names: false,
            notices: Vec::new(),
        }
    }
}

impl<R> EventBuffer<R> {
    /// Adds an event. Two changes of the chain become one that covers both. Notices beyond [`MAX_NOTICES_PER_TURN`] are
    /// dropped: one malicious peer can cause thousands, which no one would read.
    pub(crate) fn add(&mut self, event: NodeEvent<R>) {
        match event {
            NodeEvent::Reading(reading) => self.readings.push(reading),
            NodeEvent::Chain { from, to, reorg } => {
                let (first, reorged) = self.chain.map_or((from, reorg), |(first, _, was)| {
                    (first.min(from), was || reorg)
                });
                self.chain = Some((first, to, reorged));
            }
            NodeEvent::Status => self.status = true,
            NodeEvent::Peers => self.peers = true,
            NodeEvent::Names => self.names = true,
            NodeEvent::Notice(notice) => {
                if self.notices.len() < MAX_NOTICES_PER_TURN && !self.notices.contains(&notice) {
                    self.notices.push(notice);
                }
            }
        }
    }

    /// Removes and returns all events, in the order in which the page should receive them. A change of the chain stays if
    /// `keeps_chain`, and later ones join it.
    pub(crate) fn take(
        &mut self,
        keeps_chain: bool,
    ) -> impl Iterator<Item = NodeEvent<R>> + use<R> {
        let Self {
            readings,
            chain,
            status,
            peers,
            names,
            notices,
        } = std::mem::take(self);
        let chain = if keeps_chain {
            self.chain = chain;
            None
        } else {
            chain
        };
        readings
            .into_iter()
            .map(NodeEvent::Reading)
            .chain(chain.map(|(from, to, reorg)| NodeEvent::Chain { from, to, reorg }))
            .chain(peers.then_some(NodeEvent::Peers))
            .chain(names.then_some(NodeEvent::Names))
            .chain(status.then_some(NodeEvent::Status))
            .chain(notices.into_iter().map(NodeEvent::Notice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(events: impl IntoIterator<Item = NodeEvent<u8>>) -> Vec<NodeEvent<u8>> {
        let mut buffer = EventBuffer::default();
        for event in events {
            buffer.add(event);
        }
        let all = buffer.take(false).collect();
        assert_eq!(
            buffer.take(false).count(),
            0,
            "each event is delivered once"
        );
        all
    }

    #[test]
    fn equal_events_are_merged() {
        let all = delivered([
            NodeEvent::Names,
            NodeEvent::Status,
            NodeEvent::Peers,
            NodeEvent::Status,
            NodeEvent::Peers,
            NodeEvent::Names,
        ]);
        assert_eq!(all, [NodeEvent::Peers, NodeEvent::Names, NodeEvent::Status]);
    }

    #[test]
    fn all_readings_are_delivered_in_order() {
        let all = delivered([
            NodeEvent::Reading(2),
            NodeEvent::Status,
            NodeEvent::Reading(1),
            NodeEvent::Reading(2),
        ]);
        assert_eq!(
            all,
            [
                NodeEvent::Reading(2),
                NodeEvent::Reading(1),
                NodeEvent::Reading(2),
                NodeEvent::Status
            ]
        );
    }

    #[test]
    fn chain_changes_are_merged() {
        let chain = |from, to, reorg| NodeEvent::Chain { from, to, reorg };
        assert_eq!(
            delivered([chain(5, 5, false), chain(6, 6, false)]),
            [chain(5, 6, false)]
        );
        assert_eq!(
            delivered([chain(7, 9, false), chain(4, 8, true), chain(9, 9, false)]),
            [chain(4, 9, true)]
        );
    }

    #[test]
    fn notices_are_deduplicated_and_bounded() {
        let notice = |seq| {
            NodeEvent::Notice(Notice::Equivocation {
                author: Author::new([7; 32]),
                seq,
            })
        };
        assert_eq!(
            delivered([notice(1), NodeEvent::Status, notice(0), notice(1)]),
            [NodeEvent::Status, notice(1), notice(0)]
        );
        let all = delivered((0..1_000).map(notice));
        assert_eq!(all.len(), MAX_NOTICES_PER_TURN);
        assert_eq!(all.first(), Some(&notice(0)));
    }

    #[test]
    fn kept_change_of_the_chain_joins_the_next_one() {
        let mut buffer = EventBuffer::<u8>::default();
        let chain = |from, to, reorg| NodeEvent::Chain { from, to, reorg };
        buffer.add(chain(5, 6, true));
        buffer.add(NodeEvent::Status);
        assert_eq!(buffer.take(true).collect::<Vec<_>>(), [NodeEvent::Status]);
        buffer.add(chain(7, 9, false));
        assert_eq!(buffer.take(true).count(), 0);
        assert_eq!(buffer.take(false).collect::<Vec<_>>(), [chain(5, 9, true)]);
        assert_eq!(buffer.take(false).count(), 0);
    }
}
