//! One recorded sequence of inputs, by which drivers are compared: what each does must be the outputs of the machine, all of them
//! and in their order.
//!
//! The sequence is recorded again in each run, from a seed, by the interpreter of the simulation ([`Driver`]).
//! [`Replay`](crate::Replay) passes the same inputs to the driver of a platform.

use core::fmt::{Debug, Display};
use std::collections::VecDeque;

use heartchain_chain::{
    bpm::Bpm,
    content::Measurement,
    header::Header,
    key::Signature,
    merkle::readings_root,
    profile::ProfileName,
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Config, Event, Input, Machine, Now, Output,
    io::{
        DisconnectReason, GossipId, ImportPiece, InboundId, JobId, RequestFailure, RequestId,
        Topic, Verdict,
    },
    message::{GossipItem, Request, Response, StatusMessage},
    verification::VerifiedBodies,
};

use crate::{
    branch::{Branch, START, key, mine_on},
    clock::now_at,
    disk::{Ending, Job},
    driver::{Driver, DriverState, PendingGossip},
    replay::{RecordedInput, StoreRequests, disconnect, line},
    rng::Rng,
};

/// What decides the recorded sequence.
const SEED: u64 = 19;
/// What a person, a peer or the disk does, one after another.
const STEPS: usize = 600;
/// The author of the machine.
const OWN_AUTHOR: u64 = 100;

/// The peers of a recording. The first is the machine's own ID.
pub type Peers<P> = [P; 4];

/// The recorded inputs, and what they led to.
#[derive(Clone, Debug)]
pub struct Recording<P> {
    /// The inputs, except for those that a driver makes itself because a store refuses a request.
    pub inputs: Vec<RecordedInput<P>>,
    /// What the machine returned, a line for each output.
    pub returned: Vec<String>,
    /// What the interpreter of the simulation did, a line for each output.
    pub simulated: Vec<String>,
}

/// The machine of the recording before its first input.
#[must_use]
pub fn recorded_machine<P: Copy + Ord + Debug>(
    peers: &Peers<P>,
    to_bytes: fn(&P) -> Vec<u8>,
) -> Machine<P> {
    let config = Config { mining: true };
    let start = now_at(START, 0);
    let mut machine = Machine::new(config, private_room(), key(OWN_AUTHOR), [5; 32], start);
    machine.identify(peers[0], to_bytes);
    machine
}

/// Records the sequence.
#[must_use]
pub fn record<P: Copy + Ord + Debug + Display>(
    peers: &Peers<P>,
    to_bytes: fn(&P) -> Vec<u8>,
) -> Recording<P> {
    let machine = recorded_machine(peers, to_bytes);
    let mut state = DriverState::default();
    state.form = machine.room().form();
    let mut recorder = Recorder {
        machine,
        state,
        now: START,
        requests: StoreRequests::default(),
        refused: VecDeque::new(),
        is_caused: false,
        proof: None,
        recording: Recording {
            inputs: Vec::new(),
            returned: Vec::new(),
            simulated: Vec::new(),
        },
    };
    let mut script = Script {
        rng: Rng::new(SEED),
        peers: *peers,
        to_bytes,
        branch: Branch::in_room(&private_room()),
        gossiped: [0; 4],
    };
    recorder.feed(Input::Tick);
    for _ in 0..STEPS {
        recorder.now += script.rng.between(1, 1_500);
        if recorder
            .state
            .wake_at
            .is_some_and(|at| at.get() <= recorder.now)
        {
            recorder.state.wake_at = None;
            recorder.feed(Input::Tick);
        }
        script.step(&mut recorder);
    }
    recorder.recording
}

/// The machine that is recorded, and the interpreter of the simulation.
struct Recorder<P> {
    machine: Machine<P>,
    state: DriverState<P>,
    /// The true time, which both clocks show.
    now: u64,
    requests: StoreRequests,
    /// The answers to requests that the store refused.
    refused: VecDeque<Input<P>>,
    /// Whether the next input is such an answer.
    is_caused: bool,
    /// What the next input comes with.
    proof: Option<VerifiedBodies>,
    recording: Recording<P>,
}

