//! Peers that lie. A liar runs a real machine and spoils what it says, or says things of its own.
//!
//! What proves the liar a liar to whoever hears it is noted, so that a run can be asked whether it was dropped there.

use std::rc::Rc;

use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::{WINDOW_HEADERS, Window},
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    key::{SecretKey, Signature},
    merkle::readings_root,
    mining,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    work::{CompactTarget, Work},
};
use sync::{
    message::{MAX_RESPONSE_LEN, Response},
    seam::{RequestFailure, RequestId, Topic},
};

use crate::{
    node::Life,
    scenario,
    world::{Happening, Id, Wire, World},
};

/// How a peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Never answers.
    Silent,
    /// Answers with noise.
    Noise,
    /// Answers with more than any answer may be.
    Oversize,
    /// Answers another question.
    OtherQuestion,
    /// Answers with bodies that are not their headers'.
    JunkBodies,
    /// Lists its mempool out of order.
    Unsorted,
    /// Claims work that it does not have.
    FalseClaim,
    /// Mines headers whose bodies it never gives, and gives no other bodies either.
    Withhold,
    /// Says that its clock is hours off.
    WrongClock,
    /// Gossips noise.
    GossipNoise,
    /// Asks with noise.
    AskNoise,
    /// Gossips readings whose signature is not the author's.
    ForgedReading,
    /// Gossips readings of heart rates that nobody has.
    BadBpm,
    /// Gossips readings and blocks of another room.
    OtherRoom,
    /// Gossips blocks without work.
    NoWork,
    /// Gossips blocks with another difficulty than the rule's.
    WrongDifficulty,
    /// Gossips blocks whose readings are not their header's.
    WrongRoot,
    /// Gossips mined blocks with a forged reading.
    ForgedInBlock,
    /// Gossips mined blocks with a reading that is not its author's next.
    SkippedSeq,
    /// Gossips mined blocks far ahead of the clock.
    TooEarly,
    /// Signs two readings with one seq.
    Equivocation,
    /// Gossips readings of fresh keys by the hundred.
    Flood,
}

impl Lie {
    pub(crate) const ALL: [Self; 22] = [
        Self::Silent,
        Self::Noise,
        Self::Oversize,
        Self::OtherQuestion,
        Self::JunkBodies,
        Self::Unsorted,
        Self::FalseClaim,
        Self::Withhold,
        Self::WrongClock,
        Self::GossipNoise,
        Self::AskNoise,
        Self::ForgedReading,
        Self::BadBpm,
        Self::OtherRoom,
        Self::NoWork,
        Self::WrongDifficulty,
        Self::WrongRoot,
        Self::ForgedInBlock,
        Self::SkippedSeq,
        Self::TooEarly,
        Self::Equivocation,
        Self::Flood,
    ];
}

/// Readings in one wave of a flood.
const FLOOD: usize = 12;

/// A liar's turns come so often, ms.
const TURN: (u64, u64) = (1_000, 6_000);

