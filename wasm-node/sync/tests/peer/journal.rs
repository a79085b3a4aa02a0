//! Recording of readings: a reading is reported as recorded only once it is on disk, and is never lost after that.

use heartchain_chain::{
    bpm::Bpm, content::ReadingForm, hash::ReadingId, mempool::MAX_PER_AUTHOR, reading::Reading,
    time::UnixMillis,
};
use heartchain_sync::{
    Config, Event, Input, ReadingPlace, Restore, StoreOperation,
    config::{
        FOREIGN_DEPTH, FOREIGN_PATIENCE, LOST_SEQ_PATIENCE, MAX_JOURNAL, MAX_PENDING_RECORDS,
        WRITE_RETRY, WRITE_RETRY_PARTS,
    },
    io::{JournalEntry, RecordError, Ticket, Topic},
};
use heartchain_test_support::{
    Branch, Driver as _, START, Tampering as _, key, now_at, reading, room,
};

use crate::subject::{Subject, journal_entry};

/// An entry of this time, with the lowest heart rate.
fn entry(time: u64) -> JournalEntry {
    journal_entry(UnixMillis::new(time), Bpm::MIN)
}

fn recorded(subject: &Subject) -> Vec<(Ticket, u64)> {
    let of = |event: &Event| {
        let Event::Recorded { ticket, seq, .. } = event else {
            return None;
        };
        Some((*ticket, *seq))
    };
    subject.events.iter().filter_map(of).collect()
}

fn published_readings(subject: &Subject) -> Vec<Reading> {
    subject
        .published
        .iter()
        .filter(|(topic, _)| *topic == Topic::Readings)
        .map(|(_, data)| Reading::decode(ReadingForm::Open, data).expect("a reading"))
        .collect()
}

#[test]
fn recording_is_confirmed_only_once_on_disk() {
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    let first = subject.record(72);
    let second = subject.record(73);
    assert!(recorded(&subject).is_empty());
    assert!(subject.published.is_empty() && subject.machine.load().mempool == 0);
    let writes = subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held");
    assert_eq!(writes.len(), 1, "one batch at a time");
    let (id, batch) = writes.into_iter().next().expect("one");
    assert!(matches!(
        batch.operations[..],
        [StoreOperation::PutJournal(0, _)]
    ));
    subject.feed(Input::Written { id });
    assert_eq!(recorded(&subject), [(first, 0)]);
    assert_eq!(published_readings(&subject).len(), 1);
    let (id, batch) = subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held")
        .remove(0);
    assert!(matches!(
        batch.operations[..],
        [StoreOperation::PutJournal(1, _)]
    ));
    subject.feed(Input::Written { id });
    assert_eq!(recorded(&subject), [(first, 0), (second, 1)]);
}

#[test]
fn failed_write_records_nothing_and_uses_no_seq() {
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    let ticket = subject.record(72);
    let (id, _) = subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held")
        .remove(0);
    subject.feed(Input::WriteFailed { id, full: false });
    let reason = RecordError::NotStored;
    assert!(
        subject
            .events
            .contains(&Event::RecordFailed { ticket, reason })
    );
    assert!(subject.published.is_empty() && subject.machine.load().mempool == 0);
    subject.state.disk.held_writes = None;
    let ticket = subject.record(73);
    assert_eq!(
        recorded(&subject),
        [(ticket, 0)],
        "no sequence number was used up"
    );
}

#[test]
fn calls_waiting_for_the_disk_are_bounded() {
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.record(72);
    for _ in 0..MAX_PENDING_RECORDS {
        subject.record(72);
    }
    assert!(
        !subject
            .events
            .iter()
            .any(|event| matches!(event, Event::RecordFailed { .. }))
    );
    let ticket = subject.record(72);
    let reason = RecordError::TooMany {
        limit: MAX_PENDING_RECORDS,
    };
    assert!(
        subject
            .events
            .contains(&Event::RecordFailed { ticket, reason })
    );
}

