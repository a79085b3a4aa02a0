//! What one more reading costs on the wire among ten peers, whose every pair is connected: payloads of gossip, each
//! once for every link that it crosses, and requests and answers. The upper bound: gossipsub keeps a mesh of six links a
//! peer, and here an item crosses all of nine. Frames, encryption and gossip's own control messages are not counted.

use std::collections::{HashMap, HashSet};

use chain::{block::Block, bpm::Bpm, hash::BlockHash, mining::Job, room::Room};
use sync::{
    Config, Input, Machine, Output, Restore,
    seam::{GossipId, InboundId, RequestFailure, RequestId, Ticket, Topic, Verdict},
};

use crate::{
    catch_up::{both, grow, key},
    report::Report,
    workload::{START, STEP, room},
};

/// Peers in the room.
const PEERS: u8 = 10;

/// An item of gossip on its way.
type Item = (Topic, Vec<u8>);

/// Peers and the links between them.
struct Mesh {
    machines: Vec<Machine<u8>>,
    now: u64,
    parcels: Vec<(u8, Input<u8>)>,
    seen: HashSet<(u8, Vec<u8>)>,
    judging: HashMap<(u8, GossipId), (u8, Item)>,
    asked: HashMap<InboundId, (u8, RequestId)>,
    templates: HashMap<u8, (sync::seam::JobId, chain::header::Header)>,
    names: u64,
    gossip: usize,
    requests: usize,
}

/// Measures behind ten blocks and behind ten thousand.
pub fn measure(report: &mut Report) {
    let room = room();
    let chain = grow(&room, 0, 10_000);
    for blocks in [10, 10_000] {
        let mut mesh = Mesh::new(&room, &chain[..blocks]);
        mesh.run(3_000);
        (mesh.gossip, mesh.requests) = (0, 0);
        let bpm = Bpm::new(72).expect("72");
        let ticket = Ticket(0);
        mesh.parcels.push((0, Input::Record { ticket, bpm }));
        mesh.run(10_000);
        assert!(
            mesh.machines
                .iter()
                .all(|machine| machine.status().index == blocks as u64 + 1),
            "the reading is in everybody's chain"
        );
        report.single(
            &format!("one more reading among 10 peers behind {blocks} blocks, until it is in everybody's chain"),
            &format!("{} bytes of gossip, {} of requests and answers", mesh.gossip, mesh.requests),
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
            parcels: pairs
                .filter(|(at, peer)| at != peer)
                .map(|(at, peer)| (at, Input::PeerConnected { peer }))
                .collect(),
            seen: HashSet::new(),
            judging: HashMap::new(),
            asked: HashMap::new(),
            templates: HashMap::new(),
            names: 0,
            gossip: 0,
            requests: 0,
        }
    }

    /// Lets so many milliseconds pass, a hundred at a time, without latency.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.parcels.extend((0..PEERS).map(|at| (at, Input::Tick)));
            while !self.parcels.is_empty() {
                for (at, input) in std::mem::take(&mut self.parcels) {
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
            self.parcels.push((at, Input::Mined { job, nonce }));
        }
    }

    /// Sends an item to everybody but whom it came from.
    fn spread(&mut self, at: u8, except: Option<u8>, (topic, data): Item) {
        self.seen.insert((at, data.clone()));
        for to in (0..PEERS).filter(|to| *to != at && Some(*to) != except) {
            self.gossip += data.len();
            if self.seen.insert((to, data.clone())) {
                self.names += 1;
                let id = GossipId(self.names);
                self.judging.insert((to, id), (at, (topic, data.clone())));
                let (from, data) = (at, data.clone());
                self.parcels.push((
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
            Output::Write { id, .. } => self.parcels.push((at, Input::Written { id })),
            Output::Read { id, .. } => self.parcels.push((at, Input::ReadFailed { id })),
            Output::Request { peer, id, data, .. } => {
                self.requests += data.len();
                self.names += 1;
                let name = InboundId(self.names);
                self.asked.insert(name, (at, id));
                let (from, id) = (at, name);
                self.parcels.push((peer, Input::Request { from, id, data }));
            }
            Output::Respond { id, data } => {
                self.requests += data.len();
                if let Some((to, id)) = self.asked.remove(&id) {
                    self.parcels
                        .push((to, Input::Response { peer: at, id, data }));
                }
            }
            Output::Refuse { id } => {
                if let Some((to, id)) = self.asked.remove(&id) {
                    let failure = RequestFailure::Closed;
                    self.parcels.push((
                        to,
                        Input::RequestFailed {
                            peer: at,
                            id,
                            failure,
                        },
                    ));
                }
            }
            Output::Publish { topic, data } => self.spread(at, None, (topic, data)),
            Output::Judge { id, verdict, .. } => {
                if let Some((from, item)) = self.judging.remove(&(at, id))
                    && verdict == Verdict::Accept
                {
                    self.spread(at, Some(from), item);
                }
            }
            Output::Mine { job, header } => {
                self.templates.insert(at, (job, header));
            }
            Output::StopMining => {
                self.templates.remove(&at);
            }
            Output::Drop { reason, .. } => panic!("an honest peer was dropped: {reason}"),
            Output::WakeAt(_) | Output::Tell(_) => {}
        }
    }
}
