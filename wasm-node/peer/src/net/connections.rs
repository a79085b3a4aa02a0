//! The open connections: the peer, path and direction of each, and when it last answered a ping. It never opens or
//! closes a connection: it reports which ones should be closed.
//!
//! A peer may have several connections, and what is said on one says nothing about the others. So what the state machine is told
//! follows from all of them together: a peer is connected from the moment at which it turns out to be a member until its last
//! connection is closed or the machine has forgotten it. The simulation in `tests` uses this table, too.

use std::time::Duration;

use heartchain_chain::time::{MonotonicMillis, millis};
use heartchain_sync::Input;
use litemap::LiteMap;

/// Time between two pings on a connection. Pings keep a quiet direct connection alive, and measure the round trip that
/// the page shows. Both sides ping, on each of up to 24 connections, so a shorter time costs a phone much. libp2p does
/// not report a first failed ping, so a dead relay is found by [`RELAY_LIVENESS_TIMEOUT`], and a dead tab by the state of
/// its WebRTC connection.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(4);
/// An unanswered ping fails after this time, and its connection with it, unless the remote is a peer of the room: that
/// has [`PEER_LIVENESS_TIMEOUT`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// A relay that has answered no ping for this long is dead. It may be busy while a class arrives. Together with the
/// housekeeping and closing the connection, a dead relay is noticed within 13 s.
pub(crate) const RELAY_LIVENESS_TIMEOUT: Duration = Duration::from_millis(10_500);
/// A peer that has answered no ping for this long is dead. Longer than for relays, because a tab may be busy checking a
/// chain, or be throttled.
pub(crate) const PEER_LIVENESS_TIMEOUT: Duration = Duration::from_secs(30);
/// The page is told of new round trips at most this often. Each ping measures one, and to draw all of them takes a page
/// more time than to talk to its peers.
pub(crate) const RTT_EVENT_INTERVAL: Duration = Duration::from_secs(10);
/// A connection whose remote has not identified its protocols after this time is closed.
pub(crate) const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(20);
/// Of two circuits to one peer, the surplus one is closed after this time, when what it carried has arrived.
pub(crate) const SURPLUS_CIRCUIT_DELAY: Duration = Duration::from_secs(2);
/// The dialer closes a circuit to a peer with a direct connection after this time, when what it carried has arrived.
pub(crate) const UPGRADED_CIRCUIT_DELAY: Duration = Duration::from_secs(1);
/// How long a circuit may stand beside a direct connection that fell silent, while a new one is negotiated: a
/// negotiation takes at most 10 s.
pub(crate) const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Over WebRTC or a WebSocket, without a relay in between.
    Direct,
    /// Through the circuit of a relay or of another tab.
    Relayed,
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This tab dialed the peer.
    Outbound,
    /// The peer dialed this tab.
    Inbound,
}

/// What a peer is to this tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its protocols are not known yet.
    Unknown,
    /// It takes part in this room, and has been reported to the state machine.
    Member,
    /// It is one of this tab's relays.
    Relay,
}

/// All connections, keyed by peer `P` and connection `C`.
#[derive(Debug)]
pub struct Connections<P, C> {
    peers: LiteMap<P, Peer<C>>,
    /// When the page was last told of round trips.
    rtts_told_at: Option<MonotonicMillis>,
}

/// A peer whose last connection was closed.
#[derive(Clone, Debug)]
pub struct Gone<P> {
    /// What it was to this tab.
    pub role: Role,
    /// What the state machine is told, if it knows the peer.
    pub input: Option<Input<P>>,
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
    direction: Direction,
    opened: MonotonicMillis,
    last_pong: MonotonicMillis,
    rtt: Option<Duration>,
    /// Whether it is being closed because the state machine has asked for it.
    is_closing: bool,
}

