//! The harness that drives a machine, and the invariants that are checked after every input. Uses only the machine's
//! public API.

use std::collections::{BTreeMap, BTreeSet};

use heartchain_chain::{
    hash::ReadingId,
    key::{Author, SecretKey},
    reading::Reading,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
    work::Work,
};
use heartchain_sync::{
    Event, Input, Machine, Now,
    config::{MAX_CLOCK_OFFSET, VERDICT_PATIENCE},
    io::{InboundId, JournalEntry, RequestId},
    message::Response,
};
use heartchain_test_support::{Branch, Call, Disk, Driver, DriverState, Ending, Job, START, Start};

use crate::pool::{OWN, Pool, key};

/// A peer, identified by a number.
pub type Peer = u8;

/// The peer that connects after everything else has happened.
const LAST_PEER: Peer = u8::MAX;

/// The most nonces that a search tries: the difficulty may be too high for a fuzzer.
const MAX_TRIES: u32 = 1 << 14;

/// The machine and its environment.
pub struct Harness {
    /// What peers may send, and the room of it.
    pub pool: &'static Pool,
    /// The machine under test.
    pub machine: Machine<Peer>,
    /// What its driver holds.
    pub state: DriverState<Peer>,
    /// The wall clock, in Unix milliseconds.
    pub wall: u64,
    /// The monotonic clock in milliseconds; it restarts with every start.
    monotonic: u64,
    /// The latest time that the wall clock has ever shown.
    latest: u64,
    /// Authors of all keys that have signed on this machine.
    pub authors: BTreeSet<Author>,
    work: Work,
    /// Whether any read has returned wrong or missing bodies. The machine may then leave an unreadable branch for one
    /// with less work.
    pub has_unreadable_bodies: bool,
    /// Whether the disk was cleared since the last start, so that bodies of the best branch may be lost everywhere.
    was_cleared: bool,
    /// Journal entries that must not get lost: all that were on disk since the last start.
    recorded: BTreeMap<u64, JournalEntry>,
    /// Readings that must not get lost: those of protected blocks and of other tabs that were on disk since the last
    /// start.
    must_stay: BTreeSet<ReadingId>,
    starts: u8,
}

impl Driver<Peer> for Harness {
    fn state(&mut self) -> &mut DriverState<Peer> {
        &mut self.state
    }

    fn machine(&mut self) -> &mut Machine<Peer> {
        &mut self.machine
    }

    fn now(&self) -> Now {
        clocks(self.wall, self.monotonic)
    }

    /// Jobs end only when the fuzzer says so.
    fn finish_job(&mut self) -> Option<Input<Peer>> {
        None
    }

    fn send_response(&mut self, _: Peer, _: RequestId, _: InboundId, data: Option<Vec<u8>>) {
        if let Some(data) = data {
            Response::decode(self.state.form, &data).expect("the machine's responses are valid");
        }
    }

    fn emit(&mut self, event: Event) {
        if let Event::Recorded { .. } = event {
            let recorded = self.state.disk.journal.len();
            assert!(recorded > 0, "confirmed before it is on disk");
        }
    }

    fn inspect(&mut self) {
        self.authors.insert(self.machine.author());
        let mut waiting = self.state.gossip.values();
        let late = waiting.find(|item| item.since.get() + VERDICT_PATIENCE <= self.monotonic);
        assert!(late.is_none(), "no verdict on {late:?}");
        let work = self.machine.status().total_work;
        assert!(
            work >= self.work || self.has_unreadable_bodies,
            "the best branch never loses work"
        );
        self.work = work;
    }
}

impl Harness {
    /// A harness with an empty disk in the room of this pool.
    #[must_use]
    pub fn new(pool: &'static Pool) -> Self {
        Self::on_disk(pool, Disk::default(), START)
    }

