//! Performs a machine's outputs in the simulation, in place of the driver of a browser tab.

use std::rc::Rc;

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::{
    Event, Output, StoreOperation,
    io::{RequestFailure, RequestId, Verdict},
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN},
};

use crate::{
    disk::Job,
    links::Packet,
    world::{Disconnection, Id, SimEvent, World},
};

impl World {
    /// Performs one output of a machine.
    pub(crate) fn perform(&mut self, id: Id, output: Output<Id>) {
        let incarnation = self.node(id).incarnation;
        match output {
            Output::Write { id: write, batch } => {
                if self.has_departing_authors() {
                    let room = self.room.id();
                    for operation in &batch.operations {
                        if let StoreOperation::PutBlock(hash, block) = operation {
                            self.tracker.note_block(room, *hash, block);
                        }
                    }
                }
                let duration = self.rng.between(1, if batch.strict { 30 } else { 8 });
                let now = self.now;
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Write { id: write, batch }, now, duration);
                self.schedule_in(
                    done - now,
                    SimEvent::DiskDone {
                        to: id,
                        incarnation,
                    },
                );
            }
            Output::Read { id: read, hashes } => {
                let (now, duration) = (self.now, self.rng.between(1, 8));
                let done =
                    self.node_mut(id)
                        .disk
                        .accept(Job::Read { id: read, hashes }, now, duration);
                self.schedule_in(
                    done - now,
                    SimEvent::DiskDone {
                        to: id,
                        incarnation,
                    },
                );
            }
            Output::Request {
                peer,
                id: request,
                data,
                ..
            } => self.send_request(id, peer, request, data),
            Output::Respond { id: inbound, data } => {
                if data.len() > MAX_RESPONSE_LEN {
                    self.violations
                        .push(format!("{id} sends a response of {} bytes", data.len()));
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
                        Packet::Failure {
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
            Output::Verdict {
                id: gossip,
                from,
                verdict,
            } => {
                let Some(item) = self.node_mut(id).pending_verdicts.remove(&gossip) else {
                    self.violations
                        .push(format!("{id} gave two verdicts on {gossip:?} from {from}"));
                    return;
                };
                if verdict == Verdict::Accept {
                    self.flood(id, Some(item.from), item.topic, &item.data);
                }
            }
            Output::Mine { job, header } => {
                let rate = self.node(id).hash_rate;
                self.node_mut(id).job = Some((job, header));
                if let (Ok(target), true) = (header.bits.target(), rate > 0) {
                    let mean = expected_hashes(target) / hash_rate_f64(rate) * 1_000.0;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "some seconds"
                    )]
                    let delay = self.rng.exponential(mean) as u64;
                    self.schedule_in(
                        delay,
                        SimEvent::NonceFound {
                            to: id,
                            incarnation,
                            job: job.0,
                        },
                    );
                }
            }
            Output::StopMining => self.node_mut(id).job = None,
            Output::WakeAt(at) => self.set_timer(id, at),
            Output::Emit(event) => self.on_event(id, &event),
            Output::Disconnect {
                peer,
                reason,
                until,
            } => {
                let (now, banned) = (self.now, until.is_some());
                let clock = self.node(id).clock;
                let refused = until.map_or(now + 3_000, |until| clock.true_time(until));
                self.node_mut(id).refused.insert(peer, refused);
                self.disconnections.push(Disconnection {
                    by: id,
                    peer,
                    reason: reason.to_string(),
                    banned,
                });
                self.cut(id, peer, 0);
            }
        }
    }

    /// Schedules a tick for when the machine's monotonic clock shows `at`.
    pub(crate) fn set_timer(&mut self, id: Id, at: MonotonicMillis) {
        let (timer, now) = (self.next_id(), self.now);
        let node = self.node_mut(id);
        (node.timer, node.wake_at) = (timer, Some(at));
        let (incarnation, due) = (node.incarnation, node.clock.true_time(at));
        self.schedule_in(
            due.saturating_sub(now),
            SimEvent::Timer {
                to: id,
                incarnation,
                timer,
            },
        );
    }

    fn send_request(&mut self, id: Id, peer: Id, request: RequestId, data: Vec<u8>) {
        if data.len() > MAX_REQUEST_LEN {
            self.violations
                .push(format!("{id} sends a request of {} bytes", data.len()));
        }
        let now = self.now;
        let node = self.node_mut(id);
        node.open.insert(request, peer);
        // A request that was lost stays open until it times out in the machine, so the machine's own count is used.
        let open = node.machine().load().open_requests;
        let peers = node.machine().load().peers;
        if open > 4 * peers {
            self.violations.push(format!(
                "{id} has {open} requests open at {peers} peers at {now}"
            ));
        }
        self.send(id, peer, Packet::Request { id: request, data });
    }

    fn on_event(&mut self, id: Id, event: &Event) {
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

pub(crate) fn expected_hashes(target: heartchain_chain::work::Target) -> f64 {
    let bytes = target.work().to_le_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&bytes[..8]);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let tries = u64::from_le_bytes(low) as f64;
    tries
}

pub(crate) fn hash_rate_f64(rate: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = rate as f64;
    rate
}
