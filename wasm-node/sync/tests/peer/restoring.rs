//! Starts from a damaged disk: corrupt and missing blocks are detected, cut off and fetched again.

use heartchain_chain::tree::Entry;
use heartchain_chain::{block::Block, bpm::Bpm, hash::BlockHash, time::UnixMillis};
use heartchain_sync::{
    Config, IndexedBlock, Input, Machine, Now, Restore, StoreOperation, StoredBlock,
    io::JournalEntry,
};
use heartchain_test_support::{
    Branch, Driver as _, START, Tampering as _, key, now_at, reading, room,
};

use crate::subject::{Subject, journal_entry};

#[test]
fn corrupt_body_is_rejected_and_fetched_again() {
    let branch = Branch::of(1, 8);
    let damages: [fn(&mut Block); 3] = [
        |block| block.readings[0].tamper(),
        // The Merkle root covers the signatures, which are therefore not verified again.
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
        assert_eq!(subject.tip(), branch.prefix(4).tip());
        subject.connect(1);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn blocks_above_a_missing_one_are_fetched_again() {
    let branch = Branch::of(1, 8);
    let lost = with_hashes(&branch.blocks).filter(|(_, block)| block.header.index != 5);
    let mut restore = restore(&[]);
    restore.blocks(lost);
    assert_eq!(restore.damaged(), 3);
    let mut subject = running(restore.finish(), &branch);
    assert_eq!(subject.tip(), branch.prefix(4).tip());
    // Its readings are not lost in the meantime.
    assert_eq!(subject.machine.pending().count(), 3);
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn interrupted_sync_is_not_damage() {
    let branch = Branch::of(1, 8);
    // The eighth block arrived before the seventh; the tip was the sixth.
    let stored = || with_hashes(&branch.blocks).filter(|(_, block)| block.header.index != 7);
    for (tip, damaged) in [(6, 0), (8, 1)] {
        let mut restore = restore(&[]);
        restore.tip(Some(branch.prefix(tip).tip()));
        restore.blocks(stored());
        assert_eq!(restore.damaged(), damaged, "the tip was block {tip}");
        let mut subject = running(restore.finish(), &branch);
        subject.connect(1);
        subject.serve(1, &branch);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn corrupt_side_blocks_count_as_damage() {
    let (branch, other) = (Branch::of(1, 4), Branch::of(2, 1));
    let mut corrupt = other.blocks[0].clone();
    let hash = corrupt.header.hash();
    corrupt.header.prev_hash = BlockHash::new([3; 32]);
    let mut restore = restore(&[]);
    restore.tip(Some(branch.tip()));
    restore.blocks(with_hashes(&branch.blocks).chain([(hash, corrupt)]));
    assert_eq!(restore.damaged(), 1);
    assert_eq!(running(restore.finish(), &branch).tip(), branch.tip());
}

#[test]
fn block_stored_under_a_wrong_hash_is_rejected() {
    let branch = Branch::of(1, 2);
    let mut restore = restore(&[]);
    let second = branch.blocks[1].clone();
    restore.blocks(with_hashes(&branch.blocks[..1]).chain([(BlockHash::new([3; 32]), second)]));
    assert_eq!(restore.damaged(), 1);
    assert_eq!(
        running(restore.finish(), &branch).tip(),
        branch.prefix(1).tip()
    );
}

#[test]
fn journal_gap_is_filled_from_the_chain() {
    let branch = Branch::of(7, 5);
    for lost in 1..5 {
        let mut entries = entries();
        let (position, entry) = entries.remove(lost);
        let mut restore = restore(&entries);
        restore.blocks(with_hashes(&branch.blocks));
        let mut machine = restore.finish();
        let outputs: Vec<_> = machine.handle(Input::Tick, now()).collect();
        let written = outputs.iter().any(|output| {
            let heartchain_sync::Output::Write { batch, .. } = output else {
                return false;
            };
            batch.operations == [StoreOperation::PutJournal(position, entry)]
        });
        assert!(written, "entry {lost}: {outputs:?}");
        // The last entry is not a gap but an entry that is not in the chain: it keeps its sequence number.
        let waiting: Vec<u64> = machine.pending().map(|reading| reading.seq).collect();
        assert_eq!(waiting, [5], "entry {lost}");
    }
}

#[test]
fn chain_readings_beyond_the_journal_are_foreign() {
    let branch = Branch::of(7, 5);
    let mut restore = restore(&entries()[..3]);
    restore.blocks(with_hashes(&branch.blocks));
    let mut machine = restore.finish();
    let writes = machine
        .handle(Input::Tick, now())
        .filter(|output| {
            let heartchain_sync::Output::Write { batch, .. } = output else {
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
fn chain_is_restored_before_its_bodies_are_read() {
    let branch = Branch::of(7, 5);
    let entries = entries();
    let mut restore = restore(&entries);
    assert!(!restore.needs_bodies());
    restore.stored(stored_without_bodies(&branch.blocks));
    assert_eq!(restore.damaged(), 0);
    let mut machine = restore.finish();
    machine.handle(Input::Tick, now());
    assert_eq!(machine.status().index, 5);
    // The next reading gets the next sequence number, and nothing that is in the chain is offered again.
    let waiting: Vec<u64> = machine.pending().map(|reading| reading.seq).collect();
    assert_eq!(waiting, [5]);
}

#[test]
fn stored_index_is_checked_against_its_header() {
    let branch = Branch::of(1, 8);
    let damages: [fn(&mut IndexedBlock); 4] = [
        |block| block.header.nonce += 1,
        |block| block.header.prev_hash = BlockHash::new([3; 32]),
        |block| block.hash = BlockHash::new([3; 32]),
        |block| block.entries.clear(),
    ];
    for damage in damages {
        let mut stored = stored_without_bodies(&branch.blocks);
        if let StoredBlock::Indexed(block) = &mut stored[7] {
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
fn missing_journal_entry_requires_bodies() {
    let mut entries = entries();
    assert!(!restore(&entries).needs_bodies());
    assert!(!restore(&[]).needs_bodies());
    entries.remove(2);
    assert!(restore(&entries).needs_bodies());
    // A body that is given along with its index entry is read.
    let branch = Branch::of(7, 5);
    let mut restore = restore(&entries);
    restore.stored(stored_without_bodies(&branch.blocks));
    restore.blocks(with_hashes(&branch.blocks));
    assert_eq!(restore.damaged(), 0);
    assert_eq!(restore.finish().load().journal, 6);
}

fn stored_without_bodies(blocks: &[Block]) -> Vec<StoredBlock> {
    let stored_without_bodies = |block: &Block| {
        let entries = block.readings.iter();
        StoredBlock::Indexed(IndexedBlock {
            hash: block.header.hash(),
            header: block.header,
            entries: entries
                .map(|reading| Entry::new(room().id(), reading))
                .collect(),
        })
    };
    blocks.iter().map(stored_without_bodies).collect()
}

fn now() -> Now {
    now_at(START, 0)
}

/// Five journal entries whose readings `Branch::of(7, 5)` has, and one that it does not have.
fn entries() -> Vec<(u64, JournalEntry)> {
    let bpm = Bpm::new(72).expect("a heart rate");
    (0..6)
        .map(|seq| (seq, journal_entry(UnixMillis::new(START + seq), bpm)))
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

/// A subject that started with this branch on disk and has not read its bodies.
pub(crate) fn unverified(branch: &Branch) -> Subject {
    let mut restore = restore(&[]);
    restore.stored(stored_without_bodies(&branch.blocks));
    running(restore.finish(), branch)
}

/// The same with a second branch on disk, and `tip` as the last tip that was written.
pub(crate) fn unverified_with_side_branch(
    branch: &Branch,
    other: &Branch,
    tip: BlockHash,
) -> Subject {
    let mut restore = restore(&[]);
    restore.tip(Some(tip));
    restore.stored(stored_without_bodies(&branch.blocks));
    restore.stored(stored_without_bodies(&other.blocks));
    let mut subject = running(restore.finish(), branch);
    subject.state.disk.blocks.extend(with_hashes(&other.blocks));
    subject
}

/// A subject that continues with this machine, on a disk with the branch's blocks.
fn running(machine: Machine<u64>, branch: &Branch) -> Subject {
    let mut subject = Subject::new();
    subject
        .state
        .disk
        .blocks
        .extend(with_hashes(&branch.blocks));
    subject.machine = machine;
    subject.feed(Input::Tick);
    subject
}
