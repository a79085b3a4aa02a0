//! The connections of one peer as the peer sees them: which it counts as open, and what its machine is told of them.
//!
//! A connection may be dead without the peer's knowledge, and its other end may count it otherwise: `links` has the truth. What the
//! machine is told is decided by the table of tabs and keepers, `Connections`. As in libp2p, requests rotate over the connections
//! to a peer, and a response comes back on the connection of its request.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use heartchain_chain::time::MonotonicMillis;
use heartchain_peer::net::{
    Connections, Direction, MAX_CIRCUITS_PER_PEER, MAX_CONNECTIONS_PER_PEER, Path, Role,
};
use heartchain_sync::{
    Input,
    io::{InboundId, RequestId},
};

use crate::{id::Id, packet::LinkId};

/// How long a ping takes. Only the page shows it.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// The connections of one peer.
#[derive(Default)]
pub(crate) struct Swarm {
    table: Connections<Id, LinkId>,
    /// The open connections to each peer, the oldest first.
    open: BTreeMap<Id, Vec<Connection>>,
    /// The peer and the connection of each request that this peer sent.
    asked: BTreeMap<RequestId, (Id, LinkId)>,
    /// The connection of each request that this peer has to answer.
    answering: BTreeMap<InboundId, LinkId>,
    /// What the machine is told next.
    inputs: VecDeque<Input<Id>>,
}

#[derive(Clone, Copy)]
struct Connection {
    link: LinkId,
    path: Path,
}

impl Swarm {
    /// Whether the machine counts this peer as connected, once it has all inputs.
    pub(crate) fn is_member(&self, peer: Id) -> bool {
        self.table.role(&peer) == Some(Role::Member)
    }

    /// Whether any connection to this peer counts as open.
    pub(crate) fn has(&self, peer: Id) -> bool {
        self.open.contains_key(&peer)
    }

    /// Whether this connection counts as open.
    pub(crate) fn is_open(&self, peer: Id, link: LinkId) -> bool {
        self.links_to(peer).any(|open| open == link)
    }

    /// The peers with open connections.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Id> {
        self.open.keys().copied()
    }

    /// The open connections to a peer, the oldest first.
    pub(crate) fn links_to(&self, peer: Id) -> impl Iterator<Item = LinkId> {
        let links = self.open.get(&peer).into_iter().flatten();
        links.map(|connection| connection.link)
    }

    /// All open connections, with the peer of each.
    pub(crate) fn links(&self) -> Vec<(Id, LinkId)> {
        let peers = self.open.iter();
        let links =
            peers.flat_map(|(peer, links)| links.iter().map(|connection| (*peer, connection.link)));
        links.collect()
    }

    /// Whether one more connection to this peer is admitted, as the slots of tabs and keepers do.
    pub(crate) fn admits(&self, peer: Id, path: Path) -> bool {
        let open = self.open.get(&peer).map_or(&[][..], Vec::as_slice);
        let circuits = open.iter().filter(|other| other.path == Path::Relayed);
        let is_circuit = path == Path::Relayed;
        let fits = |count: usize, limit: u32| u32::try_from(count).is_ok_and(|count| count < limit);
        fits(open.len(), MAX_CONNECTIONS_PER_PEER)
            && (!is_circuit || fits(circuits.count(), MAX_CIRCUITS_PER_PEER))
    }

    /// A connection was established at this end.
    pub(crate) fn opened(
        &mut self,
        peer: Id,
        link: LinkId,
        path: Path,
        direction: Direction,
        now: MonotonicMillis,
    ) {
        self.table.opened(peer, link, path, direction, now);
        let connection = Connection { link, path };
        self.open.entry(peer).or_default().push(connection);
    }

    /// The peer announced the room's protocol, or used it.
    pub(crate) fn confirm_member(&mut self, peer: Id) {
        self.inputs.extend(self.table.confirm_member(peer));
    }

    /// A connection ended at this end. Returns the requests on it that fail: those to a peer that is gone are forgotten, as the
    /// machine forgets them with the peer.
    pub(crate) fn closed(&mut self, peer: Id, link: LinkId) -> Vec<RequestId> {
        let Some(links) = self.open.get_mut(&peer) else {
            return Vec::new();
        };
        links.retain(|connection| connection.link != link);
        if links.is_empty() {
            self.open.remove(&peer);
        }
        let on_it = self.asked.iter().filter(|(_, (_, over))| *over == link);
        let failed: Vec<RequestId> = on_it.map(|(id, _)| *id).collect();
        self.asked.retain(|_, (_, over)| *over != link);
        self.answering.retain(|_, over| *over != link);
        match self.table.closed(peer, link) {
            Some(gone) => {
                self.inputs.extend(gone.input);
                self.asked.retain(|_, (asked, _)| *asked != peer);
                Vec::new()
            }
            None => failed,
        }
    }

    /// The machine disconnects a peer. The caller closes its connections.
    pub(crate) fn forget(&mut self, peer: Id) {
        self.inputs.extend(self.table.forget_member(peer));
        self.asked.retain(|_, (asked, _)| *asked != peer);
    }

    /// The connection for a new request to a peer. `None` if it is not connected.
    pub(crate) fn ask_over(&mut self, peer: Id, request: RequestId) -> Option<LinkId> {
        let links: Vec<LinkId> = self.links_to(peer).collect();
        let turn = usize::try_from(request.0).unwrap_or(0);
        let link = *links.get(turn.checked_rem(links.len())?)?;
        self.asked.insert(request, (peer, link));
        Some(link)
    }

    /// A request arrived on a connection.
    pub(crate) fn note_asked(&mut self, id: InboundId, link: LinkId) {
        self.answering.insert(id, link);
    }

    /// The connection that the response to a request takes. `None` if it has ended.
    pub(crate) fn answer_over(&mut self, id: InboundId) -> Option<LinkId> {
        self.answering.remove(&id)
    }

    /// The machine is told this after what it is told already.
    pub(crate) fn tell(&mut self, input: Input<Id>) {
        self.inputs.push_back(input);
    }

    /// What the machine is told next.
    pub(crate) fn next_input(&mut self) -> Option<Input<Id>> {
        self.inputs.pop_front()
    }

    /// A ping was answered on a connection.
    pub(crate) fn on_pong(&mut self, peer: Id, link: LinkId, now: MonotonicMillis) {
        self.table.on_pong(&peer, link, ROUND_TRIP, now);
    }

    /// The connections that a tab or a keeper would close now: silent ones, and redundant circuits.
    pub(crate) fn to_close(&self, own: Id, now: MonotonicMillis) -> Vec<LinkId> {
        self.table.to_close(&own, now)
    }

    /// The computer woke up.
    pub(crate) fn woke(&mut self, now: MonotonicMillis) {
        self.table.restart_silence_timers(now);
    }
}
