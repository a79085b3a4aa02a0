//! The simulated network: sets up and cuts links, delivers packets, and splits the network into partitions.
//!
//! A pair of peers may have several links, and each end notices on its own that one is dead. What an end counts as open is in its
//! `swarm`. It never decides when a link breaks (`fault` and `scenario` do).

use std::{collections::BTreeSet, rc::Rc};

use heartchain_peer::net::{Direction, Path};
use heartchain_sync::{
    io::{RequestFailure, Topic},
    message::Request,
};

use crate::{
    event::SimEvent,
    id::Id,
    misbehaviour::Misbehaviour,
    node::RunState,
    packet::{Link, LinkId, Packet},
    world::World,
};

/// The most peers that a peer is connected to, as of a browser peer.
const MAX_LINKS: usize = 24;
/// How long an end takes to notice that a link is dead, at most, ms.
pub(crate) const NOTICED_WITHIN: u64 = 8_000;
/// The longest time from a circuit to the direct connection that replaces it, ms: that of a negotiation.
const UPGRADED_WITHIN: u64 = 10_000;

impl World {
    /// The peers that this peer can reach directly: both count the same connection as open, and it delivers.
    pub(crate) fn neighbours(&self, id: Id) -> Vec<Id> {
        let links = self.links.iter();
        let live = links.filter(|(link, state)| {
            let other = state.other_end(id);
            state.has_end(id)
                && !state.is_dead
                && self.node(id).swarm.is_open(other, **link)
                && self.node(other).swarm.is_open(id, **link)
        });
        let peers: BTreeSet<Id> = live.map(|(_, state)| state.other_end(id)).collect();
        peers.into_iter().collect()
    }

    /// Sends a packet to a peer over one of the links that the sender counts as open. Without one, the packet is lost.
    pub(crate) fn send(&mut self, from: Id, to: Id, packet: Packet) {
        let link = if let Packet::Request { id, .. } = &packet {
            self.node_mut(from).swarm.ask_over(to, *id)
        } else {
            // Whichever connection is idle takes the next gossip item.
            let links: Vec<LinkId> = self.node(from).swarm.links_to(to).collect();
            match links.as_slice() {
                [] => None,
                [only] => Some(*only),
                several => self.rng.pick(several),
            }
        };
        if let Some(link) = link {
            self.send_over(link, from, packet);
        }
    }

