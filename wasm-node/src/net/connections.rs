//! Which connections there are, to whom, by what path, and how well they answer. Never opens or closes one:
//! it says which should be.

use std::time::Duration;

use chain::time::MonotonicMillis;
use litemap::LiteMap;

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    /// Straight.
    Direct,
    /// Through a relay's circuit.
    Relayed,
}

/// Who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// This tab.
    Us,
    /// The other side.
    Them,
}

/// What this tab makes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has not said yet what it speaks.
    Unknown,
    /// It takes part in this room, and the machine was told.
    Member,
    /// It is a relay of ours.
    Relay,
}

/// All connections, by peer `P` and connection `C`.
#[derive(Debug)]
pub(crate) struct Connections<P, C> {
    peers: LiteMap<P, Peer<C>>,
}

#[derive(Debug)]
struct Peer<C> {
    role: Role,
    connections: Vec<Connection<C>>,
}

#[derive(Debug)]
struct Connection<C> {
    id: C,
    path: Path,
    caller: Caller,
    opened: MonotonicMillis,
    answered: MonotonicMillis,
    rtt: Option<Duration>,
}

impl<P: Copy + Ord, C: Copy + Eq> Connections<P, C> {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            peers: LiteMap::new(),
        }
    }

    /// A connection is there.
    pub(crate) fn opened(
        &mut self,
        peer: P,
        id: C,
        path: Path,
        caller: Caller,
        now: MonotonicMillis,
    ) {
        let connection = Connection {
            id,
            path,
            caller,
            opened: now,
            answered: now,
            rtt: None,
        };
        self.peers
            .entry(peer)
            .or_insert_with(|| Peer {
                role: Role::Unknown,
                connections: Vec::new(),
            })
            .connections
            .push(connection);
    }

    /// A connection is gone. If it was the peer's last, the peer is forgotten, and what it was comes back.
    pub(crate) fn closed(&mut self, peer: P, id: C) -> Option<Role> {
        let entry = self.peers.get_mut(&peer)?;
        entry.connections.retain(|connection| connection.id != id);
        if entry.connections.is_empty() {
            self.peers.remove(&peer).map(|gone| gone.role)
        } else {
            None
        }
    }

    /// What the peer is; `None` if there is no connection to it.
    pub(crate) fn role(&self, peer: &P) -> Option<Role> {
        self.peers.get(peer).map(|entry| entry.role)
    }

    /// Notes what the peer is. Says whether that is new.
    pub(crate) fn set_role(&mut self, peer: &P, role: Role) -> bool {
        match self.peers.get_mut(peer) {
            Some(entry) if entry.role != role => {
                entry.role = role;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A ping came back.
    pub(crate) fn answered(&mut self, peer: &P, id: C, rtt: Duration, now: MonotonicMillis) {
        let connections = self
            .peers
            .get_mut(peer)
            .map(|entry| entry.connections.iter_mut());
        if let Some(connection) = connections
            .into_iter()
            .flatten()
            .find(|connection| connection.id == id)
        {
            connection.rtt = Some(rtt);
            connection.answered = now;
        }
    }

    /// Whether a ping that failed ends its connection. A peer of the room that checks a long chain answers late: it goes only
    /// when it has been silent for too long.
    pub(crate) fn needs_pings(&self, peer: &P) -> bool {
        self.role(peer) != Some(Role::Member)
    }

    /// The page slept: what nobody could answer meanwhile is not held against anyone.
    pub(crate) fn excuse_silence(&mut self, now: MonotonicMillis) {
        for connection in self
            .peers
            .iter_mut()
            .map(|(_, value)| value)
            .flat_map(|entry| entry.connections.iter_mut())
        {
            connection.answered = now;
        }
    }

    /// Connections that should be closed, because no ping came back for `relay` or `peer` long, or because
    /// their far end has not said what it speaks for `unknown` long.
    pub(crate) fn silent(
        &self,
        now: MonotonicMillis,
        relay: Duration,
        peer: Duration,
        unknown: Duration,
    ) -> Vec<C> {
        let over = |since: MonotonicMillis, limit: Duration| {
            u128::from(now.since(since)) >= limit.as_millis()
        };
        self.peers
            .values()
            .flat_map(|entry| {
                entry
                    .connections
                    .iter()
                    .map(move |connection| (entry.role, connection))
            })
            .filter(|(role, connection)| match role {
                Role::Relay => over(connection.answered, relay),
                Role::Member => over(connection.answered, peer),
                Role::Unknown => over(connection.opened, unknown),
            })
            .map(|(_, connection)| connection.id)
            .collect()
    }

    /// Circuits that should be closed. To a peer that has been reached directly for `upgraded` long, those that
    /// this side called before: the other side closes its own. One called later is to bring a better direct connection,
    /// and has `replaced` to do so. Else, of two made because both called at once, one after
    /// `after`. Both sides come to the same answer: the call of the smaller name stays. Two calls of one side are
    /// left alone.
    pub(crate) fn surplus(
        &self,
        us: &P,
        now: MonotonicMillis,
        after: Duration,
        upgraded: Duration,
        replaced: Duration,
    ) -> Vec<C> {
        let old = |connection: &Connection<C>, limit: Duration| {
            u128::from(now.since(connection.opened)) >= limit.as_millis()
        };
        let mut surplus = Vec::new();
        for (peer, entry) in &self.peers {
            let connections = || entry.connections.iter();
            let newest = connections()
                .filter(|connection| connection.path == Path::Direct)
                .max_by_key(|connection| connection.opened);
            if let Some(direct) = newest.filter(|direct| old(direct, upgraded)) {
                let ours = connections().filter(|connection| {
                    connection.path == Path::Relayed
                        && connection.caller == Caller::Us
                        && (connection.opened <= direct.opened || old(connection, replaced))
                });
                surplus.extend(ours.map(|circuit| circuit.id));
                continue;
            }
            let stays = if us < peer { Caller::Us } else { Caller::Them };
            let circuits = || {
                connections()
                    .filter(|connection| connection.path == Path::Relayed && old(connection, after))
            };
            if circuits().any(|circuit| circuit.caller == stays) {
                surplus.extend(
                    circuits()
                        .filter(|circuit| circuit.caller != stays)
                        .map(|circuit| circuit.id),
                );
            }
        }
        surplus
    }

    /// All peers in order: what each is, its best path, and the round trip on that path if known.
    pub(crate) fn views(&self) -> impl Iterator<Item = (P, Role, Path, Option<Duration>)> {
        self.peers.iter().filter_map(|(peer, entry)| {
            let best = entry
                .connections
                .iter()
                .min_by_key(|connection| (connection.path, connection.rtt.is_none()))?;
            Some((*peer, entry.role, best.path, best.rtt))
        })
    }

    /// The peers of this room that are reached directly.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = P> {
        self.views()
            .filter(|(_, role, path, _)| *role == Role::Member && *path == Path::Direct)
            .map(|(peer, _, _, _)| peer)
    }

    /// How many peers take part in this room.
    pub(crate) fn members(&self) -> usize {
        self.peers
            .values()
            .filter(|entry| entry.role == Role::Member)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const RELAY: Duration = Duration::from_secs(12);
    const PEER: Duration = Duration::from_secs(30);
    const UNKNOWN: Duration = Duration::from_secs(20);
    const AFTER: Duration = Duration::from_secs(2);
    const UPGRADED: Duration = Duration::from_secs(1);
    const REPLACED: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn silent(connections: &Connections<u32, u32>, seconds: u64) -> Vec<u32> {
        connections.silent(at(seconds), RELAY, PEER, UNKNOWN)
    }

    #[test]
    fn a_peer_is_gone_with_its_last_connection() {
        let mut connections = Connections::new();
        connections.opened(7, 1, Path::Relayed, Caller::Us, at(0));
        connections.opened(7, 2, Path::Direct, Caller::Them, at(0));
        assert!(connections.set_role(&7, Role::Member));
        assert!(!connections.set_role(&7, Role::Member));
        assert_eq!(connections.members(), 1);
        assert_eq!(connections.closed(7, 1), None);
        assert_eq!(connections.closed(7, 2), Some(Role::Member));
        assert_eq!(connections.role(&7), None);
        assert_eq!(connections.closed(7, 2), None);
        assert_eq!(connections.members(), 0);
    }

    #[test]
    fn each_kind_of_peer_has_its_own_patience() {
        let mut connections = Connections::new();
        for peer in [1, 2, 3] {
            connections.opened(peer, peer * 10, Path::Relayed, Caller::Us, at(0));
        }
        connections.set_role(&1, Role::Relay);
        connections.set_role(&2, Role::Member);
        assert!(silent(&connections, 11).is_empty());
        assert_eq!(silent(&connections, 12), [10]);
        assert_eq!(silent(&connections, 20), [10, 30]);
        assert_eq!(silent(&connections, 30), [10, 20, 30]);
        connections.answered(&1, 10, Duration::from_millis(4), at(25));
        assert_eq!(silent(&connections, 30), [20, 30]);
    }

    #[test]
    fn a_busy_peer_whose_pings_fail_is_kept_until_it_was_silent_for_too_long() {
        let mut connections = Connections::new();
        for (peer, role) in [(1, Role::Member), (2, Role::Relay), (3, Role::Unknown)] {
            connections.opened(peer, peer * 10, Path::Direct, Caller::Us, at(0));
            connections.set_role(&peer, role);
            assert_eq!(connections.needs_pings(&peer), role != Role::Member);
        }
        assert!(connections.needs_pings(&4), "nobody");
        assert!(
            config::PING_INTERVAL + config::PING_TIMEOUT < config::PEER_SILENCE,
            "pings have failed by then"
        );
        let member = |now: MonotonicMillis| {
            let silent = connections.silent(
                now,
                config::RELAY_SILENCE,
                config::PEER_SILENCE,
                config::IDENTIFY_TIMEOUT,
            );
            silent.contains(&10)
        };
        let limit = u64::try_from(config::PEER_SILENCE.as_millis()).expect("small");
        assert!(!member(MonotonicMillis::new(limit - 1)));
        assert!(member(MonotonicMillis::new(limit)));
    }

    #[test]
    fn sleeping_excuses_silence() {
        let mut connections = Connections::new();
        connections.opened(1, 10, Path::Direct, Caller::Us, at(0));
        connections.set_role(&1, Role::Relay);
        connections.excuse_silence(at(100));
        assert!(silent(&connections, 111).is_empty());
        assert_eq!(silent(&connections, 112), [10]);
    }

    #[test]
    fn both_sides_close_the_same_one_of_two_circuits() {
        let (small, great) = (1_u32, 2_u32);
        // Connection 10 is the small one's call, 20 the great one's.
        let mut at_small = Connections::new();
        at_small.opened(great, 10, Path::Relayed, Caller::Us, at(0));
        at_small.opened(great, 20, Path::Relayed, Caller::Them, at(1));
        let mut at_great = Connections::new();
        at_great.opened(small, 20, Path::Relayed, Caller::Us, at(0));
        at_great.opened(small, 10, Path::Relayed, Caller::Them, at(1));

        assert!(
            at_small
                .surplus(&small, at(2), AFTER, UPGRADED, REPLACED)
                .is_empty(),
            "the younger one is not yet sure"
        );
        assert_eq!(
            at_small.surplus(&small, at(3), AFTER, UPGRADED, REPLACED),
            [20]
        );
        assert_eq!(
            at_great.surplus(&great, at(3), AFTER, UPGRADED, REPLACED),
            [20]
        );
    }

    #[test]
    fn the_caller_closes_its_circuit_to_a_peer_that_is_reached_directly() {
        let mut connections = Connections::new();
        connections.opened(2, 20, Path::Relayed, Caller::Us, at(0));
        connections.opened(3, 30, Path::Relayed, Caller::Them, at(0));
        connections.opened(2, 21, Path::Direct, Caller::Us, at(5));
        connections.opened(3, 31, Path::Direct, Caller::Them, at(5));
        let surplus = |connections: &Connections<u32, u32>, seconds| {
            connections.surplus(&1, at(seconds), AFTER, UPGRADED, REPLACED)
        };
        assert!(
            surplus(&connections, 5).is_empty(),
            "what it carried is still under way"
        );
        assert_eq!(surplus(&connections, 6), [20]);
        connections.closed(2, 20);
        connections.opened(2, 22, Path::Relayed, Caller::Us, at(60));
        assert!(
            surplus(&connections, 69).is_empty(),
            "it may bring a better direct one"
        );
        assert_eq!(surplus(&connections, 70), [22]);
        connections.opened(2, 23, Path::Direct, Caller::Us, at(68));
        assert_eq!(surplus(&connections, 69), [22], "it has brought one");
    }

    #[test]
    fn circuits_of_the_other_side_and_two_calls_of_one_side_are_left_alone() {
        let mut connections = Connections::new();
        connections.opened(2, 20, Path::Relayed, Caller::Them, at(0));
        connections.opened(2, 21, Path::Direct, Caller::Us, at(0));
        connections.opened(3, 30, Path::Relayed, Caller::Them, at(0));
        connections.opened(3, 31, Path::Relayed, Caller::Them, at(0));
        assert!(
            connections
                .surplus(&1, at(100), AFTER, UPGRADED, REPLACED)
                .is_empty()
        );
    }

    #[test]
    fn a_view_shows_the_best_path_and_its_round_trip() {
        let mut connections = Connections::new();
        connections.opened(2, 20, Path::Relayed, Caller::Us, at(0));
        connections.answered(&2, 20, Duration::from_millis(9), at(1));
        let views: Vec<_> = connections.views().collect();
        assert_eq!(
            views,
            [(
                2,
                Role::Unknown,
                Path::Relayed,
                Some(Duration::from_millis(9))
            )]
        );
        connections.opened(2, 21, Path::Direct, Caller::Us, at(2));
        let views: Vec<_> = connections.views().collect();
        assert_eq!(views, [(2, Role::Unknown, Path::Direct, None)]);
    }
}
