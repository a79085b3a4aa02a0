//! A start from a disk that is not as it was left: what is damaged is found, cut off, and fetched again.

use chain::tree::Entry;
use chain::{block::Block, bpm::Bpm, hash::BlockHash, time::UnixMillis};
use sync::{
    Config, Input, KnownBlock, Machine, Now, Restore, StoreOperation, Stored, seam::JournalEntry,
};

use crate::{
    branch::{Branch, START, key, reading, room},
    subject::{Subject, at},
};

#[test]
fn a_damaged_body_is_not_taken_and_its_block_is_fetched_again() {
    let branch = Branch::of(1, 8);
    let damages: [fn(&mut Block); 3] = [
        |block| block.readings[0].bpm += 1,
        // The Merkle root covers signatures, too: that is why they are not verified again.
        |block| block.readings[0].signature = reading(2, 0).signature,
        |block| block.readings.push(reading(2, 0)),
    ];
    for damage in damages {
        let mut stored = branch.blocks.clone();
        damage(&mut stored[4]);
        let mut restore = restore(&[]);
        restore.blocks(
            with_hashes(&branch.blocks)
                .zip(stored)
                .map(|((hash, _), block)| (hash, block)),
        );
        assert_eq!(restore.damaged(), 1);
        let mut subject = running(restore.finish(), &branch);
        assert_eq!(subject.tip(), branch.up_to(4).tip());
        subject.connect(1);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn what_stands_on_a_lost_block_is_cut_off_and_fetched_again() {
    let branch = Branch::of(1, 8);
    let lost = with_hashes(&branch.blocks).filter(|(_, block)| block.header.index != 5);
    let mut restore = restore(&[]);
    restore.blocks(lost);
    assert_eq!(restore.damaged(), 3);
    let mut subject = running(restore.finish(), &branch);
    assert_eq!(subject.tip(), branch.up_to(4).tip());
    // Nothing of it is lost meanwhile.
    assert_eq!(subject.machine.pending().count(), 3);
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn a_catch_up_that_was_cut_short_is_no_damage() {
    let branch = Branch::of(1, 8);
    // The eighth came before the seventh; the tip was the sixth.
    let stored = || with_hashes(&branch.blocks).filter(|(_, block)| block.header.index != 7);
    for (tip, damaged) in [(6, 0), (8, 1)] {
        let mut restore = restore(&[]);
        restore.tip(Some(branch.up_to(tip).tip()));
        restore.blocks(stored());
        assert_eq!(restore.damaged(), damaged, "the tip was number {tip}");
        let mut subject = running(restore.finish(), &branch);
        subject.connect(1);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn what_was_garbled_beside_the_best_branch_is_counted_too() {
    let (branch, other) = (Branch::of(1, 4), Branch::of(2, 1));
    let mut garbled = other.blocks[0].clone();
    let hash = garbled.header.hash();
    garbled.header.prev_hash = BlockHash::new([3; 32]);
    let mut restore = restore(&[]);
    restore.tip(Some(branch.tip()));
    restore.blocks(with_hashes(&branch.blocks).chain([(hash, garbled)]));
    assert_eq!(restore.damaged(), 1);
    assert_eq!(running(restore.finish(), &branch).tip(), branch.tip());
}

#[test]
fn a_block_under_another_ones_hash_is_not_taken() {
    let branch = Branch::of(1, 2);
    let mut restore = restore(&[]);
    let second = branch.blocks[1].clone();
    restore.blocks(with_hashes(&branch.blocks[..1]).chain([(BlockHash::new([3; 32]), second)]));
    assert_eq!(restore.damaged(), 1);
    assert_eq!(
        running(restore.finish(), &branch).tip(),
        branch.up_to(1).tip()
    );
}

#[test]
fn a_gap_in_the_journal_is_filled_from_the_chain_and_on_disk() {
    let branch = Branch::of(7, 5);
    for lost in 1..5 {
        let mut entries = entries();
        let (position, entry) = entries.remove(lost);
        let mut restore = restore(&entries);
        restore.blocks(with_hashes(&branch.blocks));
        let mut machine = restore.finish();
        let outputs: Vec<_> = machine.handle(Input::Tick, now()).collect();
        let written = outputs.iter().any(|output| {
            let sync::Output::Write { batch, .. } = output else {
                return false;
            };
            batch.operations == [StoreOperation::PutJournal(position, entry)]
        });
        assert!(written, "entry {lost}: {outputs:?}");
        // The last one is no gap but an entry that is not in the chain: it keeps its place.
        let waiting: Vec<u64> = machine.pending().map(|reading| reading.seq).collect();
        assert_eq!(waiting, [5], "entry {lost}");
    }
}

#[test]
fn what_the_chain_has_beyond_the_journal_was_recorded_elsewhere() {
    let branch = Branch::of(7, 5);
    let mut restore = restore(&entries()[..3]);
    restore.blocks(with_hashes(&branch.blocks));
    let mut machine = restore.finish();
    let writes = machine
        .handle(Input::Tick, now())
        .filter(|output| {
            let sync::Output::Write { batch, .. } = output else {
                return false;
            };
            let is_entry =
                |operation: &StoreOperation| matches!(operation, StoreOperation::PutJournal(..));
            batch.operations.iter().any(is_entry)
        })
        .count();
    assert_eq!(writes, 0);
}

#[test]
fn a_long_chain_is_known_before_its_bodies_were_looked_at() {
    let branch = Branch::of(7, 5);
    let entries = entries();
    let mut restore = restore(&entries);
    assert!(!restore.needs_bodies());
    restore.stored(known(&branch.blocks));
    assert_eq!(restore.damaged(), 0);
    let mut machine = restore.finish();
    machine.handle(Input::Tick, now());
    assert_eq!(machine.status().index, 5);
    // What is recorded next gets the next place; nothing that is in the chain is offered again.
    let waiting: Vec<u64> = machine.pending().map(|reading| reading.seq).collect();
    assert_eq!(waiting, [5]);
}

#[test]
fn what_is_known_of_a_block_is_judged_by_its_header() {
    let branch = Branch::of(1, 8);
    let damages: [fn(&mut KnownBlock); 4] = [
        |block| block.header.nonce += 1,
        |block| block.header.prev_hash = BlockHash::new([3; 32]),
        |block| block.hash = BlockHash::new([3; 32]),
        |block| block.entries.clear(),
    ];
    for damage in damages {
        let mut stored = known(&branch.blocks);
        if let Stored::Known(block) = &mut stored[7] {
            damage(block);
        }
        let mut restore = restore(&[]);
        restore.stored(stored);
        assert_eq!(restore.damaged(), 1);
        let machine = restore.finish();
        assert_eq!(machine.status().index, 7);
    }
}

#[test]
fn who_lacks_an_entry_of_the_journal_needs_bodies() {
    let mut entries = entries();
    assert!(!restore(&entries).needs_bodies());
    assert!(!restore(&[]).needs_bodies());
    entries.remove(2);
    assert!(restore(&entries).needs_bodies());
    // A body beside what is known of it is looked at.
    let branch = Branch::of(7, 5);
    let mut restore = restore(&entries);
    restore.stored(known(&branch.blocks));
    restore.blocks(with_hashes(&branch.blocks));
    assert_eq!(restore.damaged(), 0);
    assert_eq!(restore.finish().load().journal, 6);
}

fn known(blocks: &[Block]) -> Vec<Stored> {
    let known = |block: &Block| {
        let entries = block.readings.iter();
        Stored::Known(KnownBlock {
            hash: block.header.hash(),
            header: block.header,
            entries: entries
                .map(|reading| Entry::new(room().id(), reading))
                .collect(),
        })
    };
    blocks.iter().map(known).collect()
}

fn now() -> Now {
    at(START, 0)
}

/// Five entries that `Branch::of(7, 5)` has, and one that it has not.
fn entries() -> Vec<(u64, JournalEntry)> {
    let bpm = Bpm::new(72).expect("a heart rate");
    (0..6)
        .map(|seq| {
            let time = UnixMillis::new(START + seq);
            let resigns = None;
            (seq, JournalEntry { time, bpm, resigns })
        })
        .collect()
}

fn restore(entries: &[(u64, JournalEntry)]) -> Restore<u64> {
    let config = Config { mining: false };
    let mut restore = Restore::new(config, room(), key(7), [], [1; 32], now());
    restore.journal(entries.iter().copied());
    restore
}

fn with_hashes(blocks: &[Block]) -> impl Iterator<Item = (BlockHash, Block)> {
    blocks
        .iter()
        .map(|block| (block.header.hash(), block.clone()))
}

/// A subject that started with this branch on disk, and has not looked at its bodies.
pub(crate) fn not_looked_at(branch: &Branch) -> Subject {
    let mut restore = restore(&[]);
    restore.stored(known(&branch.blocks));
    running(restore.finish(), branch)
}

/// The same with another branch beside it, and this tip as the last that was written.
pub(crate) fn not_looked_at_beside(branch: &Branch, other: &Branch, tip: BlockHash) -> Subject {
    let mut restore = restore(&[]);
    restore.tip(Some(tip));
    restore.stored(known(&branch.blocks));
    restore.stored(known(&other.blocks));
    let mut subject = running(restore.finish(), branch);
    subject.blocks.extend(with_hashes(&other.blocks));
    subject
}

/// A subject that goes on with this machine, over a disk that has the branch's blocks.
fn running(machine: Machine<u64>, branch: &Branch) -> Subject {
    let mut subject = Subject::new();
    subject.blocks.extend(with_hashes(&branch.blocks));
    subject.machine = machine;
    subject.give(Input::Tick);
    subject
}
