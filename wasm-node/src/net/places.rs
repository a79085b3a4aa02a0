//! Who may be connected: places are counted by peer and not by connection, and some are kept for peers that this tab
//! chose by itself, so that whoever calls it can never be all that it hears of. Never opens or closes a connection: it
//! says whether one more may come.
//!
//! A peer has its place for as long as any connection to it stands: a direct one that replaces a circuit takes no
//! second place, and of two tabs that call each other each has chosen the other, whichever call is kept. Who calls is
//! a guest, also when its connection is made anew by this side.

use litemap::LiteMap;

use super::connections::Path;
use crate::config;

/// What a peer has its place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// It called, or is called by something else than this tab's choice.
    Guest,
    /// This tab chose it among all that it knew of.
    Chosen,
    /// It is a relay of this tab, and counts as no peer.
    Relay,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refused {
    /// Too many connections to one peer.
    #[error("{0} connections to this peer")]
    SamePeer(u32),
    /// Too many circuits to one peer.
    #[error("{0} circuits to this peer")]
    SameWay(u32),
    /// Too many peers.
    #[error("connected to {0} peers")]
    Peers(usize),
    /// Too many peers that this tab did not choose.
    #[error("connected to {0} peers that called")]
    Guests(usize),
    /// Too many calls under way.
    #[error("{0} calls under way")]
    Calls(usize),
}

/// All places, by peer `P` and connection `C`.
#[derive(Debug)]
pub(crate) struct Places<P, C> {
    peers: LiteMap<P, Held>,
    /// Calls of this tab under way.
    calls: LiteMap<C, Place>,
    /// Calls of others under way.
    arriving: Vec<C>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    place: Place,
    connections: u32,
    circuits: u32,
}

impl<P: Copy + Ord, C: Copy + Ord> Places<P, C> {
    /// All places are free.
    pub(crate) const fn new() -> Self {
        Self {
            peers: LiteMap::new(),
            calls: LiteMap::new(),
            arriving: Vec::new(),
        }
    }

    /// This tab is about to make a call, for such a place.
    pub(crate) fn will_call(&mut self, call: C, place: Place) {
        self.calls.insert(call, place);
    }

    /// A call of this tab begins. Calls to relays are not counted.
    ///
    /// # Errors
    /// If too many are under way.
    pub(crate) fn calling(&mut self, call: C) -> Result<(), Refused> {
        let place = *self.calls.entry(call).or_insert(Place::Guest);
        let counted = self.calls.values().filter(|place| **place != Place::Relay);
        let under_way = counted.count();
        if place != Place::Relay && under_way > config::MAX_PENDING_CONNECTIONS {
            return Err(Refused::Calls(under_way - 1));
        }
        Ok(())
    }

    /// Somebody calls.
    ///
    /// # Errors
    /// If too many do so at one time.
    pub(crate) fn arriving(&mut self, call: C) -> Result<(), Refused> {
        if self.arriving.len() >= config::MAX_PENDING_CONNECTIONS {
            return Err(Refused::Calls(self.arriving.len()));
        }
        self.arriving.push(call);
        Ok(())
    }

    /// A call came through, to this peer or from it.
    ///
    /// # Errors
    /// If there is no place for it.
    pub(crate) fn admit(&self, peer: &P, call: C, path: Path) -> Result<(), Refused> {
        let place = self.place_for(call);
        if place == Place::Relay {
            return Ok(());
        }
        if let Some(held) = self.peers.get(peer) {
            return if held.connections >= config::MAX_CONNECTIONS_A_PEER {
                Err(Refused::SamePeer(held.connections))
            } else if path == Path::Relayed && held.circuits >= config::MAX_CIRCUITS_A_PEER {
                Err(Refused::SameWay(held.circuits))
            } else {
                Ok(())
            };
        }
        let guests = self.taken(Place::Guest);
        let peers = guests + self.chosen();
        if peers >= config::MAX_PEERS {
            Err(Refused::Peers(peers))
        } else if place == Place::Guest && guests >= config::MAX_GUESTS {
            Err(Refused::Guests(guests))
        } else {
            Ok(())
        }
    }

    /// A connection stands.
    pub(crate) fn opened(&mut self, peer: P, connection: C, path: Path) {
        let place = self.place_for(connection);
        self.ended(connection);
        let held = self.peers.entry(peer).or_insert(Held {
            place,
            connections: 0,
            circuits: 0,
        });
        held.place = held.place.max(place);
        held.connections = held.connections.saturating_add(1);
        held.circuits = held.circuits.saturating_add(circuits(path));
    }

