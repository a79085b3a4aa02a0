//! Unsolicited actions of misbehaving peers, which take place in turns.

use std::rc::Rc;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    content::{Content, ReadingForm, SealedContent},
    key::SecretKey,
    time::UnixMillis,
    work::CompactTarget,
};
use heartchain_sync::io::{RequestId, Topic};
use heartchain_test_support::Branch;

use crate::{
    driver::{expected_hashes, hash_rate_f64},
    event::SimEvent,
    id::Id,
    misbehaviour::Misbehaviour,
    node::RunState,
    packet::{MessageId, Packet},
    room::room,
    world::World,
};

/// Shortest and longest time between two turns, ms.
const TURN: (u64, u64) = (1_000, 6_000);
/// Time between two turns of `StampsAhead`, ms. It is short because each turn is one attempt to find a block.
const STAMP_AHEAD_TURN: u64 = 100;
/// How far in the future `StampsAhead` sets its timestamps, ms: the 30 s that the rules allow, minus the network
/// latency.
const STAMP_AHEAD: u64 = 29_500;

impl World {
    /// One turn of a misbehaving peer.
    pub(crate) fn misbehaviour_turn(&mut self, id: Id) {
        let delay = match self.node(id).misbehaviour {
            Some(Misbehaviour::StampsAhead) => STAMP_AHEAD_TURN,
            _ => self.rng.between(TURN.0, TURN.1),
        };
        self.schedule_in(delay, SimEvent::MisbehaviourTurn { at: id });
        let Some(misbehaviour) = self
            .node(id)
            .misbehaviour
            .filter(|_| self.node(id).run_state == RunState::Awake && !self.misbehaviour_stopped)
        else {
            return;
        };
        match misbehaviour {
            Misbehaviour::StampsAhead => self.try_to_mine_ahead(id),
            Misbehaviour::BehindMedian => {
                let readings = vec![self.own_reading(id, 0)];
                let header = self.header_at_the_median(id, &readings);
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::JunkOnHonest => {
                // This proves nothing: a peer that already has the block does not look at it again.
                let machine = self.node(id).machine();
                if let Some(header) = machine.header(&machine.status().tip) {
                    let readings = vec![self.own_reading(id, 0)];
                    let data = Block { header, readings }.encode();
                    self.gossip_forged(id, Topic::Blocks, data, false);
                }
            }
            Misbehaviour::Silent
            | Misbehaviour::LowWorkHeaders
            | Misbehaviour::Noise
            | Misbehaviour::Oversize
            | Misbehaviour::WrongResponseKind
            | Misbehaviour::JunkBodies
            | Misbehaviour::Unsorted
            | Misbehaviour::FalseClaim
            | Misbehaviour::WrongClock => {}
            Misbehaviour::Withhold => {
                let header = self.mined_header(id, &[self.own_reading(id, 0)], 0);
                self.node_mut(id).withheld_header = Some(header);
            }
            Misbehaviour::GossipNoise => {
                let topic = if self.rng.one_in(2) {
                    Topic::Readings
                } else {
                    Topic::Blocks
                };
                let noise = self.rng.bytes().to_vec();
                self.gossip_forged(id, topic, noise, true);
            }
            Misbehaviour::RequestNoise => {
                for peer in self.neighbours(id) {
                    let request = RequestId(u64::MAX - self.next_id());
                    self.expect_ban(id, peer, MessageId::Request(request));
                    let mut noise = self.rng.bytes().to_vec();
                    noise[0] = 0xff;
                    self.send(
                        id,
                        peer,
                        Packet::Request {
                            id: request,
                            data: noise,
                        },
                    );
                }
            }
            Misbehaviour::ForgedReading => {
                let forged = self.forged_reading();
                self.gossip_forged(id, Topic::Readings, forged.to_bytes().to_vec(), true);
            }
            Misbehaviour::ForgedProfile => self.forge_profiles(id),
            Misbehaviour::BadBpm => {
                let mut reading = self.own_reading(id, 0);
                let bpm = self.rng.pick(&[0, 19, 401, u16::MAX]).unwrap_or(0);
                let time = UnixMillis::new(self.rng.below(1 << 40));
                let is_provable = self.room.form() == ReadingForm::Open;
                if is_provable {
                    reading.content = Content::Open { time, bpm };
                } else {
                    // No member can read it, and a peer without the key cannot tell: no one is to blame.
                    let key = SecretKey::from_seed(self.node(id).key_seed);
                    let noise: [u8; 32] = self.rng.bytes();
                    let junk = noise.first_chunk().copied().expect("26 of 32 bytes");
                    let junk = Content::Sealed(SealedContent::new(junk));
                    reading = key.sign_content(self.room.id(), reading.seq, junk);
                }
                self.gossip_forged(
                    id,
                    Topic::Readings,
                    reading.to_bytes().to_vec(),
                    is_provable,
                );
            }
            Misbehaviour::OtherRoom => {
                let other = room(9, 2_000);
                let key = SecretKey::from_seed(self.rng.bytes());
                let now = UnixMillis::new(self.now);
                let reading = key.sign(other.id(), 0, now, Bpm::MIN);
                self.gossip_forged(id, Topic::Readings, reading.to_bytes().to_vec(), true);
                let block = Branch::in_room(&other).mine_next(vec![reading], self.now);
                self.gossip_forged(id, Topic::Blocks, block.encode(), false);
            }
            Misbehaviour::NoWork => {
                let readings = vec![self.own_reading(id, 0)];
                let mut header = self.mined_header(id, &readings, 0);
                while header
                    .bits
                    .target()
                    .is_ok_and(|target| target.is_met_by(&header.hash()))
                {
                    header.nonce = self.rng.next_u64();
                }
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::WrongDifficulty => {
                let readings = vec![self.own_reading(id, 0)];
                let right = self.mined_header(id, &readings, 0);
                let bits = CompactTarget::from_bits(right.bits.to_bits() - 1);
                let header = self.mine_header_with_bits(id, &readings, 0, Some(bits));
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::WrongRoot => {
                let reading = self.own_reading(id, 0);
                let header = self.mined_header(id, &[reading], 0);
                let readings = vec![self.own_reading(id, 1)];
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::ForgedInBlock => {
                let readings = vec![self.forged_reading()];
                let header = self.mined_header(id, &readings, 0);
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::SkippedSeq => {
                let readings = vec![self.own_reading(id, 7)];
                let header = self.mined_header(id, &readings, 0);
                self.gossip_forged(id, Topic::Blocks, Block { header, readings }.encode(), true);
            }
            Misbehaviour::TooEarly => {
                let readings = vec![self.own_reading(id, 0)];
                let ahead = self.rng.between(31_000, 900_000);
                let header = self.mined_header(id, &readings, ahead);
                self.gossip_forged(
                    id,
                    Topic::Blocks,
                    Block { header, readings }.encode(),
                    false,
                );
            }
            Misbehaviour::Equivocation => {
                for more in [0, 0, 1] {
                    let mut reading = self.own_reading(id, more);
                    let key = SecretKey::from_seed(self.node(id).key_seed);
                    let time = UnixMillis::new(self.rng.below(1 << 40));
                    reading = self.sign(&key, reading.seq, time, Bpm::MAX);
                    self.gossip_forged(id, Topic::Readings, reading.to_bytes().to_vec(), false);
                }
            }
            Misbehaviour::Flood => {
                for _ in 0..self.node(id).flood {
                    let key = SecretKey::from_seed(self.rng.bytes());
                    let seq = self.rng.below(3);
                    let reading = self.sign(&key, seq, UnixMillis::new(self.now), Bpm::MAX);
                    self.gossip_forged(id, Topic::Readings, reading.to_bytes().to_vec(), false);
                }
            }
        }
    }

    /// One attempt, at this peer's hash rate, to find a block with a timestamp as late as the rules allow.
    fn try_to_mine_ahead(&mut self, id: Id) {
        let node = self.node(id);
        let tip = node.machine().header(&node.machine().status().tip);
        let Some(target) = tip.and_then(|header| header.bits.target().ok()) else {
            return;
        };
        let mean = expected_hashes(target) / hash_rate_f64(node.hash_rate) * 1_000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some seconds"
        )]
        let needed = self.rng.exponential(mean) as u64;
        if needed >= STAMP_AHEAD_TURN {
            return;
        }
        let (Some(block), Some(&neighbour)) = (
            self.block_ahead(id, STAMP_AHEAD),
            self.neighbours(id).first(),
        ) else {
            return;
        };
        let now = self.now;
        let data: Rc<[u8]> = block.encode().into();
        self.flood(id, None, Topic::Blocks, &data);
        // Its own machine receives the block as if from a neighbour.
        let node = self.node_mut(id);
        if let Some(input) = node.accept_gossip(neighbour, Topic::Blocks, &data, true, now) {
            self.feed(id, input);
        }
    }
}
