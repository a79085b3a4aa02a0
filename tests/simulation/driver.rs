//! The driver's part: does what a machine wants done, as the driver does in a tab.

use std::rc::Rc;

use chain::time::MonotonicMillis;
use sync::{
    Event, Output, StoreOperation,
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN},
    seam::{RequestFailure, RequestId, Verdict},
};

use crate::{
    disk::Job,
    links::Wire,
    world::{Dropped, Happening, Id, World},
};

impl World {
    /// Does what a machine wants done, as the driver does in a tab.
    pub(crate) fn perform(&mut self, id: Id, output: Output<Id>) {
        let life = self.node(id).life_number;
        match output {
            Output::Write { id: write, batch } => {
                if self.has_leavers() {
                    let room = self.room.id();
                    for operation in &batch.operations {
                        if let StoreOperation::PutBlock(hash, block) = operation {
                            self.ledger.note_block(room, *hash, block);
                        }
                    }
                }
                let duration = self.dice.between(1, if batch.strict { 30 } else { 8 });
                let now = self.now;
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Write { id: write, batch }, now, duration);
                self.after(done - now, Happening::DiskDone { to: id, life });
            }
            Output::Read { id: read, hashes } => {
                let (now, duration) = (self.now, self.dice.between(1, 8));
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Read { id: read, hashes }, now, duration);
                self.after(done - now, Happening::DiskDone { to: id, life });
            }
            Output::Request {
                peer,
                id: request,
                data,
                ..
            } => self.ask(id, peer, request, data),
            Output::Respond { id: inbound, data } => {
                if data.len() > MAX_RESPONSE_LEN {
                    self.exceeded
                        .push(format!("{id} answers with {} bytes", data.len()));
                }
                if let Some((peer, request)) = self.node_mut(id).inbound.remove(&inbound) {
                    self.answer(id, peer, request, data);
                }
            }
            Output::Refuse { id: inbound } => {
                if let Some((peer, request)) = self.node_mut(id).inbound.remove(&inbound) {
                    let failure = RequestFailure::Closed;
                    self.send(
                        id,
                        peer,
                        Wire::Failure {
                            id: request,
                            failure,
                        },
                    );
                }
            }
            Output::Publish { topic, data } => {
                let data: Rc<[u8]> = data.into();
                self.node_mut(id).note_published(topic, &data);
                self.flood(id, None, topic, &data);
            }
            Output::Judge {
                id: gossip,
                from,
                verdict,
            } => {
                let Some(judged) = self.node_mut(id).judging.remove(&gossip) else {
                    self.exceeded
                        .push(format!("{id} judged {gossip:?} of {from} twice"));
                    return;
                };
                if verdict == Verdict::Accept {
                    self.flood(id, Some(judged.from), judged.topic, &judged.data);
                }
            }
            Output::Mine { job, header } => {
                let rate = self.node(id).rate;
                self.node_mut(id).job = Some((job, header));
                if let (Ok(target), true) = (header.bits.target(), rate > 0) {
                    let mean = expected_tries(target) / rate_of(rate) * 1_000.0;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "some seconds"
                    )]
                    let delay = self.dice.exponential(mean) as u64;
                    self.after(
                        delay,
                        Happening::NonceFound {
                            to: id,
                            life,
                            job: job.0,
                        },
                    );
                }
            }
            Output::StopMining => self.node_mut(id).job = None,
            Output::WakeAt(at) => self.set_alarm(id, at),
            Output::Tell(event) => self.told(id, &event),
            Output::Drop {
                peer,
                reason,
                until,
            } => {
                let (now, banned) = (self.now, until.is_some());
                let clock = self.node(id).clock;
                let refused = until.map_or(now + 3_000, |until| clock.true_time(until));
                self.node_mut(id).refused.insert(peer, refused);
                self.dropped.push(Dropped {
                    by: id,
                    whom: peer,
                    reason: reason.to_string(),
                    banned,
                });
                self.cut(id, peer, 0);
            }
        }
    }

    /// Wakes a machine when its monotonic clock shows this.
    pub(crate) fn set_alarm(&mut self, id: Id, at: MonotonicMillis) {
        let (wish, now) = (self.name(), self.now);
        let node = self.node_mut(id);
        (node.wish, node.alarm) = (wish, Some(at));
        let (life, due) = (node.life_number, node.clock.true_time(at));
        let delay = due.saturating_sub(now);
        self.after(delay, Happening::Timer { to: id, life, wish });
    }

    fn ask(&mut self, id: Id, peer: Id, request: RequestId, data: Vec<u8>) {
        if data.len() > MAX_REQUEST_LEN {
            self.exceeded
                .push(format!("{id} asks with {} bytes", data.len()));
        }
        let now = self.now;
        let node = self.node_mut(id);
        node.open.insert(request, peer);
        // What was lost on the way is open until the machine gives it up, which this account cannot see.
        let open = node.machine().load().open_requests;
        let peers = node.machine().load().peers;
        if open > 4 * peers {
            self.exceeded.push(format!(
                "{id} has {open} requests open at {peers} peers at {now}"
            ));
        }
        self.send(id, peer, Wire::Request { id: request, data });
    }

    fn told(&mut self, id: Id, event: &Event) {
        let author = self.node(id).machine().author();
        let node = self.node_mut(id);
        if let Event::Recorded {
            id: reading, seq, ..
        } = event
        {
            node.accepted.push((*reading, *seq));
        } else if let Event::KeyReplaced { .. } = event {
            node.key_replaced += 1;
            node.authors.push(author);
        }
    }
}

pub(crate) fn expected_tries(target: chain::work::Target) -> f64 {
    let bytes = target.work().to_le_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&bytes[..8]);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let tries = u64::from_le_bytes(low) as f64;
    tries
}

pub(crate) fn rate_of(rate: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = rate as f64;
    rate
}