#[test]
fn full_journal_rejects_recordings() {
    let entries: Vec<(u64, JournalEntry)> = (0..MAX_JOURNAL as u64 - 1)
        .map(|number| (number, entry(START - MAX_JOURNAL as u64 + number)))
        .collect();
    let mut subject = Subject::new();
    subject.machine = restore(&Branch::new(), &entries, &[]).finish();
    subject.feed(Input::Tick);
    let last = subject.record(72);
    assert_eq!(recorded(&subject), [(last, MAX_JOURNAL as u64 - 1)]);
    let ticket = subject.record(73);
    let reason = RecordError::JournalFull { limit: MAX_JOURNAL };
    assert!(
        subject
            .events
            .contains(&Event::RecordFailed { ticket, reason })
    );
    assert_eq!(recorded(&subject).len(), 1);
}

#[test]
fn block_is_written_after_a_failed_write() {
    let branch = Branch::of(1, 3);
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    expect_waiting(&subject, &branch, true);
    for (id, _) in subject.state.disk.held_writes.take().expect("held") {
        subject.feed(Input::WriteFailed { id, full: false });
    }
    assert!(subject.state.disk.blocks.is_empty());
    assert!(subject.machine.load().unwritten >= 3);
    expect_waiting(&subject, &branch, true);
    subject.advance(60_000);
    assert_eq!(subject.state.disk.blocks.len(), 3);
    assert_eq!(subject.machine.load().unwritten, 0);
    expect_waiting(&subject, &branch, false);
}

#[test]
fn unwritable_block_does_not_block_other_writes() {
    let branch = Branch::of(1, 1_000);
    let never = branch.blocks[321].header.hash();
    let is_never = |operation: &StoreOperation| matches!(operation, StoreOperation::PutBlock(hash, _) if *hash == never);
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    // At first every write fails, then all writes except that of one block succeed.
    for (id, _) in subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held")
    {
        subject.feed(Input::WriteFailed { id, full: false });
    }
    for round in 0..4 {
        subject.advance(WRITE_RETRY);
        let writes = subject
            .state
            .disk
            .held_writes
            .replace(Vec::new())
            .expect("held");
        assert!((1..=WRITE_RETRY_PARTS).contains(&writes.len()), "{round}");
        for (id, batch) in writes {
            if batch.operations.iter().any(is_never) {
                subject.feed(Input::WriteFailed { id, full: false });
            } else {
                subject.finish_write(id, batch);
            }
        }
    }
    assert_eq!(subject.state.disk.blocks.len(), 999);
    assert_eq!(subject.machine.load().unwritten, 1);
    assert!(subject.machine.unwritten_body(&never).is_some());
}

/// Asserts whether the unwritten blocks of the branch are still in memory.
fn expect_waiting(subject: &Subject, branch: &Branch, waiting: bool) {
    for block in &branch.blocks {
        let body = subject.machine.unwritten_body(&block.header.hash());
        assert_eq!(body, waiting.then_some(block.readings.as_slice()));
    }
}

#[test]
fn restart_restores_readings_and_chain() {
    let branch = Branch::of(1, 100);
    let entries: Vec<(u64, JournalEntry)> = (0..5)
        .map(|number| (number, entry(START + number)))
        .collect();
    let mut restore = restore(&branch, &entries, &[]);
    restore.recovery([]);
    let mut subject = Subject::new();
    subject.machine = restore.finish();
    subject.feed(Input::Tick);
    assert_eq!(subject.tip(), branch.tip());
    let expected: Vec<Reading> = entries
        .iter()
        .map(|(seq, entry)| key(7).sign(room().id(), *seq, entry.time, entry.bpm))
        .collect();
    assert!(subject.machine.pending().eq(&expected));
    let ticket = subject.record(99);
    assert_eq!(recorded(&subject), [(ticket, 5)]);
}

