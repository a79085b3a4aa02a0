//! Persistent attackers: they never stop, and runs are checked while they are active. Each has a real machine that
//! follows the room, and a link to every honest peer. Their responses are in `attacker_replies`.

use std::collections::{BTreeMap, BTreeSet};

use heartchain_chain::{
    block::{Block, max_block_readings},
    bpm::Bpm,
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    key::SecretKey,
    reading::Reading,
    time::UnixMillis,
};
use heartchain_sync::{
    io::{RequestId, Topic},
    message::Request,
};
use heartchain_test_support::mine_header;

use crate::{
    attack::{Attack, Attacker},
    event::SimEvent,
    id::Id,
    node::{Node, RunState},
    packet::Packet,
    world::World,
};

/// Height of the parent of full junk blocks. Their branches have the least work and are evicted first.
const LOW_HEIGHT: u64 = 1;
/// How far below the tip junk blocks are attached while no deeper block is old enough for minimum-work children.
const SHALLOW_DEPTH: u64 = 4;
/// Junk starts once the chain has this many blocks, because it must not become the best branch.
const MIN_HEIGHT: u64 = 10;
/// A block that comes this long after its parent needs only minimum work, ms.
const MIN_WORK_GAP: u64 = 61_000;
/// The withholder offers another branch after this time, ms, when its victims have just given up the previous one.
const NEXT_BRANCH_AFTER: u64 = 10_300;
/// Minimum time for each withheld header, ms: the attacker has less hash rate than the others together.
const MIN_PAUSE_PER_HEADER: u64 = 2_000;
/// The sequence number of junk readings, far ahead of their author's sequence.
const FAR_AHEAD_SEQ: u64 = 2_000;

impl World {
    /// Adds an attacker, which starts at once.
    pub(crate) fn add_attacker(&mut self, attack: Attack) -> Id {
        let mut node = Node::new(self.rng.bytes(), 0);
        node.mines = false;
        node.faults.never_corrupts = true;
        node.attack = Some(Attacker {
            attack,
            withheld_branch: Vec::new(),
            withheld_hashes: BTreeSet::new(),
            mined_at: 0,
            turns: 0,
            pages: BTreeMap::new(),
            replays: BTreeMap::new(),
            reconnects: BTreeSet::new(),
        });
        let at = self.add(node);
        self.schedule_in(500, SimEvent::AttackerTurn { at });
        at
    }

    pub(crate) fn attacker_turn(&mut self, id: Id) {
        let Some(attacker) = &mut self.node_mut(id).attack else {
            return;
        };
        attacker.turns += 1;
        let (attack, turns) = (attacker.attack, attacker.turns);
        self.schedule_in(attack.turn(), SimEvent::AttackerTurn { at: id });
        if self.node(id).run_state != RunState::Awake {
            return;
        }
        self.link_to_all(id);
        let is_low = self.node(id).machine().status().index < MIN_HEIGHT;
        match attack {
            Attack::SideJunk { .. } | Attack::SideFresh { .. } if is_low => {
                if let Some(attacker) = &mut self.node_mut(id).attack {
                    attacker.turns = 0;
                }
            }
            Attack::BodyWithholder { headers } => self.offer_withheld_branch(id, headers),
            Attack::HeaderStaller | Attack::HeaderDripper => self.announce_claim(id),
            Attack::EndlessListing | Attack::EndlessProfiles => {}
            Attack::ProfileFlood => self.flood_profiles(id),
            Attack::SideJunk { blocks } => self.gossip_side_junk(id, blocks, turns),
            Attack::SideFresh { full } if turns <= full => self.gossip_full_junk(id),
            Attack::SideFresh { .. } => self.gossip_side_junk(id, 20, turns),
            Attack::OrphanVerdicts => self.gossip_orphans(id),
            Attack::NewcomerFlood => self.flood_newcomers(id, if turns == 1 { 128 } else { 1 }),
        }
    }

    fn link_to_all(&mut self, id: Id) {
        for to in 0..self.nodes.len() as Id {
            if self.node(to).is_honest() && self.can_dial(id, to) {
                self.dial(id, to);
            }
        }
    }

    /// Sends its claimed status to all neighbours.
    fn announce_claim(&mut self, id: Id) {
        for to in self.neighbours(id) {
            let data = Request::Status(self.claimed_status(id)).encode();
            let request = RequestId(u64::MAX - self.next_id());
            self.send(id, to, Packet::Request { id: request, data });
        }
    }

    /// Offers a new branch once the last one is of no more use.
    fn offer_withheld_branch(&mut self, id: Id, headers: usize) {
        let now = self.now;
        let tip = self.node(id).machine().status().tip;
        let Some(attacker) = &self.node(id).attack else {
            return;
        };
        let age = now.saturating_sub(attacker.mined_at);
        let first = attacker.withheld_branch.first();
        let is_stale = first.is_none_or(|first| first.prev_hash != tip);
        if age < NEXT_BRANCH_AFTER && !(is_stale && age >= MIN_PAUSE_PER_HEADER * headers as u64) {
            return;
        }
        let branch = self.mine_withheld_branch(id, headers);
        if let Some(attacker) = &mut self.node_mut(id).attack {
            attacker.mined_at = now;
            attacker
                .withheld_hashes
                .extend(branch.iter().map(Header::hash));
            attacker.withheld_branch = branch;
        }
        self.announce_claim(id);
    }

