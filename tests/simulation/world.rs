//! The world that the machines live in: one scheduler, links, disks, miners. All that happens follows from the seed.
//!
//! Time is the true time in milliseconds; each peer sees it through its own clock. Nothing here judges a run
//! (`checks` does) or decides what goes wrong in it (`scenario` does).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    rc::Rc,
};

use chain::{bpm::Bpm, room::Room};
use sync::{
    Input,
    message::Request,
    seam::{InboundId, RequestFailure, RequestId, Ticket, Topic},
};

use crate::{
    checks,
    dice::Dice,
    liars::Lie,
    node::{Fed, Life, Node},
};

/// A peer's name.
pub(crate) type Id = u64;

/// What the network is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The shortest and longest time that a message travels, ms.
    pub(crate) latency: (u64, u64),
    /// Messages lost, of a hundred.
    pub(crate) loss: u64,
    /// Gossip items that come twice, of a hundred.
    pub(crate) duplication: u64,
    /// Disk writes and reads that fail, of a hundred.
    pub(crate) disk_failure: u64,
    /// Links that each peer tries to have.
    pub(crate) degree: usize,
}

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

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message arrives, if its link still stands.
    Arrival {
        link: u64,
        from: Id,
        to: Id,
        what: Wire,
    },
    /// A link's end is noticed, or its beginning.
    Notice {
        to: Id,
        life: u32,
        peer: Id,
        up: bool,
    },
    /// A peer's timer.
    Timer { to: Id, life: u32, wish: u64 },
    /// A disk job is done.
    DiskDone { to: Id, life: u32 },
    /// A nonce is found.
    NonceFound { to: Id, life: u32, job: u64 },
    /// Peers look for others.
    Dialling,
    /// A person enters a heart rate.
    Entry { at: Id },
    /// Something goes wrong, or ends going wrong.
    Trouble(Trouble),
    /// A liar takes a turn.
    LiarTurn { at: Id },
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The network falls into so many parts.
    Split(u64),
    /// It is whole again.
    Heal,
    /// A peer's computer loses power.
    Crash(Id),
    /// It starts again.
    Restart(Id),
    /// A peer's computer sleeps.
    Sleep(Id),
    /// It wakes.
    Wake(Id),
    /// A link breaks.
    Break,
    /// A peer's clock is set so many ms ahead of the truth.
    SetClock(Id, i64),
    /// A peer's hash rate changes.
    SetRate(Id, u64),
}

#[derive(Debug)]
struct Link {
    name: u64,
    latency: u64,
}

/// A ban or a let-go, as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub(crate) by: Id,
    pub(crate) whom: Id,
    pub(crate) reason: String,
    pub(crate) banned: bool,
}

/// The world.
pub(crate) struct World {
    pub(crate) dice: Dice,
    /// True time, ms.
    pub(crate) now: u64,
    pub(crate) room: Room,
    pub(crate) weather: Weather,
    pub(crate) nodes: Vec<Node>,
    pub(crate) dropped: Vec<Dropped>,
    /// Bounds that were exceeded, in words.
    pub(crate) exceeded: Vec<String>,
    /// Answers and requests that prove their sender a liar, not yet arrived.
    pub(crate) provable: HashSet<(Id, Id, RequestId)>,
    /// Gossip items that do.
    pub(crate) provable_gossip: HashSet<Rc<[u8]>>,
    /// Who lied provably to whom.
    pub(crate) lied: BTreeSet<(Id, Id)>,
    /// Gossip items handed to machines, requests sent: to be told at the end.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    links: BTreeMap<(Id, Id), Link>,
    /// Pairs whose last link's end has not been noticed yet, and until when.
    closing: BTreeMap<(Id, Id), u64>,
    parts: Vec<u64>,
    names: u64,
    pub(crate) trace: bool,
    /// Liars do nothing of their own accord any more.
    pub(crate) liars_rest: bool,
}

/// Links that a peer has at most (PROTOCOLS.md, "Finding one another").
const MAX_LINKS: usize = 24;

/// When a run begins.
pub(crate) const START: u64 = 1_700_000_000_000;

