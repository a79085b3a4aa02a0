//! Handles the events of a run in the order of their times, and starts peers.

use heartchain_chain::{bpm::Bpm, room::Room};
use heartchain_sync::{Input, io::Ticket};
use heartchain_test_support::Ending;

use crate::{
    event::SimEvent,
    id::Id,
    node::{Node, RunState},
    world::World,
};

impl World {
    /// Adds a peer and starts it.
    pub(crate) fn add(&mut self, node: Node) -> Id {
        let id = self.add_closed(node);
        self.restart(id);
        id
    }

    /// Handles all events that are due by `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(event) = self.next_event(until) {
            self.handle_event(event);
        }
        self.now = until;
    }

    fn handle_event(&mut self, event: SimEvent) {
        match event {
            SimEvent::Delivery {
                link,
                from,
                to,
                packet,
            } => self.deliver(link, from, to, packet),
            SimEvent::Identified {
                to,
                incarnation,
                peer,
                link,
            } => {
                if self.node(to).incarnation == incarnation {
                    self.on_identified(to, peer, link);
                }
            }
            SimEvent::LinkDown {
                to,
                incarnation,
                link,
            } => {
                if self.node(to).incarnation == incarnation {
                    self.on_link_down(to, link);
                }
            }
            SimEvent::Dialed { from, to, path } => self.on_dialed(from, to, path),
            SimEvent::Timer {
                to,
                incarnation,
                timer,
            } => {
                let node = self.node_mut(to);
                let is_current = node.incarnation == incarnation && node.timer == timer;
                // A sleeping peer's timer fires after it wakes.
                if is_current && node.run_state == RunState::Awake {
                    node.state.wake_at = None;
                    self.feed(to, Input::Tick);
                }
            }
            SimEvent::DiskDone { to, incarnation } => {
                let fails = self.rng.percent(self.conditions.disk_failure);
                let now = self.now;
                let node = self.node_mut(to);
                let ending = if node.has_no_room(now) {
                    Ending::Full
                } else if fails {
                    Ending::Failed
                } else {
                    Ending::Done
                };
                if node.incarnation == incarnation
                    && let Some(input) = node.state.disk.finish(ending)
                {
                    self.feed(to, input);
                }
            }
            SimEvent::Verified {
                to,
                incarnation,
                task,
                verified,
            } => {
                let node = self.node(to);
                if node.incarnation == incarnation && node.run_state == RunState::Asleep {
                    // A frozen page gets the message once it resumes.
                    let later = SimEvent::Verified {
                        to,
                        incarnation,
                        task,
                        verified,
                    };
                    self.schedule_in(500, later);
                } else if node.incarnation == incarnation {
                    self.on_verifier(to, task, verified);
                }
            }
            SimEvent::NonceFound {
                to,
                incarnation,
                job,
            } => {
                if self.node(to).incarnation == incarnation
                    && let Some(input) = self.node_mut(to).find_nonce(job)
                {
                    self.feed(to, input);
                }
            }
            SimEvent::Dial => {
                self.dial_peers();
                self.schedule_in(1_000, SimEvent::Dial);
            }
            SimEvent::RecordReading { at } => self.record_reading(at),
            SimEvent::SetName { at } => self.set_name(at),
            SimEvent::Fault(fault) => self.inject(fault),
            SimEvent::MisbehaviourTurn { at } => self.misbehaviour_turn(at),
            SimEvent::AttackerTurn { at } => self.attacker_turn(at),
            SimEvent::Send { from, to, packet } => self.send(from, to, packet),
            SimEvent::Reconnect { from, to } => self.reconnect(from, to),
            SimEvent::Connect { from, to } => {
                if self.can_dial(from, to) {
                    self.dial(from, to);
                }
            }
            SimEvent::CheckInvariants => self.check_invariants(),
        }
    }

    fn record_reading(&mut self, at: Id) {
        let ticket = Ticket(self.node_mut(at).state.next_id());
        let number = u16::try_from(self.rng.between(20, 400)).expect("a heart rate");
        let bpm = Bpm::new(number).expect("a heart rate");
        self.feed(at, Input::Record { ticket, bpm });
    }

    pub(crate) fn restart(&mut self, id: Id) {
        let (now, seed) = (self.now, self.rng.bytes());
        let room = if self.node(id).has_key {
            self.room.clone()
        } else {
            Room::new(self.room.params().clone())
        };
        let node = self.node_mut(id);
        if node.run_state == RunState::Off && !node.gone {
            let hashes = node.start(room, seed, now);
            self.feed(id, Input::Tick);
            self.feed(id, Input::BodiesMissing { hashes });
            self.adopt_closed_slots(id);
        }
    }
}
