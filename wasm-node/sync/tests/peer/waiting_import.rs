//! Waiting readings of files: each is counted once, as new, as known or as not stored with its reason.

use std::{
    cell::RefCell,
    pin::pin,
    task::{Context, Poll, Waker},
};

use heartchain_chain::{
    bpm::Bpm,
    content::{Content, Measurement, SealedContent},
    mempool::MAX_PER_AUTHOR,
    reading::Reading,
    room::{Room, RoomParams},
    room_key::RoomKey,
    time::UnixMillis,
    tree::BURIED_BLOCKS,
};
use heartchain_sync::{
    Config, Event, ImportSummary, ImportTarget, Input, NotStored, ReadingPlaces, Restore,
    config::{MAX_ADOPTED, MAX_IMPORT_BLOCKS, MAX_IMPORT_READINGS},
    import_waiting,
    io::{AdoptError, ImportError, ImportPiece, Imported},
};
use heartchain_test_support::{Branch, Driver as _, START, key, now_at, reading, room};

use crate::subject::Subject;

/// Why an import of a test ends.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Import(ImportError),
    Adopt(AdoptError),
}

impl From<AdoptError> for Failure {
    fn from(error: AdoptError) -> Self {
        Self::Adopt(error)
    }
}

/// Passes the calls of an import to a machine that answers at once.
struct Target<'a> {
    subject: RefCell<&'a mut Subject>,
    /// Whether the disk is full.
    full: bool,
}

impl ImportTarget for Target<'_> {
    type Error = Failure;

    async fn places(&self, readings: Vec<Reading>) -> Result<ReadingPlaces, Failure> {
        Ok(self.subject.borrow().machine.places(&readings))
    }

    async fn import(&self, piece: ImportPiece) -> Result<Imported, Failure> {
        let mut subject = self.subject.borrow_mut();
        let ticket = subject.import(piece);
        let answer = subject.events.iter().find_map(|event| {
            let Event::Imported { ticket: of, result } = event else {
                return None;
            };
            (*of == ticket).then(|| result.clone())
        });
        answer.expect("an answer at once").map_err(Failure::Import)
    }

    async fn adopt(&self, readings: Vec<Reading>) -> Result<Result<usize, AdoptError>, Failure> {
        let mut subject = self.subject.borrow_mut();
        if self.full {
            subject.state.disk.held_writes = Some(Vec::new());
        }
        let ticket = subject.adopt(readings);
        if self.full {
            subject.fail_held_writes(true);
        }
        let answer = subject.events.iter().find_map(|event| {
            let Event::Adopted { ticket: of, result } = event else {
                return None;
            };
            (*of == ticket).then_some(*result)
        });
        Ok(answer.expect("an answer at once"))
    }
}

fn import_on(
    subject: &mut Subject,
    readings: &[Reading],
    full: bool,
) -> Result<ImportSummary, Failure> {
    let mut summary = ImportSummary::default();
    let target = Target {
        subject: RefCell::new(subject),
        full,
    };
    let polled = {
        let import = pin!(import_waiting(&target, readings, &mut summary));
        import.poll(&mut Context::from_waker(Waker::noop()))
    };
    match polled {
        Poll::Ready(result) => result.map(|()| summary),
        Poll::Pending => panic!("the machine answers at once"),
    }
}

fn import(subject: &mut Subject, readings: &[Reading]) -> ImportSummary {
    import_on(subject, readings, false).expect("valid readings")
}

/// So many readings, of which so many are new.
fn counts(readings: usize, new_readings: usize, not_stored: NotStored) -> ImportSummary {
    ImportSummary {
        readings,
        new_readings,
        not_stored,
        ..ImportSummary::default()
    }
}

const ALL_STORED: NotStored = NotStored {
    own_key: 0,
    number_taken: 0,
    unreadable: 0,
    no_room: 0,
};

/// Another reading with the same number.
fn twin(author: u64, seq: u64) -> Reading {
    key(author).sign(room().id(), seq, UnixMillis::new(START - 7), Bpm::MIN)
}

#[test]
fn new_readings_are_stored_beyond_the_mempool() {
    const MANY: u64 = MAX_IMPORT_READINGS as u64 + 500;
    let readings: Vec<_> = (0..MANY).map(|seq| reading(3, seq)).collect();
    let many = readings.len();
    assert!(many > MAX_PER_AUTHOR);
    let mut subject = Subject::new();
    assert_eq!(
        import(&mut subject, &readings),
        counts(many, many, ALL_STORED)
    );
    assert!(subject.machine.load().mempool < many);
    assert_eq!(subject.state.disk.adopted.len(), many);
    let again = import(&mut subject, &readings);
    assert_eq!(again, counts(many, 0, ALL_STORED));
    assert_eq!(again.known_readings(), many);
    let mut reopened = subject.reopen(0);
    assert_eq!(
        import(&mut reopened, &readings),
        counts(many, 0, ALL_STORED)
    );
}