    /// Sends a packet over a link.
    pub(crate) fn send_over(&mut self, id: LinkId, from: Id, packet: Packet) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (to, latency) = (link.other_end(from), link.latency);
        if self.rng.percent(self.conditions.loss) {
            return;
        }
        let mut delay = latency + self.rng.below(latency / 2 + 2);
        let now = self.now;
        if let Some(link) = self.links.get_mut(&id)
            && let Some(last) = &mut link.last_arrivals
        {
            let last = &mut last[usize::from(link.listener == from)];
            *last = (now + delay).max(*last);
            delay = *last - now;
        }
        if matches!(packet, Packet::Gossip { .. }) && self.rng.percent(self.conditions.duplication)
        {
            let again = delay + self.rng.below(5_000);
            self.schedule_in(
                again,
                SimEvent::Delivery {
                    link: id,
                    from,
                    to,
                    packet: packet.clone(),
                },
            );
        }
        self.schedule_in(
            delay,
            SimEvent::Delivery {
                link: id,
                from,
                to,
                packet,
            },
        );
    }

    /// Forwards a gossip item to all connected peers except one.
    pub(crate) fn flood(&mut self, from: Id, except: Option<Id>, topic: Topic, data: &Rc<[u8]>) {
        let peers: Vec<Id> = self.node(from).swarm.peers().collect();
        for to in peers {
            if Some(to) != except {
                self.send(
                    from,
                    to,
                    Packet::Gossip {
                        topic,
                        data: Rc::clone(data),
                    },
                );
            }
        }
    }

    pub(crate) fn deliver(&mut self, link: LinkId, from: Id, to: Id, packet: Packet) {
        let is_up = self.links.get(&link).is_some_and(|link| !link.is_dead);
        let node = self.node(to);
        if !is_up || node.run_state != RunState::Awake || !node.swarm.is_open(from, link) {
            return;
        }
        if matches!(packet, Packet::Gossip { .. } | Packet::Request { .. }) {
            // Who uses the room's protocols takes part in it.
            self.node_mut(to).swarm.confirm_member(from);
            self.tell_machine(to);
        }
        self.messages += 1;
        if let Some(message_id) = packet.message_id()
            && self.provable.remove(&(from, to, message_id))
        {
            self.proven.insert((from, to));
        }
        match packet {
            Packet::Gossip { topic, data } => {
                self.bytes += data.len() as u64;
                let twice = self.rng.percent(self.conditions.duplication);
                let now = self.now;
                if let Some(input) = self
                    .node_mut(to)
                    .accept_gossip(from, topic, &data, twice, now)
                {
                    if self.node(from).misbehaviour.is_some() && self.can_prove(to, topic, &data) {
                        self.proven.insert((from, to));
                    }
                    self.feed(to, input);
                }
            }
            Packet::Request { id, data } => {
                self.bytes += data.len() as u64;
                if self.node(to).misbehaviour == Some(Misbehaviour::LowWorkHeaders)
                    && let Ok(Request::Headers { locator }) =
                        Request::decode(self.room.form(), &data)
                {
                    self.node_mut(to).locators.insert((from, id), locator);
                }
                if self.answer_as_attacker(to, from, id, &data) {
                    return;
                }
                let node = self.node_mut(to);
                let (asked, input) = node.state.receive_request(from, id, &data);
                node.swarm.note_asked(asked, link);
                self.feed(to, input);
            }
            Packet::Response { id, data } => {
                self.bytes += data.len() as u64;
                let input = self.node_mut(to).state.receive_response(from, id, &data);
                self.feed(to, input);
            }
            Packet::Failure { id, failure } => {
                let input = self.node_mut(to).state.fail_request(from, id, failure);
                self.feed(to, input);
            }
        }
    }

    /// Every peer with too few connections dials random peers, and closes connections as tabs and keepers do.
    pub(crate) fn dial_peers(&mut self) {
        for id in 0..self.nodes.len() as Id {
            self.close_surplus(id);
        }
        let nodes = &self.nodes;
        self.links.retain(|id, link| {
            let counts = |at: Id, other: Id| {
                let at = usize::try_from(at).ok().and_then(|at| nodes.get(at));
                at.is_some_and(|node| node.swarm.is_open(other, *id))
            };
            !link.is_dead
                || counts(link.dialer, link.listener)
                || counts(link.listener, link.dialer)
        });
        let count = self.nodes.len() as u64;
        for a in 0..count {
            // Attackers set up their own links, which do not count towards an honest peer's degree.
            let counted = |peer: &Id| self.node(*peer).attack.is_none();
            let have = if counted(&a) {
                self.node(a).swarm.peers().filter(counted).count()
            } else {
                0
            };
            let wanted = self.conditions.degree.min(self.nodes.len() - 1);
            // Discovery occasionally finds a random peer. Without it, the network could stay partitioned after the
            // partition has ended.
            let stranger = usize::from(have < MAX_LINKS && self.rng.one_in(20));
            for _ in 0..wanted.saturating_sub(have).max(stranger) {
                let b = self.rng.below(count);
                let attacks = [a, b].iter().any(|id| self.node(*id).attack.is_some());
                if !attacks && self.can_dial(a, b) && self.rng.percent(70) {
                    self.dial(a, b);
                }
            }
        }
    }

    /// Answers the pings of a second, and closes the connections that a tab or a keeper would close: those without an answer for too
    /// long, and redundant circuits.
    fn close_surplus(&mut self, id: Id) {
        if self.node(id).run_state != RunState::Awake {
            return;
        }
        let now = self.node(id).clock.both(self.now).monotonic;
        for (peer, link) in self.node(id).swarm.links() {
            let other = self.node(peer);
            let is_live = self.links.get(&link).is_some_and(|link| !link.is_dead);
            if is_live && other.run_state == RunState::Awake && other.swarm.is_open(id, link) {
                self.node_mut(id).swarm.on_pong(peer, link, now);
            }
        }
        for link in self.node(id).swarm.to_close(id, now) {
            self.close(id, link);
        }
        self.tell_machine(id);
    }

    /// Whether a connection between two peers could be established now.
    fn is_reachable(&self, a: Id, b: Id) -> bool {
        let partition = |id: Id| self.partitions.get(usize::try_from(id).unwrap_or(0));
        a != b
            && partition(a) == partition(b)
            && [a, b]
                .iter()
                .all(|id| self.node(*id).run_state == RunState::Awake)
    }

    /// Whether `a` would dial `b` now, and `b` accept it. Only with half-open links is `a` accepted while `b` still counts an earlier
    /// connection.
    pub(crate) fn can_dial(&self, a: Id, b: Id) -> bool {
        self.is_reachable(a, b)
            && !self.node(a).refuses(b, self.now)
            && !self.node(b).refuses(a, self.now)
            && !self.node(a).swarm.has(b)
            && (self.redundancy.half_open || !self.node(b).swarm.has(a))
    }

    /// `a` dials `b`. In some runs that leads to more than one link.
    pub(crate) fn dial(&mut self, a: Id, b: Id) {
        if !self.rng.percent(self.redundancy.parallel) {
            return self.link(a, b, Path::Direct);
        }
        let latency = self.conditions.latency.1;
        let path = self.random_path();
        self.link(a, b, path);
        if self.rng.one_in(2) {
            // Both dialed at once.
            let path = self.random_path();
            let delay = self.rng.below(2 * latency);
            self.schedule_in(
                delay,
                SimEvent::Dialed {
                    from: b,
                    to: a,
                    path,
                },
            );
        }
        if path == Path::Relayed && self.rng.percent(80) {
            let delay = self.rng.between(100, UPGRADED_WITHIN);
            let path = Path::Direct;
            self.schedule_in(
                delay,
                SimEvent::Dialed {
                    from: a,
                    to: b,
                    path,
                },
            );
        }
    }

    fn random_path(&mut self) -> Path {
        if self.rng.percent(70) {
            Path::Relayed
        } else {
            Path::Direct
        }
    }

    /// One more connection is established, such as one that was being negotiated while others came and went. A ban prevents that.
    pub(crate) fn on_dialed(&mut self, from: Id, to: Id, path: Path) {
        let bans = |a: Id, b: Id| self.node(a).bans(b, self.now);
        let admits = |a: Id, b: Id| self.node(a).swarm.admits(b, path);
        if self.is_reachable(from, to)
            && !bans(from, to)
            && !bans(to, from)
            && admits(from, to)
            && admits(to, from)
        {
            self.link(from, to, path);
        }
    }

    /// Sets up a link. Each end learns a moment later that the other takes part in the room.
    pub(crate) fn link(&mut self, dialer: Id, listener: Id, path: Path) {
        let (low, high) = self.conditions.latency;
        let latency = self.rng.between(low, high);
        let link = self.next_id();
        let state = Link {
            dialer,
            listener,
            path,
            latency,
            is_dead: false,
            last_arrivals: self.redundancy.ordered.then_some([0; 2]),
        };
        self.links.insert(link, state);
        let ends = [
            (dialer, listener, Direction::Outbound),
            (listener, dialer, Direction::Inbound),
        ];
        for (to, peer, direction) in ends {
            let now = self.node(to).clock.both(self.now).monotonic;
            let node = self.node_mut(to);
            node.swarm.opened(peer, link, path, direction, now);
            let incarnation = node.incarnation;
            let delay = if self.redundancy.is_none() {
                0
            } else {
                self.rng.below(2 * latency + 2)
            };
            self.schedule_in(
                delay,
                SimEvent::Identified {
                    to,
                    incarnation,
                    peer,
                    link,
                },
            );
        }
    }

    /// A peer learned on a link that the other end takes part in the room.
    pub(crate) fn on_identified(&mut self, to: Id, peer: Id, link: LinkId) {
        let node = self.node_mut(to);
        if node.run_state == RunState::Awake && node.swarm.is_open(peer, link) {
            node.swarm.confirm_member(peer);
            self.tell_machine(to);
        }
    }

    /// Cuts a link. Each end notices within its time in `late`, ms.
    fn break_link(&mut self, id: LinkId, late: [(Id, u64); 2]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if core::mem::replace(&mut link.is_dead, true) {
            return;
        }
        for (to, late) in late {
            let incarnation = self.node(to).incarnation;
            let delay = self.rng.below(late + 1);
            self.schedule_in(
                delay,
                SimEvent::LinkDown {
                    to,
                    incarnation,
                    link: id,
                },
            );
        }
    }

    /// Cuts a link. Each end notices within `late` ms.
    pub(crate) fn cut_link(&mut self, id: LinkId, late: u64) {
        if let Some(&Link {
            dialer, listener, ..
        }) = self.links.get(&id)
        {
            self.break_link(id, [(dialer, late), (listener, late)]);
        }
    }

    /// The links of two peers that deliver.
    fn links_between(&self, a: Id, b: Id) -> Vec<LinkId> {
        let links = self.links.iter();
        let between = links.filter(|(_, link)| link.is_between(a, b) && !link.is_dead);
        between.map(|(id, _)| *id).collect()
    }

    /// Cuts all links of two peers. Each end notices within `late` ms.
    pub(crate) fn cut(&mut self, a: Id, b: Id, late: u64) {
        for link in self.links_between(a, b) {
            self.cut_link(link, late);
        }
    }

    /// Two peers lose all links. One notices at once and dials again, the other does not notice before its silence does.
    pub(crate) fn half_open(&mut self, gone: Id, stays: Id) {
        for link in self.links_between(gone, stays) {
            let late = self.rng.pick(&[2_000, 20_000, 60_000]).unwrap_or(0);
            self.break_link(link, [(gone, 200), (stays, late)]);
        }
        let (delay, path) = (self.rng.between(300, 5_000), self.random_path());
        self.schedule_in(
            delay,
            SimEvent::Dialed {
                from: gone,
                to: stays,
                path,
            },
        );
    }

    /// A peer notices that a link is dead. A sleeping peer notices when it wakes.
    pub(crate) fn on_link_down(&mut self, to: Id, id: LinkId) {
        if self.node(to).run_state == RunState::Awake {
            self.end_link(to, id);
            self.tell_machine(to);
        }
    }

    /// A link ends at one end. Its machine is not told yet.
    fn end_link(&mut self, to: Id, id: LinkId) {
        let Some(peer) = self.links.get(&id).map(|link| link.other_end(to)) else {
            return;
        };
        let node = self.node_mut(to);
        for request in node.swarm.closed(peer, id) {
            let open = node.state.open_requests.get(&request);
            if let Some(asked) = open.map(|(asked, _)| *asked) {
                let failure = RequestFailure::Closed;
                let input = node.state.fail_request(asked, request, failure);
                node.swarm.tell(input);
            }
        }
    }

    /// A peer closes a connection. The other end notices when it is told, unless the link is dead. The peer's machine is not told yet.
    pub(crate) fn close(&mut self, by: Id, id: LinkId) {
        if let Some(&link) = self.links.get(&id) {
            let late = if self.redundancy.is_none() {
                0
            } else {
                link.latency
            };
            self.break_link(id, [(by, 0), (link.other_end(by), late)]);
            self.end_link(by, id);
        }
    }

    /// A peer that woke up notices which connections were closed while it slept: at once, or within some seconds.
    pub(crate) fn notice_dead_links(&mut self, id: Id) {
        let now = self.node(id).clock.both(self.now).monotonic;
        self.node_mut(id).swarm.woke(now);
        for (_, link) in self.node(id).swarm.links() {
            if self.links.get(&link).is_some_and(|link| !link.is_dead) {
                continue;
            }
            if self.redundancy.half_open && self.rng.one_in(2) {
                let incarnation = self.node(id).incarnation;
                let delay = self.rng.below(NOTICED_WITHIN);
                self.schedule_in(
                    delay,
                    SimEvent::LinkDown {
                        to: id,
                        incarnation,
                        link,
                    },
                );
            } else {
                self.on_link_down(id, link);
            }
        }
    }

    /// Puts a peer into a network partition of its own.
    pub(crate) fn isolate(&mut self, id: Id) {
        self.partitions[usize::try_from(id).expect("a small number")] = 1_000 + id;
        self.cut_partition_links();
    }

    pub(crate) fn cut_partition_links(&mut self) {
        let partition = |id: Id| self.partitions[usize::try_from(id).expect("a small number")];
        let links = self.links.iter();
        let across = links.filter(|(_, link)| partition(link.dialer) != partition(link.listener));
        let across: Vec<LinkId> = across.map(|(id, _)| *id).collect();
        for link in across {
            self.cut_link(link, 12_000);
        }
    }

    pub(crate) fn cut_all(&mut self, id: Id, late: u64) {
        let links = self.links.iter();
        let own: Vec<LinkId> = links
            .filter(|(_, link)| link.has_end(id))
            .map(|(id, _)| *id)
            .collect();
        for link in own {
            self.cut_link(link, late);
        }
    }
}
