//! Signatures that another thread verifies: what the machine skips with a proof, and what waits for one.

use heartchain_chain::{
    block::{Block, BodyError},
    merkle::readings_root,
    reading::{Reading, ReadingError},
    time::MonotonicMillis,
};
use heartchain_sync::{
    Event, Input, Output,
    input_queue::{
        InputQueue, MAX_WAITING_BYTES, MAX_WAITING_INPUTS, VERIFIER_PATIENCE, VerifierTask,
    },
    io::{ImportError, ImportPiece, RequestId, Ticket},
    message::Response,
    verification::{VerifiedBodies, verify_each},
};
use heartchain_test_support::{Branch, now_at, reading, room, solve};

use crate::subject::Subject;

const SEED: [u8; 32] = [3; 32];
const START: MonotonicMillis = MonotonicMillis::new(1_000);

type Queue = InputQueue<u64>;

/// A block whose last reading has another signature.
fn forged(branch: &Branch) -> Block {
    let mut block = branch.blocks[0].clone();
    let last = block.readings.last_mut().expect("a reading");
    last.signature = reading(9, 9).signature;
    block.header.readings_root = readings_root(&block.readings);
    solve(&mut block.header);
    block
}

fn proof(blocks: &[&Block]) -> VerifiedBodies {
    let bodies: Vec<_> = blocks.iter().map(|block| &*block.readings).collect();
    VerifiedBodies::verify(room().id(), &bodies, SEED)
}

/// The proof that a thread would make that takes every body for valid.
fn blind_proof(block: &Block) -> VerifiedBodies {
    let bytes = [
        *room().id().as_bytes(),
        *block.header.readings_root.as_bytes(),
    ]
    .concat();
    VerifiedBodies::from_own_thread(&bytes).expect("a proof")
}

/// Imports one block. Returns why it is refused.
fn import(block: &Block, verified: Option<VerifiedBodies>) -> Option<ImportError> {
    let mut subject = Subject::new();
    let piece = ImportPiece {
        blocks: vec![block.clone()],
        is_last: true,
        ..ImportPiece::default()
    };
    let input = Input::Import {
        ticket: Ticket(1),
        piece,
    };
    let now = now_at(subject.now, 0);
    let outputs = match verified {
        Some(verified) => subject.machine.handle_verified(input, verified, now),
        None => subject.machine.handle(input, now),
    };
    let mut refused = outputs.filter_map(|output| {
        let Output::Emit(Event::Imported { result, .. }) = output else {
            return None;
        };
        result.err()
    });
    let refused = refused.next_back();
    let height = subject.machine.status().index;
    assert_eq!(height, u64::from(refused.is_none()));
    refused
}

#[test]
fn signatures_with_a_proof_are_not_verified_again() {
    let branch = Branch::of(1, 2);
    let forged = forged(&branch);
    assert!(matches!(
        import(&forged, None),
        Some(ImportError::Body {
            source: BodyError::Reading {
                source: ReadingError::Signature { .. },
                ..
            },
            ..
        })
    ));
    assert_eq!(
        import(&forged, Some(blind_proof(&forged))),
        None,
        "it was skipped"
    );
    assert_eq!(
        import(&branch.blocks[0], Some(proof(&[&branch.blocks[0]]))),
        None
    );
}

#[test]
fn proof_covers_valid_bodies_only() {
    let branch = Branch::of(1, 2);
    let (valid, forged) = (&branch.blocks[0], &forged(&branch));
    for proof in [proof(&[valid, forged]), proof(&[forged]), proof(&[])] {
        assert!(import(forged, Some(proof)).is_some());
    }
    // A proof of other bodies does no harm: the machine verifies this one itself.
    for proof in [proof(&[]), proof(&[&branch.blocks[1]]), blind_proof(forged)] {
        assert_eq!(import(valid, Some(proof)), None);
    }
    let elsewhere = [[7; 32], *forged.header.readings_root.as_bytes()].concat();
    let elsewhere = VerifiedBodies::from_own_thread(&elsewhere).expect("of another room");
    assert!(import(forged, Some(elsewhere)).is_some());
}

#[test]
fn proof_survives_the_way_between_threads() {
    let branch = Branch::of(1, 2);
    let forged = forged(&branch);
    let bodies = branch
        .blocks
        .iter()
        .map(|block| Some(block.readings.clone()));
    let response = Response::Bodies(bodies.collect());
    let (id, form) = (room().id(), room().form());
    let proof = VerifiedBodies::verify_encoded(id, form, &response.encode(), SEED);
    let bytes = proof.expect("bodies").to_bytes();
    assert_eq!(bytes.len(), 3 * 32, "the room and two bodies");
    let proof = || VerifiedBodies::from_own_thread(&bytes);
    assert_eq!(import(&branch.blocks[0], proof()), None);
    assert!(import(&forged, proof()).is_some());
    for bytes in [&bytes[1..], &[]] {
        assert!(VerifiedBodies::from_own_thread(bytes).is_none());
    }
    for bytes in [vec![], vec![9], Response::Headers(vec![]).encode()] {
        assert!(VerifiedBodies::verify_encoded(id, form, &bytes, SEED).is_err());
    }
}

#[test]
fn each_reading_is_judged_alone() {
    let mut readings: Vec<Reading> = (0..200).map(|seq| reading(1, seq)).collect();
    readings[70].signature = readings[71].signature;
    let results = verify_each(room().id(), &readings, SEED);
    let invalid: Vec<usize> = (0..200).filter(|at| results[*at].is_err()).collect();
    assert_eq!(invalid, [70]);
}

