//! Failing disks and deleted stores.

use std::collections::BTreeSet;

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{Input, io::StoreOperation};
use heartchain_test_support::{Branch, Driver as _, reading};

use crate::{fixtures::with_confirmed, subject::Subject};

// The confirmation mark is written again after a failed write, even if the room is idle.
#[test]
fn failed_confirmation_mark_is_rewritten() {
    let branch = Branch::of(1, 12);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    subject.state.disk.held_writes = Some(Vec::new());
    for _ in 0..20 {
        subject.advance(4_000);
        subject.serve(1, &branch);
    }
    let held = subject.take_held_writes();
    let is_mark = |operation: &StoreOperation| matches!(operation, StoreOperation::PutConfirmed(_));
    assert!(
        held.iter()
            .any(|(_, batch)| batch.operations.iter().any(is_mark))
    );
    for (id, _) in held {
        subject.feed(Input::WriteFailed { id, full: false });
    }
    for _ in 0..100 {
        subject.advance(5_000);
        subject.serve(1, &branch);
    }
    assert!(
        subject.state.disk.confirmed.is_some(),
        "8 minutes after one failed write"
    );
}

// A deleted store has no bodies of side blocks either. They are fetched again when their branch wins, so that a restart
// has the complete branch.
#[test]
fn side_branch_that_wins_after_a_reset_is_on_disk() {
    let common = Branch::of(1, 10);
    let (mut best, mut side) = (common.clone(), common.clone());
    best.grow(1, 3);
    let mut first = Vec::new();
    for seq in 0..2 {
        first.push(side.push(vec![reading(88, seq)]));
    }
    let mut subject = with_confirmed(&best);
    subject.connect(1);
    for block in &first {
        subject.gossip_block(1, block);
    }
    assert_eq!(subject.state.disk.blocks.len(), 15);
    subject.state.disk.blocks.clear();
    subject.state.disk.tip = None;
    subject.feed(Input::StoreReset);
    for _ in 0..10 {
        subject.serve(1, &best);
        subject.advance(1_000);
    }
    for seq in 2..6 {
        let block = side.push(vec![reading(88, seq)]);
        subject.gossip_block(1, &block);
    }
    for _ in 0..120 {
        subject.serve(1, &side);
        subject.advance(5_000);
    }
    assert_eq!(subject.tip(), side.tip());
    let on_disk: BTreeSet<BlockHash> = subject.state.disk.blocks.keys().copied().collect();
    let missing = side
        .blocks
        .iter()
        .filter(|block| !on_disk.contains(&block.header.hash()));
    assert_eq!(missing.count(), 0, "blocks of the best branch");
    assert_eq!(subject.reopen(0).tip(), side.tip());
}

// A failed delete is retried only while its reading is still unwanted: the other tab may have been told that its
// reading is kept.
#[test]
fn failed_delete_leaves_what_is_adopted_again() {
    let common = Branch::of(1, 12);
    let mut branch = common.clone();
    branch.push(vec![reading(500, 0)]);
    branch.grow(1, 10);
    let mut subject = with_confirmed(&common);
    subject.adopt(vec![reading(500, 0)]);
    assert_eq!(subject.state.disk.adopted.len(), 1);
    subject.connect(1);
    subject.receive_status(1, branch.status());
    subject.serve(1, &branch);
    // The delete fails.
    let mut failed = false;
    for _ in 0..100 {
        subject.state.disk.held_writes = Some(Vec::new());
        subject.advance(1_000);
        subject.serve(1, &branch);
        for (id, batch) in subject.take_held_writes() {
            let deletes =
                |operation: &StoreOperation| matches!(operation, StoreOperation::DeleteAdopted(_));
            if batch.operations.iter().any(deletes) {
                subject.feed(Input::WriteFailed { id, full: false });
                failed = true;
            } else {
                subject.finish_write(id, batch);
            }
        }
        if failed {
            break;
        }
    }
    assert!(failed);
    // The branch is left, and the other tab hands over the reading again.
    let mut better = common;
    better.grow(78, 40);
    subject.connect(2);
    subject.receive_status(2, better.status());
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    subject.adopt(vec![reading(500, 0)]);
    assert_eq!(subject.state.disk.adopted.len(), 1);
    subject.advance(20_000);
    assert_eq!(
        subject.state.disk.adopted.len(),
        1,
        "adopted and confirmed to the other tab, but deleted"
    );
}
