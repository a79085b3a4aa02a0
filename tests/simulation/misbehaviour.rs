//! Misbehaving peers. Each runs a real machine whose responses are tampered with, or it sends forged messages of its
//! own.
//!
//! Messages that prove misbehaviour to their recipient are recorded, so that a run can check that the recipient banned
//! the sender.

use std::rc::Rc;

use heartchain_chain::{
    block::Block, hash::BlockHash, header::Header, time::UnixMillis, work::Work,
};
use heartchain_sync::{
    config::MAX_CLOCK_OFFSET,
    io::{RequestFailure, RequestId, Topic},
    message::{MAX_RESPONSE_LEN, Response},
};

use crate::{
    forgery::endless_headers,
    links::{MessageId, Packet},
    world::{Id, World},
};

/// How a peer misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// Never answers requests.
    Silent,
    /// Answers with random bytes.
    Noise,
    /// Answers with more bytes than any response may have.
    Oversize,
    /// Answers with a response of another kind.
    WrongResponseKind,
    /// Answers with bodies that do not match their headers.
    JunkBodies,
    /// Lists its mempool out of order.
    Unsorted,
    /// Claims work that it does not have.
    FalseClaim,
    /// Mines headers whose bodies it never sends, and sends no other bodies either.
    Withhold,
    /// Reports a clock that is almost as far ahead as a clock may be corrected, or a random time.
    WrongClock,
    /// Gossips random bytes.
    GossipNoise,
    /// Sends requests of random bytes.
    RequestNoise,
    /// Gossips readings with an invalid signature.
    ForgedReading,
    /// Gossips readings with impossible heart rates.
    BadBpm,
    /// Gossips readings and blocks of another room.
    OtherRoom,
    /// Gossips blocks without proof of work.
    NoWork,
    /// Gossips blocks with a wrong difficulty.
    WrongDifficulty,
    /// Gossips blocks whose readings do not match the header.
    WrongRoot,
    /// Gossips mined blocks with a forged reading.
    ForgedInBlock,
    /// Gossips mined blocks with a reading that skips sequence numbers of its author.
    SkippedSeq,
    /// Gossips mined blocks with a timestamp further in the future than the rules allow.
    TooEarly,
    /// Signs two readings with the same sequence number.
    Equivocation,
    /// Gossips readings of fresh keys in waves.
    Flood,
    /// Claims more work than there is, and sends endless minimum-work headers without bodies.
    LowWorkHeaders,
    /// Gossips mined blocks whose timestamp is not later than the median time past.
    BehindMedian,
    /// Gossips honest headers with readings that do not belong to them.
    JunkOnHonest,
    /// Mines valid blocks with a timestamp as far in the future as the rules allow. Breaks no rule.
    StampsAhead,
}

impl Misbehaviour {
    /// The kinds that random runs draw from. The order is part of what a seed means. `StampsAhead` is left out because
    /// it has scenarios of its own.
    pub(crate) const ALL: [Self; 25] = [
        Self::Silent,
        Self::Noise,
        Self::Oversize,
        Self::WrongResponseKind,
        Self::JunkBodies,
        Self::Unsorted,
        Self::FalseClaim,
        Self::Withhold,
        Self::WrongClock,
        Self::GossipNoise,
        Self::RequestNoise,
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
        Self::LowWorkHeaders,
        Self::BehindMedian,
        Self::JunkOnHonest,
    ];
}