    /// A connection is gone.
    pub(crate) fn closed(&mut self, peer: &P, path: Path) {
        let Some(held) = self.peers.get_mut(peer) else {
            return;
        };
        held.connections = held.connections.saturating_sub(1);
        held.circuits = held.circuits.saturating_sub(circuits(path));
        if held.connections == 0 {
            self.peers.remove(peer);
        }
    }

    /// A call came to nothing, or has come through.
    pub(crate) fn ended(&mut self, call: C) {
        self.calls.remove(&call);
        self.arriving.retain(|other| *other != call);
    }

    /// Whether a peer is connected by this tab's choice.
    pub(crate) fn is_chosen(&self, peer: &P) -> bool {
        let held = self.peers.get(peer);
        held.is_some_and(|held| held.place == Place::Chosen)
    }

    /// How many peers are.
    pub(crate) fn chosen(&self) -> usize {
        self.taken(Place::Chosen)
    }

    fn taken(&self, place: Place) -> usize {
        let held = self.peers.values();
        held.filter(|held| held.place == place).count()
    }

    fn place_for(&self, call: C) -> Place {
        self.calls.get(&call).copied().unwrap_or(Place::Guest)
    }
}

fn circuits(path: Path) -> u32 {
    u32::from(path == Path::Relayed)
}

