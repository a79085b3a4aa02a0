//! What the machine costs as the chain grows: catching up, recording behind a long chain, a deep reorganisation.
//!
//! Two machines on links without latency; bodies are kept outside, as a tab's storage does. Time passes as it does,
//! and when nothing is left to say the clock jumps to when somebody wants to go on: answers are rationed by the second.

use std::{collections::HashMap, time::Duration};

use chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    key::SecretKey,
    reading::Reading,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use peak_alloc::PeakAlloc;
use sync::{
    Config, Event, Input, Machine, Now, Output, Restore, StoreOperation,
    seam::{InboundId, Ticket},
};

use crate::{
    clock_ms,
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
    wake_at: Option<MonotonicMillis>,
}

/// Two machines, and what time it is for both.
struct Pair {
    sides: [Side; 2],
    started: f64,
    /// Milliseconds that nothing was done in.
    skipped: u64,
}

/// So much time may be skipped in one conversation, in milliseconds: a token bucket is full again after less.
const MAX_JUMP: u64 = 120_000;

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
            wake_at: None,
        }
    }

    /// Feeds an input, performs what comes of it, and returns what goes to the other side.
    fn feed(
        &mut self,
        at: usize,
        input: Input<u8>,
        now: Now,
        parcels: &mut Vec<Parcel>,
    ) -> Vec<Event> {
        let (here, there) = (at, 1 - at);
        let from = u8::try_from(here).unwrap_or(0);
        let mut events = Vec::new();
        for output in self.machine.handle(input, now) {
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
                Output::WakeAt(at) => self.wake_at = Some(at),
                Output::Publish { .. }
                | Output::Judge { .. }
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

/// Later than every block.
pub fn now() -> Now {
    both(START + 10_000_000 * STEP)
}

/// Both clocks at this time.
pub fn both(millis: u64) -> Now {
    Now {
        wall: UnixMillis::new(millis),
        monotonic: MonotonicMillis::new(millis),
    }
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

impl Pair {
    fn new(sides: [Side; 2]) -> Self {
        Self {
            sides,
            started: clock_ms(),
            skipped: 0,
        }
    }

    fn now(&self) -> Now {
        let passed = Duration::from_secs_f64((clock_ms() - self.started) / 1e3);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        both(now().wall.get() + passed.saturating_add(self.skipped))
    }

    /// Connects both and lets them talk until the second stands on this tip, or time does not help; returns how
    /// many milliseconds they took.
    fn converse(&mut self, tip: BlockHash) -> f64 {
        self.started = clock_ms();
        self.deliver(vec![
            (0, Input::PeerConnected { peer: 1 }),
            (1, Input::PeerConnected { peer: 0 }),
        ]);
        let end = self.skipped + MAX_JUMP;
        while self.sides[1].machine.status().tip != tip && self.skipped < end {
            let wakes = self.sides.iter().filter_map(|side| side.wake_at);
            let Some(next) = wakes.min() else { break };
            self.skipped += next.since(self.now().monotonic).clamp(1, MAX_JUMP);
            self.deliver(vec![(0, Input::Tick), (1, Input::Tick)]);
        }
        clock_ms() - self.started
    }

    /// Feeds these, and all that comes of them.
    fn deliver(&mut self, mut parcels: Vec<Parcel>) {
        let mut next = 0;
        while next < parcels.len() {
            let (at, input) = std::mem::replace(&mut parcels[next], (0, Input::Tick));
            next += 1;
            let now = self.now();
            self.sides[at].feed(at, input, now, &mut parcels);
            if next > 10_000 {
                parcels.drain(..next);
                next = 0;
            }
        }
    }
}

/// Measures catching up and recording; `long` adds the chain of a million readings.
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
    let tip = chain.last().expect("not empty").0;
    let runs = 3;
    let (mut times, mut recording) = (Vec::new(), Vec::new());
    let (mut peaks, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut pair = Pair::new([
            holding(&room, 0, chain.clone()),
            Side::new(&room, 1, Config { mining: false }),
        ]);
        heap.reset_peak_usage();
        let before = heap.current_usage();
        times.push(pair.converse(tip) / 1e3);
        peaks.push(heap.peak_usage().saturating_sub(before) as f64);
        kept.push(heap.current_usage().saturating_sub(before) as f64);
        assert_eq!(
            pair.sides[1].machine.status().index,
            blocks as u64,
            "the fresh peer caught up"
        );
        recording.push(record(&mut pair.sides[1]));
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

/// Microseconds from a call of `record()` to its answer, the storage's time left out.
fn record(side: &mut Side) -> f64 {
    let mut each = Vec::new();
    for number in 0..100 {
        let input = Input::Record {
            ticket: Ticket(number),
            bpm: Bpm::new(72).expect("72"),
        };
        let start = clock_ms();
        let mut parcels = Vec::new();
        side.feed(0, input, now(), &mut parcels);
        let mut recorded = false;
        for (_, input) in std::mem::take(&mut parcels) {
            if matches!(input, Input::Written { .. }) {
                let events = side.feed(0, input, now(), &mut parcels);
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

/// A machine goes over to a branch that leaves all of its blocks.
pub fn reorganise(report: &mut Report, depth: usize) {
    let room = room();
    let short = grow(&room, 0, depth);
    let long = grow(&room, 100, depth + 1);
    let tip = long.last().expect("not empty").0;
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut pair = Pair::new([
            holding(&room, 0, long.clone()),
            holding(&room, 1, short.clone()),
        ]);
        times.push(pair.converse(tip));
        let here = pair.sides[1].machine.status().tip;
        assert_eq!(here, tip, "the heavier branch won");
    }
    report.single(
        &format!("reorganisation of {depth} blocks of 10 readings, fetching them"),
        &format!("{:.0} ms", median(&times)),
        5,
    );
}