#[test]
fn key_used_elsewhere_is_replaced_once_certain() {
    for deep in [true, false] {
        // Another peer signs with key 7, too.
        let mut branch = Branch::of(7, 1);
        let mut subject = Subject::miner(7);
        subject.connect(1);
        let ticket = subject.record(100);
        assert_eq!(recorded(&subject), [(ticket, 0)]);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
        assert_eq!(subject.machine.author(), key(7).author());
        if deep {
            for number in 0..FOREIGN_DEPTH {
                assert_eq!(
                    subject.machine.author(),
                    key(7).author(),
                    "after {number} blocks"
                );
                let block = branch.push(vec![reading(1, number)]);
                subject.gossip_block(1, &block);
            }
        } else {
            subject.advance(FOREIGN_PATIENCE - 1);
            assert_eq!(subject.machine.author(), key(7).author());
            subject.advance(1);
        }
        let fresh = subject.machine.author();
        assert_ne!(fresh, key(7).author());
        assert!(
            subject
                .events
                .contains(&Event::KeyReplaced { author: fresh })
        );
        let last = *published_readings(&subject).last().expect("signed again");
        assert_eq!((last.author, last.seq, last.bpm()), (fresh, 0, 100));
        assert!(subject.machine.pending().any(|reading| *reading == last));
    }
}

/// Connects a peer and lets it serve this branch.
fn connect_with_branch(subject: &mut Subject, peer: u64, branch: &Branch) {
    subject.connect(peer);
    subject.serve(peer, branch);
    assert_eq!(subject.tip(), branch.tip());
}

/// A fresh key takes over, and signs again every recorded reading that the chain lacks.
fn expect_fresh_key(subject: &mut Subject, missing: &[u16]) {
    assert_eq!(subject.machine.author(), key(7).author());
    subject.advance(FOREIGN_PATIENCE);
    let fresh = subject.machine.author();
    assert_ne!(fresh, key(7).author());
    subject.record(150);
    let pending = subject.machine.pending();
    let waiting: Vec<(u64, u16)> = pending
        .filter(|reading| reading.author == fresh)
        .map(|reading| (reading.seq, reading.bpm()))
        .collect();
    let expected: Vec<(u64, u16)> = (0..).zip(missing.iter().copied().chain([150])).collect();
    assert_eq!(waiting, expected);
}

#[test]
fn foreign_reading_behind_one_that_left_is_noticed() {
    // Another peer signs with key 7 too.
    let mut subject = Subject::miner(7);
    subject.record(100);
    let own = published_readings(&subject);
    connect_with_branch(&mut subject, 1, &Branch::of(7, 1));
    // Our own reading replaces the foreign one, and a later foreign one comes with it.
    let mut rival = Branch::new();
    rival.push(own);
    rival.push(vec![reading(7, 1)]);
    connect_with_branch(&mut subject, 2, &rival);
    expect_fresh_key(&mut subject, &[]);
}

#[test]
fn foreign_reading_before_one_that_left_is_noticed() {
    let mut subject = Subject::miner(7);
    subject.record(100);
    subject.record(101);
    let mut branch = Branch::new();
    branch.push(published_readings(&subject)[..1].to_vec());
    branch.push(vec![reading(7, 1)]);
    connect_with_branch(&mut subject, 1, &branch);
    // A foreign reading replaces our first one, with nothing above it.
    let mut rival = Branch::of(7, 1);
    rival.grow(1, 2);
    connect_with_branch(&mut subject, 2, &rival);
    expect_fresh_key(&mut subject, &[100, 101]);
}

#[test]
fn foreign_reading_behind_a_shared_one_is_noticed() {
    let mut subject = Subject::miner(7);
    connect_with_branch(&mut subject, 1, &Branch::of(7, 2));
    // The same heart rate in the same millisecond: identical to the first foreign reading.
    subject.record(72);
    assert_eq!(published_readings(&subject), [reading(7, 0)]);
    expect_fresh_key(&mut subject, &[]);
}