impl<P: Copy + Ord + Debug> Recorder<P> {
    fn note(&mut self, output: &Output<P>) {
        self.recording.simulated.push(line(output));
    }
}

impl<P: Copy + Ord + Debug + Display> Driver<P> for Recorder<P> {
    fn state(&mut self) -> &mut DriverState<P> {
        &mut self.state
    }

    fn machine(&mut self) -> &mut Machine<P> {
        &mut self.machine
    }

    fn now(&self) -> Now {
        now_at(self.now, 0)
    }

    fn handle(&mut self, input: Input<P>) -> Vec<Output<P>> {
        let now = self.now();
        let verified = self.proof.take().or_else(|| proof_of(&input));
        if !core::mem::take(&mut self.is_caused) {
            self.recording.inputs.push(RecordedInput {
                now,
                input: input.clone(),
                verified: verified.clone(),
            });
        }
        let outputs: Vec<_> = match verified {
            Some(verified) => self.machine.handle_verified(input, verified, now).collect(),
            None => self.machine.handle(input, now).collect(),
        };
        self.recording.returned.extend(outputs.iter().map(line));
        outputs
    }

    fn accept_job(&mut self, job: Job) {
        let output = match job.clone() {
            Job::Write { id, batch } => Output::Write { id, batch },
            Job::Read { id, hashes } => Output::Read { id, hashes },
        };
        self.note(&output);
        if !self.requests.refuses_next() {
            return self.state.disk.accept(job);
        }
        self.refused.push_back(match job {
            Job::Write { id, .. } => Input::WriteFailed { id, full: false },
            Job::Read { id, .. } => Input::ReadFailed { id },
        });
    }

    /// The script ends the jobs that the disk accepted.
    fn finish_job(&mut self) -> Option<Input<P>> {
        let refused = self.refused.pop_front();
        self.is_caused = refused.is_some();
        refused
    }

    fn send_request(&mut self, peer: P, id: RequestId, data: Vec<u8>, deadline: MonotonicMillis) {
        let request = Request::decode(self.state.form, &data).expect("a valid request");
        self.note(&Output::Request {
            peer,
            id,
            request,
            deadline,
        });
    }

    fn send_response(&mut self, _: P, _: RequestId, id: InboundId, data: Option<Vec<u8>>) {
        let form = self.state.form;
        let output = data.map_or(Output::Refuse { id }, |data| Output::Respond {
            id,
            response: Response::decode(form, &data).expect("a valid answer"),
        });
        self.note(&output);
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let item = GossipItem::decode(topic, self.state.form, &data);
        self.note(&Output::Publish(item.expect("a valid item")));
    }

    fn judge(&mut self, id: GossipId, item: PendingGossip<P>, verdict: Verdict) {
        let from = item.from;
        self.note(&Output::Verdict { id, from, verdict });
    }

    fn mine(&mut self, job: JobId, header: Header) {
        self.note(&Output::Mine { job, header });
    }

    fn stop_mining(&mut self) {
        self.note(&Output::StopMining);
    }

    fn set_timer(&mut self, at: MonotonicMillis) {
        self.note(&Output::WakeAt(at));
    }

    fn emit(&mut self, event: Event) {
        self.note(&Output::Emit(event));
    }

    fn on_proved_member(&mut self, peer: P) {
        self.note(&Output::ProvedMember { peer });
    }

    fn disconnect_peer(&mut self, peer: P, _: DisconnectReason, until: Option<MonotonicMillis>) {
        self.note(&disconnect(peer, until));
    }
}

/// What the machine's surroundings do.
struct Script<P> {
    rng: Rng,
    peers: Peers<P>,
    to_bytes: fn(&P) -> Vec<u8>,
    /// The branch of the others.
    branch: Branch,
    /// Readings of each other peer that it has gossiped.
    gossiped: [u64; 4],
}