impl World {
    /// Answers a request, as a liar does if this is one.
    pub(crate) fn answer(&mut self, id: Id, peer: Id, request: RequestId, data: Vec<u8>) {
        let Some(lie) = self.node(id).lie else {
            return self.send(id, peer, Wire::Response { id: request, data });
        };
        let Ok(mut response) = Response::decode(&data) else {
            return;
        };
        let mut provable = true;
        let spoiled = match (lie, &mut response) {
            (Lie::Silent, _) => return,
            (Lie::Noise, _) => {
                // No message begins with this byte.
                let mut noise = self.dice.bytes().to_vec();
                noise[0] = 0xff;
                noise
            }
            (Lie::Oversize, _) if self.dice.one_in(2) => {
                self.owe(id, peer, request);
                let failure = RequestFailure::Oversize;
                return self.send(
                    id,
                    peer,
                    Wire::Failure {
                        id: request,
                        failure,
                    },
                );
            }
            (Lie::Oversize, _) => vec![0; MAX_RESPONSE_LEN + 1],
            (Lie::OtherQuestion, Response::Status(_)) => Response::Readings(Vec::new()).encode(),
            (Lie::OtherQuestion, _) => Response::Status(self.node(id).status(self.now)).encode(),
            (Lie::JunkBodies, Response::Bodies(bodies)) => {
                let first = bodies
                    .first_mut()
                    .and_then(Option::as_mut)
                    .and_then(|body| body.first_mut());
                match first {
                    Some(reading) => reading.bpm ^= 1,
                    None => provable = false,
                }
                response.encode()
            }
            (Lie::Unsorted, Response::MempoolIds(rows)) => {
                rows.reverse();
                provable = rows.len() > 1;
                response.encode()
            }
            (Lie::FalseClaim, Response::Status(status)) => {
                provable = false;
                status.tip = BlockHash::new(self.dice.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
                response.encode()
            }
            (Lie::WrongClock, Response::Status(status)) => {
                provable = false;
                status.now = UnixMillis::new(self.dice.next());
                response.encode()
            }
            (Lie::Withhold, Response::Bodies(_)) if self.dice.one_in(2) => return,
            (Lie::Withhold, Response::Bodies(bodies)) => {
                provable = false;
                bodies.fill(None);
                response.encode()
            }
            (Lie::Withhold, Response::Headers(headers)) => {
                provable = false;
                headers.extend(self.secret_header(id));
                response.encode()
            }
            (Lie::Withhold, Response::Status(status)) => {
                provable = false;
                if let Some(header) = self.secret_header(id) {
                    status.tip = header.hash();
                    status.index = header.index;
                    let work = header
                        .bits
                        .target()
                        .map_or(Work::ZERO, |target| target.work());
                    status.total_work = status.total_work.saturating_add(work);
                }
                response.encode()
            }
            _ => {
                provable = false;
                data
            }
        };
        if provable {
            self.owe(id, peer, request);
        }
        self.send(
            id,
            peer,
            Wire::Response {
                id: request,
                data: spoiled,
            },
        );
    }

    /// A liar does something of its own accord.
    pub(crate) fn liar_turn(&mut self, id: Id) {
        let delay = self.dice.between(TURN.0, TURN.1);
        self.after(delay, Happening::LiarTurn { at: id });
        let Some(lie) = self
            .node(id)
            .lie
            .filter(|_| self.node(id).life == Life::Awake && !self.liars_rest)
        else {
            return;
        };
        match lie {
            Lie::Silent
            | Lie::Noise
            | Lie::Oversize
            | Lie::OtherQuestion
            | Lie::JunkBodies
            | Lie::Unsorted
            | Lie::FalseClaim
            | Lie::WrongClock => {}
            Lie::Withhold => {
                let header = self.mined_header(id, &[self.own_reading(id, 0)], 0);
                self.node_mut(id).secret = Some(header);
            }
            Lie::GossipNoise => {
                let topic = if self.dice.one_in(2) {
                    Topic::Readings
                } else {
                    Topic::Blocks
                };
                let noise = self.dice.bytes().to_vec();
                self.gossip_lie(id, topic, noise, true);
            }
            Lie::AskNoise => {
                for peer in self.neighbours(id) {
                    let request = RequestId(u64::MAX - self.name());
                    self.owe(id, peer, request);
                    let mut noise = self.dice.bytes().to_vec();
                    noise[0] = 0xff;
                    self.send(
                        id,
                        peer,
                        Wire::Request {
                            id: request,
                            data: noise,
                        },
                    );
                }
            }
            Lie::ForgedReading => {
                let forged = self.forged_reading();
                self.gossip_lie(id, Topic::Readings, forged.to_bytes().to_vec(), true);
            }
            Lie::BadBpm => {
                let mut reading = self.own_reading(id, 0);
                reading.bpm = self.dice.pick(&[0, 19, 401, u16::MAX]).unwrap_or(0);
                reading.time = UnixMillis::new(self.dice.below(1 << 40));
                self.gossip_lie(id, Topic::Readings, reading.to_bytes().to_vec(), true);
            }
            Lie::OtherRoom => {
                let other = scenario::room(9, 2_000);
                let key = SecretKey::from_seed(self.dice.bytes());
                let now = UnixMillis::new(self.now);
                let reading = key.sign(other.id(), 0, now, Bpm::MIN);
                self.gossip_lie(id, Topic::Readings, reading.to_bytes().to_vec(), true);
                let header = mine(&other, Vec::new(), &[reading], now, None);
                let block = Block {
                    header,
                    readings: vec![reading],
                };
                self.gossip_lie(id, Topic::Blocks, block.encode(), false);
            }
            Lie::NoWork => {
                let readings = vec![self.own_reading(id, 0)];
                let mut header = self.mined_header(id, &readings, 0);
                while header
                    .bits
                    .target()
                    .is_ok_and(|target| target.is_met_by(&header.hash()))
                {
                    header.nonce = self.dice.next();
                }
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::WrongDifficulty => {
                let readings = vec![self.own_reading(id, 0)];
                let right = self.mined_header(id, &readings, 0);
                let bits = CompactTarget::from_bits(right.bits.to_bits() - 1);
                let header = self.headers_and_mine(id, &readings, 0, Some(bits));
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::WrongRoot => {
                let reading = self.own_reading(id, 0);
                let header = self.mined_header(id, &[reading], 0);
                let readings = vec![self.own_reading(id, 1)];
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::ForgedInBlock => {
                let readings = vec![self.forged_reading()];
                let header = self.mined_header(id, &readings, 0);
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::SkippedSeq => {
                let readings = vec![self.own_reading(id, 7)];
                let header = self.mined_header(id, &readings, 0);
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::TooEarly => {
                let readings = vec![self.own_reading(id, 0)];
                let ahead = self.dice.between(31_000, 900_000);
                let header = self.mined_header(id, &readings, ahead);
                self.gossip_lie(
                    id,
                    Topic::Blocks,
                    Block { header, readings }.encode(),
                    false,
                );
            }
            Lie::Equivocation => {
                for more in [0, 0, 1] {
                    let mut reading = self.own_reading(id, more);
                    let key = SecretKey::from_seed(self.node(id).key_seed);
                    let time = UnixMillis::new(self.dice.below(1 << 40));
                    reading = key.sign(self.room.id(), reading.seq, time, Bpm::MAX);
                    self.gossip_lie(id, Topic::Readings, reading.to_bytes().to_vec(), false);
                }
            }
            Lie::Flood => {
                for _ in 0..FLOOD {
                    let key = SecretKey::from_seed(self.dice.bytes());
                    let seq = self.dice.below(3);
                    let reading =
                        key.sign(self.room.id(), seq, UnixMillis::new(self.now), Bpm::MAX);
                    self.gossip_lie(id, Topic::Readings, reading.to_bytes().to_vec(), false);
                }
            }
        }
    }

    /// Notes that whoever gets this message can prove that its sender lies.
    fn owe(&mut self, liar: Id, to: Id, request: RequestId) {
        self.provable.insert((liar, to, request));
    }

    fn gossip_lie(&mut self, id: Id, topic: Topic, data: Vec<u8>, provable: bool) {
        let data: Rc<[u8]> = data.into();
        if provable {
            self.provable_gossip.insert(Rc::clone(&data));
        }
        self.node_mut(id).note_published(topic, &data);
        self.flood(id, None, topic, &data);
    }

    /// Whether this peer, as it stands, can see that a gossiped item is a lie.
    pub(crate) fn sees_through(&self, to: Id, topic: Topic, data: &Rc<[u8]>) -> bool {
        if !self.provable_gossip.contains(data) {
            return false;
        }
        match (topic, Block::decode(data)) {
            (Topic::Blocks, Ok(block)) => {
                // Only where the block would be the next one are all of its rules judged, and only in time.
                let next = self.node(to).machine().status().tip == block.header.prev_hash;
                next && self.nodes.iter().all(|node| node.clock.abs() < 10_000)
            }
            (Topic::Blocks, Err(_)) | (Topic::Readings, _) => true,
        }
    }

    /// A reading by this peer's key, `more` places after its next one.
    fn own_reading(&self, id: Id, more: u64) -> Reading {
        let node = self.node(id);
        let key = SecretKey::from_seed(node.key_seed);
        let linked = self
            .chain_readings(id)
            .filter(|reading| reading.author == key.author())
            .count();
        key.sign(
            self.room.id(),
            linked as u64 + more,
            UnixMillis::new(self.now),
            Bpm::MIN,
        )
    }

    fn chain_readings(&self, id: Id) -> impl Iterator<Item = &Reading> {
        let node = self.node(id);
        (1..=node.machine().status().index)
            .filter_map(|index| node.disk.blocks.get(&node.machine().best_hash(index)?))
            .flat_map(|block| &block.readings)
    }

    fn forged_reading(&mut self) -> Reading {
        let key = SecretKey::from_seed(self.dice.bytes());
        let mut reading = key.sign(self.room.id(), 0, UnixMillis::new(self.now), Bpm::MIN);
        reading.signature = Signature::new([7; 64]);
        reading
    }

    fn secret_header(&self, id: Id) -> Option<Header> {
        let node = self.node(id);
        node.secret
            .filter(|header| header.prev_hash == node.machine().status().tip)
    }

    /// A header with work on this peer's tip, so many ms ahead of the truth.
    fn mined_header(&mut self, id: Id, readings: &[Reading], ahead: u64) -> Header {
        self.headers_and_mine(id, readings, ahead, None)
    }

    fn headers_and_mine(
        &mut self,
        id: Id,
        readings: &[Reading],
        ahead: u64,
        bits: Option<CompactTarget>,
    ) -> Header {
        let machine = self.node(id).machine();
        let tip = machine.status().index;
        let first = tip.saturating_sub(WINDOW_HEADERS as u64);
        let headers = (first..=tip)
            .filter_map(|index| machine.header(&machine.best_hash(index)?))
            .collect();
        mine(
            &self.room,
            headers,
            readings,
            UnixMillis::new(self.now + ahead),
            bits,
        )
    }
}

/// Mines a header on a branch's last headers; the rule's bits, unless told otherwise.
fn mine(
    room: &Room,
    headers: Vec<Header>,
    readings: &[Reading],
    now: UnixMillis,
    bits: Option<CompactTarget>,
) -> Header {
    let prev_hash = headers.last().map_or(room.genesis_hash(), Header::hash);
    let window = Window::from_headers(room, headers);
    let time = now.max(window.mtp().saturating_add(1));
    let mut header = Header {
        version: HEADER_VERSION,
        index: window.next_index(),
        time,
        prev_hash,
        readings_root: readings_root(readings),
        bits: bits.unwrap_or(window.next_bits(time)),
        nonce: 0,
    };
    let target = header.bits.target().expect("a target");
    header.nonce = mining::Job::new(&header, target)
        .search(0, u32::MAX)
        .unwrap_or(0);
    header
}