#[test]
fn reading_in_the_mempool_was_here_and_is_stored() {
    let mut subject = Subject::new();
    subject.gossip_reading(9, &reading(3, 0));
    assert_eq!(subject.state.disk.adopted.len(), 0);
    let found = import(&mut subject, &[reading(3, 0), reading(3, 1)]);
    assert_eq!(found, counts(2, 1, ALL_STORED));
    assert_eq!(found.known_readings(), 1);
    assert_eq!(subject.state.disk.adopted.len(), 2);
}

#[test]
fn own_key_stores_only_what_was_recorded_here() {
    let mut subject = Subject::new();
    for bpm in 60..63 {
        subject.record(bpm);
    }
    let recorded: Vec<_> = subject.machine.pending().copied().collect();
    let found = import(&mut subject, &recorded);
    assert_eq!(
        (found, found.known_readings()),
        (counts(3, 0, ALL_STORED), 3)
    );
    // These are of a copy of the key.
    let of_a_copy = [twin(1_000, 0), twin(1_000, 7), reading(3, 0)];
    let own_key = NotStored {
        own_key: 2,
        ..ALL_STORED
    };
    assert_eq!(import(&mut subject, &of_a_copy), counts(3, 1, own_key));
    assert_eq!(subject.state.disk.adopted.len(), 1);
}

#[test]
fn reading_whose_number_is_taken_is_not_stored() {
    let mut branch = Branch::of(3, 1);
    branch.grow(1, BURIED_BLOCKS + 1);
    let mut subject = Subject::new();
    for blocks in branch.blocks.chunks(MAX_IMPORT_BLOCKS) {
        subject.import(ImportPiece {
            blocks: blocks.to_vec(),
            ..ImportPiece::default()
        });
    }
    assert_eq!(subject.tip(), branch.tip());
    let in_chain = branch.blocks[0].readings[0];
    // The number of one is in a block, and that of the other is stored.
    let first = import(&mut subject, &[in_chain, twin(3, 0), reading(4, 2)]);
    let taken = NotStored {
        number_taken: 1,
        ..ALL_STORED
    };
    assert_eq!(first, counts(3, 1, taken));
    assert_eq!(first.known_readings(), 1);
    let second = import(&mut subject, &[twin(4, 2), twin(4, 3)]);
    assert_eq!(second, counts(2, 1, taken));
}

#[test]
fn reading_twice_in_a_file_is_new_once() {
    let mut subject = Subject::new();
    let twice = [reading(3, 0), reading(3, 1), reading(3, 0)];
    let found = import(&mut subject, &twice);
    assert_eq!(found, counts(3, 2, ALL_STORED));
    assert_eq!(found.known_readings(), 1);
    assert_eq!(subject.state.disk.adopted.len(), 2);
    assert_eq!(subject.machine.load().adopted, 2);
    assert_eq!(import(&mut subject, &twice), counts(3, 0, ALL_STORED));
}

#[test]
fn second_of_two_twins_is_not_stored() {
    let pairs = [
        [reading(3, 0), twin(3, 0)],
        [twin(4, 1), reading(4, 1)],
        // Each comes again.
        [twin(4, 1), reading(3, 0)],
    ];
    let mut subject = Subject::new();
    let taken = NotStored {
        number_taken: 2,
        ..ALL_STORED
    };
    let found = import(&mut subject, &pairs.concat());
    assert_eq!(found, counts(6, 2, taken));
    assert_eq!(found.known_readings(), 2);
    for subject in [&subject, &subject.reopen(0)] {
        let stored: Vec<_> = subject.state.disk.adopted.values().collect();
        assert_eq!(stored.len(), 2, "{stored:?}");
        assert!(stored.contains(&&reading(3, 0)) && stored.contains(&&twin(4, 1)));
        assert_eq!(subject.machine.load().adopted, 2);
    }
}

#[test]
fn repeated_readings_take_no_room_from_others() {
    let mut subject = nearly_full(2);
    let readings = [0, 0, 1].map(|seq| reading(4, seq));
    assert_eq!(import(&mut subject, &readings), counts(3, 2, ALL_STORED));
    assert_eq!(subject.machine.load().adopted, MAX_ADOPTED);
}

