//! The world that the machines live in, and its one scheduler. All that happens follows from the seed.
//!
//! Time is the true time in milliseconds; each peer sees it through its own clock. Nothing here judges a run
//! (`checks` does) or decides what goes wrong in it (`scenario` does).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    rc::Rc,
};

use chain::{bpm::Bpm, room::Room};
use sync::{Input, seam::Ticket};

use crate::{
    checks,
    computers::Computer,
    dice::Dice,
    ledger::Ledger,
    links::{Link, Said, Wire},
    node::{Fed, Life, Node},
    trouble::Trouble,
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
    /// A standing attacker takes one.
    AttackerTurn { at: Id },
    /// It sends what it held back.
    Say { from: Id, to: Id, what: Wire },
    /// It cuts a link and makes it again.
    Reconnect { from: Id, to: Id },
    /// It makes a link.
    Join { from: Id, to: Id },
    /// The invariants are looked at.
    Look,
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
    pub(crate) provable: HashSet<(Id, Id, Said)>,
    /// Gossip items that do.
    pub(crate) provable_gossip: HashSet<Rc<[u8]>>,
    /// Who lied provably to whom.
    pub(crate) lied: BTreeSet<(Id, Id)>,
    /// Gossip items handed to machines, requests sent: to be told at the end.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    pub(crate) links: BTreeMap<(Id, Id), Link>,
    /// Pairs whose last link's end has not been noticed yet, and until when.
    pub(crate) closing: BTreeMap<(Id, Id), u64>,
    /// Which part of a split network each peer is in.
    pub(crate) parts: Vec<u64>,
    names: u64,
    pub(crate) trace: bool,
    /// Liars do nothing of their own accord any more.
    pub(crate) liars_rest: bool,
    /// Computers with several slots.
    pub(crate) computers: Vec<Computer>,
    /// What the invariants know.
    pub(crate) ledger: Ledger,
}

/// When a run begins.
pub(crate) const START: u64 = 1_700_000_000_000;

impl World {
    /// The scenario keeps its dice: were these the same, an attacker could draw an honest peer's key.
    pub(crate) fn new(dice: &Dice, room: Room, weather: Weather) -> Self {
        let mut world = Self {
            dice: dice.fork(),
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
            computers: Vec::new(),
            ledger: Ledger::default(),
            trace: std::env::var_os("HEARTCHAIN_TRACE").is_some(),
        };
        world.after(0, Happening::Dialling);
        world.after(0, Happening::Look);
        world
    }

    /// Adds a peer; it starts at once.
    pub(crate) fn add(&mut self, node: Node) -> Id {
        let id = self.add_closed(node);
        self.restart(id);
        id
    }

    /// Adds a peer that starts later.
    pub(crate) fn add_closed(&mut self, mut node: Node) -> Id {
        let id = self.nodes.len() as Id;
        node.id = id;
        self.nodes.push(node);
        self.parts.push(0);
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
                let node = self.node(to);
                // A sleeper notices when it wakes.
                if node.life_number == life && node.life == Life::Awake {
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
                let node = self.node_mut(to);
                // A sleeper's alarm goes off after it wakes.
                if node.life == Life::Awake && node.life_number == life && node.wish == wish {
                    node.alarm = None;
                    self.feed(to, Input::Tick);
                }
            }
            Happening::DiskDone { to, life } => {
                let fails = self.dice.percent(self.weather.disk_failure);
                let now = self.now;
                let node = self.node_mut(to);
                let full = node.disk.has_no_room(now);
                if node.life_number == life
                    && let Some(input) = node.disk.finish(fails || full, full)
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
            Happening::AttackerTurn { at } => self.attacker_turn(at),
            Happening::Say { from, to, what } => self.send(from, to, what),
            Happening::Reconnect { from, to } => self.reconnect(from, to),
            Happening::Join { from, to } => {
                if self.may_link(from, to) {
                    self.link(from, to);
                }
            }
            Happening::Look => self.look(),
        }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::try_from(id).expect("a small number")]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[usize::try_from(id).expect("a small number")]
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
        let clocks = node.clock.both(now);
        let Fed::Outputs(outputs) = node.feed(input, clocks) else {
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

    fn enter(&mut self, at: Id) {
        let ticket = Ticket(self.name());
        let number = u16::try_from(self.dice.between(20, 400)).expect("a heart rate");
        let bpm = Bpm::new(number).expect("a heart rate");
        self.feed(at, Input::Record { ticket, bpm });
    }

    pub(crate) fn restart(&mut self, id: Id) {
        let (now, room, seed) = (self.now, self.room.clone(), self.dice.bytes());
        let node = self.node_mut(id);
        if node.life == Life::Off && !node.gone {
            let hashes = node.start(room, seed, now);
            self.feed(id, Input::Tick);
            self.feed(id, Input::Lost { hashes });
            self.adopt_closed_slots(id);
        }
    }
}