impl<P: Copy + Ord + Debug + Display> Script<P> {
    fn step(&mut self, machine: &mut Recorder<P>) {
        let number = usize::try_from(self.rng.between(1, 3)).unwrap_or(1);
        let peer = self.peers[number];
        match self.rng.below(22) {
            0 if machine.state.connected.contains(&peer) => {
                if self.rng.percent(20) {
                    machine.disconnect(peer);
                }
            }
            0 | 1 => {
                if machine.state.connected.insert(peer) {
                    machine.connect(peer);
                }
            }
            2 | 3 => self.send_status(machine, number),
            4..=8 => self.answer(machine, peer),
            9 => {
                if let Some((id, _)) = machine.state.open_request(peer, |_| true) {
                    machine.fail(peer, id, RequestFailure::Closed);
                }
            }
            10 | 11 => {
                let bpm = u16::try_from(self.rng.between(60, 100)).unwrap_or(60);
                machine.record(Bpm::new(bpm).expect("a heart rate"));
            }
            12 => {
                let seq = self.gossiped[number];
                self.gossiped[number] += 1;
                let reading = sealed(author(number), seq);
                machine.gossip_reading(peer, &reading);
            }
            13 => {
                let block = self.grow();
                machine.gossip_block(peer, &block);
            }
            14 => {
                machine.find_nonce(u32::MAX);
            }
            15 => mine_what_waits(machine, peer),
            16 | 17 => self.end_jobs(machine),
            18 => self.ask(machine, peer),
            19 => {
                let name = format!("name {}", self.rng.below(100));
                machine.set_name(ProfileName::new(&name).expect("a name"));
            }
            20 => self.misbehave(machine, peer),
            _ => self.disturb(machine),
        }
    }

    /// The others mine a block.
    fn grow(&mut self) -> heartchain_chain::block::Block {
        let seq = self.branch.next_seq(1);
        self.branch.push(vec![sealed(1, seq)])
    }

    /// Peers 1 and 2 prove that they have the room's key.
    fn send_status(&mut self, machine: &mut Recorder<P>, number: usize) {
        let peer = self.peers[number];
        let id = (self.to_bytes)(&peer);
        let binding = (number < 3).then(|| private_room().bind(&key(author(number)), &id));
        let status = StatusMessage {
            binding: binding.flatten(),
            ..self.branch.status_at(machine.now)
        };
        machine.ask(peer, Request::Status(status).encode());
    }

    /// Answers a few requests to a peer, as an honest one.
    fn answer(&mut self, machine: &mut Recorder<P>, peer: P) {
        for _ in 0..self.rng.between(1, 4) {
            let Some((id, request)) = machine.state.open_request(peer, |_| true) else {
                return;
            };
            let response = self.branch.answer(&request, machine.now);
            machine.respond_with(peer, id, &response);
        }
    }

    fn end_jobs(&mut self, machine: &mut Recorder<P>) {
        for _ in 0..self.rng.between(1, 8) {
            let ending = match self.rng.below(12) {
                0 => Ending::Failed,
                1 => Ending::Full,
                _ => Ending::Done,
            };
            match machine.state.disk.finish(ending) {
                Some(input) => machine.feed(input),
                None => return,
            }
        }
    }

    /// A peer asks for what the machine has.
    fn ask(&mut self, machine: &mut Recorder<P>, peer: P) {
        let tip = machine.machine.status().tip;
        let request = match self.rng.below(3) {
            0 => Request::Headers {
                locator: vec![private_room().genesis_hash()],
            },
            1 => Request::Bodies { hashes: vec![tip] },
            _ => Request::Bodies {
                hashes: vec![private_room().genesis_hash()],
            },
        };
        machine.ask(peer, request.encode());
    }

    /// A peer sends what no honest one sends.
    fn misbehave(&mut self, machine: &mut Recorder<P>, peer: P) {
        match self.rng.below(4) {
            0 => {
                machine.ask(peer, vec![0xff; 3]);
            }
            1 => {
                machine.gossip(peer, Topic::Readings, vec![7; 5]);
            }
            2 => machine.feed(Input::PeerFlooded { peer }),
            _ => {
                machine.gossip_reading(peer, &sealed(1, 0));
            }
        }
    }

    /// The computer sleeps, the disk loses something, a file is imported.
    fn disturb(&mut self, machine: &mut Recorder<P>) {
        match self.rng.below(6) {
            0 => machine.feed(Input::Resumed),
            1 => {
                let hashes = vec![machine.machine.status().tip];
                machine.feed(Input::BodiesMissing { hashes });
            }
            2 => {
                let piece = ImportPiece {
                    blocks: self.branch.blocks.clone(),
                    is_last: true,
                    ..ImportPiece::default()
                };
                machine.import(piece);
            }
            3 => {
                machine.adopt(vec![sealed(7, self.rng.below(4))]);
            }
            4 => self.import_unsigned(machine),
            _ => machine.feed(Input::Tick),
        }
    }

