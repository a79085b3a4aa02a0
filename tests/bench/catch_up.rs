//! Benchmarks of the sync machine as the chain grows: catching up, recording on top of a long chain, and a deep
//! reorganisation.
//!
//! Two machines exchange messages without latency. Bodies are stored outside the machine, as a tab's storage does. The
//! clock is the process's CPU time. When there are no messages left, the clock jumps to the next wake-up, because
//! responses are rate-limited per second.

use std::{collections::HashMap, time::Duration};

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    key::SecretKey,
    reading::Reading,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Config, Event, Input, Machine, Now, Output, Restore, StoreOperation,
    io::{InboundId, Ticket},
};
use peak_alloc::PeakAlloc;

use crate::{
    clock_ms,
    report::{Report, median},
    workload::{ChainBuilder, START, STEP, keys, room},
};

/// Readings per block.
const READINGS: u64 = 10;

/// A machine and its storage.
struct BenchPeer {
    machine: Machine<u8>,
    bodies: HashMap<BlockHash, Vec<Reading>>,
    /// Whether the storage keeps bodies. A fresh peer's does not, so that stored bodies do not count as the machine's
    /// memory.
    keeps_bodies: bool,
    wake_at: Option<MonotonicMillis>,
}

/// Two connected machines that share a clock.
struct Pair {
    peers: [BenchPeer; 2],
    started: f64,
    /// Idle time that the clock has jumped over, in milliseconds.
    skipped: u64,
}

/// The most idle time that one sync may skip, in milliseconds. A token bucket refills in less.
const MAX_JUMP: u64 = 120_000;

/// An input on its way to one of the two peers, by index.
type Message = (usize, Input<u8>);

impl BenchPeer {
    fn new(room: &Room, number: u8, config: Config) -> Self {
        Self::with_machine(Machine::new(
            config,
            room.clone(),
            key(number),
            [number; 32],
            now(),
        ))
    }

    fn with_machine(machine: Machine<u8>) -> Self {
        Self {
            machine,
            bodies: HashMap::new(),
            keeps_bodies: false,
            wake_at: None,
        }
    }

    /// Feeds an input, performs the outputs, queues the resulting inputs, and returns the emitted events.
    fn feed(
        &mut self,
        at: usize,
        input: Input<u8>,
        now: Now,
        messages: &mut Vec<Message>,
    ) -> Vec<Event> {
        let (here, there) = (at, 1 - at);
        let from = u8::try_from(here).unwrap_or(0);
        let mut events = Vec::new();
        for output in self.machine.handle(input, now) {
            match output {
                Output::Write { id, batch } => {
                    for operation in batch.operations {
                        if let StoreOperation::PutBlock(hash, block) = operation
                            && self.keeps_bodies
                        {
                            self.bodies.insert(hash, block.readings);
                        }
                    }
                    messages.push((here, Input::Written { id }));
                }
                Output::Read { id, hashes } => {
                    let bodies = hashes
                        .iter()
                        .map(|hash| self.bodies.get(hash).cloned())
                        .collect();
                    messages.push((here, Input::Read { id, bodies }));
                }
                Output::Request { id, data, .. } => {
                    messages.push((
                        there,
                        Input::Request {
                            from,
                            id: InboundId(id.0),
                            data,
                        },
                    ));
                }
                Output::Respond { id, data } => {
                    let id = heartchain_sync::io::RequestId(id.0);
                    messages.push((
                        there,
                        Input::Response {
                            peer: from,
                            id,
                            data,
                        },
                    ));
                }
                Output::Refuse { id } => {
                    let (id, failure) = (
                        heartchain_sync::io::RequestId(id.0),
                        heartchain_sync::io::RequestFailure::Closed,
                    );
                    messages.push((
                        there,
                        Input::RequestFailed {
                            peer: from,
                            id,
                            failure,
                        },
                    ));
                }
                Output::Emit(event) => events.push(event),
                Output::Disconnect { reason, .. } => {
                    panic!("disconnected an honest peer: {reason}")
                }
                Output::WakeAt(at) => self.wake_at = Some(at),
                Output::Publish { .. }
                | Output::Verdict { .. }
                | Output::Mine { .. }
                | Output::StopMining => {}
            }
        }
        events
    }
}

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed([200 + number; 32])
}

/// A time after every block.
pub fn now() -> Now {
    both(START + 10_000_000 * STEP)
}

/// Wall clock and monotonic clock at the same reading, in milliseconds.
pub fn both(millis: u64) -> Now {
    Now {
        wall: UnixMillis::new(millis),
        monotonic: MonotonicMillis::new(millis),
    }
}

/// A peer whose machine and storage start with these blocks.
fn peer_with(room: &Room, number: u8, blocks: Vec<(BlockHash, Block)>) -> BenchPeer {
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room.clone(), key(number), [], [number; 32], now());
    let bodies = blocks
        .iter()
        .map(|(hash, block)| (*hash, block.readings.clone()))
        .collect();
    restore.blocks(blocks);
    BenchPeer {
        bodies,
        keeps_bodies: true,
        ..BenchPeer::with_machine(restore.finish())
    }
}

impl Pair {
    fn new(peers: [BenchPeer; 2]) -> Self {
        Self {
            peers,
            started: clock_ms(),
            skipped: 0,
        }
    }

    fn now(&self) -> Now {
        let passed = Duration::from_secs_f64((clock_ms() - self.started) / 1e3);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        both(now().wall.get() + passed.saturating_add(self.skipped))
    }

