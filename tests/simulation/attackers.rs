//! Standing attackers: they never rest, and runs are judged while they are at work. Each has a real machine that follows
//! the room, and a link to each honest peer. What they answer is `deceit`'s.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    block::Block, bpm::Bpm, difficulty::Window, hash::BlockHash, header::Header, key::SecretKey,
    mining, reading::Reading, time::UnixMillis,
};
use sync::{
    message::Request,
    seam::{RequestId, Topic},
};

use crate::{
    links::Wire,
    node::{Life, Node},
    world::{Happening, Id, World},
};

/// What a standing attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Offers so many headers on the tip, holds each request for their bodies for 9.7 s, then says that it lacks them,
    /// and goes on with a sibling.
    BodyWithholder { headers: usize },
    /// Claims most work and answers no request for headers. It connects again at once, so that no stall counts.
    HeaderStaller,
    /// Claims most work and gives 2,000 headers of least work each 9.7 s.
    HeaderDripper,
    /// Gossips side blocks below the tip, so many a turn, each with a reading far ahead of its author's count.
    SideJunk { blocks: u64 },
    /// Gossips side blocks full of readings of fresh keys that can never be mined, then goes on with `SideJunk`.
    SideFresh { full: u64 },
    /// Gossips blocks of unknown parents, then disconnects before their verdicts.
    OrphanVerdicts,
    /// Gossips readings of many keys that all lack the first one.
    NewcomerFlood,
    /// Lists a mempool without end.
    EndlessListing,
}

impl Attack {
    /// Those of a class.
    pub(crate) const ALL: [Self; 9] = [
        Self::BodyWithholder { headers: 1 },
        Self::BodyWithholder { headers: 3 },
        Self::HeaderStaller,
        Self::HeaderDripper,
        Self::SideJunk { blocks: 3 },
        Self::SideFresh { full: 1 },
        Self::OrphanVerdicts,
        Self::NewcomerFlood,
        Self::EndlessListing,
    ];

    /// Its turns come so often, ms.
    const fn turn(self) -> u64 {
        match self {
            Self::BodyWithholder { .. } => 500,
            Self::HeaderStaller | Self::HeaderDripper | Self::EndlessListing => 1_000,
            Self::SideJunk { .. } | Self::SideFresh { .. } => 1_000,
            Self::OrphanVerdicts => 3_000,
            Self::NewcomerFlood => 10_000,
        }
    }
}

/// What an attacker keeps in mind.
#[derive(Debug)]
pub(crate) struct Attacker {
    pub(crate) attack: Attack,
    /// The headers that it offers now.
    pub(crate) secret: Vec<Header>,
    /// All that it has offered.
    pub(crate) withheld: BTreeSet<BlockHash>,
    mined_at: u64,
    turns: u64,
    /// Pages of one listing that a peer has asked for, one after the other.
    pub(crate) pages: BTreeMap<Id, u64>,
    /// Peers that it will connect to again soon.
    pub(crate) reconnects: BTreeSet<Id>,
}

/// Full junk blocks stand here: their branches are the lightest and go first.
const LOW: u64 = 1;
/// Junk blocks stand so deep below the tip while no deeper block is old enough to need the least work only.
const SHALLOW: u64 = 4;
/// Junk begins once the chain has so many blocks: it must not become the best branch.
const LEAST_HEIGHT: u64 = 10;
/// A block that comes so long after its parent needs the least work only, ms.
const QUIET: u64 = 61_000;
/// The withholder shows another branch after so long, ms: the last one was just given up.
const NEXT_BRANCH: u64 = 10_300;
/// It finds no two headers within so long, ms: it has less work than the others together.
const LEAST_PAUSE: u64 = 2_000;
/// Junk readings are so far ahead of their author's count.
const FAR_AHEAD: u64 = 2_000;

