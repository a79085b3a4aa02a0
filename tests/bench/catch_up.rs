//! What the machine costs as the chain grows: catching up, recording behind a long chain, a deep reorganisation.
//!
//! Two machines on links without latency; bodies are kept outside, as a tab's storage does.

use std::{collections::HashMap, time::Instant};

use chain::{
    block::Block, bpm::Bpm, hash::BlockHash, key::SecretKey, reading::Reading, room::Room,
    time::UnixMillis,
};
use peak_alloc::PeakAlloc;
use sync::{
    Config, Event, Input, Machine, Output, Restore, StoreOperation,
    seam::{InboundId, Ticket},
};

use crate::{
    report::{Report, median},
    workload::{Grower, START, STEP, keys, room},
};

/// Readings a block.
const READINGS: u64 = 10;

/// A machine, its storage, and what it put out for others.
struct Side {
    machine: Machine<u8>,
    bodies: HashMap<BlockHash, Vec<Reading>>,
    /// Whether its storage keeps bodies: a fresh peer's is not to count as its memory.
    keeps: bool,
}

/// Something on its way to a side.
type Parcel = (usize, Input<u8>);

impl Side {
    fn new(room: &Room, number: u8, config: Config) -> Self {
        Self::over(Machine::new(
            config,
            room.clone(),
            key(number),
            [number; 32],
            now(),
        ))
    }

    fn over(machine: Machine<u8>) -> Self {
        Self {
            machine,
            bodies: HashMap::new(),
            keeps: false,
        }
    }

    /// Feeds an input, performs what comes of it, and returns what goes to the other side.
    fn feed(&mut self, at: usize, input: Input<u8>, parcels: &mut Vec<Parcel>) -> Vec<Event> {
        let (here, there) = (at, 1 - at);
        let from = u8::try_from(here).unwrap_or(0);
        let mut events = Vec::new();
        for output in self.machine.handle(input, now()) {
            match output {
                Output::Write { id, batch } => {
                    for operation in batch.operations {
                        if let StoreOperation::PutBlock(hash, block) = operation
                            && self.keeps
                        {
                            self.bodies.insert(hash, block.readings);
                        }
                    }
                    parcels.push((here, Input::Written { id }));
                }
                Output::Read { id, hashes } => {
                    let bodies = hashes
                        .iter()
                        .map(|hash| self.bodies.get(hash).cloned())
                        .collect();
                    parcels.push((here, Input::Read { id, bodies }));
                }
                Output::Request { id, data, .. } => {
                    parcels.push((
                        there,
                        Input::Request {
                            from,
                            id: InboundId(id.0),
                            data,
                        },
                    ));
                }
                Output::Respond { id, data } => {
                    let id = sync::seam::RequestId(id.0);
                    parcels.push((
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
                        sync::seam::RequestId(id.0),
                        sync::seam::RequestFailure::Closed,
                    );
                    parcels.push((
                        there,
                        Input::RequestFailed {
                            peer: from,
                            id,
                            failure,
                        },
                    ));
                }
                Output::Tell(event) => events.push(event),
                Output::Drop { reason, .. } => panic!("an honest peer was dropped: {reason}"),
                Output::Publish { .. }
                | Output::Judge { .. }
                | Output::Mine { .. }
                | Output::StopMining
                | Output::WakeAt(_) => {}
            }
        }
        events
    }
}

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed([200 + number; 32])
}

/// Later than every block.
pub fn now() -> UnixMillis {
    UnixMillis::new(START + 10_000_000 * STEP)
}

/// A machine that holds these blocks.
fn holding(room: &Room, number: u8, blocks: Vec<(BlockHash, Block)>) -> Side {
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room.clone(), key(number), [], [number; 32], now());
    let bodies = blocks
        .iter()
        .map(|(hash, block)| (*hash, block.readings.clone()))
        .collect();
    restore.blocks(blocks);
    Side {
        bodies,
        keeps: true,
        ..Side::over(restore.finish())
    }
}