    /// A file has a block of its own with a signature that is not valid, and another thread says that it is. Only with its proof does
    /// the machine take the block.
    fn import_unsigned(&mut self, machine: &mut Recorder<P>) {
        let unsigned = Reading {
            signature: Signature::new([1; Signature::LEN]),
            ..sealed(8, 0)
        };
        let time = UnixMillis::new(START + self.rng.below(1_000));
        let block = mine_on(&private_room(), &[], vec![unsigned], |window| {
            window.mtp().saturating_add(1).max(time)
        });
        let root = readings_root(&block.readings);
        let proof = [*private_room().id().as_bytes(), *root.as_bytes()].concat();
        machine.proof = VerifiedBodies::from_own_thread(&proof);
        machine.import(ImportPiece {
            blocks: vec![block],
            ..ImportPiece::default()
        });
    }
}

/// The proof that another thread of a tab finds for the bodies in an input.
fn proof_of<P>(input: &Input<P>) -> Option<VerifiedBodies> {
    let Input::Response {
        response: Ok(Response::Bodies(bodies)),
        ..
    } = input
    else {
        return None;
    };
    let bodies: Vec<&[Reading]> = bodies.iter().flatten().map(Vec::as_slice).collect();
    Some(VerifiedBodies::verify(
        private_room().id(),
        &bodies,
        [3; 32],
    ))
}

/// A peer mines the readings of the machine on its branch, so the machine has nothing to mine.
fn mine_what_waits<P: Copy + Ord + Debug + Display>(recorder: &mut Recorder<P>, peer: P) {
    let machine = &recorder.machine;
    let height = machine.status().index;
    let hashes = (1..=height).filter_map(|index| machine.best_hash(index));
    let headers: Vec<_> = hashes.filter_map(|hash| machine.header(&hash)).collect();
    let own = machine.author();
    let waiting = machine.pending().filter(|reading| reading.author == own);
    let mut waiting: Vec<_> = waiting.copied().collect();
    waiting.sort_by_key(|reading| reading.seq);
    if !waiting.is_empty() {
        let now = UnixMillis::new(recorder.now);
        let block = mine_on(&private_room(), &headers, waiting, |window| {
            window.mtp().saturating_add(1).max(now)
        });
        recorder.gossip_block(peer, &block);
    }
}

/// The author of the peer with this number.
const fn author(number: usize) -> u64 {
    1 + number as u64
}

/// A private room, whose members prove that they are.
fn private_room() -> Room {
    let key = RoomKey::new([0x77; 32]);
    let params = RoomParams::new(&key, 8, 1_000).expect("within bounds");
    Room::new(params).unlock(key).expect("its own key")
}

fn sealed(author: u64, seq: u64) -> Reading {
    let measurement = Measurement {
        time: UnixMillis::new(START + seq),
        bpm: Bpm::new(72).expect("a heart rate"),
    };
    let signed = private_room().sign(&key(author), seq, measurement);
    signed.expect("the key is known")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{OUTPUT_KINDS, assert_same, kinds};

    fn recorded() -> Recording<u64> {
        record(&[10, 11, 12, 13], |peer| peer.to_le_bytes().to_vec())
    }

    #[test]
    fn simulation_performs_what_the_machine_returns() {
        let recording = recorded();
        assert_same(&recording.simulated, &recording.returned, "the simulation");
    }

    #[test]
    fn recording_has_every_kind_of_output() {
        let recording = recorded();
        let kinds = kinds(&recording.returned);
        for kind in OUTPUT_KINDS {
            assert!(kinds.contains_key(kind), "{kind} is not among {kinds:?}");
        }
        assert_eq!(kinds.len(), OUTPUT_KINDS.len(), "{kinds:?}");
    }

    #[test]
    fn recording_is_the_same_each_time() {
        assert_same(&recorded().returned, &recorded().returned, "a second run");
    }
}