const fn pair(a: Id, b: Id) -> (Id, Id) {
    if a < b { (a, b) } else { (b, a) }
}

impl World {
    pub(crate) fn new(dice: Dice, room: Room, weather: Weather) -> Self {
        let mut world = Self {
            dice,
            now: START,
            room,
            weather,
            nodes: Vec::new(),
            dropped: Vec::new(),
            exceeded: Vec::new(),
            provable: HashSet::new(),
            provable_gossip: HashSet::new(),
            lied: BTreeSet::new(),
            messages: 0,
            bytes: 0,
            events: BinaryHeap::new(),
            happenings: HashMap::new(),
            links: BTreeMap::new(),
            closing: BTreeMap::new(),
            parts: Vec::new(),
            names: 0,
            liars_rest: false,
            trace: std::env::var_os("HEARTCHAIN_TRACE").is_some(),
        };
        world.after(0, Happening::Dialling);
        world
    }

    /// Adds a peer; it starts at once.
    pub(crate) fn add(&mut self, mut node: Node) -> Id {
        let id = self.nodes.len() as Id;
        node.id = id;
        self.nodes.push(node);
        self.parts.push(0);
        self.restart(id);
        id
    }

    pub(crate) fn after(&mut self, delay: u64, what: Happening) {
        self.names += 1;
        self.events.push(Reverse((self.now + delay, self.names)));
        self.happenings.insert(self.names, what);
    }

