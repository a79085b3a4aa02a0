//! Counts the bytes that one more reading costs among ten fully connected peers: gossip payloads, once per link that
//! they cross, and requests and responses. This is an upper bound: gossipsub keeps a mesh of six links per peer, and
//! here an item crosses all nine. Framing, encryption and gossipsub's control messages are not counted.

use std::collections::{HashMap, HashSet};

use heartchain_chain::{block::Block, bpm::Bpm, hash::BlockHash, mining::Job, room::Room};
use heartchain_sync::{
    Config, Input, Machine, Output, Restore,
    io::{GossipId, InboundId, RequestFailure, RequestId, Ticket, Topic, Verdict},
};

use crate::{
    catch_up::{both, grow, key},
    report::Report,
    workload::{START, STEP, room},
};

/// Number of peers in the room.
const PEERS: u8 = 10;

/// A gossip item in flight.
type Item = (Topic, Vec<u8>);

/// Fully connected peers and their messages in flight.
struct Mesh {
    machines: Vec<Machine<u8>>,
    now: u64,
    inputs: Vec<(u8, Input<u8>)>,
    seen: HashSet<(u8, Vec<u8>)>,
    awaiting_verdict: HashMap<(u8, GossipId), (u8, Item)>,
    open_requests: HashMap<InboundId, (u8, RequestId)>,
    templates: HashMap<u8, (heartchain_sync::io::JobId, heartchain_chain::header::Header)>,
    next_id: u64,
    gossip: usize,
    requests: usize,
}

/// Measures on top of ten blocks and of ten thousand.
pub fn measure(report: &mut Report) {
    let room = room();
    let chain = grow(&room, 0, 10_000);
    for blocks in [10, 10_000] {
        let mut mesh = Mesh::new(&room, &chain[..blocks]);
        mesh.run(3_000);
        (mesh.gossip, mesh.requests) = (0, 0);
        let bpm = Bpm::new(72).expect("72");
        let ticket = Ticket(0);
        mesh.inputs.push((0, Input::Record { ticket, bpm }));
        mesh.run(10_000);
        assert!(
            mesh.machines
                .iter()
                .all(|machine| machine.status().index == blocks as u64 + 1),
            "the reading is in every chain"
        );
        report.single(
            &format!(
                "one more reading among 10 peers behind {blocks} blocks, until it is in every chain"
            ),
            &format!(
                "{} bytes of gossip, {} of requests and responses",
                mesh.gossip, mesh.requests
            ),
            1,
        );
    }
}

impl Mesh {
    fn new(room: &Room, chain: &[(BlockHash, Block)]) -> Self {
        let now = START + (chain.len() as u64 + 1_000) * STEP;
        let machine = |number: u8| {
            let (config, key) = (
                Config {
                    mining: number == 0,
                },
                key(number),
            );
            let now = both(now);
            let mut restore = Restore::new(config, room.clone(), key, [], [number; 32], now);
            restore.blocks(chain.iter().cloned());
            restore.finish()
        };
        let pairs = (0..PEERS).flat_map(|at| (0..PEERS).map(move |peer| (at, peer)));
        Self {
            machines: (0..PEERS).map(machine).collect(),
            now,
            inputs: pairs
                .filter(|(at, peer)| at != peer)
                .map(|(at, peer)| (at, Input::PeerConnected { peer }))
                .collect(),
            seen: HashSet::new(),
            awaiting_verdict: HashMap::new(),
            open_requests: HashMap::new(),
            templates: HashMap::new(),
            next_id: 0,
            gossip: 0,
            requests: 0,
        }
    }

    /// Lets this many milliseconds pass in steps of a hundred, without latency.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.inputs.extend((0..PEERS).map(|at| (at, Input::Tick)));
            while !self.inputs.is_empty() {
                for (at, input) in std::mem::take(&mut self.inputs) {
                    let outputs = self.machines[usize::from(at)].handle(input, both(self.now));
                    for output in outputs {
                        self.perform(at, output);
                    }
                }
            }
            self.mine();
            self.now += 100;
        }
    }

    fn mine(&mut self) {
        for (at, (job, header)) in std::mem::take(&mut self.templates) {
            let target = header.bits.target().expect("a template's target");
            let nonce = Job::new(&header, target)
                .search(0, u32::MAX)
                .expect("the room is easy");
            self.inputs.push((at, Input::Mined { job, nonce }));
        }
    }

    /// Sends an item to every peer except the one that it came from.
    fn broadcast(&mut self, at: u8, except: Option<u8>, (topic, data): Item) {
        self.seen.insert((at, data.clone()));
        for to in (0..PEERS).filter(|to| *to != at && Some(*to) != except) {
            self.gossip += data.len();
            if self.seen.insert((to, data.clone())) {
                self.next_id += 1;
                let id = GossipId(self.next_id);
                self.awaiting_verdict
                    .insert((to, id), (at, (topic, data.clone())));
                let (from, data) = (at, data.clone());
                self.inputs.push((
                    to,
                    Input::Gossip {
                        from,
                        id,
                        topic,
                        data,
                    },
                ));
            }
        }
    }

    fn perform(&mut self, at: u8, output: Output<u8>) {
        match output {
            Output::Write { id, .. } => self.inputs.push((at, Input::Written { id })),
            Output::Read { id, .. } => self.inputs.push((at, Input::ReadFailed { id })),
            Output::Request { peer, id, data, .. } => {
                self.requests += data.len();
                self.next_id += 1;
                let inbound = InboundId(self.next_id);
                self.open_requests.insert(inbound, (at, id));
                let (from, id) = (at, inbound);
                self.inputs.push((peer, Input::Request { from, id, data }));
            }
            Output::Respond { id, data } => {
                self.requests += data.len();
                if let Some((to, id)) = self.open_requests.remove(&id) {
                    self.inputs
                        .push((to, Input::Response { peer: at, id, data }));
                }
            }
            Output::Refuse { id } => {
                if let Some((to, id)) = self.open_requests.remove(&id) {
                    let failure = RequestFailure::Closed;
                    self.inputs.push((
                        to,
                        Input::RequestFailed {
                            peer: at,
                            id,
                            failure,
                        },
                    ));
                }
            }
            Output::Publish { topic, data } => self.broadcast(at, None, (topic, data)),
            Output::Verdict { id, verdict, .. } => {
                if let Some((from, item)) = self.awaiting_verdict.remove(&(at, id))
                    && verdict == Verdict::Accept
                {
                    self.broadcast(at, Some(from), item);
                }
            }
            Output::Mine { job, header } => {
                self.templates.insert(at, (job, header));
            }
            Output::StopMining => {
                self.templates.remove(&at);
            }
            Output::Disconnect { reason, .. } => panic!("disconnected an honest peer: {reason}"),
            Output::WakeAt(_) | Output::Emit(_) => {}
        }
    }
}