    /// A harness whose machine starts from this disk.
    #[must_use]
    pub fn on_disk(pool: &'static Pool, mut disk: Disk, wall: u64) -> Self {
        disk.crash();
        let monotonic = 0;
        let machine = restore(&pool.room, &disk, 9, clocks(wall, monotonic));
        let mut authors = BTreeSet::from([key(OWN).author(), machine.author()]);
        let keys = disk.keys.values();
        authors.extend(keys.map(|seed| SecretKey::from_seed(*seed).author()));
        let must_stay = ids(&pool.room, disk.kept_readings());
        let recorded = disk.journal.clone();
        let mut state = DriverState::with_disk(disk);
        state.form = pool.room.form();
        Self {
            pool,
            authors,
            machine,
            recorded,
            must_stay,
            state,
            wall,
            monotonic,
            latest: wall,
            work: Work::ZERO,
            has_unreadable_bodies: false,
            was_cleared: false,
            starts: 1,
        }
    }

    /// A wall clock late enough that no block that was ever accepted counts as too early. Peers may have moved the
    /// clock by which it was checked.
    #[must_use]
    pub const fn latest_valid_clock(&self) -> u64 {
        self.latest + MAX_CLOCK_OFFSET + 120_000
    }

    /// Connects a peer, unless it is connected.
    pub fn connect(&mut self, peer: Peer) {
        if !self.state.connected.contains(&peer) {
            Driver::connect(self, peer);
        }
    }

    /// Disconnects a peer.
    pub fn disconnect(&mut self, peer: Peer) {
        if self.state.connected.contains(&peer) {
            Driver::disconnect(self, peer);
        }
    }

    /// Number of imported pieces without a result.
    #[must_use]
    pub fn importing(&self) -> usize {
        let calls = self.state.calls.iter();
        calls.filter(|(call, _)| *call == Call::Import).count()
    }

    /// Completes or fails the oldest disk job. Returns whether there was one.
    pub fn disk(&mut self, fails: bool) -> bool {
        let ending = if fails { Ending::Failed } else { Ending::Done };
        let Some(input) = self.state.disk.finish(ending) else {
            return false;
        };
        self.remember_stored();
        self.feed(input);
        true
    }

    /// Fails the oldest job because the disk is full, if it is a write.
    pub fn disk_full(&mut self) {
        if let Some(Job::Write { .. }) = self.state.disk.oldest_job()
            && let Some(input) = self.state.disk.finish(Ending::Full)
        {
            self.feed(input);
        }
    }

    /// Completes the oldest job with these bodies instead of the stored ones, if it is a read.
    pub fn corrupt_read(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(input) = self.state.disk.finish_read_with(bodies) {
            self.has_unreadable_bodies = true;
            self.feed(input);
        }
    }

    /// Deletes everything on disk and fails the jobs in progress.
    pub fn reset(&mut self) {
        self.state.disk.clear();
        self.state.disk.fail_queued();
        (self.has_unreadable_bodies, self.was_cleared) = (true, true);
        self.feed(Input::StoreReset);
    }

    /// Remembers what is on disk now, because it must not get lost until the next start.
    fn remember_stored(&mut self) {
        self.recorded.extend(&self.state.disk.journal);
        self.must_stay
            .extend(ids(&self.pool.room, self.state.disk.kept_readings()));
    }

    /// Mines the current job, if its difficulty is low enough for a fuzzer.
    pub fn mine(&mut self) {
        self.find_nonce(MAX_TRIES);
    }

    /// Advances both clocks.
    pub fn advance(&mut self, ms: u64) {
        self.wall += ms;
        self.monotonic += ms;
        self.latest = self.latest.max(self.wall);
        self.feed(Input::Tick);
    }

    /// Sets the wall clock ahead or back.
    pub fn set_clock(&mut self, seconds: i32) {
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        if seconds < 0 {
            // Blocks that are now ahead of the clock leave the best branch for the time being.
            self.work = Work::ZERO;
        }
        self.feed(Input::Tick);
    }

    /// Kills the tab and opens it again: everything but the disk is lost. The wall clock is set in between.
    pub fn crash(&mut self, seconds: i32) {
        self.state.crash();
        self.work = Work::ZERO;
        self.was_cleared = false;
        self.recorded = self.state.disk.journal.clone();
        self.must_stay = ids(&self.pool.room, self.state.disk.kept_readings());
        self.starts = self.starts.wrapping_add(1);
        self.monotonic = 0;
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        self.machine = restore(&self.pool.room, &self.state.disk, self.starts, self.now());
        self.authors.insert(self.machine.author());
        self.feed(Input::Tick);
    }

