//! Links between peers: who has one, what travels over it and how long, and where the network falls into parts.
//!
//! Never decides when something breaks (`trouble` and `scenario` do).

use std::rc::Rc;

use sync::{
    Input,
    message::Request,
    seam::{InboundId, RequestFailure, RequestId, Topic},
};

use crate::{
    liars::Lie,
    node::Life,
    world::{Happening, Id, World},
};

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Gossip {
        topic: Topic,
        data: Rc<[u8]>,
    },
    Request {
        id: RequestId,
        data: Vec<u8>,
    },
    Response {
        id: RequestId,
        data: Vec<u8>,
    },
    Failure {
        id: RequestId,
        failure: RequestFailure,
    },
}

/// A question or an answer, by its request: two peers number theirs apart, so that one name may stand for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Question(RequestId),
    Answer(RequestId),
}

impl Wire {
    const fn said(&self) -> Option<Said> {
        match self {
            Self::Gossip { .. } => None,
            Self::Request { id, .. } => Some(Said::Question(*id)),
            Self::Response { id, .. } | Self::Failure { id, .. } => Some(Said::Answer(*id)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    name: u64,
    latency: u64,
}

/// Links that a peer has at most (PROTOCOLS.md, "Finding one another").
const MAX_LINKS: usize = 24;

const fn pair(a: Id, b: Id) -> (Id, Id) {
    if a < b { (a, b) } else { (b, a) }
}

impl World {
    /// The peers that this one has a link to.
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

    /// Sends over the link between two peers, if there is one.
    pub(crate) fn send(&mut self, from: Id, to: Id, what: Wire) {
        let Some(link) = self.links.get(&pair(from, to)) else {
            return;
        };
        let (link, latency) = (link.name, link.latency);
        if self.dice.percent(self.weather.loss) {
            return;
        }
        let delay = latency + self.dice.below(latency / 2 + 2);
        if matches!(what, Wire::Gossip { .. }) && self.dice.percent(self.weather.duplication) {
            let again = delay + self.dice.below(5_000);
            self.after(
                again,
                Happening::Arrival {
                    link,
                    from,
                    to,
                    what: what.clone(),
                },
            );
        }
        self.after(
            delay,
            Happening::Arrival {
                link,
                from,
                to,
                what,
            },
        );
    }

    /// Passes a gossip item on to all neighbours but one.
    pub(crate) fn flood(&mut self, from: Id, except: Option<Id>, topic: Topic, data: &Rc<[u8]>) {
        for to in self.neighbours(from) {
            if Some(to) != except {
                self.send(
                    from,
                    to,
                    Wire::Gossip {
                        topic,
                        data: Rc::clone(data),
                    },
                );
            }
        }
    }

    pub(crate) fn arrive(&mut self, link: u64, from: Id, to: Id, what: Wire) {
        let stands = self
            .links
            .get(&pair(from, to))
            .is_some_and(|known| known.name == link);
        if !stands || self.node(to).life != Life::Awake || !self.node(to).is_connected(from) {
            return;
        }
        self.messages += 1;
        if let Some(said) = what.said()
            && self.provable.remove(&(from, to, said))
        {
            self.lied.insert((from, to));
        }
        match what {
            Wire::Gossip { topic, data } => {
                self.bytes += data.len() as u64;
                let twice = self.dice.percent(self.weather.duplication);
                let now = self.now;
                if let Some(id) = self
                    .node_mut(to)
                    .take_gossip(from, topic, &data, twice, now)
                {
                    if self.node(from).lie.is_some() && self.sees_through(to, topic, &data) {
                        self.lied.insert((from, to));
                    }
                    self.feed(
                        to,
                        Input::Gossip {
                            from,
                            id,
                            topic,
                            data: data.to_vec(),
                        },
                    );
                }
            }
            Wire::Request { id, data } => {
                self.bytes += data.len() as u64;
                if self.node(to).lie == Some(Lie::EndlessHeaders)
                    && let Ok(Request::Headers { locator }) = Request::decode(&data)
                {
                    self.node_mut(to).locators.insert((from, id), locator);
                }
                if self.deceive(to, from, id, &data) {
                    return;
                }
                let inbound = InboundId(self.name());
                self.node_mut(to).inbound.insert(inbound, (from, id));
                self.feed(
                    to,
                    Input::Request {
                        from,
                        id: inbound,
                        data,
                    },
                );
            }
            Wire::Response { id, data } => {
                self.bytes += data.len() as u64;
                self.node_mut(to).close_request(from, id);
                self.feed(
                    to,
                    Input::Response {
                        peer: from,
                        id,
                        data,
                    },
                );
            }
            Wire::Failure { id, failure } => {
                self.node_mut(to).close_request(from, id);
                self.feed(
                    to,
                    Input::RequestFailed {
                        peer: from,
                        id,
                        failure,
                    },
                );
            }
        }
    }

    /// Whoever has too few links makes one.
    pub(crate) fn dial(&mut self) {
        let now = self.now;
        self.closing.retain(|_, until| *until > now);
        let count = self.nodes.len() as u64;
        let mut degrees = vec![0_usize; self.nodes.len()];
        for &(a, b) in self.links.keys() {
            // Attackers link on their own. A link to one takes no honest peer's place.
            if [a, b].iter().any(|id| self.node(*id).attack.is_some()) {
                continue;
            }
            for end in [a, b] {
                degrees[usize::try_from(end).expect("a small number")] += 1;
            }
        }
        for a in 0..count {
            let wanted = self.weather.degree.min(self.nodes.len() - 1);
            let have = degrees[usize::try_from(a).expect("a small number")];
            // Discovery brings a stranger now and then, or a healed network could stay in parts.
            let stranger = usize::from(have < MAX_LINKS && self.dice.one_in(20));
            for _ in 0..wanted.saturating_sub(have).max(stranger) {
                let b = self.dice.below(count);
                let attacks = [a, b].iter().any(|id| self.node(*id).attack.is_some());
                if !attacks && self.may_link(a, b) && self.dice.percent(70) {
                    self.link(a, b);
                }
            }
        }
    }

    pub(crate) fn may_link(&self, a: Id, b: Id) -> bool {
        let part = |id: Id| self.parts.get(usize::try_from(id).unwrap_or(0));
        a != b
            && part(a) == part(b)
            && [a, b].iter().all(|id| self.node(*id).life == Life::Awake)
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
        let (low, high) = self.weather.latency;
        let latency = self.dice.between(low, high);
        let name = self.name();
        self.links.insert(pair(a, b), Link { name, latency });
        for (to, peer) in [(a, b), (b, a)] {
            let life = self.node(to).life_number;
            self.after(
                0,
                Happening::Notice {
                    to,
                    life,
                    peer,
                    up: true,
                },
            );
        }
    }

    /// Cuts a link; either end notices at once or after up to `late` ms.
    pub(crate) fn cut(&mut self, a: Id, b: Id, late: u64) {
        if self.links.remove(&pair(a, b)).is_none() {
            return;
        }
        let mut longest = 0;
        for (to, peer) in [(a, b), (b, a)] {
            let life = self.node(to).life_number;
            let delay = self.dice.below(late + 1);
            longest = longest.max(delay);
            self.after(
                delay,
                Happening::Notice {
                    to,
                    life,
                    peer,
                    up: false,
                },
            );
        }
        self.closing.insert(pair(a, b), self.now + longest + 1);
    }

    /// Puts a peer into a part of a split network of its own.
    pub(crate) fn isolate(&mut self, id: Id) {
        self.parts[usize::try_from(id).expect("a small number")] = 1_000 + id;
        self.cut_across();
    }

    pub(crate) fn cut_across(&mut self) {
        let across: Vec<(Id, Id)> = self
            .links
            .keys()
            .filter(|(a, b)| {
                let part = |id: Id| self.parts[usize::try_from(id).expect("a small number")];
                part(*a) != part(*b)
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
