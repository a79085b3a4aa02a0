//! Tabs that introduce tabs: neighbours that are reached directly are asked whom else they know, and a place is kept
//! at each of them, so that others can come in through it. With this the room lives on without any relay. Never
//! asks, reserves or calls by itself: it says what is due.
//!
//! A tab that is introduced is called through a circuit of the neighbour that named it, and the circuit becomes a
//! direct connection as one through a relay does. Each tab is a circuit relay for its neighbours, tightly limited
//! (see `config`): what its circuits carry is meant to be signals. Only names are believed (see `names`).

use chain::time::MonotonicMillis;
use litemap::LiteMap;

use super::backoff::Backoff;
use crate::config;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<P> {
    /// Ask this neighbour for a place; answer with [`Introductions::reserving`].
    Reserve(P),
    /// Ask this neighbour whom it knows.
    Ask(P),
}

/// The neighbours `P`, and the listeners `L` that stand for a place at them.
#[derive(Debug)]
pub(crate) struct Introductions<P, L> {
    neighbours: LiteMap<P, Neighbour<L>>,
}

#[derive(Debug)]
struct Neighbour<L> {
    listener: Option<L>,
    reserve_at: MonotonicMillis,
    ask_at: MonotonicMillis,
    backoff: Backoff,
}

impl<P: Copy + Ord, L: Copy + Eq> Introductions<P, L> {
    /// No neighbours yet.
    pub(crate) const fn new() -> Self {
        Self {
            neighbours: LiteMap::new(),
        }
    }

    /// A member of the room is reached directly. Knowing it already does no harm. Whoever called of itself is not to be all that
    /// this tab hears of others by: as many as it chooses itself find room.
    pub(crate) fn met(&mut self, peer: P, is_chosen: bool, now: MonotonicMillis) {
        let kept = if is_chosen { 0 } else { config::CHOSEN_PEERS };
        if self.neighbours.len() + kept < config::MAX_INTRODUCERS {
            self.neighbours.entry(peer).or_insert_with(|| Neighbour {
                listener: None,
                reserve_at: now,
                ask_at: now,
                backoff: Backoff::new(config::PEER_REDIAL),
            });
        }
    }

    /// A peer is gone. Says whether it was a neighbour.
    pub(crate) fn lost(&mut self, peer: &P) -> bool {
        self.neighbours.remove(peer).is_some()
    }

    /// Whether a peer can introduce us to others.
    pub(crate) fn is_neighbour(&self, peer: &P) -> bool {
        self.neighbours.contains_key(peer)
    }

    /// A relay or a peer is gone: ask at once.
    pub(crate) fn hurry(&mut self, now: MonotonicMillis) {
        for neighbour in self.neighbours.iter_mut().map(|(_, value)| value) {
            neighbour.ask_at = now;
        }
    }

    /// What is due now; `every` is the time between two questions, or `None` if there are peers enough.
    pub(crate) fn tick(&mut self, now: MonotonicMillis, every: Option<u64>) -> Vec<Step<P>> {
        let mut steps = Vec::new();
        for (peer, neighbour) in &mut self.neighbours {
            if neighbour.listener.is_none() && neighbour.reserve_at <= now {
                steps.push(Step::Reserve(*peer));
            }
            if let Some(every) = every
                && neighbour.ask_at <= now
            {
                neighbour.ask_at = now.saturating_add(every);
                steps.push(Step::Ask(*peer));
            }
        }
        steps
    }

    /// When [`Self::tick`] is next due.
    pub(crate) fn due(&self, asks: bool) -> Option<MonotonicMillis> {
        let of_one = |neighbour: &Neighbour<L>| {
            let reserve = neighbour.listener.is_none().then_some(neighbour.reserve_at);
            let ask = asks.then_some(neighbour.ask_at);
            reserve.into_iter().chain(ask).min()
        };
        self.neighbours.values().filter_map(of_one).min()
    }

    /// A place is asked for by this listener; `None` if that could not even begin.
    pub(crate) fn reserving(
        &mut self,
        peer: &P,
        listener: Option<L>,
        now: MonotonicMillis,
        chance: u64,
    ) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.listener = listener;
            if listener.is_none() {
                neighbour.wait(now, chance);
            }
        }
    }

    /// The place was granted, or renewed.
    pub(crate) fn reserved(&mut self, peer: &P) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.backoff.reset();
        }
    }

    /// A listener is gone. If it stood for a place at a neighbour, ask for another, in a while.
    pub(crate) fn listener_closed(&mut self, gone: L, now: MonotonicMillis, chance: u64) {
        let found = self
            .neighbours
            .iter_mut()
            .map(|(_, value)| value)
            .find(|neighbour| neighbour.listener == Some(gone));
        if let Some(neighbour) = found {
            neighbour.listener = None;
            neighbour.wait(now, chance);
        }
    }
}