    /// Disconnects all peers, sets a valid clock, and lets disk, time and miner run until everything that was recorded
    /// is in the chain.
    pub fn settle(&mut self) {
        self.run_until_settled();
        if self.lost().is_empty() && !self.was_cleared {
            return;
        }
        // The machine may wait hours for missing bodies; a restart uses what is on disk. It waits for lost journal
        // entries as long as it has no peers.
        self.crash(0);
        self.connect(LAST_PEER);
        self.run_until_settled();
    }

    fn run_until_settled(&mut self) {
        for peer in self.state.connected.clone() {
            if peer != LAST_PEER {
                self.disconnect(peer);
            }
        }
        // Later than any timestamp made while the clock was ahead, and a gap that resets the difficulty.
        self.wall = self.latest_valid_clock();
        self.advance(120_000);
        for _ in 0..400 {
            while self.disk(false) {}
            self.mine();
            while self.disk(false) {}
            self.respond_as_last_peer();
            if self.lost().is_empty() && self.machine.load().unwritten == 0 {
                return;
            }
            let wake_at = self.state.wake_at.map_or(0, MonotonicMillis::get);
            let wait = wake_at.saturating_sub(self.monotonic);
            self.advance(wait.clamp(1_000, 10_000));
        }
    }

    /// Answers all open requests like a peer without any data.
    fn respond_as_last_peer(&mut self) {
        let empty = Branch::in_room(&self.pool.room);
        while let Some((id, (peer, request))) = self.state.open_requests.pop_first() {
            self.respond_with(peer, id, &empty.answer(&request, self.wall));
        }
    }

    /// Journal entries that were on disk and are not in the chain.
    #[must_use]
    pub fn lost(&self) -> Vec<JournalEntry> {
        let chained: BTreeSet<(u64, u16)> = self
            .chain()
            .into_iter()
            .filter(|reading| self.authors.contains(&reading.author))
            .filter_map(|reading| self.pool.room.open(&reading).ok())
            .map(|opened| (opened.time.get(), opened.bpm.get()))
            .collect();
        let entries = self.recorded.values();
        entries
            .filter(|entry| !chained.contains(&(entry.time.get(), entry.bpm.get())))
            .copied()
            .collect()
    }

    /// Panics if anything that was on disk and must stay is lost.
    pub fn check_nothing_lost(&self) {
        let lost = self.lost();
        assert!(lost.is_empty(), "recorded and lost: {lost:?}");
        if self.was_cleared {
            return;
        }
        let room = &self.pool.room;
        let mut kept: BTreeSet<ReadingId> = ids(room, &self.chain());
        kept.extend(ids(room, self.state.disk.kept_readings()));
        let gone: Vec<_> = self.must_stay.difference(&kept).collect();
        assert!(gone.is_empty(), "protected or adopted, and lost: {gone:?}");
    }

    /// The readings of the best branch's stored blocks.
    #[must_use]
    pub fn chain(&self) -> Vec<Reading> {
        let chain = self.state.disk.chain_readings(&self.machine);
        chain.copied().collect()
    }
}

/// Starts a machine of this room from this disk.
#[must_use]
pub fn restore(room: &Room, disk: &Disk, seed: u8, now: Now) -> Machine<Peer> {
    disk.restore(Start {
        mining: true,
        room: room.clone(),
        first_key: key(OWN).clone(),
        seed: [seed; 32],
        now,
        skips_bodies: false,
    })
}

const fn clocks(wall: u64, monotonic: u64) -> Now {
    Now {
        wall: UnixMillis::new(wall),
        monotonic: MonotonicMillis::new(monotonic),
    }
}

/// The IDs of these readings of a room.
pub fn ids<'a>(
    room: &Room,
    readings: impl IntoIterator<Item = &'a Reading>,
) -> BTreeSet<ReadingId> {
    let id = |reading: &Reading| reading.id(room.id());
    readings.into_iter().map(id).collect()
}