impl<P: Copy + Ord, C: Copy + Eq> Default for Connections<P, C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Copy + Ord, C: Copy + Eq> Connections<P, C> {
    /// An empty set of connections.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            peers: LiteMap::new(),
            rtts_told_at: None,
        }
    }

    /// A connection was established.
    pub fn opened(
        &mut self,
        peer: P,
        id: C,
        path: Path,
        direction: Direction,
        now: MonotonicMillis,
    ) {
        let connection = Connection {
            id,
            path,
            direction,
            opened: now,
            last_pong: now,
            rtt: None,
            is_closing: false,
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

    /// A connection was closed. If it was the peer's last, forgets the peer, and returns what follows.
    pub fn closed(&mut self, peer: P, id: C) -> Option<Gone<P>> {
        let entry = self.peers.get_mut(&peer)?;
        entry.connections.retain(|connection| connection.id != id);
        if !entry.connections.is_empty() {
            return None;
        }
        let Peer { role, .. } = self.peers.remove(&peer)?;
        let input = (role == Role::Member).then_some(Input::PeerDisconnected { peer });
        Some(Gone { role, input })
    }

    /// The role of a peer; `None` if it is not connected.
    pub fn role(&self, peer: &P) -> Option<Role> {
        self.peers.get(peer).map(|entry| entry.role)
    }

    /// Sets the role of a peer, and returns whether it changed.
    fn set_role(&mut self, peer: &P, role: Role) -> bool {
        match self.peers.get_mut(peer) {
            Some(entry) if entry.role != role => {
                entry.role = role;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A peer turned out to take part in this room. Returns what the state machine is told, the first time. What arrives on
    /// connections that are being closed says nothing.
    pub fn confirm_member(&mut self, peer: P) -> Option<Input<P>> {
        let entry = self.peers.get_mut(&peer)?;
        let stays = entry.connections.iter().any(|other| !other.is_closing);
        if entry.role != Role::Unknown || !stays {
            return None;
        }
        entry.role = Role::Member;
        Some(Input::PeerConnected { peer })
    }

    /// A peer is one of this tab's relays. Returns what the state machine is told if it was a member: the end of a
    /// relay's connections is not reported to the machine.
    pub(crate) fn confirm_relay(&mut self, peer: P) -> Option<Input<P>> {
        let was_member = self.role(&peer) == Some(Role::Member);
        self.set_role(&peer, Role::Relay);
        was_member.then_some(Input::PeerDisconnected { peer })
    }

    /// The state machine has asked to disconnect this peer, and no longer knows it: all its connections are being closed. A later
    /// one, such as one that is being negotiated now, makes it a member again. Returns what the machine is told if it was a
    /// member: the machine may have heard of another connection since, while what it asked for waited for a worker.
    pub fn forget_member(&mut self, peer: P) -> Option<Input<P>> {
        let entry = self.peers.get_mut(&peer)?;
        for connection in &mut entry.connections {
            connection.is_closing = true;
        }
        let was_member = entry.role == Role::Member;
        if was_member {
            entry.role = Role::Unknown;
        }
        was_member.then_some(Input::PeerDisconnected { peer })
    }

    /// A ping on a connection was answered after `rtt`. Returns whether to tell the page: of
    /// the first one on a connection, and else every 10 s.
    pub fn on_pong(&mut self, peer: &P, id: C, rtt: Duration, now: MonotonicMillis) -> bool {
        let connections = self
            .peers
            .get_mut(peer)
            .map(|entry| entry.connections.iter_mut());
        if let Some(connection) = connections
            .into_iter()
            .flatten()
            .find(|connection| connection.id == id)
        {
            connection.last_pong = now;
            let is_first = connection.rtt.replace(rtt).is_none();
            let told_at = self.rtts_told_at;
            let is_old = told_at.is_none_or(|at| now.since(at) >= millis(RTT_EVENT_INTERVAL));
            if is_first || is_old {
                self.rtts_told_at = Some(now);
                return true;
            }
        }
        false
    }

    /// Whether a failed ping closes its connection. A member that verifies a long chain answers late, so it is only
    /// closed after a longer silence (see [`Self::silent`]).
    pub(crate) fn needs_pings(&self, peer: &P) -> bool {
        self.role(peer) != Some(Role::Member)
    }

    /// Restarts the silence timers of all connections, because no ping could be answered while the page slept.
    pub fn restart_silence_timers(&mut self, now: MonotonicMillis) {
        for connection in self
            .peers
            .iter_mut()
            .map(|(_, value)| value)
            .flat_map(|entry| entry.connections.iter_mut())
        {
            connection.last_pong = now;
        }
    }

    /// Connections to close: those without an answered ping for `relay` (relays) or `peer` (members), and those whose
    /// peer has not named its protocols within `unknown`.
    fn silent(
        &self,
        now: MonotonicMillis,
        relay: Duration,
        peer: Duration,
        unknown: Duration,
    ) -> Vec<C> {
        let has_passed = |since: MonotonicMillis, limit: Duration| {
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
                Role::Relay => has_passed(connection.last_pong, relay),
                Role::Member => has_passed(connection.last_pong, peer),
                Role::Unknown => has_passed(connection.opened, unknown),
            })
            .map(|(_, connection)| connection.id)
            .collect()
    }

    /// Redundant circuits to close.
    ///
    /// - To a peer with a direct connection older than `upgraded_after`: the circuits that this side dialed before that
    ///   connection. Each side closes its own. A circuit dialed later is meant to bring a better direct connection, and
    ///   has `replaced_within` to do so.
    /// - Otherwise, of two circuits that exist because both sides dialed at once: one of them, after `surplus_after`.
    ///   Both sides make the same choice: they keep the one dialed by the smaller peer ID.
    ///
    /// Two circuits that one side dialed are left alone.
    fn surplus(
        &self,
        us: &P,
        now: MonotonicMillis,
        surplus_after: Duration,
        upgraded_after: Duration,
        replaced_within: Duration,
    ) -> Vec<C> {
        let is_older = |connection: &Connection<C>, limit: Duration| {
            u128::from(now.since(connection.opened)) >= limit.as_millis()
        };
        let mut surplus = Vec::new();
        for (peer, entry) in &self.peers {
            let connections = || entry.connections.iter();
            let newest = connections()
                .filter(|connection| connection.path == Path::Direct)
                .max_by_key(|connection| connection.opened);
            if let Some(direct) = newest.filter(|direct| is_older(direct, upgraded_after)) {
                let dialed = connections().filter(|connection| {
                    connection.path == Path::Relayed
                        && connection.direction == Direction::Outbound
                        && (connection.opened <= direct.opened
                            || is_older(connection, replaced_within))
                });
                surplus.extend(dialed.map(|circuit| circuit.id));
                continue;
            }
            let kept = if us < peer {
                Direction::Outbound
            } else {
                Direction::Inbound
            };
            let circuits = || {
                connections().filter(|connection| {
                    connection.path == Path::Relayed && is_older(connection, surplus_after)
                })
            };
            if circuits().any(|circuit| circuit.direction == kept) {
                surplus.extend(
                    circuits()
                        .filter(|circuit| circuit.direction != kept)
                        .map(|circuit| circuit.id),
                );
            }
        }
        surplus
    }

    /// The connections to close: silent ones and redundant circuits. `us` is this tab's own peer ID.
    pub fn to_close(&self, us: &P, now: MonotonicMillis) -> Vec<C> {
        let mut ids = self.silent(
            now,
            RELAY_LIVENESS_TIMEOUT,
            PEER_LIVENESS_TIMEOUT,
            IDENTIFY_TIMEOUT,
        );
        ids.extend(self.surplus(
            us,
            now,
            SURPLUS_CIRCUIT_DELAY,
            UPGRADED_CIRCUIT_DELAY,
            REPLACEMENT_TIMEOUT,
        ));
        ids
    }

    /// All peers in order of their IDs: the role of each, its best path, and the round trip on that path if known.
    pub(crate) fn views(&self) -> impl Iterator<Item = (P, Role, Path, Option<Duration>)> {
        self.peers.iter().filter_map(|(peer, entry)| {
            let best = entry
                .connections
                .iter()
                .min_by_key(|connection| (connection.path, connection.rtt.is_none()))?;
            Some((*peer, entry.role, best.path, best.rtt))
        })
    }

    /// Members of this room with a direct connection.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = P> {
        self.views()
            .filter(|(_, role, path, _)| *role == Role::Member && *path == Path::Direct)
            .map(|(peer, _, _, _)| peer)
    }

    /// Members of this room with a circuit only.
    pub(crate) fn relayed_members(&self) -> impl Iterator<Item = P> {
        self.views()
            .filter(|(_, role, path, _)| *role == Role::Member && *path == Path::Relayed)
            .map(|(peer, _, _, _)| peer)
    }

    /// Whether this peer is a member with a direct connection.
    pub(crate) fn is_neighbour(&self, peer: &P) -> bool {
        self.neighbours().any(|other| other == *peer)
    }

    /// How many members of this room are connected.
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
    fn peer_is_forgotten_with_its_last_connection() {
        let mut connections = Connections::new();
        connections.opened(7, 1, Path::Relayed, Direction::Outbound, at(0));
        connections.opened(7, 2, Path::Direct, Direction::Inbound, at(0));
        let told = connections.confirm_member(7);
        assert!(matches!(told, Some(Input::PeerConnected { peer: 7 })));
        assert!(connections.confirm_member(7).is_none(), "it is told once");
        assert_eq!(connections.members(), 1);
        assert!(connections.closed(7, 1).is_none(), "one is left");
        let gone = connections.closed(7, 2).expect("the last one");
        assert_eq!(gone.role, Role::Member);
        assert!(matches!(
            gone.input,
            Some(Input::PeerDisconnected { peer: 7 })
        ));
        assert_eq!(connections.role(&7), None);
        assert!(connections.closed(7, 2).is_none());
        assert_eq!(connections.members(), 0);
        assert!(connections.confirm_member(7).is_none(), "it is gone");
    }

    #[test]
    fn member_that_becomes_a_relay_is_reported_gone() {
        let mut connections = Connections::new();
        connections.opened(7, 1, Path::Direct, Direction::Inbound, at(0));
        connections.confirm_member(7);
        connections.opened(7, 2, Path::Direct, Direction::Outbound, at(1));
        let told = connections.confirm_relay(7);
        assert!(matches!(told, Some(Input::PeerDisconnected { peer: 7 })));
        assert!(connections.confirm_relay(7).is_none(), "it is told once");
        connections.closed(7, 1);
        let gone = connections.closed(7, 2).expect("the last one");
        assert!(gone.input.is_none(), "the machine knows already");
    }

    #[test]
    fn stranger_is_not_reported_when_it_leaves() {
        let mut connections = Connections::new();
        connections.opened(7, 1, Path::Direct, Direction::Inbound, at(0));
        let gone = connections.closed(7, 1).expect("the last one");
        assert_eq!(gone.role, Role::Unknown);
        assert!(gone.input.is_none(), "the machine never knew it");
    }

    #[test]
    fn forgotten_member_becomes_one_again() {
        let mut connections = Connections::new();
        connections.opened(7, 1, Path::Relayed, Direction::Outbound, at(0));
        connections.confirm_member(7);
        let told = connections.forget_member(7);
        assert!(matches!(told, Some(Input::PeerDisconnected { peer: 7 })));
        assert!(connections.forget_member(7).is_none(), "it is told once");
        assert!(
            connections.confirm_member(7).is_none(),
            "what was on its way on a connection that is being closed"
        );
        // A connection that was being opened outlives the first one.
        connections.opened(7, 2, Path::Direct, Direction::Inbound, at(1));
        assert!(connections.closed(7, 1).is_none());
        assert_eq!(connections.role(&7), Some(Role::Unknown));
        let told = connections.confirm_member(7);
        assert!(matches!(told, Some(Input::PeerConnected { peer: 7 })));
        connections.opened(8, 3, Path::Direct, Direction::Outbound, at(0));
        connections.set_role(&8, Role::Relay);
        assert!(connections.forget_member(8).is_none(), "a relay");
        assert!(connections.confirm_member(8).is_none(), "it stays a relay");
    }

    #[test]
    fn each_role_has_its_own_silence_limit() {
        let mut connections = Connections::new();
        for peer in [1, 2, 3] {
            connections.opened(peer, peer * 10, Path::Relayed, Direction::Outbound, at(0));
        }
        connections.set_role(&1, Role::Relay);
        connections.set_role(&2, Role::Member);
        assert!(silent(&connections, 11).is_empty());
        assert_eq!(silent(&connections, 12), [10]);
        assert_eq!(silent(&connections, 20), [10, 30]);
        assert_eq!(silent(&connections, 30), [10, 20, 30]);
        connections.on_pong(&1, 10, Duration::from_millis(4), at(25));
        assert_eq!(silent(&connections, 30), [20, 30]);
    }

    #[test]
    fn page_is_told_of_round_trips_now_and_then() {
        let mut connections = Connections::new();
        for peer in [1, 2] {
            connections.opened(peer, peer * 10, Path::Direct, Direction::Outbound, at(0));
        }
        let mut tells = |peer, seconds| {
            connections.on_pong(&peer, peer * 10, Duration::from_millis(4), at(seconds))
        };
        assert!(tells(1, 1), "the first of this connection");
        assert!(tells(2, 2), "the first of this connection");
        let next = 2 + RTT_EVENT_INTERVAL.as_secs();
        for seconds in 3..next {
            assert!(!tells(1, seconds) && !tells(2, seconds));
        }
        assert!(tells(1, next));
        assert!(!tells(2, next));
        assert!(!tells(3, next + 60), "an unknown connection");
    }

    #[test]
    fn failed_pings_close_a_member_only_after_silence() {
        let mut connections = Connections::new();
        for (peer, role) in [(1, Role::Member), (2, Role::Relay), (3, Role::Unknown)] {
            connections.opened(peer, peer * 10, Path::Direct, Direction::Outbound, at(0));
            connections.set_role(&peer, role);
            assert_eq!(connections.needs_pings(&peer), role != Role::Member);
        }
        assert!(connections.needs_pings(&4), "a peer without a connection");
        assert!(
            PING_INTERVAL + PING_TIMEOUT < PEER_LIVENESS_TIMEOUT,
            "pings fail before the silence limit"
        );
        let member = |now: MonotonicMillis| {
            let silent = connections.silent(
                now,
                RELAY_LIVENESS_TIMEOUT,
                PEER_LIVENESS_TIMEOUT,
                IDENTIFY_TIMEOUT,
            );
            silent.contains(&10)
        };
        let limit = u64::try_from(PEER_LIVENESS_TIMEOUT.as_millis()).expect("small");
        assert!(!member(MonotonicMillis::new(limit - 1)));
        assert!(member(MonotonicMillis::new(limit)));
    }

    #[test]
    fn sleep_restarts_the_silence_timers() {
        let mut connections = Connections::new();
        connections.opened(1, 10, Path::Direct, Direction::Outbound, at(0));
        connections.set_role(&1, Role::Relay);
        connections.restart_silence_timers(at(100));
        assert!(silent(&connections, 111).is_empty());
        assert_eq!(silent(&connections, 112), [10]);
    }

    #[test]
    fn both_sides_close_the_same_of_two_circuits() {
        let (small, large) = (1_u32, 2_u32);
        // The smaller peer ID dialed connection 10, the larger one connection 20.
        let mut at_small = Connections::new();
        at_small.opened(large, 10, Path::Relayed, Direction::Outbound, at(0));
        at_small.opened(large, 20, Path::Relayed, Direction::Inbound, at(1));
        let mut at_large = Connections::new();
        at_large.opened(small, 20, Path::Relayed, Direction::Outbound, at(0));
        at_large.opened(small, 10, Path::Relayed, Direction::Inbound, at(1));

        assert!(
            at_small
                .surplus(&small, at(2), AFTER, UPGRADED, REPLACED)
                .is_empty(),
            "the newer circuit is too young"
        );
        assert_eq!(
            at_small.surplus(&small, at(3), AFTER, UPGRADED, REPLACED),
            [20]
        );
        assert_eq!(
            at_large.surplus(&large, at(3), AFTER, UPGRADED, REPLACED),
            [20]
        );
    }

    #[test]
    fn dialer_closes_its_circuit_after_the_upgrade() {
        let mut connections = Connections::new();
        connections.opened(2, 20, Path::Relayed, Direction::Outbound, at(0));
        connections.opened(3, 30, Path::Relayed, Direction::Inbound, at(0));
        connections.opened(2, 21, Path::Direct, Direction::Outbound, at(5));
        connections.opened(3, 31, Path::Direct, Direction::Inbound, at(5));
        let surplus = |connections: &Connections<u32, u32>, seconds| {
            connections.surplus(&1, at(seconds), AFTER, UPGRADED, REPLACED)
        };
        assert!(
            surplus(&connections, 5).is_empty(),
            "its last messages may still be in flight"
        );
        assert_eq!(surplus(&connections, 6), [20]);
        connections.closed(2, 20);
        connections.opened(2, 22, Path::Relayed, Direction::Outbound, at(60));
        assert!(
            surplus(&connections, 69).is_empty(),
            "it may bring a better direct connection"
        );
        assert_eq!(surplus(&connections, 70), [22]);
        connections.opened(2, 23, Path::Direct, Direction::Outbound, at(68));
        assert_eq!(surplus(&connections, 69), [22], "it has brought one");
    }

    #[test]
    fn inbound_circuits_are_left_alone() {
        let mut connections = Connections::new();
        // Peer 2 has an inbound circuit beside a direct connection, peer 3 has two circuits that it dialed.
        connections.opened(2, 20, Path::Relayed, Direction::Inbound, at(0));
        connections.opened(2, 21, Path::Direct, Direction::Outbound, at(0));
        connections.opened(3, 30, Path::Relayed, Direction::Inbound, at(0));
        connections.opened(3, 31, Path::Relayed, Direction::Inbound, at(0));
        assert!(
            connections
                .surplus(&1, at(100), AFTER, UPGRADED, REPLACED)
                .is_empty()
        );
    }

    #[test]
    fn view_shows_the_best_path_and_its_round_trip() {
        let mut connections = Connections::new();
        connections.opened(2, 20, Path::Relayed, Direction::Outbound, at(0));
        connections.on_pong(&2, 20, Duration::from_millis(9), at(1));
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
        connections.opened(2, 21, Path::Direct, Direction::Outbound, at(2));
        let views: Vec<_> = connections.views().collect();
        assert_eq!(views, [(2, Role::Unknown, Path::Direct, None)]);
    }
}
