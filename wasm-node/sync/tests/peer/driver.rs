//! How outputs are performed on every platform: all of them, in order, and what a refused request leads to.

use std::{cell::RefCell, rc::Rc};

use heartchain_chain::{
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    key::Signature,
    merkle::readings_root,
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Batch, Config, Event, Input, Machine, Now, Output,
    driver::{self, Driver, TooManyRequests, step},
    io::{ImportError, ImportPiece, Imported, JobId, ReadId, RecordError, Ticket, WriteId},
    verification::VerifiedBodies,
};
use heartchain_test_support::{
    NetworkLog, Replay, START, assert_same, for_networks, key, mine_on, now_at, reading, record,
    recorded_machine, room,
};

type Lines = Rc<RefCell<Vec<String>>>;

/// A driver that writes down what it is asked, and what it is shown before.
struct ListingDriver {
    machine: Machine<u64>,
    network: NetworkLog<u64>,
    calls: Lines,
    /// Inputs and outputs as they are traced, and what is performed.
    lines: Vec<String>,
    events: Vec<Event>,
    traced: RefCell<Vec<String>>,
    refuses: bool,
}

impl ListingDriver {
    fn new(machine: Machine<u64>) -> Self {
        let calls = Lines::default();
        Self {
            machine,
            network: NetworkLog::new(Rc::clone(&calls)),
            calls,
            lines: Vec::new(),
            events: Vec::new(),
            traced: RefCell::default(),
            refuses: false,
        }
    }

    fn started() -> Self {
        let config = Config { mining: true };
        let machine = Machine::new(config, room(), key(7), [1; 32], now_at(START, 0));
        let mut driver = Self::new(machine);
        step(&mut driver, Input::Tick, None);
        driver.lines.clear();
        driver.traced.borrow_mut().clear();
        driver
    }

    fn answer(&self) -> Result<(), TooManyRequests> {
        match self.refuses {
            true => Err(TooManyRequests),
            false => Ok(()),
        }
    }
}

impl Driver for ListingDriver {
    type Peer = u64;

    fn now(&self) -> Now {
        now_at(START + 1_000, 0)
    }

    fn with_machine<T>(&mut self, function: impl FnOnce(&mut Machine<u64>) -> T) -> T {
        function(&mut self.machine)
    }

    fn network(&mut self) -> &mut impl driver::Network<Peer = u64> {
        &mut self.network
    }

    fn store(&mut self) -> &mut impl driver::Store {
        self
    }

    fn miner(&mut self) -> &mut impl driver::Miner {
        self
    }

    fn wake_at(&mut self, at: MonotonicMillis) {
        self.lines.push(format!("WakeAt({at:?})"));
    }

    fn on_event(&mut self, event: &Event) {
        self.lines.push("Emit".to_owned());
        self.events.push(event.clone());
    }

    fn trace_input(&self, input: &Input<u64>) {
        let text = format!("{input:?}");
        let kind = text.split([' ', '(']).next().unwrap_or_default();
        self.traced.borrow_mut().push(format!("input {kind}"));
    }

    fn trace_output(&self, output: &Output<u64>) {
        let text = format!("{output:?}");
        let kind = text.split([' ', '(']).next().unwrap_or_default();
        self.traced.borrow_mut().push(format!("output {kind}"));
    }
}

impl driver::Store for ListingDriver {
    fn write(&mut self, id: WriteId, _: Batch) -> Result<(), TooManyRequests> {
        self.lines.push(format!("Write {}", id.0));
        self.answer()
    }

    fn read(&mut self, id: ReadId, _: Vec<BlockHash>) -> Result<(), TooManyRequests> {
        self.lines.push(format!("Read {}", id.0));
        self.answer()
    }
}

impl driver::Miner for ListingDriver {
    fn mine(&mut self, job: JobId, _: Header) {
        self.lines.push(format!("Mine {}", job.0));
    }

    fn stop(&mut self) {
        self.lines.push("StopMining".to_owned());
    }
}

/// The ticket and the result of an import that ended.
fn imported(event: &Event) -> Option<(u64, Result<Imported, ImportError>)> {
    let Event::Imported { ticket, result } = event else {
        return None;
    };
    Some((ticket.0, result.clone()))
}