/// Connects two sides and lets them talk until nothing is left to say.
fn converse(sides: &mut [Side; 2]) {
    let mut parcels: Vec<Parcel> = vec![
        (0, Input::PeerConnected { peer: 1 }),
        (1, Input::PeerConnected { peer: 0 }),
    ];
    let mut next = 0;
    while next < parcels.len() {
        let (at, input) = std::mem::replace(&mut parcels[next], (0, Input::Tick));
        next += 1;
        sides[at].feed(at, input, &mut parcels);
        if next > 10_000 {
            parcels.drain(..next);
            next = 0;
        }
    }
}

/// Measures all of it; `long` adds the chain of a million readings.
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
    reorganise(report, 1_000);
}

pub fn grow(room: &Room, first_key: u64, blocks: usize) -> Vec<(BlockHash, Block)> {
    let authors = keys(first_key + READINGS).split_off(usize::try_from(first_key).unwrap_or(0));
    let mut grower = Grower::new(room.clone(), authors);
    (0..blocks)
        .map(|_| {
            let block = grower.grow();
            (block.header.hash(), block)
        })
        .collect()
}

/// Returns microseconds a reading.
fn catch_up(report: &mut Report, heap: &PeakAlloc, blocks: usize) -> f64 {
    let room = room();
    let chain = grow(&room, 0, blocks);
    let runs = if blocks > 10_000 { 1 } else { 3 };
    let (mut times, mut recording, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut sides = [
            holding(&room, 0, chain.clone()),
            Side::new(&room, 1, Config { mining: false }),
        ];
        heap.reset_peak_usage();
        let before = heap.current_usage_as_mb();
        let start = Instant::now();
        converse(&mut sides);
        times.push(start.elapsed().as_secs_f64());
        peaks.push(f64::from(heap.peak_usage_as_mb() - before));
        assert_eq!(
            sides[1].machine.status().index,
            blocks as u64,
            "the fresh peer caught up"
        );
        recording.push(record(&mut sides[1]));
    }
    let readings = blocks as f64 * READINGS as f64;
    let seconds = median(&times);
    report.single(
        &format!("catch-up of {} readings", blocks as u64 * READINGS),
        &format!(
            "{seconds:.2} s, {:.1} us a reading, {:.1} MB at the most",
            seconds * 1e6 / readings,
            median(&peaks),
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

/// Microseconds from a call of `record()` to its answer, the storage's time left out.
fn record(side: &mut Side) -> f64 {
    let mut each = Vec::new();
    for number in 0..100 {
        let input = Input::Record {
            ticket: Ticket(number),
            bpm: Bpm::new(72).expect("72"),
        };
        let start = Instant::now();
        let mut parcels = Vec::new();
        side.feed(0, input, &mut parcels);
        let mut recorded = false;
        for (_, input) in std::mem::take(&mut parcels) {
            if matches!(input, Input::Written { .. }) {
                let events = side.feed(0, input, &mut parcels);
                recorded |= events
                    .iter()
                    .any(|event| matches!(event, Event::Recorded { .. }));
            }
        }
        each.push(start.elapsed().as_secs_f64() * 1e6);
        assert!(recorded, "record() was answered");
    }
    median(&each)
}

fn reorganise(report: &mut Report, depth: usize) {
    let room = room();
    let short = grow(&room, 0, depth);
    let long = grow(&room, 100, depth + 1);
    let tip = long.last().expect("not empty").0;
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut sides = [
            holding(&room, 0, long.clone()),
            holding(&room, 1, short.clone()),
        ];
        let start = Instant::now();
        converse(&mut sides);
        times.push(start.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(sides[1].machine.status().tip, tip, "the heavier branch won");
    }
    report.single(
        &format!("reorganisation of {depth} blocks of 10 readings, fetching them"),
        &format!("{:.0} ms", median(&times)),
        3,
    );
}