impl World {
    /// Adds an attacker. It begins at once.
    pub(crate) fn add_attacker(&mut self, attack: Attack) -> Id {
        let mut node = Node::new(self.dice.bytes(), 0);
        node.mines = false;
        node.disk.is_sound = true;
        node.attack = Some(Attacker {
            attack,
            secret: Vec::new(),
            withheld: BTreeSet::new(),
            mined_at: 0,
            turns: 0,
            pages: BTreeMap::new(),
            reconnects: BTreeSet::new(),
        });
        let at = self.add(node);
        self.after(500, Happening::AttackerTurn { at });
        at
    }

    pub(crate) fn attacker_turn(&mut self, id: Id) {
        let Some(attacker) = &mut self.node_mut(id).attack else {
            return;
        };
        attacker.turns += 1;
        let (attack, turns) = (attacker.attack, attacker.turns);
        self.after(attack.turn(), Happening::AttackerTurn { at: id });
        if self.node(id).life != Life::Awake {
            return;
        }
        self.link_to_all(id);
        let is_low = self.node(id).machine().status().index < LEAST_HEIGHT;
        match attack {
            Attack::SideJunk { .. } | Attack::SideFresh { .. } if is_low => {
                if let Some(attacker) = &mut self.node_mut(id).attack {
                    attacker.turns = 0;
                }
            }
            Attack::BodyWithholder { headers } => self.offer_secret_branch(id, headers),
            Attack::HeaderStaller | Attack::HeaderDripper => self.push_claim(id),
            Attack::EndlessListing => {}
            Attack::SideJunk { blocks } => self.gossip_side_junk(id, blocks, turns),
            Attack::SideFresh { full } if turns <= full => self.gossip_full_junk(id),
            Attack::SideFresh { .. } => self.gossip_side_junk(id, 20, turns),
            Attack::OrphanVerdicts => self.gossip_orphans(id),
            Attack::NewcomerFlood => self.flood_newcomers(id, if turns == 1 { 128 } else { 1 }),
        }
    }

    fn link_to_all(&mut self, id: Id) {
        for to in 0..self.nodes.len() as Id {
            if self.node(to).is_honest() && self.may_link(id, to) {
                self.link(id, to);
            }
        }
    }

    /// Tells all neighbours what it claims.
    fn push_claim(&mut self, id: Id) {
        for to in self.neighbours(id) {
            let data = Request::Status(self.claim(id)).encode();
            let request = RequestId(u64::MAX - self.name());
            self.send(id, to, Wire::Request { id: request, data });
        }
    }

    /// Shows a new branch when the last one is of no more use.
    fn offer_secret_branch(&mut self, id: Id, headers: usize) {
        let now = self.now;
        let tip = self.node(id).machine().status().tip;
        let Some(attacker) = &self.node(id).attack else {
            return;
        };
        let age = now.saturating_sub(attacker.mined_at);
        let first = attacker.secret.first();
        let is_stale = first.is_none_or(|first| first.prev_hash != tip);
        if age < NEXT_BRANCH && !(is_stale && age >= LEAST_PAUSE * headers as u64) {
            return;
        }
        let branch = self.mine_secret(id, headers);
        if let Some(attacker) = &mut self.node_mut(id).attack {
            attacker.mined_at = now;
            attacker.withheld.extend(branch.iter().map(Header::hash));
            attacker.secret = branch;
        }
        self.push_claim(id);
    }

    fn mine_secret(&mut self, id: Id, headers: usize) -> Vec<Header> {
        let mut prev = self.node(id).machine().status().tip;
        let Some(mut window) = self.node(id).machine().window_on(&prev) else {
            return Vec::new();
        };
        let mut branch = Vec::new();
        for _ in 0..headers {
            let readings = [self.stray_reading(0)];
            let header = mine_at(&window, prev, &readings, self.now);
            window.push(&header);
            prev = header.hash();
            branch.push(header);
        }
        branch
    }

    /// A valid reading of a key that no peer has.
    fn stray_reading(&mut self, seq: u64) -> Reading {
        let key = SecretKey::from_seed(self.dice.bytes());
        key.sign(self.room.id(), seq, UnixMillis::new(self.now), Bpm::MIN)
    }