#[test]
fn restart_with_fresh_key_keeps_old_signatures() {
    // The old key signed entry 0, which is in the chain. Then a fresh key signed entries 1 and 2.
    let entries: Vec<(u64, JournalEntry)> = (0..3)
        .map(|number| (number, entry(START + number)))
        .collect();
    let mut branch = Branch::new();
    branch.push(vec![key(7).sign(
        room().id(),
        0,
        entries[0].1.time,
        Bpm::MIN,
    )]);
    let rival = Branch::of(7, 2);
    let mut subject = Subject::new();
    subject.machine = restore(&branch, &entries, &[(1, 8)]).finish();
    subject.feed(Input::Tick);
    assert_eq!(subject.machine.author(), key(8).author());
    assert_eq!(
        ids(&subject),
        expected_ids(&[(8, 0, 1), (8, 1, 2)], &entries)
    );
    // After a reorg, another reading of the old key has its sequence number.
    subject.connect(1);
    subject.serve(1, &rival);
    assert_eq!(subject.tip(), rival.tip());
    subject.advance(FOREIGN_PATIENCE);
    assert_eq!(
        ids(&subject),
        expected_ids(&[(8, 0, 1), (8, 1, 2), (8, 2, 0)], &entries)
    );
}

#[test]
fn lost_entry_does_not_hold_up_a_retired_key() {
    // The old key signed entries 0 to 2, and the disk lost entry 1. A fresh key signed entry 3.
    let entries: Vec<(u64, JournalEntry)> = [0, 2, 3]
        .map(|number| (number, entry(START - 1_000 + number)))
        .to_vec();
    let lost = reading(7, 1);
    for given in [false, true] {
        let mut subject = Subject::miner(7);
        subject.machine = restore(&Branch::new(), &entries, &[(3, 8)]).finish();
        subject.feed(Input::Tick);
        let waits = [(7, 0, 0), (7, 2, 1), (8, 0, 2)];
        // Without peers it waits, because a peer may have the lost reading.
        subject.advance(2 * LOST_SEQ_PATIENCE);
        let mut pending = ids(&subject);
        pending.sort_unstable();
        let mut expected = expected_ids(&waits, &entries);
        expected.sort_unstable();
        assert_eq!(pending, expected);
        let mut branch = Branch::of(1, 1);
        let (time, bpm) = (entries[0].1.time, Bpm::MIN);
        branch.push(vec![key(7).sign(room().id(), 0, time, bpm)]);
        subject.connect(1);
        subject.serve(1, &branch);
        if given {
            subject.gossip_reading(1, &lost);
        }
        for _ in 0..(LOST_SEQ_PATIENCE + 10_000) / 1_000 {
            subject.advance(1_000);
            subject.serve(1, &branch);
        }
        let again = subject.machine.pending().filter(|waiting| {
            let opened = room().open(waiting).expect("an open room");
            waiting.author == key(8).author() && opened.time == entries[1].1.time
        });
        assert_eq!(again.count(), usize::from(!given), "given: {given}");
    }
}

fn ids(subject: &Subject) -> Vec<ReadingId> {
    subject
        .machine
        .pending()
        .map(|reading| reading.id(room().id()))
        .collect()
}

/// IDs of the readings with these keys, sequence numbers and journal entries.
fn expected_ids(signed: &[(u64, u64, usize)], entries: &[(u64, JournalEntry)]) -> Vec<ReadingId> {
    let id = |(author, seq, entry): &(u64, u64, usize)| {
        let entry = entries[*entry].1;
        key(*author)
            .sign(room().id(), *seq, entry.time, entry.bpm)
            .id(room().id())
    };
    signed.iter().map(id).collect()
}