    /// A number that nothing else has.
    pub(crate) fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// Lets everything happen that is due before `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(&Reverse((at, name))) = self.events.peek() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = at;
            if let Some(what) = self.happenings.remove(&name) {
                self.happen(what);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrival {
                link,
                from,
                to,
                what,
            } => self.arrive(link, from, to, what),
            Happening::Notice { to, life, peer, up } => {
                if self.node(to).life_number == life {
                    self.node_mut(to).note_connection(peer, up);
                    self.feed(
                        to,
                        if up {
                            Input::PeerConnected { peer }
                        } else {
                            Input::PeerDisconnected { peer }
                        },
                    );
                }
            }
            Happening::Timer { to, life, wish } => {
                if self.node(to).life_number == life && self.node(to).wish == wish {
                    self.feed(to, Input::Tick);
                }
            }
            Happening::DiskDone { to, life } => {
                let fails = self.dice.percent(self.weather.disk_failure);
                let node = self.node_mut(to);
                if node.life_number == life
                    && let Some(input) = node.disk.finish(fails)
                {
                    self.feed(to, input);
                }
            }
            Happening::NonceFound { to, life, job } => {
                if self.node(to).life_number == life
                    && let Some(input) = self.node_mut(to).find_nonce(job)
                {
                    self.feed(to, input);
                }
            }
            Happening::Dialling => {
                self.dial();
                self.after(1_000, Happening::Dialling);
            }
            Happening::Entry { at } => self.enter(at),
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::LiarTurn { at } => self.liar_turn(at),
        }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::try_from(id).expect("a small number")]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[usize::try_from(id).expect("a small number")]
    }

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

    /// Gives an input to a machine and does what it wants done. A sleeper gets nothing.
    pub(crate) fn feed(&mut self, id: Id, input: Input<Id>) {
        let now = self.now;
        if self.trace {
            let text = format!("{input:?}");
            eprintln!(
                "{} {id} <- {}",
                now - START,
                text.chars().take(1200).collect::<String>()
            );
        }
        let node = self.node_mut(id);
        let local = node.local(now);
        let Fed::Outputs(outputs) = node.feed(input, local) else {
            return;
        };
        let too_much = checks::too_much(&node.machine().load());
        if let Some(what) = too_much {
            self.exceeded
                .push(format!("{id} at {}: {what}", now - START));
        }
        for output in outputs {
            if self.trace {
                let text = format!("{output:?}");
                eprintln!(
                    "{} {id} -> {}",
                    now - START,
                    text.chars().take(1200).collect::<String>()
                );
            }
            self.perform(id, output);
        }
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

    fn arrive(&mut self, link: u64, from: Id, to: Id, what: Wire) {
        let stands = self
            .links
            .get(&pair(from, to))
            .is_some_and(|known| known.name == link);
        if !stands || self.node(to).life != Life::Awake || !self.node(to).is_connected(from) {
            return;
        }
        self.messages += 1;
        if let Wire::Request { id, .. } | Wire::Response { id, .. } | Wire::Failure { id, .. } =
            &what
            && self.provable.remove(&(from, to, *id))
        {
            self.lied.insert((from, to));
        }
        match what {
            Wire::Gossip { topic, data } => {
                self.bytes += data.len() as u64;
                let twice = self.dice.percent(self.weather.duplication);
                if let Some(id) = self.node_mut(to).take_gossip(from, topic, &data, twice) {
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

    fn enter(&mut self, at: Id) {
        let ticket = Ticket(self.name());
        let number = u16::try_from(self.dice.between(20, 400)).expect("a heart rate");
        let bpm = Bpm::new(number).expect("a heart rate");
        self.feed(at, Input::Record { ticket, bpm });
    }

    /// Whoever has too few links makes one.
    fn dial(&mut self) {
        let now = self.now;
        self.closing.retain(|_, until| *until > now);
        let count = self.nodes.len() as u64;
        let mut degrees = vec![0_usize; self.nodes.len()];
        for &(a, b) in self.links.keys() {
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
                if self.may_link(a, b) && self.dice.percent(70) {
                    self.link(a, b);
                }
            }
        }
    }

    fn may_link(&self, a: Id, b: Id) -> bool {
        let part = |id: Id| self.parts.get(usize::try_from(id).unwrap_or(0));
        a != b
            && part(a) == part(b)
            && [a, b].iter().all(|id| self.node(*id).life == Life::Awake)
            && !self.links.contains_key(&pair(a, b))
            && !self.closing.contains_key(&pair(a, b))
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

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        if self.trace {
            eprintln!("{} trouble {trouble:?}", self.now - START);
        }
        match trouble {
            Trouble::Split(parts) => {
                for at in 0..self.parts.len() {
                    self.parts[at] = self.dice.below(parts);
                }
                self.cut_across();
            }
            Trouble::Heal => self.parts.fill(0),
            Trouble::Crash(id) => {
                if self.node(id).life == Life::Awake {
                    self.node_mut(id).crash();
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Restart(id) => self.restart(id),
            Trouble::Sleep(id) => {
                if self.node(id).life == Life::Awake {
                    self.node_mut(id).life = Life::Asleep;
                    self.cut_all(id, 8_000);
                }
            }
            Trouble::Wake(id) => {
                if self.node(id).life == Life::Asleep {
                    self.node_mut(id).life = Life::Awake;
                    // Its connections died in its sleep.
                    for peer in self.node(id).connections() {
                        self.node_mut(id).note_connection(peer, false);
                        self.feed(id, Input::PeerDisconnected { peer });
                    }
                    for input in self.node_mut(id).missed() {
                        self.feed(id, input);
                    }
                    self.feed(id, Input::Woke);
                }
            }
            Trouble::Break => {
                let links: Vec<(Id, Id)> = self.links.keys().copied().collect();
                if let Some((a, b)) = self.dice.pick(&links) {
                    self.cut(a, b, 8_000);
                }
            }
            Trouble::SetClock(id, offset) => self.node_mut(id).clock = offset,
            Trouble::SetRate(id, rate) => self.node_mut(id).rate = rate,
        }
    }

    /// Puts a peer into a part of a split network of its own.
    pub(crate) fn isolate(&mut self, id: Id) {
        self.parts[usize::try_from(id).expect("a small number")] = 1_000 + id;
        self.cut_across();
    }

    fn cut_across(&mut self) {
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

    fn cut_all(&mut self, id: Id, late: u64) {
        for peer in self.neighbours(id) {
            self.cut(id, peer, late);
        }
    }

    fn restart(&mut self, id: Id) {
        let (now, room, seed) = (self.now, self.room.clone(), self.dice.bytes());
        let node = self.node_mut(id);
        if node.life == Life::Off {
            node.start(room, seed, now);
            self.feed(id, Input::Tick);
        }
    }
}
