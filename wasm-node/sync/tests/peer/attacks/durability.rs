//! Confirmed readings are kept, whatever the disk refuses, corrupts or loses.

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{Batch, Input, config::CONFIRMED_AT_ANY_DEPTH_AFTER, io::StoreOperation};

use super::rounds::is_gone;
use heartchain_test_support::{Branch, Driver as _, Tampering as _, reading};

use crate::{fixtures::with_confirmed, subject::Subject};

/// A start finds one corrupt reading in a confirmed block, whose other readings are intact.
#[test]
fn damaged_reading_leaves_the_others_of_its_block() {
    let mut branch = Branch::of(1, 4);
    branch.push(vec![reading(1, 4), reading(77, 0), reading(78, 0)]);
    branch.grow(1, 12);
    let mut subject = with_confirmed(&branch);
    assert!(subject.state.disk.confirmed.is_some());
    let hash = branch.blocks[4].header.hash();
    let block = subject
        .state
        .disk
        .blocks
        .get_mut(&hash)
        .expect("it is on disk");
    block.readings[0].tamper();
    let mut again = subject.reopen(0);
    again.advance(1_000);
    let kept = again.state.disk.blocks.contains_key(&hash);
    let mut last = again.reopen(0);
    last.advance(1_000);
    assert!(
        !is_gone(&last, &reading(77, 0)),
        "the block was on disk after the first start: {kept}"
    );
}

fn puts_block(batch: &Batch) -> bool {
    let puts = |operation: &StoreOperation| matches!(operation, StoreOperation::PutBlock(..));
    batch.operations.iter().any(puts)
}

/// The disk accepts no more blocks: what is confirmed only in memory must not cause stored blocks to be deleted.
#[test]
fn full_disk_keeps_protected_blocks() {
    let mut branch = Branch::of(1, 8);
    branch.push(vec![reading(77, 0)]);
    branch.grow(1, 12);
    let mut better = branch.prefix(8);
    better.grow(78, 40);
    let mut subject = with_confirmed(&branch);
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    assert!(
        subject
            .state
            .disk
            .recovery
            .contains(&branch.blocks[8].header.hash())
    );
    let step = |subject: &mut Subject, act: &mut dyn FnMut(&mut Subject)| {
        subject.state.disk.held_writes = Some(Vec::new());
        act(subject);
        loop {
            let held = subject
                .state
                .disk
                .held_writes
                .replace(Vec::new())
                .unwrap_or_default();
            if held.is_empty() {
                break;
            }
            for (id, batch) in held {
                if puts_block(&batch) {
                    subject.feed(Input::WriteFailed { id, full: true });
                } else {
                    subject.finish_write(id, batch);
                }
            }
        }
        subject.state.disk.held_writes = None;
    };
    let mut blocks = vec![better.push(vec![reading(77, 0)])];
    for _ in 0..12 {
        let seq = better.next_seq(78);
        blocks.push(better.push(vec![reading(78, seq)]));
    }
    for block in &blocks {
        step(&mut subject, &mut |subject| {
            subject.gossip_block(2, block);
        });
    }
    assert_eq!(subject.tip(), better.tip());
    for _ in 0..100 {
        step(&mut subject, &mut |subject| subject.advance(3_000));
        step(&mut subject, &mut |subject| subject.serve(2, &better));
    }
    let (protected, left) = (
        subject.state.disk.recovery.len(),
        subject
            .state
            .disk
            .blocks
            .contains_key(&branch.blocks[8].header.hash()),
    );
    let mut again = subject.reopen(0);
    again.advance(1_000);
    assert!(
        !is_gone(&again, &reading(77, 0)),
        "protected {protected}, the old block on disk: {left}"
    );
}