    /// A block so old that the least work is enough on it, and not far below the tip.
    fn old_block(&self, id: Id) -> Option<BlockHash> {
        let machine = self.node(id).machine();
        let tip = machine.status().index;
        let old = |hash: &BlockHash| {
            let header = machine.header(hash);
            header.is_some_and(|header| header.time.get() + QUIET < self.now)
        };
        let lowest = tip.saturating_sub(400).max(LOW + 1);
        let heights = (lowest..=tip.saturating_sub(SHALLOW)).rev();
        let mut hashes = heights.filter_map(|height| machine.best_hash(height));
        hashes.find(old)
    }

    fn gossip_side_junk(&mut self, id: Id, blocks: u64, turns: u64) {
        let machine = self.node(id).machine();
        let shallow = machine.best_hash(machine.status().index.saturating_sub(SHALLOW));
        let (parent, blocks) = match self.old_block(id) {
            Some(old) => (Some(old), blocks),
            // These cost as much work as the chain's.
            None => (shallow, u64::from(turns.is_multiple_of(3))),
        };
        let key = SecretKey::from_seed(self.node(id).key_seed);
        for number in 0..blocks {
            let time = UnixMillis::new(self.now - number);
            let reading = key.sign(self.room.id(), FAR_AHEAD, time, Bpm::MIN);
            if let Some(parent) = parent {
                self.gossip_on(id, parent, vec![reading], self.now - number);
            }
        }
    }

    /// A block of readings whose first ones no peer has.
    fn gossip_full_junk(&mut self, id: Id) {
        let readings = (0..1_024).map(|_| self.stray_reading(1)).collect();
        if let Some(parent) = self.node(id).machine().best_hash(LOW) {
            self.gossip_on(id, parent, readings, self.now);
        }
    }

    fn gossip_on(&mut self, id: Id, parent: BlockHash, readings: Vec<Reading>, time: u64) {
        let Some(window) = self.node(id).machine().window_on(&parent) else {
            return;
        };
        let header = mine_at(&window, parent, &readings, time);
        let block = Block { header, readings };
        self.gossip_lie(id, Topic::Blocks, block.encode(), false);
    }

    fn gossip_orphans(&mut self, id: Id) {
        for to in self.neighbours(id) {
            for _ in 0..4 {
                let parent = BlockHash::new(self.dice.bytes());
                let readings = vec![self.stray_reading(0)];
                let header = mine_at(&Window::genesis(&self.room), parent, &readings, self.now);
                let data = Block { header, readings }.encode().into();
                let topic = Topic::Blocks;
                self.send(id, to, Wire::Gossip { topic, data });
            }
            self.after(500, Happening::Reconnect { from: id, to });
        }
    }

    fn flood_newcomers(&mut self, id: Id, keys: u64) {
        for _ in 0..keys {
            let key = SecretKey::from_seed(self.dice.bytes());
            for seq in 1..=32 {
                let reading = key.sign(self.room.id(), seq, UnixMillis::new(self.now), Bpm::MIN);
                let data = reading.to_bytes().to_vec();
                self.gossip_lie(id, Topic::Readings, data, false);
            }
        }
    }

    /// Cuts a link and makes it again at once.
    pub(crate) fn reconnect(&mut self, from: Id, to: Id) {
        self.cut(from, to, 0);
        if let Some(attacker) = &mut self.node_mut(from).attack {
            attacker.reconnects.remove(&to);
        }
        self.after(5, Happening::Join { from, to });
    }
}

/// Mines a header on a branch, at this time or as early after it as the rules allow.
fn mine_at(window: &Window, parent: BlockHash, readings: &[Reading], time: u64) -> Header {
    let time = UnixMillis::new(time).max(window.mtp().saturating_add(1));
    let header = mining::template(window, parent, time, readings);
    mining::mine(header, u32::MAX).unwrap_or(header)
}