    fn mine_withheld_branch(&mut self, id: Id, headers: usize) -> Vec<Header> {
        let mut prev = self.node(id).machine().status().tip;
        let Some(mut window) = self.node(id).machine().header_window(&prev) else {
            return Vec::new();
        };
        let mut branch = Vec::new();
        for _ in 0..headers {
            let readings = [self.unknown_author_reading(0)];
            let header = mine_at(&window, prev, &readings, self.now);
            window.push(&header);
            prev = header.hash();
            branch.push(header);
        }
        branch
    }

    /// A valid reading of a fresh key that no peer has.
    fn unknown_author_reading(&mut self, seq: u64) -> Reading {
        let key = SecretKey::from_seed(self.rng.bytes());
        self.sign(&key, seq, UnixMillis::new(self.now), Bpm::MIN)
    }

    /// A block not far below the tip that is old enough for minimum-work children.
    fn old_block(&self, id: Id) -> Option<BlockHash> {
        let machine = self.node(id).machine();
        let tip = machine.status().index;
        let old = |hash: &BlockHash| {
            let header = machine.header(hash);
            header.is_some_and(|header| header.time.get() + MIN_WORK_GAP < self.now)
        };
        let lowest = tip.saturating_sub(400).max(LOW_HEIGHT + 1);
        let heights = (lowest..=tip.saturating_sub(SHALLOW_DEPTH)).rev();
        let mut hashes = heights.filter_map(|height| machine.best_hash(height));
        hashes.find(old)
    }

    fn gossip_side_junk(&mut self, id: Id, blocks: u64, turns: u64) {
        let machine = self.node(id).machine();
        let shallow = machine.best_hash(machine.status().index.saturating_sub(SHALLOW_DEPTH));
        let (parent, blocks) = match self.old_block(id) {
            Some(old) => (Some(old), blocks),
            // These need as much work as blocks of the best branch.
            None => (shallow, u64::from(turns.is_multiple_of(3))),
        };
        let key = SecretKey::from_seed(self.node(id).key_seed);
        for number in 0..blocks {
            let time = UnixMillis::new(self.now - number);
            let reading = self.sign(&key, FAR_AHEAD_SEQ, time, Bpm::MIN);
            if let Some(parent) = parent {
                self.gossip_on(id, parent, vec![reading], self.now - number);
            }
        }
    }

    /// Gossips a full block of readings whose predecessors no peer has.
    fn gossip_full_junk(&mut self, id: Id) {
        let limit = max_block_readings(self.room.form());
        let readings = (0..limit).map(|_| self.unknown_author_reading(1)).collect();
        if let Some(parent) = self.node(id).machine().best_hash(LOW_HEIGHT) {
            self.gossip_on(id, parent, readings, self.now);
        }
    }

    fn gossip_on(&mut self, id: Id, parent: BlockHash, readings: Vec<Reading>, time: u64) {
        let Some(window) = self.node(id).machine().header_window(&parent) else {
            return;
        };
        let header = mine_at(&window, parent, &readings, time);
        let block = Block { header, readings };
        self.gossip_forged(id, Topic::Blocks, block.encode(), false);
    }

    fn gossip_orphans(&mut self, id: Id) {
        for to in self.neighbours(id) {
            for _ in 0..4 {
                let parent = BlockHash::new(self.rng.bytes());
                let readings = vec![self.unknown_author_reading(0)];
                let header = mine_at(&Window::genesis(&self.room), parent, &readings, self.now);
                let data = Block { header, readings }.encode().into();
                let topic = Topic::Blocks;
                self.send(id, to, Packet::Gossip { topic, data });
            }
            self.schedule_in(500, SimEvent::Reconnect { from: id, to });
        }
    }

    fn flood_newcomers(&mut self, id: Id, keys: u64) {
        for _ in 0..keys {
            let key = SecretKey::from_seed(self.rng.bytes());
            for seq in 1..=32 {
                let reading = self.sign(&key, seq, UnixMillis::new(self.now), Bpm::MIN);
                let data = reading.to_bytes().to_vec();
                self.gossip_forged(id, Topic::Readings, data, false);
            }
        }
    }

    /// Cuts a link and sets it up again at once.
    pub(crate) fn reconnect(&mut self, from: Id, to: Id) {
        self.cut(from, to, 0);
        if let Some(attacker) = &mut self.node_mut(from).attack {
            attacker.reconnects.remove(&to);
        }
        self.schedule_in(5, SimEvent::Connect { from, to });
    }
}

/// Mines a header on a branch, with this timestamp or the earliest later one that the rules allow.
fn mine_at(window: &Window, parent: BlockHash, readings: &[Reading], time: u64) -> Header {
    let time = UnixMillis::new(time).max(window.mtp().saturating_add(1));
    mine_header(window, parent, readings, time)
}