fn bodies(peer: u64, id: u64, many: usize) -> Input<u64> {
    let body: Vec<Reading> = (0..many as u64).map(|seq| reading(1, seq)).collect();
    Input::Response {
        peer,
        id: RequestId(id),
        response: Ok(Response::Bodies(vec![Some(body)])),
    }
}

/// The peers of the inputs that the machine gets now, and whether there is a proof for each.
fn taken(queue: &mut Queue) -> Vec<(u64, bool)> {
    let next = core::iter::from_fn(|| queue.take_next());
    next.map(|(input, verified)| {
        let peer = if let Input::Response { peer, .. } | Input::PeerDisconnected { peer } = input {
            peer
        } else {
            0
        };
        (peer, verified.is_some())
    })
    .collect()
}

fn complete(queue: &mut Queue, task: &VerifierTask) {
    let (id, form) = (room().id(), room().form());
    let proof = VerifiedBodies::verify_encoded(id, form, &task.bytes, SEED).expect("bodies");
    queue.on_verified(task.id, Some(proof), START);
}

#[test]
fn inputs_of_a_peer_stay_in_order_and_others_pass() {
    let mut queue = Queue::new(4);
    assert!(queue.push(bodies(1, 1, 3), START).is_none(), "few readings");
    assert_eq!(taken(&mut queue), [(1, false)]);
    let first = queue.push(bodies(1, 2, 4), START).expect("many readings");
    let second = queue.push(bodies(1, 3, 4), START).expect("many readings");
    let third = queue.push(bodies(2, 4, 4), START).expect("many readings");
    for input in [
        Input::PeerDisconnected { peer: 1 },
        Input::PeerDisconnected { peer: 3 },
        Input::Tick,
    ] {
        assert!(queue.push(input, START).is_none());
    }
    assert_eq!(taken(&mut queue), [(3, false), (0, false)]);
    complete(&mut queue, &second);
    assert_eq!(
        taken(&mut queue),
        [],
        "the first answer is not verified yet"
    );
    complete(&mut queue, &third);
    assert_eq!(taken(&mut queue), [(2, true)]);
    complete(&mut queue, &first);
    assert_eq!(taken(&mut queue), [(1, true), (1, true), (1, false)]);
    complete(&mut queue, &first);
    assert_eq!(queue.load(), (0, 0));
}

#[test]
fn machine_verifies_what_the_other_thread_does_not() {
    let mut queue = Queue::new(4);
    assert_eq!(queue.deadline(), None);
    let first = queue.push(bodies(1, 1, 4), START).expect("many readings");
    let patience = |since: MonotonicMillis| Some(since.saturating_add(VERIFIER_PATIENCE));
    assert_eq!(queue.deadline(), patience(START));
    let later = START.saturating_add(3_000);
    let second = queue.push(bodies(2, 2, 4), later).expect("many readings");
    assert_eq!(
        queue.deadline(),
        patience(START),
        "it must complete the first one"
    );
    queue.on_verified(first.id, None, later);
    assert_eq!(queue.deadline(), patience(later));
    assert_eq!(taken(&mut queue), [(1, false)]);
    queue.give_up();
    assert_eq!(queue.deadline(), None);
    assert_eq!(taken(&mut queue), [(2, false)]);
    complete(&mut queue, &second);
    assert!(queue.is_empty());
}

#[test]
fn waiting_inputs_are_bounded() {
    let mut queue = Queue::new(4);
    for id in 0..MAX_WAITING_INPUTS as u64 {
        assert!(queue.push(bodies(id, id, 4), START).is_some());
    }
    assert_eq!(queue.load().0, MAX_WAITING_INPUTS);
    assert_eq!(taken(&mut queue), []);
    assert!(queue.push(bodies(1, 999, 4), START).is_none());
    assert_eq!(taken(&mut queue).len(), MAX_WAITING_INPUTS + 1);

    let mut readings = 0;
    while queue.push(bodies(1, 1, 1_024), START).is_some() {
        readings += 1_024;
        assert!(queue.load().1 <= MAX_WAITING_BYTES);
    }
    assert!(readings > 100_000, "{readings}");
    assert!(taken(&mut queue).iter().all(|(_, verified)| !verified));
    assert_eq!(queue.load(), (0, 0));
}

#[test]
fn verified_input_waits_for_earlier_ones() {
    let mut queue = Queue::new(4);
    let first = queue.push(bodies(1, 1, 4), START).expect("many readings");
    queue.push_verified(bodies(1, 2, 4), proof(&[]), START);
    queue.push_verified(bodies(2, 3, 4), proof(&[]), START);
    assert_eq!(taken(&mut queue), [(2, true)]);
    complete(&mut queue, &first);
    assert_eq!(taken(&mut queue), [(1, true), (1, true)]);
    assert_eq!((queue.load(), queue.deadline()), ((0, 0), None));

    for id in 0..MAX_WAITING_INPUTS as u64 {
        assert!(queue.push(bodies(id, id, 4), START).is_some());
    }
    queue.push_verified(bodies(0, 999, 4), proof(&[]), START);
    let all = taken(&mut queue);
    assert_eq!(
        all.len(),
        MAX_WAITING_INPUTS + 1,
        "the machine verifies what waits"
    );
    assert_eq!(all.last(), Some(&(0, true)));
}