#[test]
fn waiting_has_what_the_mempool_has_no_room_for() {
    const MANY: u64 = MAX_PER_AUTHOR as u64 + 200;
    let entries: Vec<_> = (0..MANY).map(|at| (at, entry(START - MANY + at))).collect();
    let mut restored = restore(&Branch::new(), &entries, &[]);
    restored.adopted((0..MANY).map(|seq| reading(3, seq)));
    // One of our own came back with a file.
    let again = key(7).sign(room().id(), MANY - 1, UnixMillis::new(START - 1), Bpm::MIN);
    restored.adopted([again]);
    let mut subject = Subject::new();
    subject.machine = restored.finish();
    subject.feed(Input::Tick);
    assert!((subject.machine.load().mempool as u64) < 2 * MANY);
    let waiting = subject.machine.waiting();
    assert_eq!((waiting.len() as u64, waiting.contested), (2 * MANY, 0));
    let mut found: Vec<_> = waiting.iter(&room()).collect();
    for reading in &found {
        reading.verify(room().id()).expect("signed");
    }
    found.sort_by_key(|reading| (reading.author, reading.seq));
    found.dedup_by_key(|reading| (reading.author, reading.seq));
    assert_eq!(found.len() as u64, 2 * MANY, "no reading is there twice");
    let places = subject.machine.places(&found).each;
    assert!(places.iter().all(|place| *place == ReadingPlace::Stored));
    let unknown = [reading(7, 3), reading(7, MANY), reading(4, 0)];
    let expected = [
        ReadingPlace::OwnKey,
        ReadingPlace::OwnKey,
        ReadingPlace::Absent,
    ];
    assert_eq!(subject.machine.places(&unknown).each, expected);
}

#[test]
fn recorded_readings_of_every_key_are_stored() {
    // Key 7 signed the first three, and key 8 the last.
    let entries: Vec<_> = (0..4).map(|at| (at, entry(START - 10 + at))).collect();
    let mut subject = Subject::new();
    subject.machine = restore(&Branch::new(), &entries, &[(3, 8)]).finish();
    let sign = |number: u64, seq: u64, at: usize| {
        let entry = entries[at].1;
        key(number).sign(room().id(), seq, entry.time, entry.bpm)
    };
    let recorded = [sign(7, 0, 0), sign(7, 2, 2), sign(8, 0, 3)];
    let places = subject.machine.places(&recorded).each;
    assert_eq!(places, [ReadingPlace::Stored; 3]);
    let others = [sign(7, 3, 3), sign(8, 1, 3), sign(7, 1, 0)];
    let expected = [
        ReadingPlace::Absent,
        ReadingPlace::OwnKey,
        ReadingPlace::Absent,
    ];
    assert_eq!(subject.machine.places(&others).each, expected);
}

#[test]
fn waiting_leaves_out_what_is_in_blocks_or_contested() {
    let entries: Vec<_> = (0..4).map(|at| (at, entry(START + at))).collect();
    let mut branch = Branch::new();
    let own = key(7).sign(room().id(), 0, UnixMillis::new(START), Bpm::MIN);
    // The second one is of a copy of the key.
    branch.push(vec![own, reading(7, 1)]);
    let mut subject = Subject::new();
    subject.machine = restore(&branch, &entries, &[]).finish();
    let waiting = subject.machine.waiting();
    let seqs: Vec<_> = waiting.iter(&room()).map(|reading| reading.seq).collect();
    assert_eq!((seqs, waiting.contested), (vec![2, 3], 1));
}

fn restore(branch: &Branch, entries: &[(u64, JournalEntry)], keys: &[(u64, u64)]) -> Restore<u64> {
    let now = now_at(START, 0);
    let keys = keys.iter().map(|(from, number)| (*from, key(*number)));
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room(), key(7), keys, [1; 32], now);
    restore.journal(entries.iter().copied());
    for part in branch.blocks.chunks(7) {
        restore.blocks(
            part.iter()
                .map(|block| (block.header.hash(), block.clone())),
        );
    }
    restore
}
