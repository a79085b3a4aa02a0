//! What the page has yet to be told, with all that one event can say said once. Never tells anybody itself.

use chain::key::Author;

use crate::config::MAX_NOTICES_A_TURN;

/// What a person should hear of in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// An author signed two readings with one place: one of them will never be in the chain.
    Equivocation { author: Author, seq: u64 },
    /// This tab's key signs elsewhere, too; from now on it signs with this one.
    KeyReplaced { author: Author },
    /// What this tab keeps was damaged; so many records were dropped, and are fetched again.
    Healed { records: usize },
    /// Something cannot be kept at present, for this reason.
    StorageFailing { reason: &'static str },
    /// The browser had closed the store, and it is open again. `readings`: it was empty, and so many of one's own readings
    /// are written again; `None`: it had all that was written.
    StorageReopened { readings: Option<u64> },
    /// The store had lost readings when it was opened: so many for good, and so many were put back from a copy.
    StorageLost { readings: usize, saved: usize },
    /// The wall clock was set back by so many ms.
    ClockSetBack { by: u64 },
    /// The wall clock was set ahead by so many ms, and peers' clocks do not agree.
    ClockSetAhead { by: u64 },
    /// Readings of a closed tab of this browser were taken over.
    ReadingsAdopted { readings: usize, slot: u32 },
}

/// News for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News<R> {
    /// A reading is new.
    Reading(R),
    /// The best branch changed.
    Chain { from: u64, to: u64, reorg: bool },
    /// Something that the status shows changed.
    Status,
    /// Something that the peers show changed.
    Peers,
    /// A person should hear of this.
    Notice(Notice),
}

/// News that wait.
#[derive(Debug)]
pub(crate) struct Bulletin<R> {
    readings: Vec<R>,
    chain: Option<(u64, u64, bool)>,
    status: bool,
    peers: bool,
    notices: Vec<Notice>,
}

impl<R> Default for Bulletin<R> {
    fn default() -> Self {
        Self {
            readings: Vec::new(),
            chain: None,
            status: false,
            peers: false,
            notices: Vec::new(),
        }
    }
}

impl<R> Bulletin<R> {
    /// Adds news. Two changes of the chain become the one that covers both; of too many notices the later ones go, since
    /// one liar can cause thousands and nobody reads them.
    pub(crate) fn add(&mut self, news: News<R>) {
        match news {
            News::Reading(reading) => self.readings.push(reading),
            News::Chain { from, to, reorg } => {
                let (first, reorged) = self.chain.map_or((from, reorg), |(first, _, was)| {
                    (first.min(from), was || reorg)
                });
                self.chain = Some((first, to, reorged));
            }
            News::Status => self.status = true,
            News::Peers => self.peers = true,
            News::Notice(notice) => {
                if self.notices.len() < MAX_NOTICES_A_TURN && !self.notices.contains(&notice) {
                    self.notices.push(notice);
                }
            }
        }
    }

    /// All that waits, in the order in which the page should hear it.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = News<R>> + use<R> {
        let Self {
            readings,
            chain,
            status,
            peers,
            notices,
        } = std::mem::take(self);
        readings
            .into_iter()
            .map(News::Reading)
            .chain(chain.map(|(from, to, reorg)| News::Chain { from, to, reorg }))
            .chain(peers.then_some(News::Peers))
            .chain(status.then_some(News::Status))
            .chain(notices.into_iter().map(News::Notice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: impl IntoIterator<Item = News<u8>>) -> Vec<News<u8>> {
        let mut bulletin = Bulletin::default();
        for item in news {
            bulletin.add(item);
        }
        let all = bulletin.take().collect();
        assert_eq!(bulletin.take().count(), 0, "each is told once");
        all
    }

    #[test]
    fn what_says_the_same_is_said_once() {
        let all = told([News::Status, News::Peers, News::Status, News::Peers]);
        assert_eq!(all, [News::Peers, News::Status]);
    }

    #[test]
    fn no_reading_is_lost_and_their_order_stays() {
        let all = told([
            News::Reading(2),
            News::Status,
            News::Reading(1),
            News::Reading(2),
        ]);
        assert_eq!(
            all,
            [
                News::Reading(2),
                News::Reading(1),
                News::Reading(2),
                News::Status
            ]
        );
    }

    #[test]
    fn changes_of_the_chain_become_one_that_covers_all() {
        let chain = |from, to, reorg| News::Chain { from, to, reorg };
        assert_eq!(
            told([chain(5, 5, false), chain(6, 6, false)]),
            [chain(5, 6, false)]
        );
        assert_eq!(
            told([chain(7, 9, false), chain(4, 8, true), chain(9, 9, false)]),
            [chain(4, 9, true)]
        );
    }

    #[test]
    fn a_notice_is_told_once_and_a_flood_of_them_is_cut() {
        let notice = |seq| {
            News::Notice(Notice::Equivocation {
                author: Author::new([7; 32]),
                seq,
            })
        };
        assert_eq!(
            told([notice(1), News::Status, notice(0), notice(1)]),
            [News::Status, notice(1), notice(0)]
        );
        let all = told((0..1_000).map(notice));
        assert_eq!(all.len(), MAX_NOTICES_A_TURN);
        assert_eq!(all.first(), Some(&notice(0)));
    }
}