impl World {
    /// Sends a response; a misbehaving peer tampers with it first.
    pub(crate) fn answer(&mut self, id: Id, peer: Id, request: RequestId, data: Vec<u8>) {
        let Some(misbehaviour) = self.node(id).misbehaviour else {
            return self.send(id, peer, Packet::Response { id: request, data });
        };
        let Ok(mut response) = Response::decode(&data) else {
            return;
        };
        let mut provable = true;
        let spoiled = match (misbehaviour, &mut response) {
            (Misbehaviour::Silent, _) => return,
            (Misbehaviour::Noise, _) => {
                // No message starts with this byte.
                let mut noise = self.rng.bytes().to_vec();
                noise[0] = 0xff;
                noise
            }
            (Misbehaviour::Oversize, _) if self.rng.one_in(2) => {
                self.expect_ban(id, peer, MessageId::Response(request));
                let failure = RequestFailure::Oversize;
                return self.send(
                    id,
                    peer,
                    Packet::Failure {
                        id: request,
                        failure,
                    },
                );
            }
            (Misbehaviour::Oversize, _) => vec![0; MAX_RESPONSE_LEN + 1],
            (Misbehaviour::WrongResponseKind, Response::Status(_)) => {
                Response::Readings(Vec::new()).encode()
            }
            (Misbehaviour::WrongResponseKind, _) => {
                Response::Status(self.node(id).status(self.now)).encode()
            }
            (Misbehaviour::JunkBodies, Response::Bodies(bodies)) => {
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
            (Misbehaviour::Unsorted, Response::MempoolIds(rows)) => {
                rows.reverse();
                provable = rows.len() > 1;
                response.encode()
            }
            (Misbehaviour::FalseClaim, Response::Status(status)) => {
                provable = false;
                status.tip = BlockHash::new(self.rng.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
                response.encode()
            }
            (Misbehaviour::LowWorkHeaders, Response::Status(status)) => {
                provable = false;
                status.tip = BlockHash::new(self.rng.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
                response.encode()
            }
            (Misbehaviour::LowWorkHeaders, Response::Headers(headers)) => {
                provable = false;
                let locator = self.node_mut(id).locators.remove(&(peer, request));
                *headers = endless_headers(&self.room, &locator.unwrap_or_default());
                response.encode()
            }
            (Misbehaviour::LowWorkHeaders, Response::Bodies(bodies)) => {
                provable = false;
                bodies.fill(None);
                response.encode()
            }
            (Misbehaviour::WrongClock, Response::Status(status)) => {
                provable = false;
                // Several such peers together move a clock about as far as allowed.
                status.now = if self.rng.one_in(2) {
                    UnixMillis::new(self.now + MAX_CLOCK_OFFSET - 60_000)
                } else {
                    UnixMillis::new(self.rng.next_u64())
                };
                response.encode()
            }
            (Misbehaviour::Withhold, Response::Bodies(_)) if self.rng.one_in(2) => return,
            (Misbehaviour::Withhold, Response::Bodies(bodies)) => {
                provable = false;
                bodies.fill(None);
                response.encode()
            }
            (Misbehaviour::Withhold, Response::Headers(headers)) => {
                provable = false;
                headers.extend(self.current_withheld_header(id));
                response.encode()
            }
            (Misbehaviour::Withhold, Response::Status(status)) => {
                provable = false;
                if let Some(header) = self.current_withheld_header(id) {
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
            self.expect_ban(id, peer, MessageId::Response(request));
        }
        self.send(
            id,
            peer,
            Packet::Response {
                id: request,
                data: spoiled,
            },
        );
    }

    /// Records that this message, once delivered, proves misbehaviour of its sender.
    pub(crate) fn expect_ban(&mut self, sender: Id, to: Id, message_id: MessageId) {
        self.provable.insert((sender, to, message_id));
    }

    pub(crate) fn gossip_forged(&mut self, id: Id, topic: Topic, data: Vec<u8>, provable: bool) {
        let data: Rc<[u8]> = data.into();
        if provable {
            self.provable_gossip.insert(Rc::clone(&data));
        }
        self.node_mut(id).note_published(topic, &data);
        self.flood(id, None, topic, &data);
    }

    /// Whether this peer, in its current state, can prove that a gossip item is forged.
    pub(crate) fn can_prove(&self, to: Id, topic: Topic, data: &Rc<[u8]>) -> bool {
        if !self.provable_gossip.contains(data) {
            return false;
        }
        match (topic, Block::decode(data)) {
            (Topic::Blocks, Ok(block)) => {
                // A peer checks all rules of a block only if the block extends its tip, and in time only if no clock is
                // far off.
                let next = self.node(to).machine().status().tip == block.header.prev_hash;
                next && self
                    .nodes
                    .iter()
                    .all(|node| node.clock.offset.abs() < 10_000)
            }
            (Topic::Blocks, Err(_)) | (Topic::Readings, _) => true,
        }
    }

    fn current_withheld_header(&self, id: Id) -> Option<Header> {
        let node = self.node(id);
        node.withheld_header
            .filter(|header| header.prev_hash == node.machine().status().tip)
    }
}