/// How many peers more a tab should choose, given how many of the room it has, and how many it chose: as many as it wants
/// in all, and some whoever called.
pub(crate) fn wanted(members: usize, chosen: usize) -> usize {
    let of_all = config::WANTED_PEERS.saturating_sub(members.max(chosen));
    of_all.max(config::CHOSEN_PEERS.saturating_sub(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers' names of guests; those of chosen peers and relays are below.
    const GUESTS: u32 = 1_000;

    fn guests(count: usize) -> Places<u32, u32> {
        let mut places = Places::new();
        for number in (0..).take(count) {
            let (peer, connection) = (GUESTS + number, GUESTS + number);
            places.arriving(connection).expect("few arrive");
            places
                .admit(&peer, connection, Path::Direct)
                .expect("a place");
            places.opened(peer, connection, Path::Direct);
        }
        places
    }

    fn calls(places: &mut Places<u32, u32>, peer: u32, call: u32, place: Place) {
        places.will_call(call, place);
        places.calling(call).expect("few calls");
        places.admit(&peer, call, Path::Direct).expect("a place");
        places.opened(peer, call, Path::Direct);
    }

    #[test]
    fn whoever_calls_leaves_places_for_those_that_are_chosen() {
        let mut places = guests(config::MAX_GUESTS);
        places.arriving(1).expect("few arrive");
        assert_eq!(
            places.admit(&1, 1, Path::Direct),
            Err(Refused::Guests(config::MAX_GUESTS))
        );
        places.ended(1);
        let kept = u32::try_from(config::MAX_PEERS - config::MAX_GUESTS).expect("small");
        for peer in 1..=kept {
            calls(&mut places, peer, peer, Place::Chosen);
        }
        assert_eq!(places.chosen(), config::MAX_PEERS - config::MAX_GUESTS);
        places.will_call(99, Place::Chosen);
        assert_eq!(
            places.admit(&99, 99, Path::Direct),
            Err(Refused::Peers(config::MAX_PEERS))
        );
        places.closed(&1, Path::Direct);
        assert_eq!(places.admit(&99, 99, Path::Direct), Ok(()));
        assert_eq!(
            places.admit(&98, 98, Path::Direct),
            Err(Refused::Guests(config::MAX_GUESTS)),
            "a chosen peer's place is for another one"
        );
    }

    #[test]
    fn a_tab_chooses_some_peers_however_many_have_called_it() {
        assert_eq!(wanted(0, 0), config::WANTED_PEERS);
        assert_eq!(wanted(config::MAX_GUESTS, 0), config::CHOSEN_PEERS);
        assert_eq!(wanted(config::MAX_GUESTS + 3, 3), config::CHOSEN_PEERS - 3);
        assert_eq!(wanted(config::MAX_PEERS, config::CHOSEN_PEERS), 0);
        assert_eq!(
            wanted(3, 5),
            config::WANTED_PEERS - 5,
            "two are strangers yet"
        );
    }

    #[test]
    fn a_peer_has_one_place_for_all_its_connections() {
        let mut places = guests(config::MAX_GUESTS);
        for another in 1..config::MAX_CONNECTIONS_A_PEER {
            assert_eq!(
                places.admit(&GUESTS, another, Path::Direct),
                Ok(()),
                "{another}"
            );
            places.opened(GUESTS, another, Path::Direct);
        }
        let most = config::MAX_CONNECTIONS_A_PEER;
        assert_eq!(
            places.admit(&GUESTS, 9, Path::Direct),
            Err(Refused::SamePeer(most))
        );
        places.closed(&GUESTS, Path::Direct);
        assert_eq!(
            places.admit(&GUESTS, 9, Path::Direct),
            Ok(()),
            "the direct one is gone"
        );
        assert!(
            places.admit(&1, 1, Path::Direct).is_err(),
            "it keeps its place"
        );
        for _ in 1..most {
            places.closed(&GUESTS, Path::Direct);
        }
        assert_eq!(
            places.admit(&1, 1, Path::Direct),
            Ok(()),
            "and leaves it with its last"
        );
    }

    #[test]
    fn circuits_to_one_peer_leave_others_the_relays() {
        let mut places = guests(1);
        let most = config::MAX_CIRCUITS_A_PEER;
        for circuit in 0..most {
            assert_eq!(places.admit(&GUESTS, circuit, Path::Relayed), Ok(()));
            places.opened(GUESTS, circuit, Path::Relayed);
        }
        let one_more = places.admit(&GUESTS, 9, Path::Relayed);
        assert_eq!(one_more, Err(Refused::SameWay(most)));
        assert_eq!(places.admit(&GUESTS, 9, Path::Direct), Ok(()));
        places.closed(&GUESTS, Path::Direct);
        assert!(places.admit(&GUESTS, 9, Path::Relayed).is_err());
        places.closed(&GUESTS, Path::Relayed);
        assert_eq!(places.admit(&GUESTS, 9, Path::Relayed), Ok(()));
    }

    #[test]
    fn who_is_chosen_stays_chosen_whichever_call_is_kept() {
        let mut places = guests(config::MAX_GUESTS);
        calls(&mut places, GUESTS, 1, Place::Chosen);
        assert_eq!(places.chosen(), 1);
        assert!(places.is_chosen(&GUESTS) && !places.is_chosen(&(GUESTS + 1)));
        // Of the two circuits the one that this side called is closed.
        places.closed(&GUESTS, Path::Direct);
        assert_eq!(places.chosen(), 1);
        assert_eq!(
            places.admit(&2, 2, Path::Direct),
            Ok(()),
            "a guest's place is free"
        );
    }

    #[test]
    fn a_guest_that_is_called_anew_stays_a_guest() {
        let mut places = guests(1);
        places.calling(1).expect("few calls");
        places.opened(GUESTS, 1, Path::Direct);
        // The call that it made is gone, and then the one that this side made to replace that.
        places.closed(&GUESTS, Path::Direct);
        assert_eq!(places.chosen(), 0);
        places.closed(&GUESTS, Path::Direct);
        let mut full = guests(config::MAX_GUESTS);
        full.calling(1).expect("few calls");
        assert!(
            full.admit(&1, 1, Path::Direct).is_err(),
            "nor is its place kept"
        );
    }

    #[test]
    fn relays_are_always_let_in_and_take_no_place() {
        let mut places = guests(config::MAX_GUESTS);
        for relay in 1..=100 {
            calls(&mut places, relay, relay, Place::Relay);
            calls(&mut places, 1, relay + 100, Place::Relay);
        }
        assert_eq!(places.chosen(), 0);
        calls(&mut places, 500, 500, Place::Chosen);
        assert!(
            places.admit(&1, 9_999, Path::Direct).is_err(),
            "but not when they call"
        );
    }

    #[test]
    fn calls_under_way_are_limited_each_way_and_over_when_they_end() {
        let mut places: Places<u32, u32> = Places::new();
        let most = config::MAX_PENDING_CONNECTIONS;
        let one_too_many = u32::try_from(most).expect("small");
        for call in 0..one_too_many {
            assert_eq!(places.arriving(call + 100), Ok(()));
            assert_eq!(places.calling(call), Ok(()));
        }
        assert_eq!(places.arriving(200), Err(Refused::Calls(most)));
        assert_eq!(places.calling(one_too_many), Err(Refused::Calls(most)));
        places.will_call(300, Place::Relay);
        assert_eq!(places.calling(300), Ok(()));
        places.ended(one_too_many);
        places.ended(0);
        places.ended(100);
        assert_eq!(places.calling(400), Ok(()));
        assert_eq!(places.arriving(200), Ok(()));
        places.opened(7, 400, Path::Direct);
        assert_eq!(places.calling(401), Ok(()), "it has come through");
    }
}