#[test]
fn lost_store_has_room_for_what_only_waited() {
    let mut subject = nearly_full(1);
    // It comes after those that are stored already.
    let later = (4..).find(|author| key(*author).author() > key(3).author());
    subject.gossip_reading(9, &reading(later.expect("an author"), 0));
    assert!(subject.machine.load().mempool > 1);
    let outputs = subject.machine.handle(Input::StoreReset, now_at(START, 0));
    outputs.for_each(drop);
    assert_eq!(subject.machine.load().adopted, MAX_ADOPTED);
}

#[test]
fn twins_of_two_calls_leave_one_on_disk() {
    for order in [[0, 1], [1, 0]] {
        let mut subject = Subject::new();
        subject.state.disk.held_writes = Some(Vec::new());
        let twins = [reading(3, 0), twin(3, 0)];
        let tickets = twins.map(|reading| subject.adopt(vec![reading]));
        let mut held = subject.take_held_writes();
        assert_eq!(held.len(), 2, "both calls wait for the disk");
        if order[0] == 1 {
            held.reverse();
        }
        subject.state.disk.held_writes = None;
        for (id, batch) in held {
            subject.finish_write(id, batch);
        }
        let adopted = subject.events.iter().filter_map(|event| {
            let Event::Adopted { ticket, result } = event else {
                return None;
            };
            Some((*ticket, *result))
        });
        let adopted: Vec<_> = adopted.collect();
        let expected = [(tickets[order[0]], Ok(1)), (tickets[order[1]], Ok(0))];
        assert_eq!(adopted, expected);
        let stored: Vec<_> = subject.state.disk.adopted.values().collect();
        assert_eq!(stored, [&twins[order[0]]]);
        assert_eq!(subject.machine.load().adopted, 1);
    }
}

/// A peer that can store so many readings of others in addition.
fn nearly_full(free: usize) -> Subject {
    let stored = (0..(MAX_ADOPTED - free) as u64).map(|seq| reading(3, seq));
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room(), key(7), [], [1; 32], now_at(START, 0));
    restore.adopted(stored);
    let mut subject = Subject::running(restore.finish());
    subject.feed(Input::Tick);
    subject
}

#[test]
fn reading_beyond_the_limit_is_not_stored() {
    let mut subject = nearly_full(2);
    let readings: Vec<_> = (0..5).map(|seq| reading(4, seq)).collect();
    let no_room = NotStored {
        no_room: 3,
        ..ALL_STORED
    };
    assert_eq!(import(&mut subject, &readings), counts(5, 2, no_room));
    assert_eq!(subject.machine.load().adopted, MAX_ADOPTED);
    // What is stored needs no more room.
    assert_eq!(import(&mut subject, &readings), counts(5, 0, no_room));
}

#[test]
fn reading_that_the_key_does_not_open_is_not_stored() {
    let secret = RoomKey::new([0x77; 32]);
    let params = RoomParams::new(&secret, 8, 1_000).expect("within bounds");
    let room = Room::new(params).unlock(secret).expect("its own key");
    let time = UnixMillis::new(START);
    let bpm = Bpm::MIN;
    let readable = room.sign(&key(2), 0, Measurement { time, bpm });
    let junk = Content::Sealed(SealedContent::new([7; 26]));
    let readings = [
        readable.expect("the key is known"),
        key(3).sign_content(room.id(), 0, junk),
    ];
    let mut member = Subject::in_room(&room, Config { mining: false }, 1);
    let unreadable = NotStored {
        unreadable: 1,
        ..ALL_STORED
    };
    assert_eq!(import(&mut member, &readings), counts(2, 1, unreadable));
    assert_eq!(member.state.disk.adopted.len(), 1);
    // Without the key no peer can tell, and all are kept.
    let outside = Room::new(room.params().clone());
    let mut outsider = Subject::in_room(&outside, Config { mining: false }, 1);
    assert_eq!(import(&mut outsider, &readings), counts(2, 2, ALL_STORED));
}

#[test]
fn import_ends_at_a_wrong_reading_or_a_full_disk() {
    let mut forged = reading(3, 1);
    forged.signature = reading(3, 0).signature;
    let mut subject = Subject::new();
    let ended = import_on(&mut subject, &[reading(3, 0), forged], false);
    assert!(
        matches!(ended, Err(Failure::Import(ImportError::Reading(_)))),
        "{ended:?}"
    );
    assert_eq!(subject.state.disk.adopted.len(), 0);
    let ended = import_on(&mut subject, &[reading(3, 0)], true);
    assert_eq!(ended, Err(Failure::Adopt(AdoptError::NotStored)));
    // Now it waits in memory, and the second attempt stores it.
    let again = import(&mut subject, &[reading(3, 0)]);
    assert_eq!(
        (again, again.known_readings()),
        (counts(1, 0, ALL_STORED), 1)
    );
    assert_eq!(subject.state.disk.adopted.len(), 1);
}
