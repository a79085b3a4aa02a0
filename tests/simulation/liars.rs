//! Peers that lie. A liar runs a real machine and spoils what it says, or says things of its own.
//!
//! What proves the liar a liar to whoever hears it is noted, so that a run can be asked whether it was dropped there.

use std::rc::Rc;

use chain::{block::Block, hash::BlockHash, header::Header, time::UnixMillis, work::Work};
use sync::{
    config::MAX_CLOCK_OFFSET,
    message::{MAX_RESPONSE_LEN, Response},
    seam::{RequestFailure, RequestId, Topic},
};

use crate::{
    forgery::endless_headers,
    links::{Said, Wire},
    world::{Id, World},
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
    /// Says that its clock is an hour ahead, or anything.
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
    /// Gossips readings of fresh keys, wave after wave.
    Flood,
    /// Claims more work than there is and gives headers without end, each with the least work, and no bodies.
    EndlessHeaders,
    /// Gossips mined blocks whose time is not after the median of the last ones.
    BehindMedian,
    /// Gossips honest headers with readings that are not theirs.
    JunkOnHonest,
    /// Mines honest blocks stamped as far ahead of the clock as the rules allow. Breaks no rule.
    StampsAhead,
}

impl Lie {
    /// Those of a class; one that stamps ahead has runs of its own.
    pub(crate) const ALL: [Self; 25] = [
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
        Self::EndlessHeaders,
        Self::BehindMedian,
        Self::JunkOnHonest,
    ];
}

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
                self.owe(id, peer, Said::Answer(request));
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
            (Lie::EndlessHeaders, Response::Status(status)) => {
                provable = false;
                status.tip = BlockHash::new(self.dice.bytes());
                status.total_work = Work::from_le_bytes([0x7f; 32]);
                response.encode()
            }
            (Lie::EndlessHeaders, Response::Headers(headers)) => {
                provable = false;
                let locator = self.node_mut(id).locators.remove(&(peer, request));
                *headers = endless_headers(&self.room, &locator.unwrap_or_default());
                response.encode()
            }
            (Lie::EndlessHeaders, Response::Bodies(bodies)) => {
                provable = false;
                bodies.fill(None);
                response.encode()
            }
            (Lie::WrongClock, Response::Status(status)) => {
                provable = false;
                // Together, about as far as a clock may be moved; or anything.
                status.now = if self.dice.one_in(2) {
                    UnixMillis::new(self.now + MAX_CLOCK_OFFSET - 60_000)
                } else {
                    UnixMillis::new(self.dice.next())
                };
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
            self.owe(id, peer, Said::Answer(request));
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

    /// Notes that whoever gets this message can prove that its sender lies.
    pub(crate) fn owe(&mut self, liar: Id, to: Id, said: Said) {
        self.provable.insert((liar, to, said));
    }

    pub(crate) fn gossip_lie(&mut self, id: Id, topic: Topic, data: Vec<u8>, provable: bool) {
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
                next && self
                    .nodes
                    .iter()
                    .all(|node| node.clock.offset.abs() < 10_000)
            }
            (Topic::Blocks, Err(_)) | (Topic::Readings, _) => true,
        }
    }

    fn secret_header(&self, id: Id) -> Option<Header> {
        let node = self.node(id);
        node.secret
            .filter(|header| header.prev_hash == node.machine().status().tip)
    }
}
