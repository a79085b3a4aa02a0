//! Blocks ahead of the clock that were accepted before, and how far the best branch is confirmed.

use chain::{
    time::UnixMillis,
    tree::{BURIED_BLOCKS, InsertError, MAX_SIDE_BLOCKS, Tree},
    validate::MAX_FUTURE_MS,
};

use crate::branch::{chain, grown, insert, key, mine, reading};

/// When block `index` of [`chain`] is due.
fn due(tree: &Tree, index: u64) -> UnixMillis {
    let hash = tree.best_hash(index).expect("on the best branch");
    let header = tree.header(&hash).expect("in the tree");
    header.time.saturating_sub(MAX_FUTURE_MS)
}

#[test]
fn clock_set_back_holds_back_and_release_returns() {
    let blocks = chain(1, 10);
    let mut tree = grown(&blocks);
    let whole = tree.tip();
    let [fifth, seventh] = [5, 7].map(|index| due(&tree, index));
    let switch = tree.hold_back(fifth).expect("a shorter branch");
    assert_eq!((switch.fork_index, switch.left.len()), (5, 5));
    assert_eq!(tree.tip().index, 5);
    assert_eq!(tree.held_back_blocks(), 5);
    assert_eq!((tree.side_blocks(), tree.side_readings()), (0, 0));
    assert!(
        tree.advance().switch.is_none(),
        "their time has yet to come"
    );
    assert!(tree.heaviest_leaf(|_| false).is_none(), "nothing to fetch");
    assert!(!tree.release_due(fifth));
    assert!(tree.release_due(seventh));
    tree.advance();
    assert_eq!((tree.tip().index, tree.held_back_blocks()), (7, 3));
    assert!(tree.release_due(whole.time));
    tree.advance();
    assert_eq!(tree.tip(), whole);
    assert_eq!((tree.held_back_blocks(), tree.held_back_until()), (0, None));
}

#[test]
fn held_back_blocks_are_pruned_by_no_bound() {
    let blocks = chain(1, 10);
    let mut tree = grown(&blocks);
    let third = due(&tree, 3);
    tree.hold_back(third);
    let headers: Vec<_> = blocks[..3].iter().map(|block| block.header).collect();
    for number in 0..MAX_SIDE_BLOCKS as u64 + 10 {
        let rival = mine(&headers[..2], vec![reading(2, 0, number)], 1_000);
        insert(&mut tree, &rival);
    }
    tree.advance();
    tree.prune(&[]);
    assert_eq!(tree.held_back_blocks(), 7);
    assert!(tree.side_blocks() <= MAX_SIDE_BLOCKS);
    tree.release_due(blocks[9].header.time);
    tree.advance();
    assert_eq!(tree.tip().hash, blocks[9].header.hash());
}

#[test]
fn peers_cannot_add_to_what_is_held_back() {
    let blocks = chain(1, 10);
    let mut tree = grown(&blocks[..9]);
    let eighth = due(&tree, 8);
    tree.hold_back(eighth);
    let now = blocks[9].header.time;
    let hash = blocks[9].header.hash();
    assert_eq!(
        tree.insert_header(&blocks[9].header, now),
        Err(InsertError::HeldBack { hash })
    );
    assert!(tree.insert_accepted_header(&blocks[9].header, now).is_ok());
}

#[test]
fn counts_of_confirmed_readings_follow_the_branch() {
    let blocks = chain(1, 20);
    let mut tree = grown(&blocks);
    let author = key(1).author();
    assert_eq!(tree.settled_seq(&author), 0);
    tree.settle(12);
    assert_eq!((tree.settled_index(), tree.settled_seq(&author)), (12, 12));
    tree.settle(5);
    assert_eq!(tree.settled_index(), 12, "never less");
    tree.settle(1_000);
    assert_eq!((tree.settled_index(), tree.settled_seq(&author)), (20, 20));
    let eighth = due(&tree, 8);
    tree.hold_back(eighth);
    assert_eq!((tree.settled_index(), tree.settled_seq(&author)), (8, 8));
    tree.release_due(blocks[19].header.time);
    tree.advance();
    assert_eq!((tree.settled_index(), tree.settled_seq(&author)), (8, 8));
}

#[test]
fn readings_are_buried_by_so_many_blocks() {
    let many = BURIED_BLOCKS + 5;
    let mut tree = grown(&chain(1, many));
    assert_eq!(tree.tip().index, many);
    tree.settle(0);
    assert_eq!(tree.buried_seq(&key(1).author()), 5);
}