/// A tab without peers confirms its own chain, but must not assume that the room has its own readings.
#[test]
fn reading_that_no_peer_has_seen_is_not_shared() {
    let mut subject = Subject::miner(50);
    for bpm in 60..68 {
        subject.record(bpm);
        for _ in 0..10 {
            subject.advance(1_000);
            subject.find_nonce();
        }
    }
    assert!(subject.machine.status().index >= 7);
    subject.advance(CONFIRMED_AT_ANY_DEPTH_AFTER + 1_000);
    let unsettled = subject.machine.unconfirmed_own_entries(100).len();
    assert_eq!(
        unsettled, 8,
        "no peer was ever connected; readings in the copy, and readings for other tabs to adopt"
    );
}

/// Two peers that were split off return to the room, which has moved on. Returns whether a recent reading of the small
/// branch, whose author has left, is lost.
fn is_lost_in_a_return(blocks: u64) -> bool {
    let common = Branch::of(1, 12);
    let mut subject = with_confirmed(&common);
    let mut small = common.clone();
    subject.connect(2);
    for seq in 0..3 {
        let block = small.push(vec![reading(77, seq)]);
        subject.gossip_block(2, &block);
    }
    assert_eq!(subject.tip(), small.tip());
    subject.disconnect(2);
    let mut big = common;
    big.grow(78, blocks);
    subject.connect(3);
    subject.serve(3, &big);
    assert_eq!(subject.tip(), big.tip());
    subject.advance(5_000);
    is_gone(&subject, &reading(77, 0))
}

#[test]
fn recent_readings_return_after_a_deep_reorg() {
    assert!(!is_lost_in_a_return(900));
    assert!(!is_lost_in_a_return(1_100), "1,100 blocks longer");
}

/// A full disk refuses the better branch. Reads that were requested before blocks were deleted still return those
/// blocks.
#[test]
fn recent_readings_return_on_a_full_disk() {
    let common = Branch::of(1, 12);
    let mut subject = with_confirmed(&common);
    let mut small = common.clone();
    subject.connect(2);
    for seq in 0..60 {
        let block = small.push(vec![reading(2_000 + seq, 0)]);
        subject.gossip_block(2, &block);
    }
    assert_eq!(subject.tip(), small.tip());
    subject.disconnect(2);
    let mut big = common;
    big.grow(78, 70);
    subject.connect(3);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.state.disk.held_reads = Some(Vec::new());
    subject.serve(3, &big);
    for _ in 0..20 {
        let reads = subject
            .state
            .disk
            .held_reads
            .replace(Vec::new())
            .unwrap_or_default();
        let body = |hash: &BlockHash| subject.state.disk.body(hash);
        let reads: Vec<_> = reads
            .into_iter()
            .map(|(id, hashes)| (id, hashes.iter().map(body).collect::<Vec<_>>()))
            .collect();
        let writes = subject
            .state
            .disk
            .held_writes
            .replace(Vec::new())
            .unwrap_or_default();
        for (id, batch) in writes {
            if puts_block(&batch) {
                subject.feed(Input::WriteFailed { id, full: true });
            } else {
                subject.finish_write(id, batch);
            }
        }
        for (id, bodies) in reads {
            subject.feed(Input::Read { id, bodies });
        }
    }
    assert_eq!(subject.tip(), big.tip());
    let lost = (0..60).filter(|seq| is_gone(&subject, &reading(2_000 + seq, 0)));
    assert_eq!(
        lost.count(),
        0,
        "of 60 readings that no other peer may have"
    );
}

/// A store reset that left the blocks in place (because only one journal entry or one bit of the key was lost, or
/// because it was reported in error), among peers that are behind.
#[test]
fn bodies_that_a_reset_left_are_not_given_up() {
    let branch = Branch::of(1, 20);
    let behind = branch.prefix(10);
    let mut subject = with_confirmed(&branch);
    subject.connect(2);
    subject.serve(2, &behind);
    let on_disk = subject.state.disk.blocks.len();
    subject.feed(Input::StoreReset);
    for _ in 0..60 {
        subject.serve(2, &behind);
        subject.advance(5_000);
    }
    assert_eq!(subject.state.disk.blocks.len(), on_disk);
    assert_eq!(
        subject.machine.status().index,
        20,
        "all 20 bodies are on disk"
    );
}