#[test]
fn driver_performs_what_the_machine_returned() {
    let peers = [10, 11, 12, 13];
    let to_bytes = |peer: &u64| peer.to_le_bytes().to_vec();
    let recording = record(&peers, to_bytes);
    let driver = ListingDriver::new(recorded_machine(&peers, to_bytes));
    let mut replay = Replay::new(driver);
    for input in recording.inputs {
        replay.input(input);
    }
    assert_same(&replay.lines(), &recording.returned, "the driver");
    let calls = replay.driver.calls.borrow();
    assert_same(&calls, &for_networks(&recording.returned), "its network");
}

#[test]
fn refused_write_is_answered_after_all_outputs() {
    let mut driver = ListingDriver::started();
    driver.refuses = true;
    let (ticket, bpm) = (Ticket(5), Bpm::MIN);
    step(&mut driver, Input::Record { ticket, bpm }, None);
    let reason = RecordError::NotStored;
    let failed = Event::RecordFailed { ticket, reason };
    assert!(driver.events.contains(&failed), "{:?}", driver.events);
    let traced = driver.traced.borrow();
    let inputs: Vec<_> = traced
        .iter()
        .filter(|line| line.starts_with("input"))
        .collect();
    assert_eq!(inputs, ["input Record", "input WriteFailed"]);
    // The answer is an input of its own, after the last output of the one that led to it.
    let answer = traced.iter().position(|line| line == "input WriteFailed");
    let write = traced.iter().position(|line| line == "output Write");
    let result = traced.iter().rposition(|line| line == "output Emit");
    assert!(write < answer && answer < result, "{traced:?}");
}

#[test]
fn refused_requests_are_answered_in_their_order() {
    let mut driver = ListingDriver::started();
    driver.refuses = true;
    // Three blocks in one piece are one write, and each piece of its own is another one.
    let branch = heartchain_test_support::Branch::of(1, 3);
    for (number, block) in (0..).zip(branch.blocks) {
        let piece = ImportPiece {
            blocks: vec![block],
            ..ImportPiece::default()
        };
        let ticket = Ticket(number);
        step(&mut driver, Input::Import { ticket, piece }, None);
    }
    let results: Vec<_> = driver.events.iter().filter_map(imported).collect();
    let expected = (0..3).map(|number| (number, Err(ImportError::NotStored)));
    assert_eq!(results, expected.collect::<Vec<_>>());
    let traced = driver.traced.borrow();
    let mut last = "";
    for line in traced.iter() {
        if line == "input WriteFailed" {
            assert!(last.starts_with("output"), "{traced:?}");
        }
        last = line;
    }
}

#[test]
fn proof_of_signatures_reaches_the_machine() {
    let unsigned = Reading {
        signature: Signature::new([1; Signature::LEN]),
        ..reading(8, 0)
    };
    let block = mine_on(&room(), &[], vec![unsigned], |_| UnixMillis::new(START));
    let root = readings_root(&block.readings);
    let proof = [*room().id().as_bytes(), *root.as_bytes()].concat();
    let import = |verified| {
        let mut driver = ListingDriver::started();
        let piece = ImportPiece {
            blocks: vec![block.clone()],
            ..ImportPiece::default()
        };
        let ticket = Ticket(1);
        step(&mut driver, Input::Import { ticket, piece }, verified);
        // The write, if there is one, ends.
        let written = driver.lines.iter().find_map(|line| {
            let id = line.strip_prefix("Write ")?;
            id.parse().ok().map(WriteId)
        });
        if let Some(id) = written {
            step(&mut driver, Input::Written { id }, None);
        }
        let result = driver.events.iter().find_map(imported);
        result.map(|(_, result)| result)
    };
    let taken = import(VerifiedBodies::from_own_thread(&proof));
    let expected = Imported {
        blocks: 1,
        new_blocks: 1,
        readings: 1,
        new_readings: 1,
    };
    assert_eq!(taken, Some(Ok(expected)));
    let refused = import(None);
    assert!(
        matches!(refused, Some(Err(ImportError::Body { index: 1, .. }))),
        "{refused:?}"
    );
}
