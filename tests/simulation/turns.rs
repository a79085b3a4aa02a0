//! What liars do of their own accord, turn by turn.

use std::rc::Rc;

use chain::{block::Block, bpm::Bpm, key::SecretKey, time::UnixMillis, work::CompactTarget};
use sync::{
    Input,
    seam::{RequestId, Topic},
};

use crate::{
    driver::{expected_tries, rate_of},
    forgery::mine,
    liars::Lie,
    links::{Said, Wire},
    node::Life,
    scenario,
    world::{Happening, Id, World},
};

/// A liar's turns come so often, ms.
const TURN: (u64, u64) = (1_000, 6_000);
/// Turns of one that mines ahead of the clock, ms: often, because each is a chance to find a block.
const AHEAD_TURN: u64 = 100;
/// How far ahead it stamps, ms: what the rules allow, less the time on the way.
const AHEAD: u64 = 29_500;

impl World {
    /// A liar does something of its own accord.
    pub(crate) fn liar_turn(&mut self, id: Id) {
        let delay = match self.node(id).lie {
            Some(Lie::StampsAhead) => AHEAD_TURN,
            _ => self.dice.between(TURN.0, TURN.1),
        };
        self.after(delay, Happening::LiarTurn { at: id });
        let Some(lie) = self
            .node(id)
            .lie
            .filter(|_| self.node(id).life == Life::Awake && !self.liars_rest)
        else {
            return;
        };
        match lie {
            Lie::StampsAhead => self.try_to_mine_ahead(id),
            Lie::BehindMedian => {
                let readings = vec![self.own_reading(id, 0)];
                let header = self.header_at_the_median(id, &readings);
                self.gossip_lie(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Lie::JunkOnHonest => {
                // Whoever has the block already learns nothing of the lie.
                let machine = self.node(id).machine();
                if let Some(header) = machine.header(&machine.status().tip) {
                    let readings = vec![self.own_reading(id, 0)];
                    let data = Block { header, readings }.encode();
                    self.gossip_lie(id, Topic::Blocks, data, false);
                }
            }
            Lie::Silent
            | Lie::EndlessHeaders
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
                    self.owe(id, peer, Said::Question(request));
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
                for _ in 0..self.node(id).flood {
                    let key = SecretKey::from_seed(self.dice.bytes());
                    let seq = self.dice.below(3);
                    let reading =
                        key.sign(self.room.id(), seq, UnixMillis::new(self.now), Bpm::MAX);
                    self.gossip_lie(id, Topic::Readings, reading.to_bytes().to_vec(), false);
                }
            }
        }
    }

    /// A turn's chance to find a block at this peer's hash rate, stamped as late as the rules allow.
    fn try_to_mine_ahead(&mut self, id: Id) {
        let node = self.node(id);
        let tip = node.machine().header(&node.machine().status().tip);
        let Some(target) = tip.and_then(|header| header.bits.target().ok()) else {
            return;
        };
        let mean = expected_tries(target) / rate_of(node.rate) * 1_000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some seconds"
        )]
        let needed = self.dice.exponential(mean) as u64;
        if needed >= AHEAD_TURN {
            return;
        }
        let (Some(block), Some(&neighbour)) =
            (self.block_ahead(id, AHEAD), self.neighbours(id).first())
        else {
            return;
        };
        let now = self.now;
        let data: Rc<[u8]> = block.encode().into();
        self.flood(id, None, Topic::Blocks, &data);
        // Its own machine hears of it as if from a neighbour.
        if let Some(gossip) =
            self.node_mut(id)
                .take_gossip(neighbour, Topic::Blocks, &data, true, now)
        {
            let input = Input::Gossip {
                from: neighbour,
                id: gossip,
                topic: Topic::Blocks,
                data: data.to_vec(),
            };
            self.feed(id, input);
        }
    }
}