    /// Connects the two peers and delivers messages until the second has this tip, or until more time would not help.
    /// Returns the elapsed milliseconds.
    fn sync_until(&mut self, tip: BlockHash) -> f64 {
        self.started = clock_ms();
        self.deliver(vec![
            (0, Input::PeerConnected { peer: 1 }),
            (1, Input::PeerConnected { peer: 0 }),
        ]);
        let end = self.skipped + MAX_JUMP;
        while self.peers[1].machine.status().tip != tip && self.skipped < end {
            let wakes = self.peers.iter().filter_map(|peer| peer.wake_at);
            let Some(next) = wakes.min() else { break };
            self.skipped += next.since(self.now().monotonic).clamp(1, MAX_JUMP);
            self.deliver(vec![(0, Input::Tick), (1, Input::Tick)]);
        }
        clock_ms() - self.started
    }

    /// Delivers these inputs and all that follow from them.
    fn deliver(&mut self, mut messages: Vec<Message>) {
        let mut next = 0;
        while next < messages.len() {
            let (at, input) = std::mem::replace(&mut messages[next], (0, Input::Tick));
            next += 1;
            let now = self.now();
            self.peers[at].feed(at, input, now, &mut messages);
            if next > 10_000 {
                messages.drain(..next);
                next = 0;
            }
        }
    }
}

/// Measures catching up and recording. `long` adds the chain of a million readings.
pub fn measure(report: &mut Report, heap: &PeakAlloc, long: bool) {
    let sizes: &[usize] = if long {
        &[1_000, 10_000, 100_000]
    } else {
        &[1_000, 10_000]
    };
    let each: Vec<f64> = sizes
        .iter()
        .map(|&blocks| catch_up(report, heap, blocks))
        .collect();
    if let (Some(shortest), Some(longest)) = (each.first(), each.last()) {
        let name = "catch-up, a reading of the longest chain";
        report.pair(name, "of the shortest", *longest, *shortest, "us", 1);
    }
}

pub fn grow(room: &Room, first_key: u64, blocks: usize) -> Vec<(BlockHash, Block)> {
    let authors = keys(first_key + READINGS).split_off(usize::try_from(first_key).unwrap_or(0));
    let mut builder = ChainBuilder::new(room.clone(), authors);
    (0..blocks)
        .map(|_| {
            let block = builder.next_block();
            (block.header.hash(), block)
        })
        .collect()
}

/// Returns microseconds per reading.
fn catch_up(report: &mut Report, heap: &PeakAlloc, blocks: usize) -> f64 {
    let room = room();
    let chain = grow(&room, 0, blocks);
    let tip = chain.last().expect("not empty").0;
    let runs = 3;
    let (mut times, mut recording) = (Vec::new(), Vec::new());
    let (mut peaks, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut pair = Pair::new([
            peer_with(&room, 0, chain.clone()),
            BenchPeer::new(&room, 1, Config { mining: false }),
        ]);
        heap.reset_peak_usage();
        let before = heap.current_usage();
        times.push(pair.sync_until(tip) / 1e3);
        peaks.push(heap.peak_usage().saturating_sub(before) as f64);
        kept.push(heap.current_usage().saturating_sub(before) as f64);
        assert_eq!(
            pair.peers[1].machine.status().index,
            blocks as u64,
            "the fresh peer caught up"
        );
        recording.push(record(&mut pair.peers[1]));
    }
    let readings = blocks as f64 * READINGS as f64;
    let seconds = median(&times);
    report.single(
        &format!("catch-up of {} readings", blocks as u64 * READINGS),
        &format!(
            "{seconds:.2} s, {:.1} us a reading, {:.1} MB at the most, then {:.0} bytes a block",
            seconds * 1e6 / readings,
            median(&peaks) / 1e6,
            median(&kept) / blocks as f64,
        ),
        runs,
    );
    report.single(
        &format!("record() with {blocks} blocks behind it"),
        &format!("{:.1} us", median(&recording)),
        runs,
    );
    seconds * 1e6 / readings
}

/// Microseconds from a call of `record()` to its answer, without the storage's time.
fn record(peer: &mut BenchPeer) -> f64 {
    let mut each = Vec::new();
    for number in 0..100 {
        let input = Input::Record {
            ticket: Ticket(number),
            bpm: Bpm::new(72).expect("72"),
        };
        let start = clock_ms();
        let mut messages = Vec::new();
        peer.feed(0, input, now(), &mut messages);
        let mut recorded = false;
        for (_, input) in std::mem::take(&mut messages) {
            if matches!(input, Input::Written { .. }) {
                let events = peer.feed(0, input, now(), &mut messages);
                recorded |= events
                    .iter()
                    .any(|event| matches!(event, Event::Recorded { .. }));
            }
        }
        each.push((clock_ms() - start) * 1e3);
        assert!(recorded, "record() was answered");
    }
    median(&each)
}

/// Measures a reorganisation that replaces all blocks of a machine's branch.
pub fn reorganise(report: &mut Report, depth: usize) {
    let room = room();
    let short = grow(&room, 0, depth);
    let long = grow(&room, 100, depth + 1);
    let tip = long.last().expect("not empty").0;
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut pair = Pair::new([
            peer_with(&room, 0, long.clone()),
            peer_with(&room, 1, short.clone()),
        ]);
        times.push(pair.sync_until(tip));
        let here = pair.peers[1].machine.status().tip;
        assert_eq!(here, tip, "the branch with more work won");
    }
    report.single(
        &format!("reorganisation of {depth} blocks of 10 readings, fetching them"),
        &format!("{:.0} ms", median(&times)),
        5,
    );
}