impl<L> Neighbour<L> {
    fn wait(&mut self, now: MonotonicMillis, chance: u64) {
        let wait = self.backoff.failed(chance).as_millis();
        let wait = u64::try_from(wait).unwrap_or(u64::MAX);
        self.reserve_at = now.saturating_add(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: u64 = 250;
    const EVERY: Option<u64> = Some(5_000);

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn introductions(peers: impl IntoIterator<Item = u32>) -> Introductions<u32, char> {
        let mut introductions = Introductions::new();
        for peer in peers {
            introductions.met(peer, true, at(0));
        }
        introductions
    }

    #[test]
    fn a_new_neighbour_is_asked_for_a_place_and_for_names_and_again_when_it_is_time() {
        let mut introductions = introductions([7]);
        assert_eq!(
            introductions.tick(at(0), EVERY),
            [Step::Reserve(7), Step::Ask(7)]
        );
        introductions.reserving(&7, Some('l'), at(0), EVEN);
        assert!(introductions.tick(at(4), EVERY).is_empty());
        assert_eq!(introductions.due(true), Some(at(5)));
        assert_eq!(introductions.tick(at(5), EVERY), [Step::Ask(7)]);
        introductions.met(7, true, at(5));
        assert!(introductions.tick(at(6), EVERY).is_empty(), "it is known");
        introductions.hurry(at(6));
        assert_eq!(introductions.tick(at(6), EVERY), [Step::Ask(7)]);
    }

    #[test]
    fn nobody_is_asked_for_names_while_there_are_peers_enough() {
        let mut introductions = introductions([7]);
        assert_eq!(introductions.tick(at(0), None), [Step::Reserve(7)]);
        introductions.reserving(&7, Some('l'), at(0), EVEN);
        assert_eq!(introductions.due(false), None);
        assert_eq!(introductions.tick(at(1), EVERY), [Step::Ask(7)]);
    }

    #[test]
    fn a_place_that_is_lost_or_refused_is_asked_for_again_later_each_time() {
        let mut introductions = introductions([7]);
        introductions.reserving(&7, Some('l'), at(0), EVEN);
        introductions.listener_closed('x', at(1), EVEN);
        assert!(introductions.tick(at(100), None).is_empty());
        introductions.listener_closed('l', at(100), EVEN);
        assert!(introductions.tick(at(102), None).is_empty());
        assert_eq!(introductions.tick(at(103), None), [Step::Reserve(7)]);
        introductions.reserving(&7, None, at(103), EVEN);
        assert!(introductions.tick(at(112), None).is_empty());
        assert_eq!(introductions.tick(at(113), None), [Step::Reserve(7)]);
        introductions.reserving(&7, Some('m'), at(113), EVEN);
        introductions.reserved(&7);
        introductions.listener_closed('m', at(200), EVEN);
        let again = introductions.tick(at(203), None);
        assert_eq!(again, [Step::Reserve(7)], "it was granted in between");
    }

    #[test]
    fn no_more_neighbours_than_allowed_and_none_that_is_gone() {
        let most = u32::try_from(config::MAX_INTRODUCERS).expect("small");
        let mut introductions = introductions(0..most + 1);
        assert!(introductions.is_neighbour(&0) && !introductions.is_neighbour(&most));
        assert!(introductions.lost(&0) && !introductions.lost(&0));
        introductions.met(most, true, at(1));
        assert!(introductions.is_neighbour(&most));
    }

    #[test]
    fn whoever_calls_leaves_room_for_neighbours_that_are_chosen() {
        let mut introductions: Introductions<u32, char> = Introductions::new();
        for peer in 0..100 {
            introductions.met(peer, false, at(0));
        }
        let chosen = 100..100 + u32::try_from(config::CHOSEN_PEERS).expect("small");
        for peer in chosen.clone() {
            introductions.met(peer, true, at(0));
        }
        let asked = (0..200).filter(|peer| introductions.is_neighbour(peer));
        assert!(
            asked
                .skip(config::MAX_INTRODUCERS - config::CHOSEN_PEERS)
                .eq(chosen)
        );
    }
}
