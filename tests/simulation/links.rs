//! The simulated network: sets up and cuts links, delivers packets, and splits the network into partitions.
//!
//! It never decides when a link breaks (`fault` and `scenario` do).

use std::rc::Rc;

use heartchain_sync::{io::Topic, message::Request};

use crate::{
    event::SimEvent,
    id::Id,
    misbehaviour::Misbehaviour,
    node::RunState,
    packet::{Link, Packet},
    world::World,
};

/// The most links that a peer has. A browser peer keeps at most 24 connections.
const MAX_LINKS: usize = 24;

const fn pair(a: Id, b: Id) -> (Id, Id) {
    if a < b { (a, b) } else { (b, a) }
}

impl World {
    /// The peers that this peer has a link to.
    pub(crate) fn neighbours(&self, id: Id) -> Vec<Id> {
        self.links
            .keys()
            .filter_map(|&(a, b)| {
                if a == id {
                    Some(b)
                } else {
                    (b == id).then_some(a)
                }
            })
            .collect()
    }

    /// Sends a packet over the link between two peers. Without a link, the packet is lost.
    pub(crate) fn send(&mut self, from: Id, to: Id, packet: Packet) {
        let Some(link) = self.links.get(&pair(from, to)) else {
            return;
        };
        let (link, latency) = (link.id, link.latency);
        if self.rng.percent(self.conditions.loss) {
            return;
        }
        let delay = latency + self.rng.below(latency / 2 + 2);
        if matches!(packet, Packet::Gossip { .. }) && self.rng.percent(self.conditions.duplication)
        {
            let again = delay + self.rng.below(5_000);
            self.schedule_in(
                again,
                SimEvent::Delivery {
                    link,
                    from,
                    to,
                    packet: packet.clone(),
                },
            );
        }
        self.schedule_in(
            delay,
            SimEvent::Delivery {
                link,
                from,
                to,
                packet,
            },
        );
    }

    /// Forwards a gossip item to all neighbours except one.
    pub(crate) fn flood(&mut self, from: Id, except: Option<Id>, topic: Topic, data: &Rc<[u8]>) {
        for to in self.neighbours(from) {
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

    pub(crate) fn deliver(&mut self, link: u64, from: Id, to: Id, packet: Packet) {
        let is_up = self
            .links
            .get(&pair(from, to))
            .is_some_and(|current| current.id == link);
        if !is_up || self.node(to).run_state != RunState::Awake || !self.node(to).is_connected(from)
        {
            return;
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
                let (_, input) = self.node_mut(to).state.receive_request(from, id, &data);
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

    /// Every peer with too few links dials random peers.
    pub(crate) fn dial_peers(&mut self) {
        let now = self.now;
        self.closing.retain(|_, until| *until > now);
        let count = self.nodes.len() as u64;
        let mut degrees = vec![0_usize; self.nodes.len()];
        for &(a, b) in self.links.keys() {
            // Attackers set up their own links, which do not count towards an honest peer's degree.
            if [a, b].iter().any(|id| self.node(*id).attack.is_some()) {
                continue;
            }
            for end in [a, b] {
                degrees[usize::try_from(end).expect("a small number")] += 1;
            }
        }
        for a in 0..count {
            let wanted = self.conditions.degree.min(self.nodes.len() - 1);
            let have = degrees[usize::try_from(a).expect("a small number")];
            // Discovery occasionally finds a random peer. Without it, the network could stay partitioned after the
            // partition has ended.
            let stranger = usize::from(have < MAX_LINKS && self.rng.one_in(20));
            for _ in 0..wanted.saturating_sub(have).max(stranger) {
                let b = self.rng.below(count);
                let attacks = [a, b].iter().any(|id| self.node(*id).attack.is_some());
                if !attacks && self.can_link(a, b) && self.rng.percent(70) {
                    self.link(a, b);
                }
            }
        }
    }

    pub(crate) fn can_link(&self, a: Id, b: Id) -> bool {
        let partition = |id: Id| self.partitions.get(usize::try_from(id).unwrap_or(0));
        a != b
            && partition(a) == partition(b)
            && [a, b]
                .iter()
                .all(|id| self.node(*id).run_state == RunState::Awake)
            && !self.links.contains_key(&pair(a, b))
            && self
                .closing
                .get(&pair(a, b))
                .is_none_or(|until| *until <= self.now)
            && !self.node(a).refuses(b, self.now)
            && !self.node(b).refuses(a, self.now)
            && !self.node(a).is_connected(b)
            && !self.node(b).is_connected(a)
    }

    pub(crate) fn link(&mut self, a: Id, b: Id) {
        let (low, high) = self.conditions.latency;
        let latency = self.rng.between(low, high);
        let id = self.next_id();
        self.links.insert(pair(a, b), Link { id, latency });
        for (to, peer) in [(a, b), (b, a)] {
            let incarnation = self.node(to).incarnation;
            self.schedule_in(
                0,
                SimEvent::ConnectionChange {
                    to,
                    incarnation,
                    peer,
                    up: true,
                },
            );
        }
    }

    /// Cuts a link. Each end notices within `late` ms.
    pub(crate) fn cut(&mut self, a: Id, b: Id, late: u64) {
        if self.links.remove(&pair(a, b)).is_none() {
            return;
        }
        let mut longest = 0;
        for (to, peer) in [(a, b), (b, a)] {
            let incarnation = self.node(to).incarnation;
            let delay = self.rng.below(late + 1);
            longest = longest.max(delay);
            self.schedule_in(
                delay,
                SimEvent::ConnectionChange {
                    to,
                    incarnation,
                    peer,
                    up: false,
                },
            );
        }
        self.closing.insert(pair(a, b), self.now + longest + 1);
    }

    /// Puts a peer into a network partition of its own.
    pub(crate) fn isolate(&mut self, id: Id) {
        self.partitions[usize::try_from(id).expect("a small number")] = 1_000 + id;
        self.cut_partition_links();
    }

    pub(crate) fn cut_partition_links(&mut self) {
        let across: Vec<(Id, Id)> = self
            .links
            .keys()
            .filter(|(a, b)| {
                let partition =
                    |id: Id| self.partitions[usize::try_from(id).expect("a small number")];
                partition(*a) != partition(*b)
            })
            .copied()
            .collect();
        for (a, b) in across {
            self.cut(a, b, 12_000);
        }
    }

    pub(crate) fn cut_all(&mut self, id: Id, late: u64) {
        for peer in self.neighbours(id) {
            self.cut(id, peer, late);
        }
    }
}
