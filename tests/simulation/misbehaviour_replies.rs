//! What misbehaving peers send. Each runs a real machine whose responses are tampered with, or it sends forged messages
//! of its own.
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
use heartchain_test_support::Tampering as _;

use crate::{
    forgery::endless_headers,
    id::Id,
    misbehaviour::Misbehaviour,
    packet::{LinkId, MessageId, Packet},
    world::World,
};

impl World {
    /// Sends a response; a misbehaving peer tampers with it first.
    pub(crate) fn answer(
        &mut self,
        id: Id,
        (peer, link): (Id, LinkId),
        request: RequestId,
        data: Vec<u8>,
    ) {
        let Some(misbehaviour) = self.node(id).misbehaviour else {
            return self.send_over(link, id, Packet::Response { id: request, data });
        };
        let Ok(mut response) = Response::decode(self.room.form(), &data) else {
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
                return self.send_over(
                    link,
                    id,
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
                    Some(reading) => reading.tamper(),
                    None => provable = false,
                }
                response.encode()
            }
            (Misbehaviour::Unsorted, Response::MempoolIds(rows)) => {
                rows.reverse();
                provable = rows.len() > 1;
                response.encode()
            }
            (Misbehaviour::Unsorted, Response::Profiles(profiles)) => {
                profiles.reverse();
                provable = profiles.len() > 1;
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
        self.send_over(
            link,
            id,
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
        if topic == Topic::Profiles {
            return self.can_prove_profile(to, data);
        }
        match (topic, Block::decode(self.room.form(), data)) {
            (Topic::Blocks, Ok(block)) => {
                // A peer checks all rules of a block only if the block extends its tip, and in time only if no clock is
                // far off.
                let next = self.node(to).machine().status().tip == block.header.prev_hash;
                next && self
                    .nodes
                    .iter()
                    .all(|node| node.clock.offset.abs() < 10_000)
            }
            (Topic::Blocks, Err(_)) | (Topic::Readings | Topic::Profiles, _) => true,
        }
    }

    fn current_withheld_header(&self, id: Id) -> Option<Header> {
        let node = self.node(id);
        node.withheld_header
            .filter(|header| header.prev_hash == node.machine().status().tip)
    }
}
