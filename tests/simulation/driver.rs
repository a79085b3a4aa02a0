//! The driver of a simulated peer: its messages travel over the simulated network, and its disk and miner take time.

use std::rc::Rc;

use heartchain_chain::{header::Header, time::MonotonicMillis};
use heartchain_sync::{
    Event, Input, Machine, Now, Output, StoreOperation,
    input_queue::{VerifierTask, VerifierTaskId},
    io::{DisconnectReason, GossipId, InboundId, JobId, RequestFailure, RequestId, Topic, Verdict},
    verification::VerifiedBodies,
};
use heartchain_test_support::{Driver, DriverState, Job, PendingGossip, START};

use crate::{
    event::SimEvent,
    id::Id,
    node::Refusal,
    packet::{LinkId, Packet},
    world::{Disconnection, World},
};

/// The driver of one peer, which is awake.
struct NodeDriver<'a> {
    world: &'a mut World,
    id: Id,
}

impl Driver<Id> for NodeDriver<'_> {
    fn state(&mut self) -> &mut DriverState<Id> {
        &mut self.world.node_mut(self.id).state
    }

    fn machine(&mut self) -> &mut Machine<Id> {
        let machine = &mut self.world.node_mut(self.id).machine;
        machine.as_mut().expect("the peer runs")
    }

    fn now(&self) -> Now {
        self.world.node(self.id).clock.both(self.world.now)
    }

    fn handle(&mut self, input: Input<Id>) -> Vec<Output<Id>> {
        let now = self.now();
        let outputs = self.world.node_mut(self.id).handle(input, now);
        if self.world.trace {
            for output in &outputs {
                self.world.print_trace(self.id, "->", output);
            }
        }
        outputs
    }

    fn violation(&mut self, text: String) {
        let at = self.world.now - START;
        let text = format!("{} at {at}: {text}", self.id);
        self.world.violations.push(text);
    }

    fn accept_job(&mut self, job: Job) {
        let (world, id) = (&mut *self.world, self.id);
        let longest = match &job {
            Job::Write { batch, .. } => {
                if world.has_departing_authors() {
                    let room = world.room.id();
                    for operation in &batch.operations {
                        if let StoreOperation::PutBlock(hash, block) = operation {
                            world.tracker.note_block(room, *hash, block);
                        }
                    }
                }
                if batch.strict { 30 } else { 8 }
            }
            Job::Read { .. } => 8,
        };
        let (now, duration) = (world.now, world.rng.between(1, longest));
        let node = world.node_mut(id);
        node.state.disk.accept(job);
        let done = node.faults.schedule_job(now, duration);
        let incarnation = node.incarnation;
        world.schedule_in(
            done - now,
            SimEvent::DiskDone {
                to: id,
                incarnation,
            },
        );
    }

    /// The disk reports its results with [`SimEvent::DiskDone`].
    fn finish_job(&mut self) -> Option<Input<Id>> {
        None
    }

    fn send_request(&mut self, peer: Id, id: RequestId, data: Vec<u8>, _: MonotonicMillis) {
        let node = self.world.node_mut(self.id);
        if node.swarm.has(peer) {
            self.world.send(self.id, peer, Packet::Request { id, data });
        } else {
            let failure = RequestFailure::Closed;
            let input = node.state.fail_request(peer, id, failure);
            node.swarm.tell(input);
        }
    }

    /// A response goes back on the connection of its request, or is lost with it.
    fn send_response(
        &mut self,
        peer: Id,
        id: RequestId,
        inbound: InboundId,
        data: Option<Vec<u8>>,
    ) {
        let world = &mut *self.world;
        let Some(link) = world.node_mut(self.id).swarm.answer_over(inbound) else {
            return;
        };
        if let Some(data) = data {
            world.answer(self.id, (peer, link), id, data);
        } else {
            let failure = RequestFailure::Closed;
            world.send_over(link, self.id, Packet::Failure { id, failure });
        }
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let data: Rc<[u8]> = data.into();
        self.world.node_mut(self.id).note_published(topic, &data);
        self.world.flood(self.id, None, topic, &data);
    }

    fn judge(&mut self, _: GossipId, item: PendingGossip<Id>, verdict: Verdict) {
        if verdict == Verdict::Accept {
            if item.topic == Topic::Profiles {
                self.world.note_forwarded_profile(self.id, &item.data);
            }
            self.world
                .flood(self.id, Some(item.from), item.topic, &item.data);
        }
    }

    fn mine(&mut self, job: JobId, header: Header) {
        let (world, to) = (&mut *self.world, self.id);
        let node = world.node(to);
        let (rate, incarnation) = (node.hash_rate, node.incarnation);
        if let (Ok(target), true) = (header.bits.target(), rate > 0) {
            let mean = expected_hashes(target) / hash_rate_f64(rate) * 1_000.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "some seconds"
            )]
            let delay = world.rng.exponential(mean) as u64;
            world.schedule_in(
                delay,
                SimEvent::NonceFound {
                    to,
                    incarnation,
                    job: job.0,
                },
            );
        }
    }

    fn set_timer(&mut self, at: MonotonicMillis) {
        self.world.set_timer(self.id, at);
    }

    fn emit(&mut self, event: Event) {
        let node = self.world.node_mut(self.id);
        if let Event::Recorded { id, seq, .. } = event {
            node.accepted.push((id, seq));
        } else if let Event::NameSet { ticket } = event {
            let name = node.pending_names.remove(&ticket);
            node.name = name.or(node.name.take());
        } else if let Event::NameFailed { ticket, .. } = event {
            node.pending_names.remove(&ticket);
        } else if let Event::KeyReplaced { .. } = event {
            node.key_replaced += 1;
            let author = node.machine().author();
            node.authors.push(author);
        }
    }

    fn disconnect_peer(
        &mut self,
        peer: Id,
        reason: DisconnectReason,
        until: Option<MonotonicMillis>,
    ) {
        let (world, by) = (&mut *self.world, self.id);
        let now = world.now;
        let node = world.node_mut(by);
        let refusal = Refusal {
            until: until.map_or(now + 3_000, |until| node.clock.true_time(until)),
            is_ban: until.is_some(),
        };
        node.refused.insert(peer, refusal);
        node.swarm.forget(peer);
        let links: Vec<LinkId> = node.swarm.links_to(peer).collect();
        world.disconnections.push(Disconnection {
            by,
            peer,
            reason: reason.to_string(),
            banned: until.is_some(),
        });
        for link in links {
            world.close(by, link);
        }
    }
}

