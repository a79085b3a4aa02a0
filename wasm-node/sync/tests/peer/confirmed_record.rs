//! What the disk says is confirmed is right whatever fails, and what it protects stays on it.

use heartchain_sync::{
    StoreOperation,
    config::{CONFIRMED_AT_ANY_DEPTH_AFTER, RECOVERY_MAX_INTERVAL, WRITE_RETRY},
};
use heartchain_test_support::{Branch, Driver as _, START};

use crate::{fixtures::with_confirmed, subject::Subject};

#[test]
fn side_bodies_leave_the_record_alone() {
    let branch = Branch::of(1, 40);
    let mut better = branch.prefix(10);
    better.grow(2, 60);
    let mut subject = with_confirmed(&branch);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(2);
    subject.serve_with_bodies(2, &better, |hash| {
        better.position(hash).is_some_and(|at| at < 30)
    });
    assert_eq!(subject.tip(), branch.tip());
    subject.advance(CONFIRMED_AT_ANY_DEPTH_AFTER);
    let writes = subject.take_held_writes();
    let operations = writes.iter().flat_map(|(_, batch)| &batch.operations);
    let recorded: Vec<Option<usize>> = operations
        .filter_map(|operation| {
            let StoreOperation::PutConfirmed(hash) = operation else {
                return None;
            };
            Some(branch.position(hash))
        })
        .collect();
    assert!(!recorded.is_empty(), "more was confirmed meanwhile");
    let is_high = |at: &Option<usize>| at.is_some_and(|at| at >= 35);
    assert!(recorded.iter().all(is_high), "{recorded:?}");
}

#[test]
fn first_record_comes_with_every_tip_until_written() {
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    let writes = subject.take_held_writes();
    let tips = writes.iter().filter(|(_, batch)| {
        let mut operations = batch.operations.iter();
        operations.any(|operation| matches!(operation, StoreOperation::PutTip(_)))
    });
    let mut tips = tips.peekable();
    assert!(tips.peek().is_some());
    for (_, batch) in tips {
        let mut operations = batch.operations.iter();
        let has = operations.any(|operation| matches!(operation, StoreOperation::PutConfirmed(_)));
        assert!(has, "a start would guess what is confirmed: {batch:?}");
    }
}

#[test]
fn held_back_blocks_that_lost_are_protected() {
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let heavier = Branch::min_difficulty(START - 20_000_000, 2, 80);
    let subject = with_confirmed(&branch);
    let confirmed = subject.state.disk.confirmed.expect("a confirmed block");
    let height = branch.position(&confirmed).expect("on the branch");
    let mut slow = subject.reopen(-2 * 3_600_000);
    slow.connect(2);
    slow.serve(2, &heavier);
    assert_eq!(slow.tip(), heavier.tip());
    slow.advance(3 * 3_600_000);
    assert_eq!(slow.machine.status().held_back, None);
    assert_eq!(slow.tip(), heavier.tip());
    let hashes = branch.with_hashes().take(height + 1);
    for (hash, _) in hashes {
        assert!(slow.state.disk.recovery.contains(&hash));
    }
}

#[test]
fn full_disk_makes_room_among_blocks_that_were_read() {
    let (left, better) = (Branch::of(1, 8), Branch::of(2, 12));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &left);
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    subject.advance(RECOVERY_MAX_INTERVAL);
    assert_eq!(subject.machine.load().recovery, 8);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.record(72);
    let (id, _) = subject.take_held_writes().remove(0);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.feed(heartchain_sync::Input::WriteFailed { id, full: true });
    let writes = subject.take_held_writes();
    let operations: Vec<&StoreOperation> = writes
        .iter()
        .flat_map(|(_, batch)| &batch.operations)
        .collect();
    let deleted = operations
        .iter()
        .filter(|operation| matches!(operation, StoreOperation::DeleteBlock(_)));
    assert_eq!(deleted.count(), 8, "{operations:?}");
    let again = operations
        .iter()
        .any(|operation| matches!(operation, StoreOperation::PutJournal(..)));
    assert!(again, "the reading is written again");
}

#[test]
fn deletes_that_wait_for_the_record_cause_no_writes() {
    let subject = with_confirmed(&Branch::min_difficulty(START - 100_000, 1, 50));
    let mut slow = subject.reopen(-2 * 3_600_000);
    let left = Branch::min_difficulty(START - 20_000_000, 2, 8);
    let better = Branch::min_difficulty(START - 20_000_000, 3, 12);
    for (peer, branch) in [(1, &left), (2, &better)] {
        slow.connect(peer);
        slow.serve(peer, branch);
        assert_eq!(slow.tip(), branch.tip());
    }
    slow.advance(RECOVERY_MAX_INTERVAL);
    assert!(slow.machine.status().held_back.is_some());
    slow.state.disk.held_writes = Some(Vec::new());
    slow.record(72);
    let (id, _) = slow.take_held_writes().remove(0);
    slow.state.disk.held_writes = Some(Vec::new());
    slow.feed(heartchain_sync::Input::WriteFailed { id, full: true });
    let is_delete =
        |operation: &StoreOperation| matches!(operation, StoreOperation::DeleteBlock(_));
    let mut failed = 0;
    for (id, batch) in slow.take_held_writes() {
        if batch.operations.iter().any(is_delete) {
            slow.feed(heartchain_sync::Input::WriteFailed { id, full: false });
            failed += 1;
        } else {
            slow.finish_write(id, batch);
        }
    }
    assert!(failed > 0);
    slow.advance(2 * WRITE_RETRY);
    slow.state.disk.held_writes = Some(Vec::new());
    slow.advance(60_000);
    let writes = slow.take_held_writes();
    let operations = writes.iter().flat_map(|(_, batch)| &batch.operations);
    let tips = operations.filter(|operation| matches!(operation, StoreOperation::PutTip(_)));
    assert_eq!(tips.count(), 0);
    let has_left = |slow: &Subject| {
        let mut hashes = left.with_hashes();
        hashes.any(|(hash, _)| slow.state.disk.blocks.contains_key(&hash))
    };
    assert!(has_left(&slow), "they wait");
}