impl World {
    /// Feeds an input to a peer's machine, and what follows from its outputs. A sleeping peer gets no input.
    pub(crate) fn feed(&mut self, id: Id, input: Input<Id>) {
        self.feed_input(id, input);
        self.tell_machine(id);
    }

    /// Passes what the network has to say on to a peer's machine.
    pub(crate) fn tell_machine(&mut self, id: Id) {
        while let Some(input) = self.node_mut(id).swarm.next_input() {
            self.feed_input(id, input);
        }
    }

    fn feed_input(&mut self, id: Id, input: Input<Id>) {
        if self.trace {
            self.print_trace(id, "<-", &input);
        }
        let Some(input) = self.node_mut(id).admit(input) else {
            return;
        };
        if !self.node(id).has_verifier() {
            return NodeDriver { world: self, id }.feed(input);
        }
        let now = self.node(id).clock.both(self.now).monotonic;
        if let Some(task) = self.node_mut(id).input_queue.push(input, now) {
            self.start_verifying(id, &task);
        }
        self.feed_ready(id);
    }

    /// Another thread verifies these bodies, which takes time. Sometimes it fails.
    fn start_verifying(&mut self, to: Id, task: &VerifierTask) {
        let (room, seed) = (&self.room, self.rng.bytes());
        let verified = VerifiedBodies::verify_encoded(room.id(), room.form(), &task.bytes, seed);
        let verified = verified.expect("bodies of this room");
        let (delay, fails) = (self.rng.between(1, 300), self.rng.percent(3));
        let event = SimEvent::Verified {
            to,
            incarnation: self.node(to).incarnation,
            task: task.id,
            verified: VerifiedBodies::from_own_thread(&verified.to_bytes()).filter(|_| !fails),
        };
        self.schedule_in(if fails { 4 * delay } else { delay }, event);
    }

    /// The other thread completed a task, or failed.
    pub(crate) fn on_verifier(
        &mut self,
        id: Id,
        task: VerifierTaskId,
        verified: Option<VerifiedBodies>,
    ) {
        let now = self.node(id).clock.both(self.now).monotonic;
        let queue = &mut self.node_mut(id).input_queue;
        match verified {
            Some(verified) => queue.on_verified(task, Some(verified), now),
            None => queue.give_up(),
        }
        self.feed_ready(id);
        self.tell_machine(id);
    }

    fn feed_ready(&mut self, id: Id) {
        while let Some((input, verified)) = self.node_mut(id).input_queue.take_next() {
            self.node_mut(id).verified = verified;
            NodeDriver { world: self, id }.feed(input);
        }
    }

    /// Schedules a tick for when the machine's monotonic clock shows `at`.
    pub(crate) fn set_timer(&mut self, id: Id, at: MonotonicMillis) {
        let (timer, now) = (self.next_id(), self.now);
        let node = self.node_mut(id);
        node.timer = timer;
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
